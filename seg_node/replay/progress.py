"""How far a replay is, on stderr, and an end by Ctrl-C at a place where nothing is half done."""

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_FIRST = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered, the first SIGINT or SIGTERM is remembered for ``check``; a second one ends at once."""

    def __init__(self) -> None:
        self.received = False
        self._before: dict[Any, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in _FIRST}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        print("\nending: writing what there is (once more to end at once)", file=sys.stderr, flush=True)

    def check(self) -> None:
        """Raise KeyboardInterrupt where one was received."""
        if self.received:
            raise KeyboardInterrupt


class Bars:
    """A bar with the time left, where stderr is a terminal and rich is installed; otherwise nothing."""

    def __init__(self, unit: str = "frames") -> None:
        self._progress: Any = None
        self._unit = unit

    def __enter__(self) -> "Bars":
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import (
                    BarColumn,
                    MofNCompleteColumn,
                    Progress,
                    TextColumn,
                    TimeElapsedColumn,
                    TimeRemainingColumn,
                )
            except ImportError:
                return self
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self._unit),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def add(self, title: str) -> Callable[[int, int | None], None]:
        """Begin a bar; returns what moves it: (done, of how many)."""
        if self._progress is None:
            return lambda done, total: None
        bar = self._progress.add_task(title, total=None)
        return lambda done, total: self._progress.update(bar, completed=done, total=total)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        if self._progress is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._progress.console.print(text, markup=False, highlight=False)
