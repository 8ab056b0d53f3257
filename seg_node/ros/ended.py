"""That the process is to end, told by a signal's handler or by a thread. Imports no ROS."""

import contextlib
import os
import select


class Ended:
    """As threading.Event, but a signal's handler may set it.

    That runs in the very thread that waits, and an Event's lock, which the thread may hold then, would never be free.
    """

    def __init__(self) -> None:
        self._set = False
        self._hears, self._tells = os.pipe()
        os.set_blocking(self._tells, False)  # full of what nobody has read: it was told often enough

    def set(self) -> None:
        self._set = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._tells, b"!")

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        """Return whether it is set, by ``timeout`` seconds from now at the latest."""
        if not self._set:
            select.select([self._hears], [], [], timeout)
        return self._set
