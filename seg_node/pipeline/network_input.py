"""From a camera image to what the network takes: its size and its channel order.

Training, evaluation and the robot all call ``resize``, so that a score is made of the robot's pixels.
Normalisation is the network's own business (or its runtime's).
"""

from typing import List, Optional, Tuple

import cv2
import numpy as np

from seg_node.model_card import ModelCard
from seg_node.pipeline.frame import Frame, reuse
from seg_node.pipeline.region import Box, Placement


def resize(image: np.ndarray, size: Tuple[int, int], out: Optional[np.ndarray] = None) -> np.ndarray:
    """Resize uint8 (H, W) or (H, W, C) to ``size`` = (height, width), bilinear, into ``out`` if given.

    Returns ``out``, or a new array. An image of that size already is copied.
    """
    return cv2.resize(image, (size[1], size[0]), dst=out, interpolation=cv2.INTER_LINEAR)


class NetworkInput:
    """Fits frames to one card. The result is reused by the next call.

    ``where`` (from ``region.place``): what part of the frame goes where; None: all of it fills all.
    """

    def __init__(self, card: ModelCard) -> None:
        self.size = card.size
        self.channels = card.channels
        mean = np.rint(np.array(card.mean) * card.scale)  # what a network takes for nothing
        self._mean = tuple(int(part) for part in np.clip(mean, 0, 255))
        self._batch = np.empty((1,) + tuple(card.size) + (3,), np.uint8)
        self._filled: List[Optional[Box]] = [None]  # round which box an image of the batch has the mean colour
        self._resized = np.empty_like(self._batch[0])

    def fit(self, frame: Frame, where: Optional[Placement] = None) -> np.ndarray:
        """Return uint8 (1, h, w, 3) in the card's size and channel order.

        A frame that fits as it is comes back as a view, not as a copy.
        """
        image = frame.image if where is None or where.source is None else where.source.of(frame.image)
        inside = None if where is None else where.inside
        fits = inside is None and image.shape[:2] == self.size and frame.channels == self.channels
        if not fits or not image.flags.c_contiguous:
            self._write(image, frame.channels, 0, inside)
            return self._batch[:1]
        return image[np.newaxis]

    def batch(self, count: int) -> np.ndarray:
        """Return uint8 (count, h, w, 3), to be filled with ``fit_into``."""
        if count > len(self._batch):
            self._batch = np.empty((count,) + self._batch.shape[1:], np.uint8)
            self._filled = [None] * count
        return self._batch[:count]

    def fit_into(self, index: int, frame: Frame, where: Optional[Placement] = None) -> None:
        """Write a frame into image ``index`` of the batch."""
        image = frame.image if where is None or where.source is None else where.source.of(frame.image)
        self._write(image, frame.channels, index, None if where is None else where.inside)

    def _write(self, image: np.ndarray, channels: str, index: int, inside: Optional[Box]) -> None:
        out = self._batch[index]
        if inside is not None:
            if inside != self._filled[index]:
                cv2.rectangle(out, (0, 0), (self.size[1], self.size[0]), self._mean, cv2.FILLED)
            out = inside.of(out)
        self._filled[index] = inside
        size = out.shape[:2]
        if channels == self.channels:
            resize(image, size, out=out)
            return
        if image.shape[:2] != size:  # swapped at network size: the cheaper side of the resize
            image = resize(image, size, out=self._resized[: size[0], : size[1]])
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=out)


def to_bgr(frame: Frame, out: Optional[np.ndarray] = None) -> np.ndarray:
    """Return the frame's pixels as BGR, uint8 (H, W, 3): its own array, or for RGB ``out``, reused."""
    if frame.channels == "bgr":
        return frame.image
    return cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR, dst=reuse(out, frame.image.shape))
