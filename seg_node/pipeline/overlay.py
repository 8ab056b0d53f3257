"""Label images as people look at them: in colour, and blended over the camera image."""

from typing import NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, LabelSet
from seg_node.pipeline.enlarge import Nearest
from seg_node.pipeline.frame import Frame, reuse
from seg_node.pipeline.legend import Legend
from seg_node.pipeline.network_input import resize, to_bgr


class _Paint(NamedTuple):
    palette: np.ndarray  # uint8 (256, 1, 3) BGR
    hidden: Optional[np.ndarray]  # uint8 (256,): 255 for what stays as it is in the frame; None: only 255 does


class Overlay:
    """Paints with one label set's colours. What a method returns is reused by its next call."""

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._paint = _mix(label_set, None)
        self._legend = Legend(label_set)
        self._enlarge = Nearest()
        self._small_color: Optional[np.ndarray] = None
        self._color: Optional[np.ndarray] = None
        self._blend: Optional[np.ndarray] = None
        self._resized: Optional[np.ndarray] = None
        self._image: Optional[np.ndarray] = None
        self._unlabelled: Optional[np.ndarray] = None

    def show(self, classes: Optional[Sequence[str]]) -> None:
        """Paint only the classes of these names; None or none: all. Raises ValueError naming what is no class."""
        unknown = [name for name in classes or () if name not in self._label_set.names]
        if unknown:
            raise ValueError(
                "label set {} has no class {}; it has {}".format(
                    self._label_set.name, ", ".join(map(repr, unknown)), ", ".join(self._label_set.names)
                )
            )
        self._paint = _mix(self._label_set, classes)

    def color(self, labels: np.ndarray, small: Optional[np.ndarray] = None) -> np.ndarray:
        """Return uint8 (H, W, 3) BGR for labels uint8 (H, W); what has no class or is not shown is black.

        ``small``: what ``labels`` was enlarged from (``Segmentation.small``): painted first, it takes half the time.
        """
        self._color = reuse(self._color, labels.shape + (3,))
        if small is not None and small.size < labels.size:
            self._small_color = reuse(self._small_color, small.shape + (3,))
            cv2.applyColorMap(small, self._paint.palette, dst=self._small_color)
            self._enlarge(self._small_color, self._color)
            return self._color
        return cv2.applyColorMap(labels, self._paint.palette, dst=self._color)

    def blend(
        self, frame: Frame, labels: np.ndarray, color: np.ndarray, alpha: float, legend: bool = False
    ) -> np.ndarray:
        """Return uint8 (H, W, 3) BGR: ``alpha`` parts of ``color`` (from ``color(labels)``) over the frame.

        A frame of another size than ``labels`` uint8 (H, W) is resized. Unlabelled pixels, and those of classes not
        shown, stay as they are in the frame. ``legend``: with the names of the classes seen, along the lower edge.
        """
        if frame.image.shape[:2] != labels.shape:
            self._resized = reuse(self._resized, labels.shape + (3,))
            frame = Frame(resize(frame.image, labels.shape, out=self._resized), frame.channels)
        image = to_bgr(frame, self._image)
        if frame.channels != "bgr":
            self._image = image
        self._blend = reuse(self._blend, image.shape)
        blend = cv2.addWeighted(color, alpha, image, 1.0 - alpha, 0.0, dst=self._blend)
        blend = cv2.copyTo(image, self._untouched(labels), blend)
        if legend:
            self._legend.draw(blend, labels, self._paint.hidden)
        return blend

    def _untouched(self, labels: np.ndarray) -> np.ndarray:
        """Return uint8 (H, W): not 0 where the frame stays as it is."""
        if self._paint.hidden is not None:
            self._unlabelled = reuse(self._unlabelled, labels.shape)
            return cv2.LUT(labels, self._paint.hidden, dst=self._unlabelled)
        # cv2.compare takes a 1x1 image for a scalar and fails
        mask = np.equal(labels, UNLABELLED, out=self._mask(labels.shape))
        return mask.view(np.uint8)

    def _mask(self, shape: Tuple[int, ...]) -> np.ndarray:
        self._unlabelled = reuse(self._unlabelled, shape)
        return self._unlabelled.view(np.bool_)


def _mix(label_set: LabelSet, classes: Optional[Sequence[str]]) -> _Paint:
    """Return what paints these classes; None or none: all."""
    palette = np.ascontiguousarray(label_set.palette).reshape(256, 1, 3)
    if not classes:
        return _Paint(palette, None)
    hidden = np.full(256, UNLABELLED, np.uint8)
    hidden[[label_set.names.index(name) for name in classes]] = 0
    palette = palette.copy()
    palette[hidden == UNLABELLED] = 0
    return _Paint(palette, hidden)
