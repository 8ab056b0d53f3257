"""What the node says of itself on /diagnostics: counts, latencies, and how well it is. Imports no ROS."""

import threading
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Tuple

from seg_node.pipeline.latency import Counters, Latency

OK, WARN, ERROR = 0, 1, 2  # DiagnosticStatus
DROPS = ("newer_frame", "too_old", "bad_image", "inference_failed")
STAGES = ("age", "decode", "resize", "infer", "restore", "overlay", "publish", "total")
SILENCE = 2.0  # seconds without an image


class Report(NamedTuple):
    level: int
    message: str
    values: List[Tuple[str, str]]


class Health:
    """Fed by the node's threads, read once a period."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.model = {"model": "", "runtime": "", "device": "", "input_size": ""}
        self.broken = ""  # why the node cannot work at all
        self._state = "unconfigured"
        self._last_error, self._news = "", ""  # ever, and since the last report
        self.reset()

    def reset(self) -> None:
        """Begin counting anew, as a newly loaded model does."""
        self._counters = Counters(("in", "out") + DROPS, clock=self._clock)
        self._latency = Latency(STAGES)
        self._lost = 0
        self._seen = self._clock()

    def enter(self, state: str) -> None:
        """Take a lifecycle state: "unconfigured", "loading", "inactive", "active"."""
        self._state = state
        self._seen = self._clock()

    def received(self, age: float) -> None:
        """Count an image that came ``age`` seconds after its stamp."""
        self._seen = self._clock()
        self._counters.count("in")
        self._latency.add({"age": age})

    def labelled(self, seconds: Mapping[str, float]) -> None:
        self._counters.count("out")
        self._latency.add(seconds)

    def dropped(self, cause: str, why: str = "") -> None:
        """Count a frame lost to a cause of ``DROPS``; with ``why`` it also is an error to report."""
        self._counters.count(cause)
        if why:
            self.error("{}: {}".format(cause, why))

    def lost(self, count: int, why: str) -> None:
        """Note images that the middleware lost before they were received; they are not among "in"."""
        self._lost += count
        self.error(why)

    def error(self, text: str) -> None:
        """Keep a text as the last error and warn in the next report."""
        with self._lock:
            self._last_error = self._news = text

    def silent_for(self) -> float:
        """Return how many seconds the active node has been without an image."""
        return self._clock() - self._seen if self._state == "active" else 0.0

    def report(self, why_silent: Callable[[], str]) -> Report:
        """Return the state of things. ``why_silent`` is asked only where no image has come for ``SILENCE``."""
        with self._lock:
            news, self._news = self._news, ""
        silence = self.silent_for()
        if self.broken:
            level, message = ERROR, self.broken
        elif silence > SILENCE:
            message = "no image for {:.0f} s on {}".format(silence, why_silent())
            level, message = WARN, message + ("; " + news if news else "")
        elif news:
            level, message = WARN, news
        elif self._state == "active":
            level, message = OK, "{:.1f} frames a second".format(self._counters.rate("out"))
        else:
            level, message = OK, self._state
        return Report(level, message, list(self._values().items()))

    def _values(self) -> Dict[str, str]:
        counters, values = self._counters, dict(self.model)
        for way in ("in", "out"):
            values["frames_" + way] = str(counters.total(way))
            values["rate_{}_hz".format(way)] = "{:.2f}".format(counters.rate(way))
        values.update({"dropped_" + cause: str(counters.total(cause)) for cause in DROPS})
        values["lost_before_arrival"] = str(self._lost)
        values["last_error"] = self.broken or self._last_error
        for stage, percentiles in self._latency.percentiles().items():
            for name, value in percentiles._asdict().items():
                values["{}_{}_ms".format(stage, name)] = "{:.3f}".format(value)
        return values
