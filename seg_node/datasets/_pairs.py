"""Samples that are pairs of files: an image, and a label image of the same size."""

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seg_node.datasets import IMAGES, DatasetError, Sample, read_image


class Pair(NamedTuple):
    """One sample's files; while a split is only found, one of them may be missing."""

    name: str
    image: Path
    label: Path


ReadLabel = Callable[[Path, np.ndarray], np.ndarray]  # its file and its image -> class ids, uint8 (H, W)


class PairSplit:
    """One split; images as they are on disk."""

    def __init__(self, pairs: Iterable[Pair], read: ReadLabel, empty: str, strays: Iterable[DatasetError] = ()) -> None:
        """``empty``: what to say where there are no pairs: the folder, and the layout that it should have.

        ``strays``: what is wrong with images and folders that lie there and are no sample.
        """
        self.pairs = list(pairs)
        self.empty = empty
        self.strays = list(strays)
        self._read = read

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = read_image(pair.image)
        return Sample(image, self._read(pair.label, image), pair.name)

    def label(self, index: int) -> Sample:
        """Return the sample without reading its image, which is black."""
        pair = self.pairs[index]
        black = np.broadcast_to(np.uint8(0), (*_size_of_png(pair.label), 3))
        return Sample(black, self._read(pair.label, black), pair.name)

    def complete(self) -> "PairSplit":
        """Leave out labels that have no image, and return the split.

        Raises DatasetError where there is no image, one without a label, or one that is no sample.
        """
        if self.strays:
            raise self.strays[0]
        self.pairs = [pair for pair in self.pairs if pair.image.is_file()]
        if not self.pairs:
            raise DatasetError(self.empty)
        for pair in self.pairs:
            if not pair.label.is_file():
                raise DatasetError(f"{pair.label}: is missing; every image needs its label", "missing")
        return self

    def fingerprint(self, times: bool = False) -> str:
        """Return a hash of the files' names and sizes, and of the times of their last change if ``times``."""
        known = hashlib.sha256()
        for pair in self.pairs:
            for path in (pair.image, pair.label):
                stat = path.stat()
                known.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns if times else ''}\n".encode())
        return known.hexdigest()


def _size_of_png(path: Path) -> tuple[int, int]:
    """Return (H, W) as the file's head says; (0, 0) for no PNG, which is reported by who reads it."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(24)
        if head.startswith(b"\x89PNG") and len(head) == 24:
            width, height = struct.unpack(">II", head[16:])
            return height, width
    return 0, 0


def other_images(folder: Path, pattern: str, taken: Callable[[str], object]) -> list[DatasetError]:
    """Return what is wrong with images in ``folder`` that match ``pattern``, and whose names are not ``taken``."""
    return [
        DatasetError(f"{path}: is no sample: its name is not as the data set's are; rename it, or move it elsewhere")
        for path in sorted(folder.glob(pattern))
        if path.suffix.lower() in IMAGES and not path.name.startswith(".") and not taken(path.name)
    ]


def choose(split: str, splits: tuple[str, ...], title: str, data: Path | None, layout: str) -> Path:
    """Return the folder ``data``. Raises ValueError for another split than ``splits``, or where there is no folder."""
    if split not in splits:
        raise ValueError(f"{title} has no split '{split}': choose from {', '.join(splits)}")
    if data is None:
        raise ValueError(f"{title} needs its folder: --data DIR, with {layout} in it")
    if not Path(data).is_dir():
        raise DatasetError(f"{data}: is no folder; {title}'s has {layout} in it")
    return Path(data)
