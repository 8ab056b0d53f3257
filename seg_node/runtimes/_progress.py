"""What a backend says while loading takes long: to whoever listens in this thread, else to stderr."""

import contextlib
import sys
import threading
import time
from typing import Callable, Iterator

_EVERY = 30.0  # seconds between lines where stderr is a file
_listening = threading.local()
_printed = {"at": 0.0}


@contextlib.contextmanager
def heard_by(say: Callable[[str], None]) -> Iterator[None]:
    """Have ``say`` told, in place of stderr, what this thread's backends do; "" when that has ended."""
    before = getattr(_listening, "say", None)
    _listening.say = say
    try:
        yield
    finally:
        _listening.say = before
        say("")


def tell(text: str) -> None:
    """Say what goes on, as often as you like; "" when it has ended."""
    say = getattr(_listening, "say", None)
    (say or _print)(text)


def _print(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + text)
        sys.stderr.flush()
    elif text and time.monotonic() - _printed["at"] >= _EVERY:
        _printed["at"] = time.monotonic()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
