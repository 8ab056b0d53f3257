"""Samples that are pairs of files: an image, and a label image of the same size."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seg_node.datasets import DatasetError, Sample, read_image


class Pair(NamedTuple):
    """One sample's files; while a split is only found, one of them may be missing."""

    name: str
    image: Path
    label: Path


ReadLabel = Callable[[Path, np.ndarray], np.ndarray]  # its file and its image -> class ids, uint8 (H, W)


class PairSplit:
    """One split; images as they are on disk."""

    def __init__(self, pairs: Iterable[Pair], read: ReadLabel, empty: str) -> None:
        """``empty``: what to say where there are no pairs: the folder, and the layout that it should have."""
        self.pairs = list(pairs)
        self.empty = empty
        self._read = read

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = read_image(pair.image)
        return Sample(image, self._read(pair.label, image), pair.name)

    def complete(self) -> "PairSplit":
        """Leave out labels that have no image, and return the split.

        Raises DatasetError where there is no image, or one without a label.
        """
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


def choose(split: str, splits: tuple[str, ...], title: str, data: Path | None, layout: str) -> Path:
    """Return the folder ``data``. Raises ValueError for another split than ``splits``, or where there is no folder."""
    if split not in splits:
        raise ValueError(f"{title} has no split '{split}': choose from {', '.join(splits)}")
    if data is None:
        raise ValueError(f"{title} needs its folder: --data DIR, with {layout} in it")
    if not Path(data).is_dir():
        raise DatasetError(f"{data}: is no folder; {title}'s has {layout} in it")
    return Path(data)
