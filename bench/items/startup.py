"""From a node's start to its first label, beside the tutorial node's."""

from collections.abc import Callable, Iterator

import numpy as np

from bench.field import OURS, TUTORIAL, Field
from bench.plan import Plan
from bench.table import Row, row
from bench.turns import in_turns

_WANTED = 3.0  # seconds


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    camera, number = plan.cameras[0], 0
    with Field() as field:

        def start(module: str, **parameters: str) -> float:
            nonlocal number
            number += 1
            return field.first_label(f"start{number}", module, camera, model=plan.model, **parameters)

        say("starting nodes")
        for module in (OURS, TUTORIAL):  # from files that the machine has read once; and a compiled model is kept
            start(module)
        things = {
            "ours": lambda: start(OURS),
            "onnx": lambda: start(OURS, runtime="onnx"),
            "tutorial": lambda: start(TUTORIAL),
        }
        seconds = in_turns(plan.rounds, things)
    theirs = float(np.median(seconds["tutorial"]))
    for name, what in (("ours", "the node, runtime auto"), ("onnx", "the node, runtime onnx")):
        value = float(np.median(seconds[name]))
        yield row(
            f"{what}: from its start to the first label",
            value,
            "s, median",
            theirs,
            goal=f"< {_WANTED:g} s",
            met=bool(value < _WANTED),
            baseline_is="the tutorial node",
            starts=len(seconds[name]),
            longest=round(max(seconds[name]), 2),
        )
