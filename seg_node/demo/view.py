"""What a running demo shows: a table that is drawn anew on a terminal, a line every second elsewhere."""

import sys
from collections.abc import Mapping
from typing import Any, TextIO

_STAGES = {
    "age": "camera to node",
    "wait": "waiting its turn",
    "decode": "decode message",
    "resize": "resize to network",
    "infer": "network",
    "restore": "restore size",
    "overlay": "overlay and colour",
    "publish": "publish",
    "total": "node, arrival to label",
    "end_to_end": "camera to label received",
}
_CAUSES = {
    "newer_frame": "a newer frame came",
    "too_old": "too old",
    "bad_image": "bad image",
    "max_rate": "over max_rate",
    "inference_failed": "inference failed",
    "publish_failed": "publishing failed",
    "stopped": "stopped before its turn",
    "transport": "lost on the way",
}


class View:
    """Use as a context; ``show`` as often as a report comes, ``say`` for a line of text."""

    def __init__(self, title: str, duration: float, stream: TextIO = sys.stdout) -> None:
        self._title, self._duration, self._stream = title, duration, stream
        self._live: Any | None = None
        self._next_line = 0.0

    def __enter__(self) -> "View":
        if self._stream.isatty():
            try:
                from rich.console import Console
                from rich.live import Live

                self._live = Live(console=Console(file=self._stream), refresh_per_second=4, transient=True)
                self._live.start()
            except ImportError:
                pass  # lines do as well
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._stream, flush=True)

    def show(self, report: Mapping[str, Any], elapsed: float) -> None:
        """Show a report of ``evaluation.tally``, ``elapsed`` seconds after the first frame."""
        left = max(0.0, self._duration - elapsed)
        if self._live is not None:
            self._live.update(table(report, f"{self._title}\n{_progress(report, elapsed, left)}"))
        elif self._next_line <= elapsed <= self._duration and report["frames"]["sent"]:
            self._next_line = elapsed + 1.0
            self.say(f"{_progress(report, elapsed, left)}  {line(report)}")

    def finish(self, report: Mapping[str, Any]) -> None:
        """Leave the last report on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        try:
            from rich.console import Console

            Console(file=self._stream, width=None if self._stream.isatty() else 100).print(table(report, self._title))
        except ImportError:
            print(line(report), file=self._stream)


def _progress(report: Mapping[str, Any], elapsed: float, left: float) -> str:
    if not report["frames"]["sent"]:
        return "starting: the node loads its model"
    return f"{elapsed:4.0f} s, {left:.0f} s left"


def table(report: Mapping[str, Any], title: str) -> Any:
    """Return a rich renderable of one report."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _counts(report):
        counts.add_row(name, value)
    latency = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    latency.add_column("latency, ms", min_width=29)
    for head in ("p50", "p95", "p99", "max"):
        latency.add_column(head, justify="right", min_width=7)
    for stage, text in _STAGES.items():
        found = report["latency_ms"].get(stage)
        if found:
            style = "bold" if stage == "end_to_end" else None
            latency.add_row(text, *(f"{found[p]:.1f}" for p in ("p50", "p95", "p99", "max")), style=style)
    parts: list[Any] = [Text(title, style="bold"), Text(""), counts, Text(""), latency]
    if report["last_error"]:
        parts.append(Text(f"\nlast error of the node: {report['last_error']}", style="red"))
    return Group(*parts)


def _counts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    frames, fps = report["frames"], report["fps"]
    model = "not known yet"
    if report["model"]:
        size = f"{report['input_size']} (height x width)"
        model = f"{report['model']} at {size} with {report['runtime']} on {report['device']}"
    rows = [
        ("model", model),
        ("frames per second", f"{_number(fps['sent'])} in, {_number(fps['out'])} out"),
        ("frames", f"{frames['sent']} sent, {frames['out']} labelled"),
        ("dropped", dropped(frames["dropped"])),
    ]
    if report["miou"] is not None:
        rows.append(("mIoU", f"{100 * report['miou']:.1f} % against ground truth, {report['scored']} frames"))
    return rows


def dropped(causes: Mapping[str, int]) -> str:
    """Say how many frames were dropped and why, in words."""
    parts = [f"{count} {_CAUSES.get(cause, cause)}" for cause, count in causes.items() if count]
    return ", ".join(parts) or "none"


def line(report: Mapping[str, Any]) -> str:
    """Return one report as a line of text."""
    fps, latency = report["fps"], report["latency_ms"].get("end_to_end")
    parts = [f"{_number(fps['sent'])} frames/s in, {_number(fps['out'])} out"]
    if latency:
        parts.append("latency p50 {p50:.1f} p95 {p95:.1f} p99 {p99:.1f} ms".format(**latency))
    parts.append(f"dropped: {dropped(report['frames']['dropped'])}")
    if report["miou"] is not None:
        parts.append(f"mIoU {100 * report['miou']:.1f} %")
    return ", ".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
