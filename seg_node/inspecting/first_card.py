"""A first card for a file that somebody else made: what was found, what was guessed, and the file beside it."""

import colorsys
import filecmp
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from seg_node import runtimes
from seg_node.datasets import open_split
from seg_node.inspecting import Found
from seg_node.label_set import load_label_set
from seg_node.label_set import names as label_sets
from seg_node.model_card import CARD_NAME, load_card, write_card
from seg_node.model_card import sha256 as digest_of

_USUAL_SIZES = {
    "camvid11": (360, 480),
    "camvid12": (360, 480),
    "cityscapes19": (512, 1024),
    "cityscapes20": (512, 1024),
}
_OTHER_SIZE = (512, 512)
_STAGING = ".inspect-"
_NEW_LABELS = "labels.yaml"


class Trial(NamedTuple):
    """How a file did with its first card."""

    runtime: str
    works: bool
    says: str


def write_first_card(
    found: Found, folder: Path, labels: str = "", size: tuple[int, int] | None = None, classes: int | None = None
) -> Path:
    """Write ``folder`` with a card, the file, and a label set where none fits; return the card's path.

    ``labels``: a label set's name or .yaml file; "": the one that fits, or a new one to fill in. ``size``: (height,
    width) of a network that takes any. Raises FileExistsError where there is a card already, or another file
    would be overwritten, ValueError that says what is missing. ``folder`` is then as it was.
    """
    if (folder / CARD_NAME).exists():
        raise FileExistsError(
            f"{folder / CARD_NAME}: is there already; choose another folder, or remove that card first"
        )
    _check(found, size)
    count = _count(found, labels, classes)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{_STAGING}*"):  # of one that was killed
        shutil.rmtree(stale, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        name = _label_set(found, labels, count, staged, folder)
        for part in (found.path, *found.beside):
            if part.resolve().parent != folder.resolve():
                shutil.copyfile(part, staged / part.name)
        parts = sorted(path for path in staged.iterdir())
        for part in parts:
            _check_there(folder / part.name, part)
        for part in parts:
            os.replace(part, folder / part.name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    write_card(folder / CARD_NAME, card_of(found, folder, name, count, size))
    return folder / CARD_NAME


def _check_there(there: Path, new: Path) -> None:
    if there.exists() and not filecmp.cmp(there, new, shallow=False):
        raise FileExistsError(f"{there}: is there already, and is another; choose another folder, or move it")


def _check(found: Found, size: tuple[int, int] | None) -> None:
    if found.kind == "torchscript" or (found.kind == "torch" and found.network is None):
        raise ValueError(f"{found.path}: no card can be written for it: {found.notes[-1]}")
    if len(found.inputs) != 1:
        why = "its tensors are not known here" if not found.inputs else f"it has {len(found.inputs)} inputs"
        raise ValueError(f"{found.path}: no card can be written for it: {why}; {found.notes[-1]}")
    if found.layout is None or found.dtype not in ("uint8", "float32", "float16") or found.output is None:
        raise ValueError(f"{found.path}: cannot be used as it is: {'; '.join(found.notes) or found.inputs[0]}")
    if size and found.size and size != found.size:
        raise ValueError(
            f"{found.path}: takes {found.size[0]}x{found.size[1]} only, not {size[0]}x{size[1]}: leave --size away, or "
            "export it anew for that size"
        )


def _count(found: Found, labels: str, classes: int | None) -> int:
    if classes is not None and not 1 <= classes <= 255:
        raise ValueError(f"--classes {classes}: must be from 1 to 255")
    if classes is not None and found.classes not in (None, classes):
        raise ValueError(f"{found.path}: gives {found.classes} classes, not {classes}: leave --classes away")
    count = classes or found.classes or (load_label_set(labels).class_count if labels else None)
    if count is None:
        raise ValueError(f"{found.path}: the number of classes was not found; say --classes N, or --labels SET")
    if labels and load_label_set(labels).class_count != count:
        others = ", ".join(found.label_sets) or "none of those here"
        raise ValueError(
            f"{found.path}: gives {count} classes, label set {labels} has {load_label_set(labels).class_count}; those "
            f"that fit: {others}; or write a .yaml file of your own, like config/labels/camvid11.yaml"
        )
    return count


def _label_set(found: Found, labels: str, count: int, staged: Path, folder: Path) -> str:
    """Return what the card says of its label set; a file of it is written where it is not a shipped one."""
    filled = folder / _NEW_LABELS
    if not labels and filled.is_file() and load_label_set(filled).class_count == count:
        return _NEW_LABELS  # names that somebody has filled in
    fitting = [name for name in label_sets() if load_label_set(name).class_count == count]
    if not labels and fitting:
        fitting = found.label_sets or fitting
        return fitting[0]
    if labels and not labels.endswith(".yaml"):
        return labels
    target = staged / (Path(labels).name if labels else _NEW_LABELS)
    if labels:
        shutil.copyfile(labels, target)
    else:
        target.write_text(_new_label_set(found.path.stem, count), encoding="utf-8")
    return target.name


def _new_label_set(name: str, count: int) -> str:
    """Return a label set of classes without names, each with a colour of its own."""
    classes: list[dict[str, Any]] = []
    for index in range(count):
        red, green, blue = colorsys.hsv_to_rgb(
            index * 0.618034 % 1, 0.45 + 0.5 * (index % 3) / 2, 0.95 - index % 4 * 0.15
        )
        classes.append({"name": f"class {index}", "color": [round(255 * part) for part in (red, green, blue)]})
    about = "# Names were not in the file that these labels are of: write them here, in this order.\n"
    return about + str(yaml.safe_dump({"name": name, "classes": classes}, sort_keys=False, default_flow_style=None))


def card_of(found: Found, folder: Path, labels: str, classes: int, size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the card's table."""
    fed, path = found.feeding, folder / found.path.name
    assert fed is not None
    label_set = load_label_set(folder / labels if labels.endswith(".yaml") else labels)
    void = [] if label_set.void is None else [label_set.void]
    beside = {part.name: digest_of(folder / part.name) for part in found.beside}
    output: dict[str, Any] = {"kind": found.output, "ignored_classes": void}
    if found.output_name:
        output["name"] = found.output_name
    return {
        "name": folder.resolve().name,
        "network": {"name": "external", "classes": classes},
        "label_set": labels,
        "input": {
            "size": list(size or found.size or _USUAL_SIZES.get(labels, _OTHER_SIZE)),
            "channels": fed.channels,
            "layout": found.layout,
            "dtype": found.dtype,
            "mean": list(fed.mean),
            "std": list(fed.std),
            "scale": fed.scale,
        },
        "output": output,
        "files": {
            found.kind: {"path": path.name, "sha256": digest_of(path), **({"beside": beside} if beside else {})},
        },
        "licence": "not known here: its authors' terms hold",
        "training": {
            "from": found.path.name,
            "normalisation": fed.about,
            "about": "a first card: what was not in the file was guessed; compare with how the network was trained",
        },
    }


def try_card(folder: Path, runtime: str = "auto") -> Trial:
    """Load a model by its card and label a rendered street; tells how that went instead of raising."""
    card = load_card(folder)
    try:
        loaded = runtimes.load_runtime(card, runtime)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        return Trial(runtime, False, str(error))
    try:
        image = open_split("street", "test", size=(max(32, card.size[0]), max(32, card.size[1])))[0].image
        image = image[: card.size[0], : card.size[1]]
        labels = loaded.infer(np.ascontiguousarray(image if card.channels == "bgr" else image[..., ::-1])[None]).labels[
            0
        ]
    except (ValueError, RuntimeError) as error:
        return Trial(loaded.name, False, str(error))
    finally:
        loaded.close()
    return Trial(loaded.name, True, _shares(labels, load_label_set(card.label_set).names))


def _shares(labels: np.ndarray, names: tuple[str, ...]) -> str:
    """Return the largest classes of a label image, in words: a person sees at once whether that is a street."""
    counts = np.bincount(labels.ravel(), minlength=256)
    shown = [index for index in np.argsort(-counts, kind="stable")[:5] if counts[index]]
    parts = [f"{names[i] if i < len(names) else f'id {i}'} {counts[i] / labels.size:.0%}" for i in shown]
    return ", ".join(parts)
