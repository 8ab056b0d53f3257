"""One frame to one label image of the same size: fit, infer, restore.

The robot, ``evaluate`` and ``replay`` all go through here. Knows no ROS and no vendor library.
"""

import time
from typing import Dict, NamedTuple, Optional

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.model_card import ModelCard
from seg_node.pipeline.frame import Frame, reuse
from seg_node.pipeline.network_input import NetworkInput, resize
from seg_node.runtimes import Runtime

STAGES = ("resize", "infer", "restore")


class Segmentation(NamedTuple):
    """What a frame shows. The arrays are reused by the next call."""

    labels: np.ndarray  # uint8 (H, W) at camera size: class ids, 255 is unlabelled
    confidence: Optional[np.ndarray]  # uint8 (H, W) at camera size, or None where the network gives none
    timings: Dict[str, float]  # STAGES -> seconds


class Segmenter:
    """A network with its card; one caller at a time. Closes nothing: the runtime belongs to the caller."""

    def __init__(self, card: ModelCard, runtime: Runtime) -> None:
        """Raises ValueError where the card's label set does not exist."""
        self.card = card
        self.label_set = load_label_set(card.label_set)
        self._runtime = runtime
        self._input = NetworkInput(card)
        self._class_ids = _class_ids(card, self.label_set.class_count)
        self._small = np.empty(card.size, np.uint8)
        self._labels: Optional[np.ndarray] = None
        self._confidence: Optional[np.ndarray] = None

    def segment(self, frame: Frame) -> Segmentation:
        """Label one frame. Lets the runtime's exceptions through."""
        start = time.perf_counter()
        image = self._input.fit(frame)
        fitted = time.perf_counter()
        prediction = self._runtime.infer(image)
        inferred = time.perf_counter()

        size = frame.image.shape[:2]
        # Ids first, while the image is small.
        small = cv2.LUT(prediction.labels[0], self._class_ids, dst=self._small)
        labels, confidence = small, None
        if small.shape != size:
            self._labels = reuse(self._labels, size)
            labels = cv2.resize(small, (size[1], size[0]), dst=self._labels, interpolation=cv2.INTER_NEAREST)
        if prediction.confidence is not None:
            self._confidence = reuse(self._confidence, size)
            confidence = resize(prediction.confidence[0], size, out=self._confidence)
        restored = time.perf_counter()
        return Segmentation(
            labels, confidence, {"resize": fitted - start, "infer": inferred - fitted, "restore": restored - inferred}
        )


def _class_ids(card: ModelCard, count: int) -> np.ndarray:
    """Return uint8 (256,): network output -> class id; 255: ignored by the card or no class."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[:count] = np.arange(count)
    table[list(card.ignored_classes)] = UNLABELLED
    return table
