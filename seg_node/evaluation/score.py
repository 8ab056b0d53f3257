"""Score a model on a data set: every image through the Segmenter and Runtime that the robot runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.datasets import Split
from seg_node.evaluation.confusion import Confusion, Scores
from seg_node.label_set import LabelSet
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter


class Report(NamedTuple):
    label_set: LabelSet
    images: int
    ignored: Scores  # void ground truth left out
    counted: Scores  # void ground truth counted
    milliseconds: np.ndarray  # float (images,): resize, inference and restoring of each image

    def as_dict(self, void: str) -> dict[str, Any]:
        """Return what ``--json`` prints, shares as 0 to 1, NaN as None; ``void``: "ignored" or "counted"."""
        scores = self.ignored if void == "ignored" else self.counted
        p50, p95 = np.percentile(self.milliseconds, (50, 95))
        return {
            "void": void,
            "images": self.images,
            "miou": _number(scores.miou),
            "iou": dict(zip(self.label_set.names, map(_number, scores.iou), strict=True)),
            "pixel_accuracy": _number(scores.pixel_accuracy),
            "class_accuracy": _number(scores.class_accuracy),
            "frequency_weighted_iou": _number(scores.frequency_weighted_iou),
            "ms_per_image": {"p50": round(float(p50), 2), "p95": round(float(p95), 2)},
        }


def evaluate(
    segmenter: Segmenter,
    split: Split,
    label_set: LabelSet,
    save: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Label every image of ``split`` and compare with its ground truth at the image's own size.

    ``label_set``: of the ground truth; the model's may have void as a class besides. ``save``: a folder for label
    PNGs. Raises ValueError where the two name different classes or a label is none of them, DatasetError for bad data.
    """
    to_truth = segmenter.label_set.to(label_set)
    confusion, milliseconds = Confusion(label_set.class_count), []
    for index in range(len(split)):
        image, truth, name = split[index]
        label_set.check(truth, name)
        segmentation = segmenter.segment(Frame(image, "bgr"))
        labels = cv2.LUT(segmentation.labels, to_truth)
        confusion.add(truth, labels)
        milliseconds.append(1e3 * sum(segmentation.timings.values()))
        if save is not None and not cv2.imwrite(str(save / f"{name}.png"), labels):
            raise OSError(f"{save / name}.png: cannot be written")
        progress(index + 1, len(split))
    return Report(
        label_set, len(split), confusion.scores("ignored"), confusion.scores("counted"), np.array(milliseconds)
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
