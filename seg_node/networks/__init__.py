"""The networks, one file a paper. Each file has

    NETWORKS = {name: builder}       builder(classes, **options) -> torch.nn.Module: normalised float (N, 3, H, W) to
                                     logits (N, classes, H, W)
    CLASSIFIERS = {name: builder}    only where a paper classifies too: (N, 3, H, W) to logits (N, classes), the mean of
                                     those of every place, which its method ``dense`` gives: (N, classes, h, w)

and, where its authors published weights, ``from_authors`` (see ``adopt``). Knows nothing of data, training or files.
"""

import inspect
from typing import Any, Dict, List, Optional, Tuple

import torch

from seg_node import plugins

State = Dict[str, torch.Tensor]


def names() -> List[str]:
    """Return the names of the segmentation networks, in alphabetical order."""
    return sorted(name for module in _modules() for name in module.NETWORKS)


def classifiers() -> List[str]:
    """Return the names of the classification networks, in alphabetical order."""
    return sorted(name for module in _modules() for name in getattr(module, "CLASSIFIERS", {}))


def build(name: str, classes: int, **options: object) -> torch.nn.Module:
    """Build a network by name. Raises ValueError that lists the names, or names the option that is wrong."""
    module = _module_of(name)
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ValueError("network '{}': classes is {!r}; must be a whole number from 1".format(name, classes))
    builder = module.NETWORKS[name] if name in module.NETWORKS else module.CLASSIFIERS[name]
    try:
        return builder(classes, **options)
    except TypeError as error:
        taken = list(inspect.signature(builder).parameters.values())[1:]
        if any(option.kind is option.VAR_KEYWORD for option in taken):  # its encoder's, which only that one knows
            raise ValueError("network '{}': {}".format(name, error)) from error
        known = ", ".join(option.name for option in taken) or "none"
        raise ValueError("network '{}': {}; its options are: {}".format(name, error, known)) from error


def family(name: str) -> str:
    """Return the name of the file that builds network ``name``. Raises ValueError that lists the names."""
    return str(_module_of(name).__name__.rsplit(".", 1)[-1])


def relatives(name: str) -> List[str]:
    """Return the names of the segmentation networks in ``name``'s file, itself too."""
    return list(_module_of(name).NETWORKS)


def adopt(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """Return the state dict of an authors' own definition of network ``name`` with our tensor names, and the options
    it was built with, as far as its tensors tell. None if it is in no naming of theirs: it may be in ours.
    """
    from_authors = getattr(_module_of(name), "from_authors", None)
    return from_authors(name, state) if from_authors else None


def _module_of(name: str) -> Any:
    for module in _modules():
        if name in module.NETWORKS or name in getattr(module, "CLASSIFIERS", {}):
            return module
    raise ValueError("no network '{}': choose from {}".format(name, ", ".join(names() + classifiers())))


def _modules() -> List[Any]:
    return [plugins.load(__name__, file) for file in plugins.names(__name__)]
