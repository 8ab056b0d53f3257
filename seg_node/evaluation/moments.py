"""Put together what belongs to one frame, and pick a few of them evenly over a drive."""

from collections import OrderedDict
from typing import Any


class Pairing:
    """Parts of frames by their stamp, the newest within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self._budget, self._held = budget, 0
        self._frames: OrderedDict[int, dict[str, Any]] = OrderedDict()

    def add(self, stamp: int, part: str, data: Any, size: int) -> dict[str, Any]:
        """Add one part and return all parts of that frame so far, the same dict each time."""
        frame = self._frames.setdefault(stamp, {"stamp": stamp, "size": 0})
        frame[part] = data
        frame["size"] += size
        self._held += size
        while self._held > self._budget and len(self._frames) > 1:
            _, oldest = self._frames.popitem(last=False)
            self._held -= oldest["size"]
        return frame


class Moments:
    """A few frames, evenly spread over a drive whose length nobody knows: it may be interrupted."""

    def __init__(self, count: int) -> None:
        """Keeps ``count`` to ``2 * count - 1`` frames, fewer only of a very short drive; ``count`` is 2 or more."""
        self._count = count
        self._every = self._due = 0.2  # seconds
        self._chosen: list[dict[str, Any]] = []
        self._latest: dict[str, Any] | None = None

    def consider(self, frame: dict[str, Any], elapsed: float) -> bool:
        """Note the moment, ``elapsed`` seconds after the start, in the frame; keep the frame if one is due."""
        frame["elapsed"] = elapsed
        self._latest = frame
        if elapsed < self._due:
            return False
        self._chosen.append(frame)
        if len(self._chosen) == 2 * self._count:
            del self._chosen[::2]  # the newest stays
            self._every = (elapsed - self._chosen[0]["elapsed"]) / (self._count - 1)
        self._due = elapsed + self._every
        return True

    def frames(self) -> list[dict[str, Any]]:
        """Return what was kept; the newest frame where the drive ended before one was due."""
        return self._chosen or ([self._latest] if self._latest else [])
