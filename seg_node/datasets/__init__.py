"""The data sets, one file each. Each file has

    LABEL_SET                       the name of its label set
    open_split(split, data, size)   -> a Split

Layouts on disk are documented in each file. Knows nothing of networks or training.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from seg_node import plugins


class Sample(NamedTuple):
    image: np.ndarray  # uint8 (H, W, 3) BGR
    label: np.ndarray  # uint8 (H, W), class ids, 255 unlabelled
    name: str


class Split(Protocol):
    """A sequence of samples. Where its files allow it, a split has besides

    label(index) -> Sample       the same without reading the image, which is then empty: uint8 (0, 0, 3)
    instances(index)             uint16 (H, W) raw label id * 1000 + number where an object is told from others of its
                                 class, as Cityscapes has it; None where this sample has none
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class DatasetError(ValueError):
    """Data that is not what the data set's layout says; the message names the first bad file."""


def read_image(path: Path) -> np.ndarray:
    """Return an image file as uint8 (H, W, 3) BGR. Raises DatasetError that names it."""
    return _read(path, cv2.IMREAD_COLOR)


def read_label(path: Path, image: np.ndarray) -> np.ndarray:
    """Return ``image``'s label file as uint8 (H, W), ids as in the file. Raises DatasetError that names it."""
    raw = _read(path, cv2.IMREAD_UNCHANGED)
    if raw.shape != image.shape[:2] or raw.dtype != np.uint8:
        raise DatasetError(
            f"{path}: is {raw.dtype} {raw.shape}, its image {image.shape[:2]}; "
            "a label is one channel of its image's size, 8 bits deep"
        )
    return raw


def read_ids(path: Path, dtype: type[np.generic]) -> np.ndarray:
    """Return a file of ids, one channel of ``dtype`` (H, W), as in the file. Raises DatasetError that names it."""
    raw = _read(path, cv2.IMREAD_UNCHANGED)
    if raw.ndim != 2 or raw.dtype != dtype:
        raise DatasetError(f"{path}: is {raw.dtype} {raw.shape}; must be one channel of {np.dtype(dtype)}")
    return raw


def _read(path: Path, mode: int) -> np.ndarray:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise DatasetError(f"{path}: is missing or no image that OpenCV reads")
    return np.asarray(image)


def names() -> list[str]:
    return plugins.names(__name__)


def label_set_of(name: str) -> str:
    """Return the name of a data set's label set. Raises ValueError that lists the data sets."""
    label_set: str = plugins.load(__name__, name).LABEL_SET
    return label_set


def open_split(name: str, split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> Split:
    """Open a split of a data set.

    ``data``: its folder (None for one that renders itself); ``size``: (height, width) to render at, or to
    expect. Raises ValueError for an unknown name or split, DatasetError naming the first bad file.
    """
    opened: Split = plugins.load(__name__, name).open_split(split, data=data, size=size)
    return opened
