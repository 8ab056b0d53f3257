"""From a stranger's checkpoint to a model folder that every command takes, or to what a classifier's training leaves.

``checkpoint`` reads the file, and nothing in it is run; ``matching`` finds the network that its tensors are of; here a
card is written. ``config/inputs.yaml`` says how authors fed their networks.
"""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seg_node import networks
from seg_node.importing.checkpoint import read_state
from seg_node.importing.matching import MismatchError, fit
from seg_node.label_set import load_label_set
from seg_node.model_card import CARD_NAME, sha256, write_card
from seg_node.share import share_path
from seg_node.yaml_table import read_table

_IMAGENET = "imagenet"  # in the place of a label set, in config/inputs.yaml


class Imported(NamedTuple):
    folder: Path
    network: str
    options: dict[str, Any]
    classes: int
    parameters: int
    size: tuple[int, int] | None = None  # of the input; a classifier's recipe knows it


class Input(NamedTuple):
    """What a network is fed; the card's words."""

    size: tuple[int, int]
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float


def import_checkpoint(
    checkpoint: Path,
    name: str,
    labels: str,
    out: Path,
    options: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
    licence: str = "",
) -> Imported:
    """Write ``out`` with the checkpoint's weights under our names, and a card.

    ``name``: of the network; ``labels``: a label set with one class an output; ``options``: the network's; those that
    the tensors tell are found; ``changes``: fields of ``Input`` that differ from what the network's authors used.

    Raises FileNotFoundError or CardError for a file that is no state dict, MismatchError where its tensors are not the
    network's, ValueError where it is unknown how the input was normalised. ``out`` is then as it was.
    """
    weights = _free(out, CARD_NAME)
    label_set = load_label_set(labels)
    name, found, network = fit(name, label_set.class_count, read_state(checkpoint), options or {})
    fed = input_of(name, label_set.name, changes or {})
    _write_weights(checkpoint, network, weights)
    if labels.endswith(".yaml"):  # the card's folder must hold what it needs
        (out / Path(labels).name).write_bytes(Path(labels).read_bytes())
        labels = Path(labels).name
    write_card(
        out / CARD_NAME,
        {
            "name": out.resolve().name,
            "network": {"name": name, "classes": label_set.class_count, "options": found},
            "label_set": labels,
            "input": {
                "size": list(fed.size),
                "channels": fed.channels,
                "mean": list(fed.mean),
                "std": list(fed.std),
                "scale": fed.scale,
            },
            "output": {"kind": "labels", "ignored_classes": [] if label_set.void is None else [label_set.void]},
            "files": {"torch": {"path": weights.name, "sha256": sha256(weights)}},
            "licence": licence or "not known here: its authors' terms hold",
            "training": {"imported_from": checkpoint.name, "sha256": sha256(checkpoint)},
        },
    )
    return Imported(out, name, found, label_set.class_count, _parameters(network), fed.size)


def import_classifier(
    checkpoint: Path,
    name: str,
    out: Path,
    options: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
) -> Imported:
    """Write ``out`` with the weights of a network that classifies whole images, and a recipe that says how it is fed.

    ``name``: of the network; its recipe has the same one. ``options`` and ``changes`` as ``import_checkpoint`` has
    them, the latter of channels, mean and std. Such a folder is scored on ImageNet, explained, and begun with. Raises
    as that does.
    """
    weights = _free(out, "recipe.yaml")
    state = read_state(checkpoint)
    if "fc.weight" not in state:
        raise MismatchError(f"{checkpoint}: holds no fc.weight, which {name} ends in: is it another network's?")
    classes = len(state["fc.weight"])
    name, found, network = fit(name, classes, state, options or {})
    fed = input_of(name, _IMAGENET, changes or {})
    _write_weights(checkpoint, network, weights)
    recipe = {
        "base": name,
        "name": out.resolve().name,
        "about": f"Not trained here: the weights of {checkpoint.name}, sha256 {sha256(checkpoint)}.",
        "network": {"name": name, "options": found},
        "input": {"channels": fed.channels, "mean": list(fed.mean), "std": list(fed.std)},
    }
    write_card(out / "recipe.yaml", recipe)
    return Imported(out, name, found, classes, _parameters(network))


def _free(out: Path, beside: str) -> Path:
    """Return where weights go in ``out``. Raises FileExistsError where something is there."""
    weights = out / "weights.pt"
    for path in (out / beside, weights):
        if path.exists():
            raise FileExistsError(f"{path}: is there already; choose another --out, or remove that folder first")
    return weights


def _write_weights(checkpoint: Path, network: torch.nn.Module, path: Path) -> None:
    _check_numbers(checkpoint, network)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, partial)
    os.replace(partial, path)


def _parameters(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def input_of(name: str, label_set: str, changes: dict[str, Any]) -> Input:
    """Return how network ``name`` was fed by its authors on ``label_set``, with ``changes``.

    Raises ValueError that says which fields are missing, where it is not known.
    """
    known = read_table(share_path("config/inputs.yaml")).get(networks.family(name), {})
    table = {**known.get(label_set, {}), **changes}
    if "std" in changes:
        table.pop("then", None)
    missing = [field for field in ("size", "channels", "mean", "std") if field not in table]
    if missing:
        sets = [name for name in known if name != _IMAGENET]
        for_these = f" (its authors' way is known for {', '.join(sets)})" if sets else ""
        raise ValueError(
            f"how {name} was fed for {label_set} is not known here{for_these}: say it with "
            + " ".join(f"--{field}" for field in missing)
        )
    then = table.get("then", 1)
    height, width = table["size"]
    mean = tuple(float(value) for value in table["mean"])
    std = tuple(float(value) * then for value in table["std"])
    scale = float(table.get("scale", 255))
    if not all(math.isfinite(value) for value in (*mean, *std, scale)) or min(*std, scale) <= 0:
        raise ValueError(f"mean {mean}, std {std}, scale {scale}: must be numbers, std and scale above 0")
    return Input((height, width), table["channels"], mean, std, scale)


def _check_numbers(checkpoint: Path, network: torch.nn.Module) -> None:
    bad = [key for key, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"{checkpoint}: holds NaN or infinity in {', '.join(bad[:12])}: a training that diverged")
