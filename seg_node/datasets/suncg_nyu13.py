"""SUNCG (Song et al. 2017), rendered, labelled in NYUv2's 13 classes: ``config/labels/nyu13.yaml``.

Its layout stands in ``datasets/_suncg.py``, and how categories become NYUv2's classes in ``config/suncg.yaml``.
"""

from pathlib import Path

from seg_node.datasets import _suncg
from seg_node.datasets._pairs import PairSplit

LABEL_SET = "nyu13"
SPLITS = _suncg.SPLITS


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> PairSplit:
    """Open ``train``, ``val`` or ``test``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError where a folder or a label is missing.
    """
    del size
    return find(split, data).complete()


def find(split: str, data: Path | None) -> PairSplit:
    """As ``open_split``, before anything is known to be whole."""
    return _suncg.find(split, data, LABEL_SET)
