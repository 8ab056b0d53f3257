"""Label images as people look at them: in colour, and blended over the camera image."""

from typing import Optional, Tuple

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, LabelSet
from seg_node.pipeline.frame import Frame, reuse
from seg_node.pipeline.network_input import to_bgr


class Overlay:
    """Paints with one label set's colours. What a method returns is reused by its next call."""

    def __init__(self, label_set: LabelSet) -> None:
        self._palette = np.ascontiguousarray(label_set.palette).reshape(256, 1, 3)
        self._color: Optional[np.ndarray] = None
        self._blend: Optional[np.ndarray] = None
        self._image: Optional[np.ndarray] = None
        self._unlabelled: Optional[np.ndarray] = None

    def color(self, labels: np.ndarray) -> np.ndarray:
        """Return uint8 (H, W, 3) BGR for labels uint8 (H, W); what has no class is black."""
        self._color = reuse(self._color, labels.shape + (3,))
        return cv2.applyColorMap(labels, self._palette, dst=self._color)

    def blend(self, frame: Frame, labels: np.ndarray, color: np.ndarray, alpha: float) -> np.ndarray:
        """Return uint8 (H, W, 3) BGR: ``alpha`` parts of ``color`` (from ``color(labels)``) over the frame.

        Unlabelled pixels stay as they are in the frame.
        """
        image = to_bgr(frame, self._image)
        if frame.channels != "bgr":
            self._image = image
        self._blend = reuse(self._blend, image.shape)
        blend = cv2.addWeighted(color, alpha, image, 1.0 - alpha, 0.0, dst=self._blend)
        # cv2.compare takes a 1x1 image for a scalar and fails
        unlabelled = np.equal(labels, UNLABELLED, out=self._mask(labels.shape))
        return cv2.copyTo(image, unlabelled.view(np.uint8), blend)

    def _mask(self, shape: Tuple[int, ...]) -> np.ndarray:
        self._unlabelled = reuse(self._unlabelled, shape)
        return self._unlabelled.view(np.bool_)
