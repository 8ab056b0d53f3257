"""How many images a camera published and this process was never given. Imports no ROS."""

from typing import List, Optional

_WORTH = 0.1  # share of images whose stamps are missing before that is worth a warning: cameras falter, too
_ENOUGH = 10  # gaps between stamps before anything is made of them
_MOST = 10.0  # periods; a longer gap is a pause of the camera
_MANY = 10000  # gaps between stamps that are kept, should nobody look
_FEW = 1000  # images; a longer gap in numbers is another publisher
_PUBLISHERS = 4  # of one topic that are told apart
_FASTEST = 0.2  # the share of gaps that are at most one period: so many frames in five may be lost and it still shows


class Gaps:
    """Fed with every image; read once a period. One thread feeds, another may read.

    What a publisher's sequence numbers leave out was published and never given to us: lost on the way, or replaced by a
    newer one before it was taken. Where a middleware tells no such numbers, stamps say about the same.
    """

    def __init__(self) -> None:
        self.missing = 0  # by sequence number, ever
        self._sequences: List[int] = []  # each publisher's last, the newest at the end
        self._stamp: Optional[float] = None
        self._steps: List[float] = []  # seconds between stamps, since the last look; none where numbers are told

    def see(self, stamp: float, sequence: Optional[int]) -> None:
        """Take an image's stamp (seconds) and its number among its publisher's, None where nobody tells."""
        before, self._stamp = self._stamp, stamp
        if sequence is not None:
            self._count(sequence)
        elif before is not None and stamp > before and len(self._steps) < _MANY:
            self._steps.append(stamp - before)

    def _count(self, sequence: int) -> None:
        """Count what is missing before this number, among those of the publisher that it follows on best."""
        before = max((last for last in self._sequences if _FEW > sequence - last > 0), default=None)
        if before is not None:
            self._sequences.remove(before)
            self.missing += sequence - before - 1
        self._sequences = self._sequences[1 - _PUBLISHERS :] + [sequence]

    @property
    def numbered(self) -> bool:
        """Whether the middleware tells sequence numbers."""
        return bool(self._sequences)

    def by_stamps(self) -> int:
        """Return about how many images the stamps since the last call leave out; 0 where it is not worth a word."""
        steps, self._steps = self._steps, []
        if len(steps) < _ENOUGH:
            self._steps = steps + self._steps  # wait for more
            return 0
        short = sorted(steps)[int(_FASTEST * (len(steps) - 1))]
        ones = [step for step in steps if step < 1.5 * short]
        period = sum(ones) / len(ones)
        missing = sum(int(step / period + 0.5) - 1 for step in steps if step < _MOST * period)
        return missing if missing > _WORTH * (missing + len(steps)) else 0
