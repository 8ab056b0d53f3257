"""Work beside a measurement that must not wait for it: a bounded queue, one thread at low priority."""

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any


class Background:
    """Calls ``work(*item)`` in its own thread; what comes while the queue is full is skipped and counted."""

    def __init__(self, work: Callable[..., None], depth: int) -> None:
        self.skipped = 0
        self.error: Exception | None = None  # the first; work goes on with the next item
        self._work = work
        self._items: queue.Queue[Any] = queue.Queue(depth)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def offer(self, *item: Any) -> bool:
        """Hand over one item without waiting; returns whether it was taken."""
        try:
            self._items.put_nowait(item)
            return True
        except queue.Full:
            self.skipped += 1
            return False

    def finish(self) -> None:
        """Wait until what was taken is done, and end the thread."""
        self._items.put(None)
        self._thread.join()

    def _loop(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # on Linux a priority belongs to a thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            item = self._items.get()
            if item is None:
                return
            try:
                self._work(*item)
            except Exception as error:  # a frame that cannot be drawn must not end the recording
                self.error = self.error or error
