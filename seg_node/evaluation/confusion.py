"""The confusion matrix and the scores that follow from it.

Rows are ground truth, columns prediction. Row and column ``classes`` hold void: ground truth that is 255, and
pixels that the network left unlabelled. Knows nothing of files or networks.
"""

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

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.matrix = np.zeros((classes + 1, classes + 1), np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count one image: two uint8 (H, W), class ids; ids from ``classes`` on are void.

        Raises ValueError where the sizes differ.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"ground truth is {truth.shape}, prediction {predicted.shape}: sizes must be equal")
        side = self.classes + 1
        pairs = np.minimum(truth, self.classes).astype(np.intp) * side + np.minimum(predicted, self.classes)
        self.matrix += np.bincount(pairs.ravel(), minlength=side * side).reshape(side, side)

    def scores(self, void: str = "ignored") -> Scores:
        """Score the pixels so far.

        ``void="ignored"`` leaves void ground truth out (the usual way); ``"counted"`` counts a class predicted
        there as its false positive, as the ESPNet authors' CamVid figures do.
        """
        if void not in ("ignored", "counted"):
            raise ValueError(f"void is {void!r}; choose 'ignored' or 'counted'")
        n = self.classes
        matrix = self.matrix if void == "counted" else self.matrix[:n]
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
