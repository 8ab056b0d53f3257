"""The data sets, one file each. Each file has

    LABEL_SET                       the name of its label set
    SPLITS                          the names of its splits
    open_split(split, data, size)   -> a Split
    find(split, data)               -> the same before it is known to be whole, where a sample is a pair of files
    COUNTS                          how many samples the published splits have, where it is known

Layouts on disk are documented in each file. Knows nothing of networks or training.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from seg_node import plugins

IMAGES = frozenset((".jpeg", ".jpg", ".png", ".bmp", ".webp"))  # how their files' names end
_CLASSIFIERS = ("imagenet",)  # one class an image, no label image


class Sample(NamedTuple):
    image: np.ndarray  # uint8 (H, W, 3) BGR
    label: np.ndarray  # uint8 (H, W), class ids, 255 unlabelled; where an image has one class: int64 ()
    name: str


class Split(Protocol):
    """A sequence of samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class DatasetError(ValueError):
    """Data that is not what the data set's layout says; the message names the first bad file.

    ``kind``: what is wrong, in a word: layout, missing, unreadable, size or ids.
    """

    def __init__(self, message: str, kind: str = "layout") -> None:
        super().__init__(message)
        self.kind = kind


def read_image(path: Path) -> np.ndarray:
    """Return an image file as uint8 (H, W, 3) BGR. Raises DatasetError that names it."""
    return read_file(path, cv2.IMREAD_COLOR)


def read_label(path: Path, image: np.ndarray, deep: bool = False) -> np.ndarray:
    """Return ``image``'s label file as uint8 (H, W), ids as in the file; ``deep``: uint16 (H, W) may be, too.

    Raises DatasetError that names it.
    """
    raw = read_file(path, cv2.IMREAD_UNCHANGED)
    fits = raw.dtype == np.uint8 or (deep and raw.dtype == np.uint16)
    if raw.shape != image.shape[:2] or not fits:
        raise DatasetError(
            f"{path}: is {raw.dtype} {raw.shape}, its image {image.shape[:2]}; "
            f"a label is one channel of its image's size, 8 {'or 16 ' if deep else ''}bits deep",
            "size",
        )
    return raw


def to_classes(raw: np.ndarray, table: np.ndarray, path: Path, known: str) -> np.ndarray:
    """Turn ids of a file, uint8 or uint16 (H, W), into class ids, uint8 (H, W).

    ``table``: int16 (256,) or longer, id in the file -> class id or 255, -1 for what must not be there; ``known``:
    which ids may be, for the message. Raises DatasetError that names the file and the ids.
    """
    if raw.dtype == np.uint8:
        wrong = np.asarray(cv2.LUT(raw, (table[:256] < 0).astype(np.uint8)))
        if not cv2.countNonZero(wrong):
            return np.asarray(cv2.LUT(raw, table[:256].astype(np.uint8)))
    else:
        classes = table[np.minimum(raw, len(table) - 1)]
        wrong = (classes < 0) | (raw >= len(table))
        if not wrong.any():
            return classes.astype(np.uint8)
    ids = np.unique(raw[wrong > 0])
    shown = ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
    raise DatasetError(f"{path}: holds ids [{shown}]; {known}", "ids")


def read_file(path: Path, mode: int) -> np.ndarray:
    """Return what ``cv2.imread`` does. Raises DatasetError that names a file that is missing, damaged or cut short."""
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: is missing", "missing") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}", "unreadable") from error
    if _is_cut_short(data):  # OpenCV would give its upper part
        raise DatasetError(f"{path}: is cut short, {data.size} bytes of it are there; copy it anew", "unreadable")
    try:
        image = cv2.imdecode(data, mode) if data.size else None
    except cv2.error:  # absurd dimensions
        image = None
    if image is None:
        raise DatasetError(f"{path}: is no image that OpenCV reads", "unreadable")
    return np.asarray(image)


def _is_cut_short(data: np.ndarray) -> bool:
    """Tell a PNG or JPEG, uint8 (N,), without its end mark."""
    start = data[:2].tobytes()
    if start == b"\x89P":
        return b"IEND" not in data[-4096:].tobytes()
    if start != b"\xff\xd8":
        return False
    at, whole = 2, data.tobytes()
    while (
        whole[at : at + 1] == b"\xff" and whole[at + 1 : at + 2] != b"\xda"
    ):  # header: may hold a thumbnail with an end
        padded = whole[at + 1 : at + 2] == b"\xff"
        at += 1 if padded else 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
    return b"\xff\xd9" not in whole[at:]


def names() -> list[str]:
    """Return the data sets with a label image for each image."""
    return [name for name in plugins.names(__name__) if name not in _CLASSIFIERS]


def classifiers() -> list[str]:
    """Return the data sets with one class for each image."""
    return list(_CLASSIFIERS)


def splits_of(name: str, data: Path | None = None) -> tuple[str, ...]:
    """Return the names of a data set's splits; a bag's are said in ``data``.

    Raises ValueError that lists the data sets.
    """
    module = plugins.load(__name__, name)
    return tuple(module.splits_in(data) if hasattr(module, "splits_in") else module.SPLITS)


def may_open(name: str, data: Path | None = None) -> tuple[str, ...]:
    """Return the splits that ``open_split`` takes: those of ``splits_of``, and parts of them that have a name."""
    module = plugins.load(__name__, name)
    return tuple(module.may_open(data)) if hasattr(module, "may_open") else splits_of(name, data)


def published_count(name: str, split: str) -> int | None:
    """Return how many samples the data set's published split has, None where that is not known."""
    count: int | None = getattr(plugins.load(__name__, name), "COUNTS", {}).get(split)
    return count


def label_set_of(name: str, data: Path | None = None) -> str:
    """Return the name of a data set's label set, or the path of its file.

    ``data``: its folder, for a data set whose label set is said there (a bag's). Raises ValueError that lists the data
    sets, or for one without label images.
    """
    module = plugins.load(__name__, name)
    if hasattr(module, "label_set_in"):
        return str(module.label_set_in(data))
    if name in _CLASSIFIERS:
        raise ValueError(f"data set {name} has a class for each image and no label images; choose from {names()}")
    return str(module.LABEL_SET)


def open_split(name: str, split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> Split:
    """Open a split of a data set.

    ``data``: its folder (None for one that renders itself); ``size``: (height, width) to render at, or to
    expect. Raises ValueError for an unknown name or split, DatasetError naming the first bad file.
    """
    opened: Split = plugins.load(__name__, name).open_split(split, data=data, size=size)
    return opened


def find_split(name: str, split: str, data: Path | None = None) -> Split:
    """As ``open_split``, but files may be missing yet, all of them even: for who looks for what is wrong.

    A split of pairs of files has ``pairs``, one that may be empty says so in ``empty``, and images and folders that are
    no sample are in ``strays``.
    """
    module = plugins.load(__name__, name)
    found: Split = module.find(split, data) if hasattr(module, "find") else module.open_split(split, data=data)
    return found


def fingerprint(split: Split, times: bool = False) -> str:
    """Return a hash that changes with the data: file names and sizes; with ``times``, also when files were changed.

    Raises ValueError for a split that has none.
    """
    if not hasattr(split, "fingerprint"):
        raise ValueError(f"{type(split).__name__} says no fingerprint of its data")
    known: str = split.fingerprint(times)
    return known
