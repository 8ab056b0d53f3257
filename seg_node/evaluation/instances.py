"""The instance-level IoU (iIoU) of Cityscapes: every object weighs as much as one of its class's mean size.

Ground truth pixels of an object of n pixels count mean size / n each; false positives are pixels, as they are (the
prediction has no objects). Cordts et al. 2016, section 4.1; equal to the official evaluation for networks that predict
the 19 classes. Needs ground truth that tells objects apart.
"""

from typing import NamedTuple

import numpy as np

from seg_node.evaluation.confusion import Confusion
from seg_node.label_set import LabelSet

# pixels of a mean object in 2048x1024, as the official evaluation has them
_MEAN_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}


class InstanceScores(NamedTuple):
    """Shares from 0 to 1, NaN for what has no objects."""

    iou: np.ndarray  # float (classes,)
    category_iou: np.ndarray  # float (categories,)


class InstanceWeights:
    """Weighs the pixels of objects; each image's result is added to the others'."""

    def __init__(self, label_set: LabelSet, scale: int = 1) -> None:
        """``scale``: by what the ground truth was subsampled."""
        self._label_set = label_set
        sizes = [_MEAN_SIZES.get(name, np.nan) / scale**2 for name in label_set.names]
        self._sizes = np.array([*sizes, np.nan])  # by class id; the last: no class
        self._category = np.full(256, -1)
        for index, (_, members) in enumerate(label_set.categories):
            self._category[list(members)] = index

    @property
    def possible(self) -> bool:
        """Whether the label set has a class whose objects are weighed."""
        return bool(np.isfinite(self._sizes).any())

    def weigh(self, instances: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return float (classes, 3): weighted pixels of objects, of those with the right class, the right category.

        ``instances``: uint16 (H, W), raw label id * 1000 + number; ``labels``: uint8 (H, W), class ids predicted.
        """
        count = self._label_set.class_count
        flat = np.flatnonzero(instances > 1000)
        ids, predicted = instances.ravel()[flat].astype(np.intp), labels.ravel()[flat]
        classes = np.minimum(self._label_set.raw_ids[np.minimum(ids // 1000, 255)], count)
        right = predicted == classes
        akin = (self._category[predicted] == self._category[classes]) & (self._category[classes] >= 0)
        pixels, hits, kin = (np.bincount(ids[which], minlength=65536) for which in (slice(None), right, akin))
        objects = np.flatnonzero(pixels)
        their_class = np.minimum(self._label_set.raw_ids[np.minimum(objects // 1000, 255)], count)
        weights = self._sizes[their_class] / pixels[objects]
        weighed = np.zeros((count + 1, 3))
        usable = np.isfinite(weights)
        for column, counts in enumerate((pixels, hits, kin)):
            np.add.at(weighed[:, column], their_class[usable], (weights * counts[objects])[usable])
        return weighed[:count]

    def scores(self, weighed: np.ndarray, confusion: Confusion) -> InstanceScores:
        """Score the sum of what ``weigh`` gave, with the false positives of ``confusion``."""
        n = self._label_set.class_count
        matrix = confusion.matrix[:n]  # void ground truth is left out
        false = matrix.sum(axis=0)[:n] - np.diag(matrix)
        has_objects = np.isfinite(self._sizes[:n])
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = np.where(has_objects, weighed[:, 1] / (weighed[:, 0] + false), np.nan)
        categories = []
        for _, members in self._label_set.categories:
            rows = list(members)
            others = [index for index in range(n) if index not in rows]
            total = weighed[rows, 0].sum() + matrix[np.ix_(others, rows)].sum()
            known = has_objects[rows].all() and total > 0
            categories.append(weighed[rows, 2].sum() / total if known else np.nan)
        return InstanceScores(iou, np.array(categories))
