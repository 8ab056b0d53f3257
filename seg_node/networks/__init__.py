"""The networks, one file a paper. Each file has

    NETWORKS = {name: builder}       builder(classes, **options) -> torch.nn.Module: normalised float (N, 3, H, W) to
                                     logits (N, classes, H, W)
    CLASSIFIERS = {name: builder}    only where a paper classifies too: (N, 3, H, W) to logits (N, classes)

and, where its authors published weights, ``from_authors`` (see ``adopt``). Knows nothing of data, training or files.
"""

from typing import Any, Callable, Dict, List, Optional, Tuple

import torch

from seg_node import plugins

Builder = Callable[..., torch.nn.Module]
State = Dict[str, torch.Tensor]


def names() -> List[str]:
    """Return the names of the segmentation networks, in alphabetical order."""
    return sorted(_table("NETWORKS"))


def classifiers() -> List[str]:
    """Return the names of the classification networks, in alphabetical order."""
    return sorted(_table("CLASSIFIERS"))


def build(name: str, classes: int, **options: object) -> torch.nn.Module:
    """Build a network by name. Raises ValueError that lists the names, or names the option that is wrong."""
    builders = _table("NETWORKS")
    builders.update(_table("CLASSIFIERS"))
    if name not in builders:
        raise ValueError("no network '{}': choose from {}".format(name, ", ".join(sorted(builders))))
    try:
        return builders[name](classes, **options)
    except TypeError as error:
        raise ValueError("network '{}': {}".format(name, error)) from error


def adopt(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """Return the state dict of an authors' own definition of network ``name`` with our tensor names, and the options
    it was built with (as far as its tensors tell). None if it is in no naming that we know: it may be ours.
    """
    for module in _modules():
        if name in module.NETWORKS or name in getattr(module, "CLASSIFIERS", {}):
            from_authors = getattr(module, "from_authors", None)
            return from_authors(name, state) if from_authors else None
    raise ValueError("no network '{}': choose from {}".format(name, ", ".join(names())))


def _modules() -> List[Any]:
    return [plugins.load(__name__, file) for file in plugins.names(__name__)]


def _table(kind: str) -> Dict[str, Builder]:
    table: Dict[str, Builder] = {}
    for module in _modules():
        for name, builder in getattr(module, kind, {}).items():
            if name in table:
                raise AssertionError("two files build '{}'".format(name))
            table[name] = builder
    return table
