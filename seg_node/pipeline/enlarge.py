"""Label images enlarged by the nearest pixel, as ``cv2.resize`` does it, in less than half of its time."""

from typing import Optional, Tuple

import cv2
import numpy as np

from seg_node.pipeline.frame import reuse


class Nearest:
    """Enlarges images; what it needs is kept while their size stays.

    Each row is widened once and then copied to where it is seen: most rows of a large image are equal to the one above.
    """

    def __init__(self) -> None:
        self._sizes: Tuple[int, int] = (0, 0)
        self._rows = np.empty(0, np.intp)
        self._wide: Optional[np.ndarray] = None

    def __call__(self, image: np.ndarray, out: np.ndarray) -> None:
        """Write uint8 (h, w) or (h, w, C) into ``out`` uint8 (H, W) or (H, W, C), at any size."""
        height, width = out.shape[:2]
        if height <= image.shape[0] or not out.flags.c_contiguous:
            cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_NEAREST)
            return
        wide = image
        if width != image.shape[1]:
            wide = self._wide = reuse(self._wide, (image.shape[0],) + out.shape[1:])
            cv2.resize(image, (width, image.shape[0]), dst=wide, interpolation=cv2.INTER_NEAREST)
        # with mode "raise" NumPy would write into a copy first, for the case that an index is wrong
        np.take(wide, self._look_up_rows(image.shape[0], height), axis=0, out=out, mode="clip")

    def _look_up_rows(self, old: int, new: int) -> np.ndarray:
        """Return intp (new,): the row of the old image that OpenCV would take."""
        if self._sizes != (old, new):
            rows: np.ndarray = np.arange(old, dtype=np.int32)[:, np.newaxis]
            rows = cv2.resize(rows, (1, new), interpolation=cv2.INTER_NEAREST)
            self._sizes, self._rows = (old, new), rows.ravel().astype(np.intp)
        return self._rows
