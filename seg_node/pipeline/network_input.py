"""From a camera image to what the network takes: its size and its channel order.

Training, evaluation and the robot all call ``resize``, so that a score is made of the robot's pixels.
Normalisation is the network's own business (or its runtime's).
"""

from typing import Optional, Tuple

import cv2
import numpy as np

from seg_node.model_card import ModelCard
from seg_node.pipeline.frame import Frame, reuse


def resize(image: np.ndarray, size: Tuple[int, int], out: Optional[np.ndarray] = None) -> np.ndarray:
    """Resize uint8 (H, W) or (H, W, C) to ``size`` = (height, width), bilinear, into ``out`` if given.

    Returns ``out``, or a new array. An image of that size already is copied.
    """
    return cv2.resize(image, (size[1], size[0]), dst=out, interpolation=cv2.INTER_LINEAR)


class NetworkInput:
    """Fits frames to one card. The result is reused by the next call."""

    def __init__(self, card: ModelCard) -> None:
        self.size = card.size
        self.channels = card.channels
        self._resized = np.empty(tuple(card.size) + (3,), np.uint8)
        self._swapped = np.empty_like(self._resized)

    def fit(self, frame: Frame) -> np.ndarray:
        """Return uint8 (1, h, w, 3) in the card's size and channel order.

        A frame that fits as it is comes back as a view, not as a copy.
        """
        image = frame.image
        if image.shape[:2] != self.size:
            image = resize(image, self.size, out=self._resized)
        if frame.channels != self.channels:  # at network size: the cheaper side of the resize
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=self._swapped)
        return np.ascontiguousarray(image)[np.newaxis]


def to_bgr(frame: Frame, out: Optional[np.ndarray] = None) -> np.ndarray:
    """Return the frame's pixels as BGR, uint8 (H, W, 3): its own array, or for RGB ``out``, reused."""
    if frame.channels == "bgr":
        return frame.image
    return cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR, dst=reuse(out, frame.image.shape))
