"""Our node against the one that one would otherwise write (bench/tutorial_node.py), with the same network.

As it starts by itself, and in fp32 where it takes INT8 by itself.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bench.field import OURS, TUTORIAL, Drive, Field, Node, cpu_a_frame, delivered
from bench.items.node import SATURATED, shown, takes_int8
from bench.plan import BOTH, Plan
from bench.table import Row, row
from bench.turns import in_turns, percentiles

_EASY = 0.6  # of the slower node's rate: both keep up
_TIMES, _LATENCY = 4.0, 0.25  # the goals


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    with Field() as field:
        say("starting both nodes")
        nodes = {"ours": field.start("ours", OURS, model=plan.model)}
        if takes_int8(plan.model):
            nodes["ours in fp32"] = field.start("fp32", OURS, model=plan.model, precision="fp32")
        nodes["tutorial"] = field.start("tutorial", TUTORIAL, model=plan.model)
        for node in nodes.values():
            field.listen(node, BOTH)
        for camera in plan.compared:
            say(f"camera {shown(camera)}")
            yield from _compare(plan, field, nodes, camera)


def _compare(plan: Plan, field: Field, nodes: dict[str, Node], camera: tuple[int, int]) -> Iterator[Row]:
    takes = {name: field.takes(node, camera) for name, node in nodes.items()}
    easy = _EASY * 1e3 / max(takes.values())
    rates = {name: [easy, 30.0, SATURATED * 1e3 / takes[name]] for name in nodes}
    things = {
        f"{name} {kind}": lambda node=node, rate=rates[name][kind]: field.drive(node, camera, rate, plan.at(rate))
        for name, node in nodes.items()
        for kind in range(3)
    }
    drives = in_turns(plan.rounds, things)
    for ours in list(nodes)[:-1]:
        yield from _against(drives, ours, f"camera {shown(camera)}, {ours}", easy)


def _against(drives: dict[str, list[Drive]], ours: str, name: str, easy: float) -> Iterator[Row]:
    """One of our nodes against the tutorial node."""
    gaps = [_gap(drives[f"{node} 2"]) for node in (ours, "tutorial")]
    yield row(
        f"{name}: frames a second",
        1e3 / gaps[0],
        "Hz, mean, as many as it can",
        1e3 / gaps[1],
        goal=f">= {_TIMES:g} x",
        met=bool(gaps[1] / gaps[0] >= _TIMES),
        baseline_is="the tutorial node",
        frames=sum(len(drive.gaps) for drive in drives[f"{ours} 2"]),
    )
    for kind, what in ((0, f"{easy:.1f} Hz, which all can"), (1, "30 Hz")):
        both = [drives[f"{node} {kind}"] for node in (ours, "tutorial")]
        for output in BOTH:
            here, there = (np.concatenate([drive.latency[output] for drive in each]) for each in both)
            if not len(here) or not len(there):
                continue
            value, baseline = float(np.median(here)), float(np.median(there))
            yield row(
                f"{name}, {what}: camera to {output}",
                value,
                "ms, median",
                baseline,
                goal=f"<= {_LATENCY:g} x" if output == "label" else "",
                met=bool(value <= _LATENCY * baseline) if output == "label" else None,
                baseline_is="the tutorial node",
                **percentiles(here),
                baseline_percentiles=percentiles(there),
            )
        came = [delivered(each) for each in both]
        yield row(f"{name}, {what}: frames labelled", came[0], "of those sent", came[1])
        used = [cpu_a_frame(each) for each in both]
        if used[0] is not None:
            yield row(f"{name}, {what}: processor", used[0], "ms of a core a frame", used[1])


def _gap(drives: list[Drive]) -> float:
    """Return the mean time between two labels, ms."""
    return float(np.mean(np.concatenate([drive.gaps for drive in drives])))
