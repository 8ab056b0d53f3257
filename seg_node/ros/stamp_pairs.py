"""Pairs of labelled images and the depth that was taken with them, whichever comes first. Knows no ROS."""

from collections import deque
from typing import Any, Deque, List, NamedTuple, Optional, Tuple

_SECOND = 10**9


class Settled(NamedTuple):
    """What became of images: paired with depth, or given up with a reason."""

    pairs: List[Tuple[Any, Any]]
    lost: List[str]


class StampPairs:
    """Two short queues by stamps in nanoseconds; one caller at a time.

    An image takes the depth of its own stamp; else the nearest, once depth that was taken after the image has come,
    since until then a nearer one may.
    """

    def __init__(self, what: str, tolerance: int, keep: int, wait: int) -> None:
        """``what``: depth's name in reasons; ``keep``, ``wait``: how many depths and images are held."""
        self._what, self._tolerance = what, tolerance
        self._keep, self._wait = keep, wait
        self._depths: Deque[Tuple[int, Any]] = deque()
        self._images: Deque[Tuple[int, Any]] = deque()
        self._expected: Optional[int] = None

    def expect(self, stamp: int) -> None:
        """Keep the depth nearest to this stamp, however long its image takes."""
        self._expected = stamp

    def clear(self) -> None:
        """Forget everything that waits."""
        self._depths.clear()
        self._images.clear()

    def add_depth(self, stamp: int, depth: Any) -> Settled:
        """Take depth in; returns what that settles."""
        self._depths.append((stamp, depth))
        if len(self._depths) > self._keep:
            kept = None if self._expected is None else self._nearest(self._expected)
            del self._depths[1 if self._depths[0] is kept else 0]
        return self._settle()

    def add_image(self, stamp: int, image: Any) -> Settled:
        """Take a labelled image in; returns what that settles."""
        self._images.append((stamp, image))
        settled = self._settle()
        while len(self._images) > self._wait:
            settled.lost.append(self._why_lost(self._images.popleft()[0]))
        return settled

    def _settle(self) -> Settled:
        settled, images = Settled([], []), self._images
        self._images = deque()
        for stamp, image in images:
            later = [other - stamp for other, _ in self._depths if other >= stamp]
            nearest = self._nearest(stamp)
            if later and nearest is not None and abs(nearest[0] - stamp) <= self._tolerance:
                settled.pairs.append((image, nearest[1]))
            elif later and min(later) < _SECOND:  # from further on is what a bag left before it began anew
                settled.lost.append(self._why_lost(stamp))
            else:
                self._images.append((stamp, image))
        return settled

    def _nearest(self, stamp: int) -> Optional[Tuple[int, Any]]:
        """Of several the last that came: a driver that leaves its stamps at 0 would else keep to its first depth."""
        return min(reversed(self._depths), key=lambda depth: abs(depth[0] - stamp)) if self._depths else None

    def _why_lost(self, stamp: int) -> str:
        nearest = self._nearest(stamp)
        if nearest is None:
            return "no {} has come for an image, nor for the {} after it".format(self._what, self._wait)
        return "no {} within {:g} ms of an image; the nearest is {:+.1f} ms away by its stamp".format(
            self._what, self._tolerance / 1e6, (nearest[0] - stamp) / 1e6
        )
