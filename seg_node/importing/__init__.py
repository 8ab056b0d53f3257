"""From a stranger's checkpoint to a model folder that every command takes.

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
from seg_node.importing.matching import fit
from seg_node.label_set import load_label_set
from seg_node.model_card import CARD_NAME, sha256, write_card
from seg_node.share import share_path
from seg_node.yaml_table import read_table


class Imported(NamedTuple):
    folder: Path
    network: str
    options: dict[str, Any]
    classes: int
    parameters: int
    size: tuple[int, int]


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
    weights = out / "weights.pt"
    for path in (out / CARD_NAME, weights):
        if path.exists():
            raise FileExistsError(f"{path}: is there already; choose another --out, or remove that folder first")
    label_set = load_label_set(labels)
    if name in networks.classifiers():
        raise ValueError(f"{name} classifies whole images: it makes no labels, and is no model")
    name, found, network = fit(name, label_set.class_count, read_state(checkpoint), options or {})
    fed = input_of(name, label_set.name, changes or {})
    _check_numbers(checkpoint, network)
    out.mkdir(parents=True, exist_ok=True)
    partial = weights.with_name(weights.name + ".partial")
    torch.save({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, partial)
    os.replace(partial, weights)
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
    count = sum(weight.numel() for weight in network.parameters())
    return Imported(out, name, found, label_set.class_count, count, fed.size)


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
        for_these = f" (its authors' way is known for {', '.join(known)})" if known else ""
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
