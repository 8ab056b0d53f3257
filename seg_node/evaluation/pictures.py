"""Pictures that show where labels are right and wrong."""

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, LabelSet

RED, GREEN, YELLOW, VOID = (40, 40, 230), (80, 190, 60), (40, 210, 250), (0, 0, 0)  # BGR
ERROR_HEAD = "error (red: wrong, black: void)"
DIFFERENCE_HEAD = "green: only B right, red: only A, yellow: both wrong"


def color(labels: np.ndarray, label_set: LabelSet, size: tuple[int, ...]) -> np.ndarray:
    """Return labels uint8 (h, w) in colour, uint8 (H, W, 3) BGR of ``size`` = (H, W)."""
    return label_set.palette[to_size(labels, size)]


def error(image: np.ndarray, truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) BGR: the image in grey, red where labels uint8 (h, w) are not as the truth is."""
    truth, labels = (to_size(part, image.shape) for part in (truth, labels))
    return _mark(image, {RED: truth != labels}, truth)


def difference(image: np.ndarray, truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) BGR: the image in grey, marked where labels a and b, uint8 (h, w), are not both right."""
    truth, a, b = (to_size(part, image.shape) for part in (truth, a, b))
    right_a, right_b = a == truth, b == truth
    return _mark(image, {GREEN: right_b & ~right_a, RED: right_a & ~right_b, YELLOW: ~right_a & ~right_b}, truth)


def to_size(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return labels uint8 (h, w) at ``size`` = (H, W), by the nearest pixel."""
    if labels.shape == size[:2]:
        return labels
    return cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


def _mark(image: np.ndarray, marks: dict[tuple[int, int, int], np.ndarray], truth: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    marked = np.repeat(grey // 2 + 64, 3, axis=2)
    for paint, where in marks.items():
        marked[where] = (0.3 * marked[where] + 0.7 * np.array(paint)).astype(np.uint8)
    marked[truth == UNLABELLED] = VOID
    return marked
