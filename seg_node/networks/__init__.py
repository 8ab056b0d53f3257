"""The networks, one file a paper. Each has ``build(classes, **options) -> torch.nn.Module``.

A network maps normalised float (N, 3, H, W) to logits (N, classes, H, W). Knows nothing of data, training
or files.
"""

from typing import List

import torch

from seg_node import plugins


def names() -> List[str]:
    """Return the names that ``build`` takes."""
    return plugins.names(__name__)


def build(name: str, classes: int, **options: object) -> torch.nn.Module:
    """Build a network by name. Raises ValueError that lists the names, or names the option that is wrong."""
    module = plugins.load(__name__, name)
    try:
        network: torch.nn.Module = module.build(classes, **options)
    except TypeError as error:
        raise ValueError("network '{}': {}".format(name, error)) from error
    return network
