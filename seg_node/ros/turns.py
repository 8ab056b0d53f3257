"""One-deep slots, one a camera, and the one thread that empties them in turn. Knows neither ROS nor images."""

import threading
from typing import Any, Callable, List, Optional, Tuple

_GATHER = 0.004  # seconds that a batch waits for frames of other cameras, which a trigger exposed at the same time


class Turns:
    """Calls ``work([(slot, item), ...])`` in a thread of its own.

    An item that comes while another waits in its slot replaces it, so nothing is ever queued. Slots take turns, so
    that a fast camera cannot starve a slow one. Up to ``batch()`` items of different slots go together.
    """

    def __init__(self, work: Callable[[List[Tuple[int, Any]]], None], slots: int, batch: Callable[[], int]) -> None:
        """``work`` must not raise."""
        self._work, self._batch = work, batch
        self._items: List[Optional[Any]] = [None] * slots
        self._begun: List[int] = []  # the slots whose items are at work
        self._next = 0  # the slot whose turn it is
        self._running = True
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="segment", daemon=True)
        self._thread.start()

    def offer(self, slot: int, item: Any) -> bool:
        """Leave an item for the thread; returns whether it replaced one that nobody had begun."""
        with self._condition:
            replaced = self._items[slot] is not None
            self._items[slot] = item
            self._condition.notify()
        return replaced

    def stop(self, timeout: float) -> bool:
        """Let the work at hand end and start no more; returns whether it ended within ``timeout`` seconds."""
        with self._condition:
            self._running = False
            self._condition.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def left(self) -> List[int]:
        """Return the slots whose items nobody has begun, or has not ended: after ``stop``, what it costs."""
        with self._condition:
            return [slot for slot, item in enumerate(self._items) if item is not None] + self._begun

    def _run(self) -> None:
        while True:
            items = self._take()
            if not items:
                return
            self._work(items)
            del items  # the frames' memory
            self._begun = []

    def _take(self) -> List[Tuple[int, Any]]:
        """Wait for items and return those whose turn it is, oldest turn first; none: stop."""
        with self._condition:
            while self._running and not self._waiting():
                self._condition.wait()
            most = min(self._batch(), len(self._items))
            if most > 1:
                self._condition.wait_for(lambda: not self._running or self._waiting() >= most, _GATHER)
            if not self._running:
                return []
            order = [(self._next + i) % len(self._items) for i in range(len(self._items))]
            slots = [slot for slot in order if self._items[slot] is not None][:most]
            taken = [(slot, self._items[slot]) for slot in slots]
            for slot in slots:
                self._items[slot] = None
            self._next, self._begun = (slots[-1] + 1) % len(self._items), slots
            return taken

    def _waiting(self) -> int:
        return sum(item is not None for item in self._items)
