"""The confusion matrix and the scores that follow from it.

Rows are ground truth, columns prediction. Row and column ``classes`` hold void: ground truth that is 255, and
pixels that the network left unlabelled. Knows nothing of files or networks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
    """Shares from 0 to 1; NaN for a class that neither occurs nor is predicted."""

    iou: np.ndarray  # float (classes,)
    miou: float
    pixel_accuracy: float
    class_accuracy: float
    frequency_weighted_iou: float


class Confusion:
    """Counts of pixels; ``add`` as often as there are images, then ``scores``."""

    def __init__(self, classes: int, matrix: np.ndarray | None = None) -> None:
        """``matrix``: counts to begin with, int64 (classes + 1, classes + 1)."""
        self.classes = classes
        self.matrix = np.zeros((classes + 1, classes + 1), np.int64) if matrix is None else matrix

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one image: two uint8 (H, W), class ids; ids from ``classes`` on are void.

        Raises ValueError where the sizes differ.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"ground truth is {truth.shape}, prediction {predicted.shape}: sizes must be equal")
        (first, second), lengths = runs(truth, predicted)
        self.add_runs(first, second, lengths)

    def add_runs(self, truth: np.ndarray, predicted: np.ndarray, lengths: np.ndarray) -> None:
        """Count runs of pixels, as ``runs`` gives them."""
        side = self.classes + 1
        pairs = np.minimum(truth, self.classes).astype(np.intp) * side + np.minimum(predicted, self.classes)
        counts = np.bincount(pairs, weights=lengths, minlength=side * side)  # float64: exact up to 2 ** 53
        self.matrix += counts.astype(np.int64).reshape(side, side)

    def scores(self, void: str = "ignored") -> Scores:
        """Score the pixels so far.

        ``void="ignored"`` leaves void ground truth out (the usual way); ``"counted"`` counts a class predicted
        there as its false positive, as the ESPNet authors' CamVid figures do.
        """
        n = self.classes
        matrix = self._rows(void)
        hit = np.diag(self.matrix)[:n].astype(float)
        truth = self.matrix[:n].sum(axis=1)
        predicted = matrix.sum(axis=0)[:n]
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = hit / (truth + predicted - hit)
            recall = hit / truth
            share = truth / truth.sum()
        if truth.sum() == 0:
            nan = float("nan")
            return Scores(iou, nan, nan, nan, nan)
        present = truth > 0
        return Scores(
            iou=iou,
            miou=float(np.nanmean(iou)),
            pixel_accuracy=float(hit.sum() / truth.sum()),
            class_accuracy=float(recall[present].mean()),
            frequency_weighted_iou=float((share[present] * iou[present]).sum()),
        )

    def group_iou(self, groups: Sequence[Sequence[int]], void: str = "ignored") -> np.ndarray:
        """Return float (groups,): IoU where the classes of a group count as one; NaN where none of it is there."""
        matrix = self._rows(void)
        sums = [(matrix[np.ix_(g, g)].sum(), matrix[list(g)].sum(), matrix[:, list(g)].sum()) for g in groups]
        hit, truth, predicted = np.array(sums, float).reshape(-1, 3).T
        with np.errstate(invalid="ignore"):
            return hit / (truth + predicted - hit)

    def _rows(self, void: str) -> np.ndarray:
        if void not in ("ignored", "counted"):
            raise ValueError(f"void is {void!r}; choose 'ignored' or 'counted'")
        return self.matrix if void == "counted" else self.matrix[: self.classes]


def runs(*images: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the runs of pixels in which none of the images, whole numbers (H, W) of one size, changes.

    As the value that each image has there, (runs,) each, and the runs' lengths (runs,). Label images seldom change
    along their rows: counting runs takes a twentieth of counting pixels.
    """
    flat = [image.ravel() for image in images]
    change = flat[0][1:] != flat[0][:-1]
    for values in flat[1:]:
        change |= values[1:] != values[:-1]
    starts = np.concatenate([[0], np.flatnonzero(change) + 1])
    return [values[starts] for values in flat], np.diff(starts, append=len(flat[0]))
