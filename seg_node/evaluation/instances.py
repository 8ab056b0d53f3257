"""The instance-level IoU (iIoU) of Cityscapes: every object weighs as much as one of its class's mean size.

Ground truth pixels of an object of n pixels count mean size / n each; false positives are pixels, as they are (the
prediction has no objects). Cordts et al. 2016, section 4.1; equal to the official evaluation. Needs ground truth that
tells objects apart.
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
# labelIds of vehicles that are no class: predicted on a bus, say, they are right at the level of categories
_OTHER_VEHICLES = (29, 30)
OTHER_VEHICLE = 254  # their class id here


class InstanceScores(NamedTuple):
    """Shares from 0 to 1, NaN for what has no objects."""

    iou: np.ndarray  # float (classes,)
    category_iou: np.ndarray  # float (categories,)


def raw_table(label_set: LabelSet) -> np.ndarray:
    """Return uint8 (256,): id in the data set's files -> class id, ``OTHER_VEHICLE``, or 255."""
    table = label_set.raw_ids.copy()
    if "vehicle" in [category for category, _ in label_set.categories]:
        table[list(_OTHER_VEHICLES)] = OTHER_VEHICLE
    return table


class InstanceWeights:
    """Weighs the pixels of objects; each image's result is added to the others'."""

    def __init__(self, label_set: LabelSet, scale: int = 1) -> None:
        """``scale``: by what the ground truth was subsampled."""
        self._label_set = label_set
        sizes = [_MEAN_SIZES.get(name, np.nan) / scale**2 for name in label_set.names]
        self._sizes = np.array([*sizes, np.nan])  # by class id; the last: no class
        self._category = np.full(256, -1)
        for index, (category, members) in enumerate(label_set.categories):
            self._category[list(members)] = index
            if category == "vehicle":
                self._category[OTHER_VEHICLE] = index

    @property
    def possible(self) -> bool:
        """Whether the label set has a class whose objects are weighed."""
        return bool(np.isfinite(self._sizes).any())

    def weigh(self, ids: np.ndarray, predicted: np.ndarray, truth: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return float (classes + 1, 3): weighted pixels of objects, of those with the right class, the right category;
        last row: pixels of other vehicles seen where none is, 0, 0.

        Of runs of pixels, (runs,) each: ``ids``, raw label id * 1000 + number; ``predicted`` and ``truth``, class ids.
        """
        count = self._label_set.class_count
        elsewhere = (predicted == OTHER_VEHICLE) & (truth < count)
        elsewhere &= self._category[truth] != self._category[OTHER_VEHICLE]
        others = lengths[elsewhere].sum()
        is_object = ids > 1000
        ids, predicted, lengths = ids[is_object], predicted[is_object], lengths[is_object]
        objects, place = np.unique(ids, return_inverse=True)
        flat = np.bincount(place * 256 + predicted, weights=lengths, minlength=256 * len(objects))
        pixels = flat.reshape(-1, 256)
        classes = np.minimum(self._label_set.raw_ids[np.minimum(objects // 1000, 255)], count)
        weights = self._sizes[classes] / np.maximum(1, pixels.sum(1))
        akin = (self._category == self._category[classes][:, None]) & (self._category[classes][:, None] >= 0)
        counts = np.stack([pixels.sum(1), pixels[np.arange(len(objects)), classes], (pixels * akin).sum(1)], axis=1)
        weighed = np.zeros((count + 1, 3))
        usable = np.isfinite(weights)
        np.add.at(weighed, classes[usable], weights[usable, None] * counts[usable])
        weighed[count, 0] = others
        return weighed

    def scores(self, weighed: np.ndarray, confusion: Confusion) -> InstanceScores:
        """Score the sum of what ``weigh`` gave, with the false positives of ``confusion``."""
        n = self._label_set.class_count
        matrix = confusion.matrix[:n]  # void ground truth is left out
        false = matrix.sum(axis=0)[:n] - np.diag(matrix)
        has_objects = np.isfinite(self._sizes[:n])
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = np.where(has_objects, weighed[:n, 1] / (weighed[:n, 0] + false), np.nan)
        categories = []
        for category, members in self._label_set.categories:
            rows = list(members)
            others = [index for index in range(n) if index not in rows]
            total = weighed[rows, 0].sum() + matrix[np.ix_(others, rows)].sum()
            total += weighed[n, 0] if category == "vehicle" else 0
            known = has_objects[rows].all() and total > 0
            categories.append(weighed[rows, 2].sum() / total if known else np.nan)
        return InstanceScores(iou, np.array(categories))
