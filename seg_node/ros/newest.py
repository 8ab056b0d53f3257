"""A one-deep slot and the one thread that empties it. Knows neither ROS nor images."""

import threading
from typing import Any, Callable, Optional


class NewestWins:
    """Calls ``work(item)`` in a thread of its own; an item that comes while another waits replaces it."""

    def __init__(self, work: Callable[[Any], None]) -> None:
        """``work`` must not raise."""
        self._work = work
        self._item: Optional[Any] = None
        self._running = True
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="segment", daemon=True)
        self._thread.start()

    def offer(self, item: Any) -> bool:
        """Leave an item for the thread; returns whether it replaced one that nobody had begun."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
        return replaced

    def stop(self, timeout: float) -> bool:
        """Let the work at hand end and start no more; returns whether it ended within ``timeout`` seconds."""
        with self._condition:
            self._running = False
            self._condition.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._item is None and self._running:
                    self._condition.wait()
                if not self._running:
                    return
                item, self._item = self._item, None
            self._work(item)
            del item  # a frame's memory
