"""A thread for what may come a little later, beside the work that goes on. Knows neither ROS nor images."""

import threading
from typing import Callable, Optional


class Behind:
    """Does one thing at a time, and has no queue: who gives it another waits until the one before is done."""

    def __init__(self) -> None:
        self._work: Optional[Callable[[], None]] = None  # at hand
        self._running = True
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="behind", daemon=True)
        self._thread.start()

    def give(self, work: Callable[[], None]) -> None:
        """Have it done; it must not raise. Nothing happens once this was stopped."""
        with self._condition:
            self._condition.wait_for(lambda: self._work is None)
            if self._running:
                self._work = work
                self._condition.notify_all()

    def settle(self) -> None:
        """Wait until nothing is at work."""
        with self._condition:
            self._condition.wait_for(lambda: self._work is None)

    def stop(self, timeout: float) -> bool:
        """Let the work at hand end; returns whether it ended within ``timeout`` seconds."""
        with self._condition:
            self._running = False
            self._condition.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._work is not None or not self._running)
                work = self._work
            if work is None:
                return
            try:
                work()
            finally:
                with self._condition:
                    self._work = work = None
                    self._condition.notify_all()
