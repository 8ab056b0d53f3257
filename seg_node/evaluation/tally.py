"""What a drive amounted to: frames, latency, scores, as one report that goes to the screen and into a file.

Fed by whoever watches the topics; knows nothing of ROS. The report's keys are those of ``seg-node replay``.
"""

import threading
from array import array
from collections import deque
from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np

from seg_node.evaluation.background import Background
from seg_node.evaluation.confusion import Confusion
from seg_node.label_set import LabelSet

# the node's; "transport" is ours
CAUSES = ("newer_frame", "too_old", "max_rate", "bad_image", "inference_failed", "publish_failed", "stopped")
STAGES = ("age", "wait", "decode", "resize", "infer", "restore", "overlay", "publish", "total")
PERCENTILES = ("p50", "p95", "p99", "max")
_PIXELS_A_SECOND = 6e6  # to score: 30 Hz at 480x360; more would take the core that the network needs


class Tally:
    """Counts one drive. ``clock`` values are seconds on one clock, the caller's."""

    def __init__(self, labels: LabelSet) -> None:
        self.sent = self.labelled = self.scored = 0
        self.start: float | None = None  # when the first frame was sent
        self.node: dict[str, str] = {}  # the node's newest diagnostics
        self.stages: dict[str, dict[str, float]] = {}
        self._labels = labels
        self._first_label: float | None = None
        self._last_sent = self._last_label = self._next_score = 0.0
        self._end_to_end = array("d")
        self._missing: deque[int] = deque(maxlen=2)
        self._confusion = Confusion(labels.class_count)
        self._lock = threading.Lock()
        self._scorer = Background(self._add_score, depth=4)

    def add_sent(self, clock: float) -> None:
        self.start = clock if self.start is None else self.start
        self.sent, self._last_sent = self.sent + 1, clock

    def add_label(self, clock: float, seconds: float) -> None:
        """Count a label image that came ``seconds`` after its frame's stamp."""
        self._first_label = clock if self._first_label is None else self._first_label
        self.labelled, self._last_label = self.labelled + 1, clock
        self._end_to_end.append(1e3 * seconds)

    def add_pair(self, clock: float, truth: np.ndarray, label: np.ndarray) -> None:
        """Score uint8 (H, W) against uint8 (H, W), as often as a slow machine can bear."""
        if truth.shape != label.shape or clock < self._next_score:
            return
        if self._scorer.offer(truth, label):
            self._next_score = max(self._next_score, clock - 0.5) + truth.size / _PIXELS_A_SECOND

    def add_diagnostics(self, values: Mapping[str, str]) -> None:
        """Take the node's key-value pairs; while it works, its percentiles too."""
        self.node = dict(values)
        # Some of these are only on their way; what is lost is still missing in the next report.
        self._missing.append(self.sent - (self._count("frames_in") or 0))
        for stage in STAGES:
            found = {p: _number(values.get(f"{stage}_{p}_ms")) for p in PERCENTILES}
            if all(value is not None for value in found.values()):
                self.stages[stage] = {p: float(value or 0.0) for p, value in found.items()}

    def report(self) -> dict[str, Any]:
        """Return what is known so far; what is not is None. Shares are 0 to 1."""
        arrived = self._count("frames_in")
        dropped = {cause: self._count("dropped_" + cause) or 0 for cause in CAUSES}
        dropped["transport"] = max(0, min(self._missing, default=0))
        with self._lock:
            scores = self._confusion.scores()
            scored = self.scored
        return {
            "model": self.node.get("model"),
            "runtime": self.node.get("runtime"),
            "device": self.node.get("device"),
            "input_size": self.node.get("input_size"),
            "frames": {"sent": self.sent, "in": arrived, "out": self.labelled, "dropped": dropped},
            "fps": {
                "sent": _rate(self.sent, self.start, self._last_sent),
                "out": _rate(self.labelled, self._first_label, self._last_label),
            },
            "latency_ms": dict(self.stages, **self._end_to_end_ms()),
            "miou": scores.miou if scored else None,
            "iou": {
                name: None if isnan(value) else float(value)
                for name, value in zip(self._labels.names, scores.iou, strict=True)
            }
            if scored
            else {},
            "scored": scored,
            "last_error": self.node.get("last_error") or "",
        }

    def finish(self) -> None:
        """Wait for the scores that are still being counted."""
        self._scorer.finish()

    def _add_score(self, truth: np.ndarray, label: np.ndarray) -> None:
        counted = Confusion(self._labels.class_count)
        counted.add(truth, label)
        with self._lock:
            self._confusion.matrix += counted.matrix
            self.scored += 1

    def _count(self, key: str) -> int | None:
        value = _number(self.node.get(key))
        return None if value is None else int(value)

    def _end_to_end_ms(self) -> dict[str, dict[str, float]]:
        if not self._end_to_end:
            return {}
        values = np.percentile(np.frombuffer(self._end_to_end).copy(), (50, 95, 99, 100))
        return {"end_to_end": {p: round(float(value), 3) for p, value in zip(PERCENTILES, values, strict=True)}}


def _number(text: str | None) -> float | None:
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if isnan(value) else value


def _rate(count: int, first: float | None, last: float) -> float | None:
    if first is None or count < 2 or last <= first:
        return None
    return round((count - 1) / (last - first), 3)
