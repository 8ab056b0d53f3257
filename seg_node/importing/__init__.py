"""From a stranger's checkpoint to a model folder that every command takes.

``checkpoint`` reads the file, and nothing in it is run; ``networks`` know their authors' tensor names; here the two
meet, and a card is written. ``config/inputs.yaml`` says how authors fed their networks.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seg_node import networks
from seg_node.importing.checkpoint import read_state
from seg_node.label_set import load_label_set
from seg_node.model_card import CARD_NAME, sha256, write_card
from seg_node.share import share_path
from seg_node.yaml_table import read_table

_LISTED = 12  # tensors named in an error, of each kind
_log = logging.getLogger("seg_node")


class MismatchError(ValueError):
    """A checkpoint that is not of the network that was named; the message lists what differs."""


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
    if (out / CARD_NAME).exists():
        raise FileExistsError(f"{out / CARD_NAME}: is there already; choose another --out, or remove that folder first")
    label_set = load_label_set(labels)
    fed = input_of(name, label_set.name, changes or {})
    name, found, network = fit(name, label_set.class_count, read_state(checkpoint), options or {})
    _check_numbers(checkpoint, network)
    out.mkdir(parents=True, exist_ok=True)
    weights = out / "weights.pt"
    torch.save({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, weights)
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
    if "mean" in changes or "std" in changes:
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
    return Input(
        (height, width),
        table["channels"],
        tuple(float(value) for value in table["mean"]),
        tuple(float(value) * then for value in table["std"]),
        float(table.get("scale", 255)),
    )


def fit(
    name: str, classes: int, state: dict[str, torch.Tensor], options: dict[str, Any]
) -> tuple[str, dict[str, Any], torch.nn.Module]:
    """Return name, options and the network with ``state``'s weights in it, in eval mode.

    Where ``state`` is not ``name``'s but that of one other network in its file, that one is taken, and it is said.
    Raises MismatchError that lists what differs.
    """
    first: MismatchError | None = None
    for candidate in [name, *(other for other in networks.relatives(name) if other != name)]:
        try:
            found, network = _load(candidate, classes, state, options)
        except (MismatchError, ValueError) as error:
            if first is None:
                first = error if isinstance(error, MismatchError) else MismatchError(str(error))
            continue
        if candidate != name:
            _log.warning("the weights are no %s: they fit %s, which is taken", name, candidate)
        return candidate, found, network
    assert first is not None
    raise first


def _load(
    name: str, classes: int, state: dict[str, torch.Tensor], options: dict[str, Any]
) -> tuple[dict[str, Any], torch.nn.Module]:
    adopted = networks.adopt(name, state)
    ours, found = adopted if adopted else (state, {})
    told = {**found, **options}
    network = networks.build(name, classes, **told)
    wanted = network.state_dict()
    ours = {**ours}
    for key, tensor in wanted.items():  # PyTorch before 0.4.1 kept no count of batches, and nothing reads it
        if key.endswith(".num_batches_tracked"):
            ours.setdefault(key, torch.zeros_like(tensor))
    differences = _differences(wanted, ours)
    if differences:
        raise MismatchError(
            f"the weights are not those of {name} with {classes} classes and options {told}:\n" + "\n".join(differences)
        )
    network.load_state_dict(ours)
    return told, network.eval()


def _differences(wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> list[str]:
    shapes = [
        f"{key}: {list(given[key].shape)}, wanted {list(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    kinds = {
        "missing": [key for key in wanted if key not in given],
        "unexpected": [key for key in given if key not in wanted],
        "of the wrong shape": shapes,
    }
    return [
        f"  {len(keys)} {kind}: " + ", ".join(keys[:_LISTED]) + (", ..." if len(keys) > _LISTED else "")
        for kind, keys in kinds.items()
        if keys
    ]


def _check_numbers(checkpoint: Path, network: torch.nn.Module) -> None:
    bad = [key for key, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(f"{checkpoint}: holds NaN or infinity in {', '.join(bad[:_LISTED])}: a training that diverged")
