"""What the node says of each camera on /diagnostics: counts, latencies, how well it is. Imports no ROS."""

import threading
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Tuple

from seg_node.pipeline.latency import Counters, Latency, Percentiles

OK, WARN, ERROR, STALE = 0, 1, 2, 3  # DiagnosticStatus
# "stopped": taken, but deactivated before its turn came. frames_in is frames_out and all of these together.
DROPS = ("newer_frame", "too_old", "max_rate", "bad_image", "inference_failed", "publish_failed", "stopped")
STAGES = ("age", "wait", "decode", "resize", "infer", "restore", "publish", "total", "overlay")
SILENCE = 2.0  # seconds without an image


class Report(NamedTuple):
    level: int
    message: str
    values: List[Tuple[str, str]]


class Condition:
    """The node's own state, which all of its cameras share."""

    def __init__(self) -> None:
        self.state = "unconfigured"  # of the lifecycle; "loading" while it is configured
        self.about: Dict[str, str] = dict.fromkeys(("model", "runtime", "device", "precision", "input_size"), "")
        self.loading = ""  # the model that loads beside the running one
        self.progress = ""  # what takes long while a model loads, and how far it is
        self.crowded = ""  # why what is published may be lost or late
        self.broken = ""  # why the node cannot work at all
        self.latency_budget = 0.0  # seconds; 0: none


class Health:
    """One camera's. Fed by the node's threads, read once a period."""

    def __init__(self, condition: Condition, clock: Callable[[], float] = time.monotonic) -> None:
        self._condition, self._clock = condition, clock
        self._lock = threading.Lock()
        self._last_error, self._news = "", ""  # ever, and since the last report
        self.reset()

    def reset(self) -> None:
        """Begin counting anew, as a configured node does."""
        self._counters = Counters(("in", "out") + DROPS, clock=self._clock)
        self._latency = Latency(STAGES)
        self._lost = 0
        self.replaced = (
            0  # images that came while this process was busy, and that newer ones replaced before it took them
        )
        self.listen()

    def listen(self) -> None:
        """Begin to wait for images: silence counts from here."""
        self._seen = self._clock()

    def received(self, age: float) -> None:
        """Count an image that came ``age`` seconds after its stamp."""
        self._seen = self._clock()
        self._counters.count("in")
        self._latency.add({"age": age})

    def labelled(self, seconds: Mapping[str, float]) -> None:
        self._counters.count("out")
        self._latency.add(seconds)

    def painted(self, seconds: Mapping[str, float]) -> None:
        """Add what was done for a frame after its labels were out."""
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
        return self._clock() - self._seen if self._condition.state == "active" else 0.0

    def report(self, why_silent: Callable[[], str]) -> Report:
        """Return the state of things. ``why_silent`` is asked only where no image has come for ``SILENCE``."""
        with self._lock:
            news, self._news = self._news, ""
        latency = self._latency.percentiles()
        values = self._values(latency)
        level, message = self._verdict(news, why_silent, latency["total"].p95 / 1e3)
        if self._condition.loading:
            message += "; loading model '{}'".format(self._condition.loading)
        if self._condition.progress:
            message += ": " + self._condition.progress
        return Report(level, message, list(values.items()))

    def _verdict(self, news: str, why_silent: Callable[[], str], p95: float) -> Tuple[int, str]:
        """Return level and message; ``p95``: of total, in seconds."""
        condition, silence = self._condition, self.silent_for()
        if condition.broken:
            return ERROR, condition.broken
        if silence > SILENCE:
            message = "no image for {:.0f} s on {}".format(silence, why_silent())
            return STALE, message + ("; " + news if news else "")
        if not news and condition.state == "active":
            news = condition.crowded
        if news:
            return WARN, news
        if condition.state != "active":
            return OK, condition.state
        rate = "{:.1f} frames a second".format(self._counters.rate("out"))
        if condition.latency_budget and p95 > condition.latency_budget:
            return WARN, "{}; p95 of total is {:.1f} ms, latency_budget is {:.1f} ms".format(
                rate, 1e3 * p95, 1e3 * condition.latency_budget
            )
        return OK, rate

    def _values(self, latency: Mapping[str, Percentiles]) -> Dict[str, str]:
        counters, values = self._counters, dict(self._condition.about)
        values["state"], values["loading"] = self._condition.state, self._condition.loading
        values["loading_progress"] = self._condition.progress
        for way in ("in", "out"):
            values["frames_" + way] = str(counters.total(way))
            values["rate_{}_hz".format(way)] = "{:.2f}".format(counters.rate(way))
        values.update({"dropped_" + cause: str(counters.total(cause)) for cause in DROPS})
        values["lost_before_arrival"] = str(self._lost)
        values["replaced_before_taken"] = str(self.replaced)
        values["last_error"] = self._condition.broken or self._last_error
        for stage, percentiles in latency.items():
            for name, value in percentiles._asdict().items():
                values["{}_{}_ms".format(stage, name)] = "{:.3f}".format(value)
        return values
