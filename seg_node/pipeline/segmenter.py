"""Frames to label images: fit, infer, restore.

The robot, ``evaluate`` and ``replay`` all go through here. Knows no ROS and no vendor library.
"""

import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.model_card import ModelCard
from seg_node.pipeline.enlarge import Nearest
from seg_node.pipeline.frame import Frame, reuse
from seg_node.pipeline.network_input import NetworkInput, resize
from seg_node.pipeline.region import WHOLE, Placement, View, check_view, place
from seg_node.runtimes import Runtime

STAGES = ("resize", "infer", "restore")


class Segmentation(NamedTuple):
    """What a frame shows, the whole of it. The arrays are reused by the next call.

    (H, W) is the camera's size, or what the view's ``output_size`` says.
    """

    labels: np.ndarray  # uint8 (H, W): class ids, 255 is unlabelled
    confidence: Optional[np.ndarray]  # uint8 (H, W), 0 outside the region; None where the network gives none
    timings: Dict[str, float]  # STAGES -> seconds
    small: Optional[np.ndarray] = None  # uint8 (h, w): what ``labels`` is, enlarged, all of it; None: is not


class Segmenter:
    """A network with its card; one caller at a time. Closes nothing: the runtime belongs to the caller."""

    def __init__(self, card: ModelCard, runtime: Runtime, view: View = WHOLE) -> None:
        """Raises ValueError where the card's label set does not exist, ViewError for a view that makes no sense."""
        self.card = card
        self.label_set = load_label_set(card.label_set)
        self._runtime = runtime
        self._view = check_view(view)
        self._input = NetworkInput(card)
        self._class_ids = _class_ids(card, self.label_set.class_count)
        self._answers: List[_Answer] = []

    @property
    def view(self) -> View:
        """What part is labelled and at what size; may be replaced between two frames. Raises ViewError."""
        return self._view

    @view.setter
    def view(self, view: View) -> None:
        self._view = check_view(view)

    def place(self, frame: Frame) -> Placement:
        """Return where the frame goes with the present view. Raises ViewError where it shows nothing of it."""
        return place(self._view, frame.image.shape[:2], self.card.size)

    def segment(self, frame: Frame) -> Segmentation:
        """Label one frame. Raises ViewError as ``place`` does; lets the runtime's exceptions through."""
        return self.segment_many((frame,))[0]

    def segment_many(self, frames: Sequence[Frame], settle: Optional[Callable[[], None]] = None) -> List[Segmentation]:
        """Label frames, of any sizes, in one inference; each result has arrays of its own.

        ``settle`` is called when the network has answered, before the last call's results are overwritten: whoever
        works with these meanwhile gets to end.
        ``resize`` and ``restore`` are each frame's own seconds, ``infer`` those of all together. Raises as
        ``segment`` does, for all frames if one of them is at fault: ask ``place`` first.
        """
        if not frames:
            return []
        places, fitting = [], []
        images = self._input.batch(len(frames))
        for index, frame in enumerate(frames):
            start = time.perf_counter()
            places.append(self.place(frame))
            if len(frames) == 1:  # needs no copy if it fits as it is
                images = self._input.fit(frame, places[0])
            else:
                self._input.fit_into(index, frame, places[index])
            fitting.append(time.perf_counter() - start)

        start = time.perf_counter()
        prediction = self._runtime.infer(images)
        inferring = time.perf_counter() - start

        if settle is not None:
            settle()
        while len(self._answers) < len(frames):
            self._answers.append(_Answer())
        results = []
        for index, answer in enumerate(self._answers[: len(frames)]):
            start = time.perf_counter()
            labels = answer.labels(prediction.labels[index], self._class_ids, places[index])
            confidence = None
            if prediction.confidence is not None:
                confidence = answer.confidence(prediction.confidence[index], places[index])
            timings = {"resize": fitting[index], "infer": inferring, "restore": time.perf_counter() - start}
            results.append(Segmentation(labels, confidence, timings, answer.small(places[index])))
        return results


class _Answer:
    """What a network says of one image, brought back to where it belongs, in arrays that are reused."""

    def __init__(self) -> None:
        self._small: Optional[np.ndarray] = None
        self._enlarge = Nearest()
        self._labels = _Canvas(UNLABELLED)
        self._confidence = _Canvas(0)

    def labels(self, predicted: np.ndarray, class_ids: np.ndarray, where: Placement) -> np.ndarray:
        """Return uint8 (H, W) of ``where.size`` for uint8 (h, w) at network size."""
        seen = predicted if where.inside is None else where.inside.of(predicted)
        self._small = reuse(self._small, seen.shape)
        # Ids first, while the image is small.
        small = cv2.LUT(seen, class_ids, dst=self._small)
        if where.target is None and small.shape == where.size:
            return small
        labels, part = self._labels.take(where)
        self._enlarge(small, part)
        return labels

    def small(self, where: Placement) -> Optional[np.ndarray]:
        """Return what ``labels`` was enlarged from; None where it is not all of the labels."""
        return self._small if where.target is None else None

    def confidence(self, predicted: np.ndarray, where: Placement) -> np.ndarray:
        """Return uint8 (H, W) of ``where.size`` for uint8 (h, w) at network size."""
        confidence, part = self._confidence.take(where)
        resize(predicted if where.inside is None else where.inside.of(predicted), part.shape, out=part)
        return confidence


class _Canvas:
    """A reused image of which each frame writes the same part; the rest has one value."""

    def __init__(self, outside: int) -> None:
        self._outside = outside
        self._image: Optional[np.ndarray] = None
        self._where: Optional[Placement] = None

    def take(self, where: Placement) -> tuple:
        """Return the image, uint8 (H, W) of ``where.size``, and its part to write as a view."""
        self._image = reuse(self._image, where.size)
        if where.target is None:
            self._where = where
            return self._image, self._image
        if where != self._where:
            self._image.fill(self._outside)
            self._where = where
        return self._image, where.target.of(self._image)


def _class_ids(card: ModelCard, count: int) -> np.ndarray:
    """Return uint8 (256,): network output -> class id; 255: ignored by the card or no class."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[:count] = np.arange(count)
    table[list(card.ignored_classes)] = UNLABELLED
    return table
