"""Finds the network that a stranger's state dict is of, and names the tensors as that does.

The networks know the names in their authors' code; here their shapes are compared, and what differs is told.
"""

import logging
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import torch

from seg_node import networks

_NO_COUNT = 251  # of classes: no layer has as many channels
_LISTED = 12  # tensors named in an error, of each kind
_log = logging.getLogger("seg_node")


class MismatchError(ValueError):
    """A checkpoint that is not of the network that was named; the message lists what differs.

    ``counts``: what the number of classes may be instead.
    """

    def __init__(self, message: str, counts: Collection[int] = ()) -> None:
        super().__init__(message)
        self.counts = counts


def fit(
    name: str, classes: int, state: dict[str, torch.Tensor], options: dict[str, Any]
) -> tuple[str, dict[str, Any], torch.nn.Module]:
    """Return name, options and the network with ``state``'s weights in it, in eval mode.

    Where ``state`` is not ``name``'s but that of one other network in its file, that one is taken, and it is said.
    Raises MismatchError that lists what differs, and says what the weights do fit where that is known.
    """
    try:
        taken = _match(name, classes, state, options)
    except ValueError as error:
        others = [other for other in networks.relatives(name) if other != name]
        fits = {found.looks: found for found in reversed(_all_that_fit(others, classes, state, options))}
        if len(fits) != 1:
            raise MismatchError(f"{error}{_advice(name, classes, state, options)}") from error
        [taken] = fits.values()
        _log.warning("the weights are no %s: they fit %s, which is taken", name, taken.name)
    network = networks.build(taken.name, classes, **taken.options)
    network.load_state_dict(taken.state)
    return taken.name, taken.options, network.eval()


def candidates(state: dict[str, torch.Tensor]) -> "list[Fit]":
    """Return the networks that ``state`` may be the weights of, with the number of classes that its shapes tell.

    Two names may be one network, that differ in what they were trained for.
    """
    return _all_that_fit(networks.names(), _NO_COUNT, state, {}, any_count=True)


def classifiers_of(state: dict[str, torch.Tensor]) -> "list[Fit]":
    """Return the networks that classify whole images, and that ``state`` may be the weights of."""
    if "fc.weight" not in state:
        return []
    return _all_that_fit(networks.classifiers(), len(state["fc.weight"]), state, {})


class Fit(NamedTuple):
    """A network whose weights a state dict is."""

    name: str
    classes: int
    options: dict[str, Any]
    state: dict[str, torch.Tensor]  # complete, and named as the network's
    looks: str  # all of its layers: two names may mean one network


def _match(name: str, classes: int, state: dict[str, torch.Tensor], options: dict[str, Any]) -> Fit:
    try:
        adopted = networks.adopt(name, state)
    except (KeyError, IndexError):  # nearly an authors' file, with a tensor missing or of another kind
        adopted = None
    ours, found = adopted if adopted else (state, {})
    told = {**found, **options}
    with torch.device("meta"):
        network = networks.build(name, classes, **told)
    wanted = network.state_dict(keep_vars=True)
    ours = _complete(ours, wanted)
    differences = _differences(wanted, ours)
    if differences:
        raise MismatchError(
            "\n".join(
                [f"the weights are not those of {name} with {classes} classes and options {told}:", *differences]
            ),
            _other_counts(classes, wanted, ours),
        )
    return Fit(name, classes, told, ours, str(network))


def _complete(given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Add what a file need not hold: counts of batches, which PyTorch before 0.4.1 did not keep and nothing reads, and
    the other names of a tensor that layers share, which safetensors leaves out.
    """
    complete = dict(given)
    shared = {id(tensor): given[key] for key, tensor in wanted.items() if key in given}
    for key, tensor in wanted.items():
        if key.endswith(".num_batches_tracked"):
            complete.setdefault(key, torch.zeros((), dtype=tensor.dtype))
        elif id(tensor) in shared:
            complete.setdefault(key, shared[id(tensor)])
    return complete


def _other_counts(classes: int, wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> set[int]:
    """Return what the number of classes may be instead: where all names are right, sizes that stand in its place."""
    if wanted.keys() != given.keys():
        return set()
    return {
        has
        for key, tensor in wanted.items()
        for has, wants in zip(given[key].shape, tensor.shape, strict=False)
        if wants == classes != has and has > 0
    }


def _all_that_fit(
    names: Iterable[str], classes: int, state: dict[str, torch.Tensor], options: dict[str, Any], any_count: bool = False
) -> list[Fit]:
    """``any_count``: also where the number of classes is another one."""
    fits = []
    for name in names:
        counts = [classes]
        for count in counts:
            try:
                fits.append(_match(name, count, state, options))
                break
            except ValueError as error:
                if any_count and count == classes and isinstance(error, MismatchError):
                    counts += sorted(error.counts)
    return fits


def _advice(name: str, classes: int, state: dict[str, torch.Tensor], options: dict[str, Any]) -> str:
    """Return what the weights do fit, as one line more for the error that says what they do not; nothing if unknown."""
    fits = _all_that_fit(networks.names(), classes, state, options, any_count=True)
    if not fits:
        return ""
    count = classes if any(found.classes == classes for found in fits) else fits[0].classes
    fitting = [found.name for found in fits if found.classes == count]
    network = "" if name in fitting else f" --network {' or '.join(fitting)}"
    labels = "" if count == classes else f" --labels of {count} classes"
    return f"\nthey fit with{network}{labels}"


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
