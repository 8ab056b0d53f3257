"""Do the labels stay with the things as the camera moves? Labels of one frame, moved along with the picture, compared
with those of the next.

Motion is dense optical flow (Kroeger et al. 2016, OpenCV's DIS) on a small grey image: less than a millisecond a frame,
and the finer presets on larger images find the same shares to three digits. Pixels that look different after the move
(uncovered, or the flow is wrong) are left out.
"""

import math
from typing import Any

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED
from seg_node.pipeline.frame import Frame

_LONGEST, _SHORTEST = 320, 16  # pixels of the small image's sides
_SAME = 25  # grey levels that a pixel may change and still show the same thing


class Consistency:
    """Frames in order; each is compared with the one before."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
        self._before: tuple[np.ndarray, np.ndarray] | None = None
        self._grid = np.empty((0, 0, 2), np.float32)

    def add(self, frame: Frame, labels: np.ndarray) -> float | None:
        """Return the share of pixels whose class stayed, for labels uint8 (H, W).

        None for the first frame, where the size changed, and where nothing of the frame before is seen again.
        """
        height, width = labels.shape
        step = math.ceil(max(height, width) / _LONGEST)  # whole steps: OpenCV averages blocks eight times as fast
        size = (max(1, width // step), max(1, height // step))
        code = cv2.COLOR_RGB2GRAY if frame.channels == "rgb" else cv2.COLOR_BGR2GRAY
        # small first: a tenth of the pixels to turn grey
        grey = cv2.cvtColor(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), code)
        small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        before, self._before = self._before, (grey, small)
        if before is None or before[0].shape != grey.shape or min(size) < _SHORTEST:
            return None
        return self._compare(before, grey, small)

    def _compare(self, before: tuple[np.ndarray, np.ndarray], grey: np.ndarray, labels: np.ndarray) -> float | None:
        # float32 (h, w, 2): where in the frame before a pixel was
        places = self._flow.calc(grey, before[0], None) + self._places(grey.shape)
        remap: Any = cv2.remap  # None for no second map is not in its types
        edge = cv2.BORDER_CONSTANT
        moved = remap(before[1], places, None, cv2.INTER_NEAREST, borderMode=edge, borderValue=UNLABELLED)
        image = remap(before[0], places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = (moved != UNLABELLED) & (labels != UNLABELLED) & (cv2.absdiff(image, grey) < _SAME)
        count = int(np.count_nonzero(seen))
        return int(np.count_nonzero(seen & (moved == labels))) / count if count else None

    def _places(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 (h, w, 2): x and y of each pixel."""
        if self._grid.shape[:2] != shape:
            x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
            self._grid = np.dstack((x, y))
        return self._grid
