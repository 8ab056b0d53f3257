"""How an exported file takes its place: staged inside the model's folder, tried there, then named by the card.

A card names files and their digests, so neither may change before the other. Hence: the card is replaced by one that
names the staged files; copies of these take the plain names; the card is replaced by one that names the copies. A kill
between any two of these leaves a model that loads, and the next export finishes the work (``finish``).
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_node.exporters import parity
from seg_node.model_card import CARD_NAME, ModelCard, load_card, settings_of, sha256, write_card
from seg_node.runtimes import load_runtime
from seg_node.yaml_table import read_table

if TYPE_CHECKING:
    from seg_node.exporters import Artefact, Wanted

_STAGING = ".export-"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other exports out of the folder. Raises FileExistsError where one is at work."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"{folder}: another export of this model is at work; wait until it is done"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Make a folder inside ``folder`` for what is not proven yet; it is gone afterwards."""
    try:
        staged = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    except PermissionError as error:
        raise PermissionError(f"{folder}: cannot be written to; choose --out DIR for a model of your own") from error
    try:
        yield staged
    finally:
        named = {file.path.parent.name for file in load_card(folder).files.values()}
        if staged.name not in named:  # a publication that was stopped half way: ``finish`` does the rest
            shutil.rmtree(staged, ignore_errors=True)


def finish(folder: Path) -> None:
    """Finish what a killed export left: give files that the card names in a staging folder their plain names."""
    card = load_card(folder)
    if any(_is_staged(file.path, card.folder) for file in card.files.values()):
        _name_plainly(card.folder)
    for stale in card.folder.glob(_STAGING + "*"):
        shutil.rmtree(stale, ignore_errors=True)


def _is_staged(path: Path, folder: Path) -> bool:
    return path.parent.parent == folder and path.parent.name.startswith(_STAGING)


def entry(card: ModelCard, artefact: "Artefact") -> dict[str, Any]:
    """Return what the card will say of a staged file, its digest and those of what it was made from included."""
    torch = card.files["torch"]
    beside = sorted(
        path for path in artefact.path.parent.iterdir() if path.stem == artefact.path.stem and path != artefact.path
    )
    about: dict[str, Any] = {"path": artefact.path.name, "sha256": sha256(artefact.path)}
    if beside:
        about["beside"] = {path.name: sha256(path) for path in beside}
    return {**about, "weights": torch.sha256 or sha256(torch.path), "settings": card.settings, **artefact.keys}


def prove(
    card: ModelCard,
    to: str,
    wanted: "Wanted",
    artefacts: Sequence["Artefact"],
    entries: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Run each staged file beside PyTorch and return what the gate says of it, by kind.

    Raises ParityError for the first that is not like PyTorch, unless forced.
    """
    staged = artefacts[0].path.parent
    trial = staged / CARD_NAME  # as the card will be, so that what is tried is what will be loaded
    table = read_table(card.folder / CARD_NAME)
    files = {"torch": {**table["files"]["torch"], "path": str(card.files["torch"].path.resolve())}}
    images, verdicts = parity.golden_images(card), {}
    reference = load_runtime(card, "torch", "cpu", "fp32")
    for artefact in artefacts:
        plain = artefact.kind.replace("_confidence", "")
        kinds = {plain, artefact.kind}
        write_card(trial, {**table, "files": {**files, **{kind: entries[kind] for kind in kinds}}})
        runtime = load_runtime(load_card(trial), to, wanted.device)  # auto: what the file holds
        runtime.wants_confidence = plain != artefact.kind
        picture = card.folder / f"{card.name}.{artefact.kind}.parity.png"
        try:
            precision = artefact.keys.get("precision", wanted.precision)
            precision = parity.STRIDED if "label_stride" in artefact.keys else precision
            measured = artefact.keys.get("calibration", {}).get("miou_lost")
            verdict = parity.gate(reference, runtime, precision, images, picture, measured)
        finally:
            runtime.close()
        if not verdict.passed and not wanted.force:
            raise parity.ParityError(verdict.says(artefact.path.name, picture))
        if verdict.passed:
            picture.unlink(missing_ok=True)
        verdicts[artefact.kind] = verdict.as_table()
    trial.unlink()
    return verdicts


def publish(card: ModelCard, staged: Path, entries: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Any]) -> None:
    """Make the card name the staged files, and then under plain names."""
    table = read_table(card.folder / CARD_NAME)
    for kind, about in entries.items():
        table["files"][kind] = {**about, "path": f"{staged.name}/{about['path']}"}
        table.get("scores", {}).pop(f"parity_{kind}", None)  # where the gate's result stood in earlier cards
    if scores:
        table.setdefault("scores", {}).update(scores)
    write_card(card.folder / CARD_NAME, table)
    _name_plainly(card.folder)


def _name_plainly(folder: Path) -> None:
    """Give the card's staged files their plain names, in the folder and in the card."""
    table = read_table(folder / CARD_NAME)
    for about in table["files"].values():
        path = folder / about["path"]
        if not _is_staged(path, folder):
            continue
        for source in (path, *(path.parent / name for name in about.get("beside", {}))):
            partial = folder / f"{source.name}.partial"
            shutil.copyfile(source, partial)
            os.replace(partial, folder / source.name)
        about["path"] = path.name
    write_card(folder / CARD_NAME, table)


@contextlib.contextmanager
def another_model(card: ModelCard, size: tuple[int, int], out: Path) -> Iterator[Path]:
    """Yield a folder with ``card``'s model for another size; it becomes ``out`` when all went well.

    Where ``out`` is that model already, it is yielded itself. Raises FileExistsError where it is anything else.
    """
    if (out / CARD_NAME).is_file():
        there = load_card(out)
        same = there.settings == settings_of(card._replace(size=size))
        if not same or "torch" not in there.files or sha256(there.file("torch")) != sha256(card.file("torch")):
            raise FileExistsError(f"{out / CARD_NAME}: is another model; choose another --out, or remove that folder")
        with locked(out):
            yield out
        return
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out}: is there already and is no model; choose another --out")
    partial = out.parent / f".{out.name}.partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise PermissionError(f"{out.parent}: cannot be written to; choose another --out") from error
    with locked(partial):  # outside: what another export is at work on is not ours to remove
        try:
            for stale in partial.iterdir():
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
            _copy_model(card, size, partial, out.name)
            yield partial
            os.replace(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _copy_model(card: ModelCard, size: tuple[int, int], to: Path, name: str) -> None:
    """Write the weights and a card for them with another size; scores stay behind, they are the other size's."""
    table = read_table(card.folder / CARD_NAME)
    weights = card.file("torch")
    shutil.copyfile(weights, to / weights.name)
    if Path(card.label_set).is_file():
        shutil.copyfile(card.label_set, to / Path(card.label_set).name)
        table["label_set"] = Path(card.label_set).name
    table.pop("scores", None)
    table["name"] = name
    table["input"]["size"] = list(size)
    table["files"] = {"torch": {"path": weights.name, "sha256": sha256(weights)}}
    write_card(to / CARD_NAME, table)
