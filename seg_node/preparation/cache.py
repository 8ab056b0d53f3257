"""Samples of a split kept decoded and resized on disk, so that training does not wait for PNG decoders.

A cache is a folder of four flat files that all loader processes map into memory: images, labels, names and checksums.
A sample is read from the split once and then kept; the operating system keeps as many in memory as fit, once for all
processes. Where the data changes, its fingerprint does, and the cache is made anew. A sample counts as kept only if its
checksum fits, which each process looks at once: a run that is killed, or a machine that loses power, costs no more than
the samples that were not written. Knows nothing of networks.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from seg_node import datasets
from seg_node.datasets import Sample, Split

Fit = Callable[[np.ndarray, np.ndarray, tuple[int, int]], tuple[np.ndarray, np.ndarray]]
_NAME_BYTES = 128
_ABOUT = "about.json"
_SPARE = 1 << 28  # bytes of a disk that a cache leaves free


class CachedSplit:
    """A split whose samples all have one size; a sample is a copy, which may be changed."""

    def __init__(self, split: Split, folder: Path, size: tuple[int, int], fit: Fit) -> None:
        """``folder``: as ``open_cache`` makes it."""
        self._split, self._folder, self._size, self._fit = split, folder, size, fit
        count = len(split)
        self._images = np.memmap(folder / "images", np.uint8, "r+", shape=(count, *size, 3))
        self._labels = np.memmap(folder / "labels", np.uint8, "r+", shape=(count, *size))
        self._names = np.memmap(folder / "names", f"S{_NAME_BYTES}", "r+", shape=(count,))
        self._sums = np.memmap(folder / "sums", np.uint32, "r+", shape=(count,))
        self._known = np.zeros(count, bool)  # to be whole, by this process

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        if not self._known[index] and not self._is_whole(index):
            self._keep(index)
        self._known[index] = True
        name = bytes(self._names[index]).decode("utf-8", "ignore")
        return Sample(np.array(self._images[index]), np.array(self._labels[index]), name)

    def fingerprint(self, times: bool = False) -> str:
        return datasets.fingerprint(self._split, times)

    @property
    def kept(self) -> int:
        """How many samples are in the cache."""
        return int(np.count_nonzero(self._sums))

    def _is_whole(self, index: int) -> bool:
        return self._sums[index] != 0 and self._sums[index] == self._sum(index)

    def _sum(self, index: int) -> int:
        """Return the checksum of what lies in the files, never 0."""
        known = zlib.crc32(self._labels[index], zlib.crc32(self._images[index]))
        return zlib.crc32(bytes(self._names[index]), known) or 1

    def _keep(self, index: int) -> None:
        image, label, name = self._split[index]
        self._images[index], self._labels[index] = self._fit(image, label, self._size)
        self._names[index] = name.encode()[:_NAME_BYTES]
        self._sums[index] = self._sum(index)

    def __getstate__(self) -> tuple[Split, Path, tuple[int, int], Fit]:
        return self._split, self._folder, self._size, self._fit

    def __setstate__(self, state: tuple[Split, Path, tuple[int, int], Fit]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a process that is started anew maps the files itself


def bytes_needed(split: Split, size: tuple[int, int]) -> int:
    """Return what a cache of ``split`` takes on disk once it is full."""
    return len(split) * (4 * size[0] * size[1] + _NAME_BYTES + 4)


def open_cache(split: Split, name: str, fingerprint: str, folder: Path, size: tuple[int, int], fit: Fit) -> CachedSplit:
    """Open the cache of ``split`` in ``folder``, made where it is not there; another one of its ``name`` is removed.

    ``name``: which split of which data, one for each that shares the folder; ``fingerprint``: changes with the data
    (``datasets.fingerprint(split, times=True)``); ``size``: (height, width) of what is kept; ``fit``: brings an image
    and a label to it. Raises OSError that says how much room is missing on the disk.
    """
    about = {"name": name, "fingerprint": fingerprint, "size": list(size), "samples": len(split), "format": 1}
    known = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    prefix = f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{size[0]}x{size[1]}-"
    place = folder / (prefix + known)
    if not place.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(prefix + "*"):  # processes that still use one keep its files until they end
            shutil.rmtree(old, ignore_errors=True)
        _make(place, split, size, about)
    _check_room(place, bytes_needed(split, size))
    return CachedSplit(split, place, size, fit)


def _make(place: Path, split: Split, size: tuple[int, int], about: dict) -> None:
    """Make the folder at once: nobody sees half of one, and of several processes one wins."""
    count, pixels = len(split), size[0] * size[1]
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=place.parent))
    lengths = {"images": 3 * pixels, "labels": pixels, "names": _NAME_BYTES, "sums": 4}
    try:
        for file, each in lengths.items():
            with open(made / file, "wb") as out:
                out.truncate(max(count * each, 1))  # no room is taken before a sample is written
        (made / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        made.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(made, place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if not place.is_dir():
        raise OSError(f"{place}: cannot be made; choose another folder for the cache")


def _check_room(place: Path, needed: int) -> None:
    """Raise OSError where the rest of a cache has no room: a mapped file that hits a full disk kills the process."""
    taken = sum(512 * path.stat().st_blocks for path in place.iterdir() if path.name != _ABOUT)
    missing = needed - taken - (shutil.disk_usage(place).free - _SPARE)
    if missing > 0:
        raise OSError(
            f"{place}: the cache needs {(needed - taken) / 1e9:.1f} GB more and leaves {_SPARE / 1e9:.1f} GB of "
            f"the disk free: {missing / 1e9:.1f} GB are missing; free them, or choose another --cache"
        )
