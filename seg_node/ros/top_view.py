"""What `seg-node top` keeps of the statuses it hears, and how it shows them. Imports no ROS."""

import math
import re
import textwrap
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple

from seg_node.ros.health import STAGES

LEVELS = ("OK", "WARN", "ERROR", "STALE")  # DiagnosticStatus
_STYLES = {"OK": "green", "WARN": "yellow", "ERROR": "bold red", "STALE": "magenta"}
_SILENT = 3  # periods of a node after which it is gone
_REMOVED = 10.0  # seconds that a gone node is shown
_NAME = 16  # columns of a camera's name
_NUMBERS = re.compile(r"(frames|dropped|lost)_|.*_(hz|ms|mw|mhz|c|percent)$")
_JETSON = (
    ("gpu_load_percent", "GPU {} %"),
    ("gpu_clock_mhz", "{} MHz"),
    ("temperature_gpu_c", "{} C"),
    ("temperature_cpu_c", "CPU {} C"),
    ("power_mw", "{} mW"),
    ("throttled", "throttled: {}"),
)

Line = List[Tuple[str, str]]  # (text, style) side by side; the styles are rich's


class Status:
    """A DiagnosticStatus, and when it was heard."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        node, _, self.camera = name.rpartition(": ")
        self.node = node or name
        self.level, self.message, self.hardware_id = "OK", "", ""
        self.values: Dict[str, str] = {}
        self.stamp = 0.0  # seconds of the sender's clock
        self.news = False  # since the board was last asked
        self._heard = now
        self._gaps: Deque[float] = deque(maxlen=5)

    @property
    def is_camera(self) -> bool:
        """Whether it is of a seg_node's camera, by the keys that no other program's status has."""
        return "frames_in" in self.values and "runtime" in self.values

    def take(self, status: Any, stamp: float, now: float) -> None:
        level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
        self.level = LEVELS[min(level, 3)]
        self.message, self.hardware_id = _plain(status.message), status.hardware_id
        self.values = {value.key: _plain(value.value) for value in status.values}
        if now > self._heard:
            self._gaps.append(now - self._heard)
        self._heard, self.stamp, self.news = now, stamp, True

    def silent_for(self, now: float) -> float:
        """Return the seconds since it was heard, 0 while that is less than three of its periods."""
        return now - self._heard if now > self.due else 0.0

    @property
    def due(self) -> float:
        """When it counts as gone unless it is heard again."""
        gaps = sorted(self._gaps) or [_number(self.values.get("diagnostics_period", "")) or 1.0]
        return self._heard + _SILENT * max(gaps[len(gaps) // 2], 0.3)

    def json(self) -> Dict[str, Any]:
        """Return plain data; figures as numbers, those that were not measured as None."""
        values = {key: _number(value) if _NUMBERS.match(key) else value for key, value in self.values.items()}
        return {
            "name": self.name,
            "node": self.node,
            "camera": self.camera,
            "level": self.level,
            "message": self.message,
            "hardware_id": self.hardware_id,
            "stamp": self.stamp,
            "values": values,
        }


class Board:
    """The last of each status on /diagnostics; ours are those of nodes that have a camera's status."""

    def __init__(self, wanted: Sequence[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """``wanted``: names of nodes, or the ends of them after a slash; one that begins with a slash is whole."""
        self._wanted, self._clock = list(wanted), clock
        self._statuses: Dict[str, Status] = {}

    def take(self, message: Any) -> None:
        """Take a DiagnosticArray."""
        now = self._clock()
        stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        for status in message.status:
            self._statuses.setdefault(status.name, Status(status.name, now)).take(status, stamp, now)

    def nodes(self) -> Dict[str, List[Status]]:
        """Return the wanted nodes of ours by name, each with its statuses: cameras, then others, by name."""
        self._forget()
        nodes: Dict[str, List[Status]] = {}
        for name in sorted(self._ours()):
            if self._is_wanted(name):
                found = [status for status in self._statuses.values() if status.node == name]
                nodes[name] = sorted(found, key=lambda status: (not status.is_camera, status.name))
        return nodes

    def unwanted(self) -> List[str]:
        """Return the names of our other nodes."""
        return sorted(name for name in self._ours() if not self._is_wanted(name))

    def news(self) -> List[Status]:
        """Return the wanted statuses that came since the last call."""
        found = [status for statuses in self.nodes().values() for status in statuses if status.news]
        for status in found:
            status.news = False
        return found

    def _ours(self) -> Set[str]:
        return {status.node for status in self._statuses.values() if status.is_camera}

    def _is_wanted(self, node: str) -> bool:
        whole = "/" + node
        return not self._wanted or any(
            whole == name if name.startswith("/") else whole.endswith("/" + name) for name in self._wanted
        )

    def _forget(self) -> None:
        now = self._clock()
        for name, status in list(self._statuses.items()):
            if now > status.due + _REMOVED:
                del self._statuses[name]

    def lines(self, width: int = 80) -> List[Line]:
        """Return the lines of the display; only messages use more than 80 columns."""
        now = self._clock()
        lines: List[Line] = []
        for name, statuses in self.nodes().items():
            lines += [[]] if lines else []
            lines += _node_lines(name, statuses, now, width)
        return [_cut(line, width) for line in lines]


def _node_lines(name: str, statuses: Sequence[Status], now: float, width: int) -> List[Line]:
    cameras = [status for status in statuses if status.is_camera]
    values = dict(pair for status in reversed(statuses) for pair in status.values.items())
    loading = values.get("loading") or ""
    model = "{} {}, {} on {}, {}".format(
        *(values.get(key) or "-" for key in ("model", "input_size", "runtime", "device", "precision"))
    )
    state: Line = [("  " + _state(cameras[0]), "bold")]
    state += [("  loading " + loading, "yellow")] if loading not in ("", "no", "false", "False") else []
    lines: List[Line] = [[(name, "bold cyan")] + state, [("  " + model, "")]]
    lines += [_head(), _row("", ("in Hz", "out Hz", "p50", "p95", "p50", "p95", "p99", "dropped"), _WIDTHS, "dim")]
    lines += [_figures(status, now) for status in cameras]
    stages = [stage for stage in STAGES if stage not in ("age", "total")]
    widths = [max(len(stage), 6) + 1 for stage in stages]
    lines.append(_row("  p95 in ms", stages, widths, "dim"))
    for status in cameras:
        row = [_short(status.values.get(stage + "_p95_ms")) for stage in stages]
        lines.append(_row(_camera(status), row, widths, _tone(status, now)))
    for status in statuses:
        lines += _words(status, now, width)
    return lines


_WIDTHS = (7, 7, 7, 7, 7, 7, 7, 8)


def _head() -> Line:
    return [(" " * (_NAME + 2 + 14) + "age in ms".rjust(14) + "total in ms".rjust(21), "dim")]


def _figures(status: Status, now: float) -> Line:
    keys = ("rate_in_hz", "rate_out_hz", "age_p50_ms", "age_p95_ms", "total_p50_ms", "total_p95_ms", "total_p99_ms")
    drops = list(_drops(status).values())
    row = [_short(status.values.get(key)) for key in keys] + [str(sum(drops)) if drops else "-"]
    return _row(_camera(status), row, _WIDTHS, _tone(status, now))


def _words(status: Status, now: float, width: int) -> List[Line]:
    """Return a status's level and message, and what was lost and why or what its Jetson says."""
    silence = status.silent_for(now)
    level, style = ("GONE", "bold red") if silence else (status.level, _STYLES[status.level])
    text = "silent for {:.0f} s".format(silence) if silence else status.message
    more = []
    if status.is_camera:
        causes = ["{} {}".format(count, cause.replace("_", " ")) for cause, count in _drops(status).items() if count]
        drops = ", ".join(causes) or ("none" if _drops(status) else "-")
        more.append("dropped: {}; lost before arrival: {}".format(drops, status.values.get("lost_before_arrival", "-")))
    jetson = ", ".join(form.format(status.values[key]) for key, form in _JETSON if key in status.values)
    if jetson and not text:
        text = jetson
    elif jetson:
        more.append(jetson)
    lines: List[Line] = []
    start = _camera(status).ljust(_NAME + 2) + " "
    for number, part in enumerate(_wrap(text or "-", width - len(start) - 6)):
        lead: Line = [(start, ""), (level.ljust(6), style)] if number == 0 else [(" " * (len(start) + 6), "")]
        lines.append(lead + [(part, style if level != "OK" else "")])
    return lines + [[(" " * len(start) + part, "dim")] for text in more for part in _wrap(text, width - len(start))]


def _wrap(text: str, width: int) -> List[str]:
    return textwrap.wrap(text, max(width, 20), break_on_hyphens=False) or [""]


def _row(name: str, cells: Sequence[str], widths: Sequence[int], style: str) -> Line:
    return [(name.ljust(_NAME + 2) + "".join(cell.rjust(width) for cell, width in zip(cells, widths)), style)]


def _camera(status: Status) -> str:
    """Return a camera's name, the end of it where it is long."""
    name = status.camera if len(status.camera) <= _NAME else "..." + status.camera[3 - _NAME :]
    return "  " + name


def _tone(status: Status, now: float) -> str:
    return "dim" if status.silent_for(now) else ""


def _state(status: Status) -> str:
    """Return the lifecycle state; a status that does not name it has it as its message, unless active."""
    if status.values.get("state"):
        return status.values["state"]
    if status.message in ("unconfigured", "loading", "inactive", "finalized"):
        return status.message
    return "failed" if status.level == "ERROR" else "active"


def _drops(status: Status) -> Dict[str, int]:
    """Return counts by cause, whatever causes the node knows."""
    counts = {key[len("dropped_") :]: _number(value) for key, value in status.values.items() if "dropped_" in key[:8]}
    return {cause: int(count) for cause, count in counts.items() if count is not None}


def _number(text: Optional[str]) -> Optional[float]:
    """Return an int where it is one; None for what is no finite number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return int(value) if (text or "").lstrip("-").isdigit() else value


def _short(text: Optional[str]) -> str:
    """Return a figure in at most six columns, "-" where there is none."""
    value = _number(text)
    if value is None:
        return "-"
    forms = [form.format(value) for form in ("{:.1f}", "{:.0f}", "{:.0e}")]
    return next((form for form in forms if len(form) <= 6), forms[-1])


def _plain(text: str) -> str:
    """Return a text on one line, without what would move a terminal's cursor."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _cut(line: Line, width: int) -> Line:
    cut, left = [], width
    for text, style in line:
        cut.append((text[:left], style))
        left -= len(text[:left])
    return cut
