"""What a training writes: checkpoints that are whole or absent, weights alone, and how they came to be."""

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from seg_node.evaluation.hardware import commit
from seg_node.label_set import load_label_set
from seg_node.model_card import CARD_NAME, sha256, write_card
from seg_node.training.recipe import Recipe
from seg_node.yaml_table import read_table

WEIGHTS, RUN = "weights.pt", "run.yaml"
CLASSES = "classes.txt"  # of a classifier: an output's name a line


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside and renames, so that a kill in the middle leaves the previous checkpoint in place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        partial = f"{path}.partial"
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
            _put(Path(partial), Path(path))
        except OSError as error:  # a full disk, above all
            Path(partial).unlink(missing_ok=True)
            raise OSError(
                f"{path}: cannot be written ({error}); the last whole checkpoint is kept: "
                "make room, then run the same command again"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        try:
            kept = super().load_checkpoint(path, map_location, weights_only)
        except Exception as error:  # a damaged pickle raises whatever its bytes spell
            raise ValueError(
                f"{path}: damaged, or no checkpoint of ours ({type(error).__name__}); restore it, or delete "
                "the folder to begin the training anew"
            ) from error
        for state in kept["callbacks"].values():
            if "dirpath" in state:  # Lightning forgets the best score where the folder was moved
                state["dirpath"] = os.path.dirname(os.path.realpath(path))
        return kept


def save_weights(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write a network's state dict, tensors only, whole or not at all. Raises OSError."""
    save({key: tensor.detach().cpu().clone() for key, tensor in state.items()}, path)


def save(what: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values as PyTorch does, whole or not at all. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:  # of a path, torch.save would tell a full disk as an error of its own
            torch.save(what, file)
        _put(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _put(partial: Path, path: Path) -> None:
    """Give a file its name once its content is on the disk: a power cut must not leave the name alone."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def provenance(recipe: Recipe, data: str) -> dict[str, Any]:
    """Return what is needed to repeat a training, as plain values. ``data``: its fingerprint."""
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "commit": commit(),
        "data_fingerprint": data,
        "python": platform.python_version(),
        "versions": {"opencv": cv2.__version__}
        | {name: metadata.version(name) for name in ("torch", "lightning", "torchmetrics", "numpy")},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
    }


def go_on(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``run.yaml`` says of a training that goes on, after which its runs are listed.

    ``about``: ``provenance`` of this run. Raises ValueError where the data are not those that it began with.
    """
    try:
        earlier = read_table(folder / RUN)
    except FileNotFoundError:
        return dict(about)
    if earlier.get("data_fingerprint") not in (None, about["data_fingerprint"]):
        raise ValueError(
            f"{folder}: was trained on other data (the files' names or sizes differ); give --data what it began with, "
            "or choose another --out"
        )
    before = earlier.get("weights") or about["weights"]  # a training of an earlier version has not kept them
    weights = {**before, **about["weights"]}
    if weights.get("teacher") != before.get("teacher"):
        raise ValueError(
            f"{folder}: was taught by other weights than the teacher's of now; put those back, or choose another --out"
        )
    return {**about, "weights": weights, "runs": list(earlier.get("runs") or [])}


def write_run(folder: Path, about: Mapping[str, Any]) -> None:
    """Write ``run.yaml``, whole or not at all."""
    write_card(folder / RUN, about)


def write_provenance(folder: Path, recipe: Recipe, about: Mapping[str, Any], classes: Sequence[str] = ()) -> None:
    """Write ``recipe.yaml`` and ``run.yaml`` beside the weights; ``classes``: of a classifier, ``classes.txt``."""
    if classes:
        _write_text(folder / CLASSES, "\n".join(classes) + "\n")
    write_recipe(folder, recipe)
    write_run(folder, about)


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write ``recipe.yaml``, whole or not at all."""
    _write_text(folder / "recipe.yaml", recipe.as_text())


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    _put(partial, path)


def publish(folder: Path, recipe: Recipe, about: Mapping[str, Any]) -> None:
    """Write the weights of the epoch that is kept, with the card that makes the folder a model; renew ``run.yaml``.

    A classifier has no card: it labels no pixels, but an encoder may begin with its weights.
    """
    kept = torch.load(folder / f"{recipe.keep}.ckpt", map_location="cpu", weights_only=True)
    prefix = "network."
    weights = {key[len(prefix) :]: tensor for key, tensor in kept["state_dict"].items() if key.startswith(prefix)}
    save_weights(weights, folder / WEIGHTS)
    hours = sum(run.get("hours", 0.0) for run in about.get("runs", ()))
    epochs = max((run.get("to_epoch", 0) for run in about.get("runs", ())), default=0) or recipe.epochs
    about = {**about, "epochs": epochs, "kept_epoch": kept["epoch"] + 1, "hours": round(hours, 2)}
    best = next((float(s["best_model_score"]) for s in kept["callbacks"].values() if s.get("best_model_score")), None)
    if best is not None:
        about["best_score"] = best
    if recipe.task == "segmentation":
        write_card(folder / CARD_NAME, _card(folder, recipe, about))
    write_run(folder, about)  # the last: see is_finished


def is_finished(folder: Path) -> bool:
    """Whether all that ``publish`` writes is there: a kill in the middle of it leaves weights without a card."""
    try:
        return (folder / WEIGHTS).exists() and "kept_epoch" in read_table(folder / RUN)
    except FileNotFoundError:
        return False


def lift(stage: Path, out: Path, recipe: Recipe) -> None:
    """Make ``out`` the model that the last stage of ``recipe`` trained, unless it is that model already.

    Its card is the stage's under the folder's and the recipe's own name, with the hours of all stages.
    """
    if not (out / WEIGHTS).exists() or sha256(out / WEIGHTS) != sha256(stage / WEIGHTS):
        shutil.copyfile(stage / WEIGHTS, out / f"{WEIGHTS}.partial")
        os.replace(out / f"{WEIGHTS}.partial", out / WEIGHTS)
        (out / CARD_NAME).unlink(missing_ok=True)  # of other weights
        (out / RUN).unlink(missing_ok=True)
    if is_finished(out):
        return
    write_recipe(out, recipe)
    if (stage / CLASSES).exists():
        _write_text(out / CLASSES, (stage / CLASSES).read_text(encoding="utf-8"))
    hours = sum(read_table(out / each.name / RUN)["hours"] for each in recipe.stages)
    own = {"recipe": recipe.name, "stages": [each.name for each in recipe.stages], "hours": round(hours, 2)}
    if (stage / CARD_NAME).exists():
        card = read_table(stage / CARD_NAME)
        write_card(out / CARD_NAME, {**card, "name": out.resolve().name, "training": {**card["training"], **own}})
    write_run(out, {**read_table(stage / RUN), **own})


def _card(folder: Path, recipe: Recipe, about: Mapping[str, Any]) -> dict[str, Any]:
    sources = [{"dataset": s.dataset, "split": s.split} for s in recipe.train]
    return {
        "name": folder.resolve().name,
        "network": {
            "name": recipe.network.name,
            "classes": load_label_set(recipe.label_set).class_count,
            "options": recipe.network.options,
        },
        "label_set": recipe.label_set,
        "input": {
            "size": list(recipe.input.size),
            "channels": recipe.input.channels,
            "mean": list(recipe.input.mean),
            "std": list(recipe.input.std),
            "scale": 255,
        },
        "output": {"kind": "labels"},
        "files": {"torch": {"path": WEIGHTS, "sha256": sha256(folder / WEIGHTS)}},
        "training": {**about, "data": sources},
    }
