"""A recorded drive: the frames of one image topic of a bag, in order, each with its ground truth where there is one.

A message that cannot be read is told in ``broken``, and the next one comes. Reads bags through ``rosbags``, no ROS.
"""

import itertools
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from seg_node.label_set import LabelSet
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.messages import MessageError, compressed_to_frame, to_frame
from seg_node.pipeline.serialized import read_compressed, read_image
from seg_node.replay.truth import FolderTruth, TopicTruth, TruthError
from seg_node.sources.bag import Bag, Topic
from seg_node.sources.cdr import stamp_of

_LONGEST = 300  # letters of an error's text


class Picture(NamedTuple):
    """One frame of a drive."""

    index: int  # type: ignore[assignment]  # place among the image topic's messages, from 0; broken ones count
    stamp: int  # of the message's header, ns
    logged: int  # when it was recorded, ns
    frame: Frame
    truth: np.ndarray | None  # uint8 (H, W), class ids of ``Drive.truth_set``, 255 unlabelled
    milliseconds: float = 0.0  # to decode the message


class Drive:
    """An image topic of a bag. A context manager."""

    def __init__(
        self,
        path: Path,
        image: str | None = None,
        label: str | None = None,
        truth: Path | None = None,
        label_set: LabelSet | None = None,
    ) -> None:
        """Open the bag's topic ``image``, or the one that looks most like a camera.

        ``label``: a topic with ground truth; ``truth``: or a folder of PNGs with it; ``label_set``: what their ids
        mean. Raises SourceError for a bag, topic or folder that is not there or does not fit, ValueError where both
        are given, or no ``label_set``.
        """
        if label and truth:
            raise ValueError("ground truth comes from a topic or from a folder: give one of them")
        if (label or truth) and label_set is None:
            raise ValueError("ground truth needs a label set, which says what its ids mean")
        self.path = Path(path)
        self.bag = Bag(self.path)
        self._closing: list[Any] = [self.bag]
        try:
            self._chosen = self.bag.choose(image, exclude=label)
            self.notes = self.bag.notes
            self._set_up(label, truth, label_set)
        except BaseException:
            self.close()
            raise

    def _set_up(self, label: str | None, truth: Path | None, label_set: LabelSet | None) -> None:
        chosen = self._chosen
        self.topic, self.compressed, self.length = chosen.name, chosen.compressed, chosen.messages
        self.type, self.encoding = chosen.type, chosen.format
        self.title = self.path.name
        self.broken: list[str] = []  # one text a message that could not be read
        self.seen = 0  # messages so far, broken ones too
        self.truth_set = label_set if label or truth else None
        self.notes.append(f"images from {chosen}")
        self.rate, gap, first = self._pace()
        self._truth: TopicTruth | FolderTruth | None = None
        if label:
            assert label_set is not None
            labels = Bag(self.path)  # a reader of its own: two places in one file at the same time
            self._closing.append(labels)
            self._truth = TopicTruth(labels, labels.choose(label), label_set, gap, chosen.messages)
        elif truth:
            assert label_set is not None
            self._truth = FolderTruth(Path(truth), label_set, gap, first, chosen.messages)
        if self._truth is not None:
            self.notes.append(self._truth.note)

    def _pace(self) -> tuple[float, int, int]:
        """Return frames per second, ns from a frame to the next, and the first stamp."""
        stamps = []
        for _, message in itertools.islice(self.bag.messages(self._chosen), 20):
            if len(message) >= 12:
                stamps.append(stamp_of(message))
        gaps = [b - a for a, b in itertools.pairwise(stamps) if b > a]
        rate = self.bag.rate(self._chosen) if not gaps else 1e9 / median(gaps)
        return rate, int(1e9 / rate), stamps[0] if stamps else 0

    def pictures(self) -> Iterator[Picture]:
        """Give every frame once, from the first; each call starts anew."""
        self.broken.clear()
        self.seen = 0
        for index, (logged, message) in enumerate(self.bag.messages(self._chosen)):
            self.seen += 1
            start = time.perf_counter()
            try:
                stamp, frame = decode(message, self._chosen)
            except Exception as error:  # damaged bytes fail in any layer: CDR, text, sizes, codec
                self._complain(index, error)
                continue
            milliseconds = 1e3 * (time.perf_counter() - start)
            yield Picture(index, stamp, logged, frame, self._truth_of(index, stamp, frame), milliseconds)

    def _truth_of(self, index: int, stamp: int, frame: Frame) -> np.ndarray | None:
        if self._truth is None:
            return None
        try:
            return self._truth.of(index, stamp, frame.image.shape[:2])
        except TruthError as error:
            self._complain(index, error)
            return None

    def _complain(self, index: int, error: Exception) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        self.broken.append(f"message {index} of {self.topic}: {text[:_LONGEST]}")

    def close(self) -> None:
        for bag in self._closing:
            bag.close()

    def __enter__(self) -> "Drive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@cache
def typestore() -> Any:
    """Return what reads messages of the standard types; nothing of a bag's own types is needed."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def decode(message: bytes, topic: Topic) -> tuple[int, Frame]:
    """Return an image message's stamp (ns) and pixels. Raises what the damage at hand brings about."""
    if not message:
        raise MessageError("cannot be read from the bag, which is damaged there")
    read, convert = (read_compressed, compressed_to_frame) if topic.compressed else (read_image, to_frame)
    msg = read(message, _stamp)  # where it lies: rosbags would copy the pixels
    if msg is not None:
        return msg.header, convert(msg)
    other = typestore().deserialize_cdr(message, topic.type)
    return _stamp(other.header.stamp.sec, other.header.stamp.nanosec), convert(other)


def _stamp(seconds: int, nanoseconds: int, frame: str = "") -> int:
    del frame
    return seconds * 10**9 + nanoseconds
