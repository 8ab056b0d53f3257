"""The frames that went worst, with pictures to see why."""

from typing import Any

import cv2
import numpy as np

from seg_node.label_set import LabelSet
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import to_bgr
from seg_node.pipeline.overlay import Overlay
from seg_node.replay.measure import Measure
from seg_node.replay.offline import Result

COUNT = 10
_WIDEST = 1280  # pixels of a picture; larger ones are scaled down
_ALPHA = 0.5
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]


class Worst:
    """A watcher, to stand behind the ``Measure`` whose newest moment it looks at.

    ``why`` decides which score counts: that against ground truth if there is any, else against the other model, else
    against the frame before.
    """

    def __init__(self, measure: Measure, truth_set: LabelSet | None = None) -> None:
        self.why = "miou" if measure.confusion else "against" if measure.confusion_against else "agreement"
        self.files: dict[str, bytes] = {}  # path in the report's folder -> content; of ``entries`` alone
        self._measure, self._truth_set = measure, truth_set
        self._overlay = Overlay(measure.labels)
        self._kept: list[tuple[float, int, dict[str, Any], dict[str, bytes]]] = []

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What report.json holds of them, lowest score first."""
        return [entry for _, _, entry, _ in self._kept]

    def see(self, result: Result) -> None:
        moment = self._measure.moments[-1]
        score = moment[self.why]
        if score is None or (len(self._kept) == COUNT and score >= self._kept[-1][0]):
            return
        self._kept.append((score, moment["index"], *self._portray(result, moment, score)))
        self._kept.sort(key=lambda kept: kept[:2])
        del self._kept[COUNT:]
        self.files = {name: data for *_, files in self._kept for name, data in files.items()}

    def close(self) -> None:
        pass

    def _portray(self, result: Result, moment: dict[str, Any], score: float) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the entry in the report, and its files."""
        name = "worst/{:06d}".format(moment["index"])
        frame, labels, truth = result.picture.frame, result.labels, result.picture.truth
        overlay = self._overlay.blend(frame, labels, self._overlay.color(labels), _ALPHA)
        pictures = {
            "image": (f"{name}.jpg", to_bgr(Frame(np.ascontiguousarray(frame.image), frame.channels))),
            "overlay": (f"{name}_overlay.jpg", overlay),
        }
        if truth is not None and self._truth_set is not None:
            pictures["truth"] = (f"{name}_truth.png", self._truth_set.palette[truth])
        entry = {
            **{key: moment[key] for key in ("index", "stamp", "elapsed")},
            "score": score,
            "why": self.why,
            "truth": None,
            **{key: path for key, (path, _) in pictures.items()},
        }
        return entry, {path: _encoded(path, image) for path, image in pictures.values()}


def _encoded(path: str, image: np.ndarray) -> bytes:
    """Return uint8 (H, W, 3) BGR as the file that its name says; labels in colour keep their hard edges."""
    labels = path.endswith(".png")
    if image.shape[1] > _WIDEST:
        size = (_WIDEST, max(1, round(image.shape[0] * _WIDEST / image.shape[1])))
        image = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if labels else cv2.INTER_AREA)
    done, data = cv2.imencode(path[-4:], image, [] if labels else _JPEG)
    if not done:
        raise ValueError(f"{path}: cannot be encoded")
    return data.tobytes()
