"""What the results of a drive amount to, frame by frame: scores, agreement, shares of the classes.

All is counted in the model's label set; ground truth in another order of classes is brought into it. Knows no files.
"""

from typing import Any

import cv2
import numpy as np

from seg_node.evaluation.confusion import Confusion, Scores
from seg_node.label_set import LabelSet
from seg_node.pipeline.segmenter import Segmenter
from seg_node.replay.drive import Picture
from seg_node.replay.motion import Consistency
from seg_node.replay.offline import Result


class Measure:
    """A watcher; ``moments`` has an entry for each frame, with the keys of report.json."""

    def __init__(self, labels: LabelSet, truth_set: LabelSet | None = None, against: Segmenter | None = None) -> None:
        """``labels``: the model's; ``truth_set``: of the ground truth; ``against``: another model to compare with.

        Raises ValueError where these do not name the same classes.
        """
        self.labels, self.moments = labels, list[dict[str, Any]]()
        self.scored = 0  # frames with ground truth
        self.confusion = Confusion(labels.class_count) if truth_set else None
        self.confusion_against = Confusion(labels.class_count) if against else None
        self._own = labels.to(labels)  # a void class becomes 255
        self._truth_ids = truth_set.to(labels) if truth_set else None
        self._against = against
        self._against_ids = against.label_set.to(labels) if against else None
        self._consistency = Consistency()
        self._elapsed = Elapsed()

    def see(self, result: Result) -> None:
        score = self._score(result)
        against = self._compare(result)
        agreement = self._consistency.add(result.picture.frame, result.labels)
        counts = cv2.calcHist([result.labels], [0], None, [256], [0, 256]).ravel()[: self.labels.class_count]
        self.moments.append(
            {
                "index": result.picture.index,
                "stamp": result.picture.stamp,
                "elapsed": round(self._elapsed(result.picture), 6),
                "ms": {stage: round(value, 3) for stage, value in result.milliseconds.items()},
                "miou": number(score.miou) if score else None,
                "accuracy": number(score.pixel_accuracy) if score else None,
                "agreement": number(agreement),
                "against": number(against),
                "shares": [round(float(share), 6) for share in counts / result.labels.size],
            }
        )

    def close(self) -> None:
        pass

    def _score(self, result: Result) -> Scores | None:
        truth = result.picture.truth
        if truth is None or self.confusion is None or self._truth_ids is None:
            return None
        frame = Confusion(self.labels.class_count)
        frame.add(cv2.LUT(truth, self._truth_ids), cv2.LUT(result.labels, self._own))
        self.confusion.matrix += frame.matrix
        self.scored += 1
        return frame.scores()

    def _compare(self, result: Result) -> float | None:
        """Return the share of pixels on which both models say the same, where the other says anything."""
        if self._against is None or self.confusion_against is None or self._against_ids is None:
            return None
        other = cv2.LUT(self._against.segment(result.picture.frame).labels, self._against_ids)
        frame = Confusion(self.labels.class_count)
        frame.add(other, cv2.LUT(result.labels, self._own))
        self.confusion_against.matrix += frame.matrix
        return frame.scores().pixel_accuracy


class Elapsed:
    """Seconds since a drive's first frame: by stamp, or by time of recording where a frame has none."""

    def __init__(self) -> None:
        self._logged: int | None = None
        self._stamp: int | None = None  # what the first frame's is, or would have been

    def __call__(self, picture: Picture) -> float:
        self._logged = picture.logged if self._logged is None else self._logged
        since = picture.logged - self._logged
        if picture.stamp <= 0:
            return since / 1e9
        self._stamp = picture.stamp - since if self._stamp is None else self._stamp
        return (picture.stamp - self._stamp) / 1e9


def number(value: float | None, digits: int = 5) -> float | None:
    """Return a share as a report holds it: rounded, NaN as None."""
    return None if value is None or np.isnan(value) else round(float(value), digits)
