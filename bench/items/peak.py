"""The highest rate at which less than 5 % of the frames are lost, and what happens at fixed rates (as ros2_benchmark).

ros2_benchmark looks for the peak by halving an interval of rates; so does this, for both nodes in turn, and then
measures at the rate found. A rate that the camera itself did not reach counts as lost.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bench.field import OURS, TUTORIAL, Field, Node, delivered
from bench.items.node import shown
from bench.plan import BOTH, Plan, Size
from bench.table import Row, row
from bench.turns import percentiles

LOST = 0.05
_CLOSE = 0.04  # of the rate: where the search ends
_HIGHEST = 1.6  # times the rate that a frame's latency suggests
_FIXED = (10.0, 30.0, 60.0)


class Search:
    """Halves an interval of rates until it is narrow."""

    def __init__(self, highest: float) -> None:
        self.low, self.high = 0.0, highest

    @property
    def done(self) -> bool:
        return self.high - self.low <= _CLOSE * self.high

    @property
    def rate(self) -> float:
        """The rate to try next."""
        return (self.low + self.high) / 2

    def note(self, kept_up: bool) -> None:
        """Say whether the node kept up with ``rate``."""
        if kept_up:
            self.low = self.rate
        else:
            self.high = self.rate


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    with Field() as field:
        say("starting both nodes")
        nodes = [field.start("ours", OURS, model=plan.model), field.start("tutorial", TUTORIAL, model=plan.model)]
        for camera in plan.compared:
            yield from _peak(plan, field, nodes, camera, say)


def _peak(plan: Plan, field: Field, nodes: list[Node], camera: Size, say: Callable[[str], None]) -> Iterator[Row]:
    searches = {}
    for node in nodes:
        field.listen(node, BOTH)  # the tutorial node paints whether somebody listens or not
        searches[node.name] = Search(_HIGHEST * 1e3 / field.takes(node, camera))
    while not all(search.done for search in searches.values()):
        for node in nodes:
            search = searches[node.name]
            if not search.done:
                say(f"camera {shown(camera)}, {node.name}: between {search.low:.1f} and {search.high:.1f} Hz")
                search.note(keeps_up(field, node, camera, search.rate, plan.at(search.rate, plan.probe)))
    ours, theirs = (searches[node.name].low for node in nodes)
    yield row(
        f"camera {shown(camera)}: peak rate with under {LOST:.0%} lost",
        ours,
        "Hz",
        theirs,
        baseline_is="the tutorial node",
        frames=plan.probe,
    )
    for rate in (ours, *(_FIXED if plan.name == "full" else ())):
        if not rate:
            continue
        drive = field.drive(nodes[0], camera, rate, plan.at(rate, plan.frames))
        what = "at its peak" if rate == ours else f"at {rate:g} Hz"
        latency = drive.latency["label"]
        yield row(
            f"camera {shown(camera)}, {what}: frames labelled", delivered([drive]), "of those sent", frames=drive.sent
        )
        if len(latency):
            yield row(
                f"camera {shown(camera)}, {what}: camera to label",
                float(np.median(latency)),
                "ms, median",
                **percentiles(latency),
                real_rate=round(drive.real_rate, 2),
            )


def keeps_up(field: Field, node: Node, camera: Size, rate: float, frames: int) -> bool:
    """Return whether under 5 % of the frames are lost at ``rate``."""
    drive = field.drive(node, camera, rate, frames)
    return delivered([drive]) * min(1.0, drive.real_rate / rate) > 1.0 - LOST
