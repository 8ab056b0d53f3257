"""Ground truth of a recorded drive: label images of a topic, or PNGs of a folder, and which belongs to which frame.

Ids: a topic holds class ids, as the node publishes them; files hold what the data set's files hold (the label set's
``raw_ids``). 255, the id after the last class (CamVid's 11) and a class that means void are unlabelled.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, LabelSet
from seg_node.pipeline.messages import to_labels
from seg_node.sources import SourceError, by_number
from seg_node.sources.bag import Bag, Topic
from seg_node.sources.cdr import stamp_of

_HELD = 256  # label messages kept for images that come later than their labels


class TruthError(ValueError):
    """A label image that cannot be used; the message says why."""


class TopicTruth:
    """Label images of a topic, matched by equal stamp, otherwise by the nearest within half a frame."""

    def __init__(self, bag: Bag, topic: Topic, label_set: LabelSet, gap: int, images: int) -> None:
        """``gap``: ns from a frame to the next; ``images``: messages of the image topic."""
        self._bag, self._topic, self._gap = bag, topic, gap
        self._ids = class_ids(label_set)
        self._label_set = label_set
        stamps = np.array([_stamp(message) for _, message in bag.messages(topic)], np.int64)
        self._by_order = len(stamps) > 1 and len(np.unique(stamps)) == 1 and len(stamps) == images
        self._nearest = Nearest(stamps)
        self._reading: Iterator[tuple[int, bytes]] = iter(())
        self._held: dict[int, bytes] = {}
        self._next = len(stamps) + 1  # nothing is being read yet
        how = "in order: all its stamps are equal" if self._by_order else "by stamp"
        self.note = f"ground truth from topic {topic}, {how}, ids of label set {label_set.name}"

    def of(self, index: int, stamp: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return uint8 (H, W) class ids of the frame, or None where it has none. Raises TruthError."""
        place = index if self._by_order else self._nearest.within(stamp, self._gap // 2)
        if place is None:
            return None
        where = f"label {place} of {self._topic.name}"
        message = self._message(place)
        if message is None:
            raise TruthError(f"{where} can no longer be read")
        try:
            image = self._decode(message)
        except Exception as error:  # damaged bytes fail in any layer
            raise TruthError(f"{where} cannot be read: {error}") from error
        return _checked(image, shape, self._ids, self._label_set, where)

    def _message(self, place: int) -> bytes | None:
        """Return the message at a place; labels and images may be recorded in any order."""
        if place < self._next and place not in self._held:
            self._reading, self._next = self._bag.messages(self._topic), 0
            self._held.clear()
        while self._next <= place:
            found = next(self._reading, None)
            if found is None:
                return None
            self._held[self._next] = found[1]
            self._held.pop(self._next - _HELD, None)
            self._next += 1
        return self._held[place]

    def _decode(self, message: bytes) -> np.ndarray:
        """Return the message's image as it is, uint8 (H, W) where all is well."""
        from seg_node.replay.drive import typestore

        msg = typestore().deserialize_cdr(message, self._topic.type)
        return to_labels(msg, self._topic.compressed)


class FolderTruth:
    """PNGs of a folder: by the stamp in their names (ns, or seconds_nanoseconds), or in the order of the names."""

    def __init__(self, folder: Path, label_set: LabelSet, gap: int, first: int, images: int) -> None:
        """``gap``: ns from a frame to the next; ``first``: stamp of the first; ``images``: how many messages.

        Raises SourceError where the names hold no stamps of the drive, and there are not as many as images.
        """
        self._files = sorted((p for p in folder.glob("*") if p.suffix.lower() == ".png"), key=by_number)
        if not self._files:
            raise SourceError(f"{folder}: holds no PNG files; ground truth is one PNG of class ids a frame")
        self._gap, self._label_set = gap, label_set
        self._ids = raw_ids(label_set)
        stamps = [stamp_in(path.stem) for path in self._files]
        self._nearest: Nearest | None = None
        if _are_stamps(stamps, gap, first, images):
            self._nearest = Nearest(np.array([-1 if s is None else s for s in stamps], np.int64))
        elif len(self._files) != images:
            raise SourceError(
                f"{folder}: {len(self._files)} PNG files for {images} images. Name them by their image's stamp "
                "(1700000000123456789.png or 1700000000_123456789.png), or give one for each image"
            )
        how = "by the stamp in their names" if self._nearest else "in the order of their names"
        self.note = f"ground truth from {folder}, {len(self._files)} files, {how}, ids of label set {label_set.name}"

    def of(self, index: int, stamp: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return uint8 (H, W) class ids of the frame, or None where it has none. Raises TruthError."""
        place = self._nearest.within(stamp, self._gap // 2) if self._nearest else index
        if place is None or place >= len(self._files):
            return None
        path = self._files[place]
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise TruthError(f"{path}: is no image that OpenCV reads")
        return _checked(image, shape, self._ids, self._label_set, str(path))


class Nearest:
    """Finds the place of a stamp among many."""

    def __init__(self, stamps: np.ndarray) -> None:
        self._places = np.argsort(stamps, kind="stable")
        self._sorted = stamps[self._places]

    def within(self, stamp: int, reach: int) -> int | None:
        """Return the place of the nearest stamp that is at most ``reach`` ns away, or None."""
        at = int(np.searchsorted(self._sorted, stamp))
        near = [i for i in (at, at - 1) if 0 <= i < len(self._sorted)]
        if not near:
            return None
        best = min(near, key=lambda i: abs(int(self._sorted[i]) - stamp))
        return int(self._places[best]) if abs(int(self._sorted[best]) - stamp) <= reach else None


def stamp_in(name: str) -> int | None:
    """Return the stamp (ns) that a file's name holds: nanoseconds, or seconds and nanoseconds; None for neither."""
    numbers = re.findall(r"\d+", name)
    long = [n for n in numbers if len(n) >= 16]
    if long:
        return int(long[0])
    if len(numbers) == 2:
        return int(numbers[0]) * 10**9 + int(numbers[1])
    return int(numbers[0]) if len(numbers) == 1 else None


def _are_stamps(stamps: list[int | None], gap: int, first: int, images: int) -> bool:
    """Tell stamps of this drive from other numbers: most lie in its time, and are a frame apart."""
    inside = sorted(s for s in stamps if s is not None and first - gap <= s <= first + 2 * gap * (images + 1))
    if 2 * len(inside) < len(stamps):
        return False
    return len(inside) == 1 or float(np.median(np.diff(inside))) > gap / 4


def class_ids(label_set: LabelSet) -> np.ndarray:
    """Return int16 (256,): class id -> class id or 255; -1 for what is neither."""
    table = np.full(256, -1, np.int16)
    table[: label_set.class_count] = np.arange(label_set.class_count)
    table[[UNLABELLED, label_set.class_count]] = UNLABELLED
    if label_set.void is not None:
        table[label_set.void] = UNLABELLED
    return table


def raw_ids(label_set: LabelSet) -> np.ndarray:
    """Return int16 (256,): id in the data set's files -> class id or 255; -1 for what is neither."""
    classes = np.arange(label_set.class_count)
    if np.array_equal(label_set.raw_ids[: label_set.class_count], classes):
        return class_ids(label_set)
    table = label_set.raw_ids.astype(np.int16)
    if label_set.void is not None:
        table[table == label_set.void] = UNLABELLED
    return table


def _checked(
    image: np.ndarray, shape: tuple[int, ...], table: np.ndarray, label_set: LabelSet, where: str
) -> np.ndarray:
    if image.ndim != 2 or image.dtype != np.uint8:
        raise TruthError(f"{where} is {image.dtype} {image.shape}; a label is one channel of class ids, 8 bits deep")
    if image.shape != tuple(shape):
        raise TruthError(f"{where} is {image.shape[1]}x{image.shape[0]}, its image {shape[1]}x{shape[0]}")
    wrong = [int(i) for i in np.flatnonzero(np.bincount(image.ravel(), minlength=256)) if table[i] < 0]
    if wrong:
        raise TruthError(f"{where} holds ids {wrong}, which are not in label set {label_set.name}")
    return np.asarray(cv2.LUT(image, table.astype(np.uint8)))


def _stamp(message: bytes) -> int:
    return stamp_of(message) if len(message) >= 12 else -1
