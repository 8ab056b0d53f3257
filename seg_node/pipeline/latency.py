"""How long each stage takes and how many frames come, go and drop: what diagnostics and reports show."""

import threading
import time
from collections import deque
from typing import Callable, Deque, Dict, Mapping, NamedTuple, Sequence

import numpy as np


class Percentiles(NamedTuple):
    """Milliseconds; NaN where nothing was measured yet."""

    p50: float
    p95: float
    p99: float
    max: float


class Latency:
    """The last ``window`` durations of every stage. Safe to add and read from different threads."""

    def __init__(self, stages: Sequence[str], window: int = 300) -> None:
        self._rings: Dict[str, Deque[float]] = {stage: deque(maxlen=window) for stage in stages}
        self._lock = threading.Lock()

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take durations by stage. Raises KeyError for a stage that was not announced."""
        with self._lock:
            for stage, value in seconds.items():
                self._rings[stage].append(value)

    def percentiles(self) -> Dict[str, Percentiles]:
        """Return each stage's percentiles over its window, in the order the stages were given."""
        with self._lock:
            copies = {stage: list(ring) for stage, ring in self._rings.items()}
        return {stage: _percentiles(values) for stage, values in copies.items()}


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    if not seconds:
        return Percentiles(*[float("nan")] * 4)
    # as numpy.percentile, which takes four times as long
    ordered = np.sort(np.array(seconds)) * 1e3
    at = np.array((0.5, 0.95, 0.99, 1.0)) * (len(ordered) - 1)
    return Percentiles(*(float(ms) for ms in np.interp(at, np.arange(len(ordered)), ordered)))


class Counters:
    """Named counts, and how fast they grew lately. Safe across threads."""

    def __init__(self, names: Sequence[str], window: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        """``window``: the seconds a rate looks back; ``clock`` must never go back."""
        self._totals = dict.fromkeys(names, 0)
        self._times: Dict[str, Deque[float]] = {name: deque() for name in names}
        self._window, self._clock = window, clock
        self._start = clock()
        self._lock = threading.Lock()

    def count(self, name: str) -> None:
        """Count one. Raises KeyError for a name that was not announced."""
        now = self._clock()
        with self._lock:
            self._totals[name] += 1
            self._times[name].append(now)
            self._forget(name, now)

    def total(self, name: str) -> int:
        with self._lock:
            return self._totals[name]

    def rate(self, name: str) -> float:
        """Return counts per second over the last ``window`` seconds, or since the start if shorter."""
        now = self._clock()
        with self._lock:
            self._forget(name, now)
            seconds = min(self._window, now - self._start)
            return len(self._times[name]) / seconds if seconds > 0 else 0.0

    def _forget(self, name: str, now: float) -> None:
        times = self._times[name]
        while times and times[0] <= now - self._window:
            times.popleft()
