"""Reads every sample of a data set, in parallel processes, and says what is wrong with which file.

Knows nothing of networks; what a data set's files should hold stands in ``datasets/``.
"""

import multiprocessing
import os
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.datasets import DatasetError, Split, find_split, label_set_of, published_count
from seg_node.datasets import classifiers as classifying
from seg_node.label_set import UNLABELLED, load_label_set

Progress = Callable[[int, int], None]  # samples done, of how many
_CHUNK = 16  # samples that a process takes at a time


class Problem(NamedTuple):
    """``kind``: missing, unreadable, size, ids, layout, empty or crash."""

    file: str
    kind: str
    message: str


@dataclass
class SplitReport:
    """What a split holds. Counts are of pixels; of images where an image has one class."""

    split: str
    names: tuple[str, ...]  # of the classes
    palette: np.ndarray  # uint8 (classes, 3) BGR
    samples: int = 0
    published: int | None = None  # how many samples the published split has, where that is known
    problems: list[Problem] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (classes,)
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (classes,): in how many samples it is
    unlabelled: int = 0
    sizes: Counter[str] = field(default_factory=Counter)  # "HEIGHTxWIDTH"

    @property
    def shares(self) -> np.ndarray:
        """float (classes,): of all that has a class, 0 to 1."""
        return np.asarray(self.counts / max(int(self.counts.sum()), 1))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        everything = max(int(self.counts.sum()) + self.unlabelled, 1)
        classes = {
            name: {"share": round(float(share), 8), "images": int(images)}
            for name, share, images in zip(self.names, self.shares, self.images, strict=True)
        }
        return {
            "split": self.split,
            "samples": self.samples,
            "published": self.published,
            "bad": len(self.problems),
            "problems": [problem._asdict() for problem in self.problems],
            "sizes": dict(self.sizes.most_common()),
            "unlabelled": round(self.unlabelled / everything, 8),
            "classes": classes,
        }


class _Found(NamedTuple):
    """What a process found in some samples."""

    indices: tuple[int, ...]
    problems: list[tuple[int, Problem]]
    counts: np.ndarray  # int64 (classes + 1,), the last unlabelled
    images: np.ndarray
    sizes: Counter[str]


def check_split(
    name: str, split: str, data: Path | None, workers: int = 0, progress: Progress = lambda done, total: None
) -> SplitReport:
    """Read every sample of a split. ``workers``: processes; 0: as many as cores, 1: this one reads.

    Raises ValueError for an unknown data set or split, DatasetError where there is nothing to look at.
    """
    opened = find_split(name, split, data)
    names, palette = _classes(name, opened, data)
    report = SplitReport(split, names, palette, len(opened), published_count(name, split))
    total = np.zeros((2, len(names) + 1), np.int64)
    strays: list[DatasetError] = getattr(opened, "strays", [])
    problems = [(-1, _problem(stray)) for stray in strays]
    if not len(opened) and not strays:
        problems.append((0, Problem(str(data), "empty", getattr(opened, "empty", f"{data}: split {split} is empty"))))
    done = 0
    for found in _everything(opened, (name, split, data, len(names)), workers or len(os.sched_getaffinity(0))):
        problems += found.problems
        total += found.counts, found.images
        report.sizes += found.sizes
        done += len(found.indices)
        progress(done, len(opened))
    report.counts, report.images = total[:, :-1]
    report.unlabelled = int(total[0, -1])
    report.problems = [problem for _, problem in sorted(problems)]
    return report


def _classes(name: str, opened: Split, data: Path | None) -> tuple[tuple[str, ...], np.ndarray]:
    if name in classifying():
        classes = tuple(getattr(opened, "classes", ()))
        return classes, np.full((len(classes), 3), 160, np.uint8)
    label_set = load_label_set(label_set_of(name, data))
    return label_set.names, label_set.palette[: label_set.class_count]


_split: Split  # of a process
_class_count: int


def _set_up(name: str, split: str, data: Path | None, classes: int) -> None:
    global _split, _class_count
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
        cv2.setNumThreads(1)
    _split, _class_count = find_split(name, split, data), classes


def _everything(opened: Split, how: tuple[str, str, Path | None, int], workers: int) -> Any:
    """Give what was found, in any order; a sample that ends its process is found by one process that goes in order."""
    size = max(1, min(_CHUNK, len(opened) // (4 * workers)))
    left = [tuple(range(i, min(i + size, len(opened)))) for i in range(0, len(opened), size)]
    if workers == 1:
        _set_up(*how)
        yield from map(_look, left)
        return
    count = workers
    while left:
        left = yield from _in_pool(left, how, count)
        if left and count == 1:  # it ended in the first that is left
            first = left.pop(0)
            if len(first) > 1:
                left = [(index,) for index in first] + left
                continue
            yield _crash(opened, first[0], how[3])
        count = 1 if left and count > 1 else workers


def _crash(opened: Split, index: int, classes: int) -> _Found:
    file = _files(opened, index)[0] if _files(opened, index) else f"sample {index}"
    text = f"{file}: reading it, or its label, ended the process; it is damaged, or takes more memory than is here"
    nothing = np.zeros(classes + 1, np.int64)
    return _Found((index,), [(index, Problem(file, "crash", text))], nothing, nothing, Counter())


def _in_pool(chunks: Sequence[tuple[int, ...]], how: tuple[str, str, Path | None, int], workers: int) -> Any:
    """Give what processes found; return the chunks of a pool that broke."""
    left = set(chunks)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _set_up, how)
    try:
        for future in as_completed([pool.submit(_look, chunk) for chunk in chunks]):
            try:
                found = future.result()
            except BrokenProcessPool:
                continue
            left.discard(found.indices)
            yield found
    finally:
        pool.shutdown(cancel_futures=True)
    return sorted(left)


def _look(indices: tuple[int, ...]) -> _Found:
    found = _Found(indices, [], np.zeros(_class_count + 1, np.int64), np.zeros(_class_count + 1, np.int64), Counter())
    for index in indices:
        problems = _look_at(index, found)
        found.problems.extend((index, problem) for problem in problems)
    return found


def _look_at(index: int, found: _Found) -> list[Problem]:
    """Read a sample, and count it where all is well."""
    problems = [problem for file in _files(_split, index) if (problem := _damage(Path(file)))]
    if problems:
        return problems
    try:
        image, label, _ = _split[index]
    except DatasetError as error:
        return [_problem(error)]
    found.sizes[f"{image.shape[0]}x{image.shape[1]}"] += 1
    ids = np.bincount(label.ravel(), minlength=max(256, _class_count))
    here = np.append(ids[:_class_count], ids[UNLABELLED] if label.ndim else 0)
    found.counts[:] += here
    found.images[:] += here > 0
    return []


def _problem(error: DatasetError) -> Problem:
    return Problem(str(error).partition(": ")[0], error.kind, str(error))


def _files(split: Any, index: int) -> list[str]:
    if hasattr(split, "pairs"):
        return [str(split.pairs[index].image), str(split.pairs[index].label)]
    if hasattr(split, "files"):
        return [str(split.files[index][0])]
    return []


def _damage(path: Path) -> Problem | None:
    """Find a file that is missing, or a PNG whose checksums are wrong, which a decoder may not mind."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Problem(str(path), "missing", f"{path}: is missing; an image and its label come in pairs")
    except OSError as error:
        return Problem(str(path), "unreadable", f"{path}: cannot be read: {error.strerror or error}")
    if data[:4] != b"\x89PNG":
        return None
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return Problem(
                str(path), "unreadable", f"{path}: is damaged at byte {at}: a checksum is wrong; copy it anew"
            )
        if data[at + 4 : at + 8] == b"IEND":
            return None
        at = end + 4
    return Problem(str(path), "unreadable", f"{path}: is cut short, {len(data)} bytes of it are there; copy it anew")
