"""Offline replay against the bare network: reading, decoding, resizing, counting and writing beside it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from bench.plan import Plan
from bench.table import Row, row
from bench.turns import in_turns
from seg_node.evaluation.benchmark import infer, street
from seg_node.model_card import load_card
from seg_node.replay.make_bag import record_street
from seg_node.replay.outputs import OUTPUTS
from seg_node.replay.session import Plan as Replay
from seg_node.replay.session import Replayer
from seg_node.runtimes import load_runtime

_WANTED, _RATE = 0.9, 20.0
_CASES = (
    ("auto", (), "report.json alone"),
    ("auto", OUTPUTS, "with video, bag, recording and page"),
    ("fp32", (), "report.json alone"),
)


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="seg_node_bench_") as folder:
        bag = Path(folder) / "street.mcap"
        say(f"recording {plan.seconds:g} s of street")
        record_street(bag, plan.seconds, _RATE)
        for precision, outputs, what in _CASES:
            say(f"replaying, precision {precision}, {what}")
            yield _replayed(plan, bag, Replay(plan.model, precision=precision, outputs=outputs), what)


def _replayed(plan: Plan, bag: Path, settings: Replay, what: str) -> Row:
    card, out = load_card(plan.model), bag.parent
    runtime = load_runtime(card, precision=settings.precision)
    with Replayer(settings) as replayer, closing(runtime):
        images = street(card.size, card.channels)
        frames = replayer.replay(bag, out / "warm")["frames"]["out"]

        def replay() -> float:
            start = time.perf_counter()
            replayer.replay(bag, out / "out")
            return time.perf_counter() - start

        results = in_turns(plan.rounds, {"replay": replay, "bare": lambda: sum(infer(runtime, images, frames)) / 1e3})
        precision = runtime.precision
    ours, bare = frames / np.median(results["replay"]), frames / np.median(results["bare"])
    held = not settings.outputs
    return row(
        f"{card.name} in {precision}, offline replay, {what}",
        float(ours),
        "frames a second",
        float(bare),
        goal=f">= {_WANTED:g} x" if held else "",
        met=bool(ours / bare >= _WANTED) if held else None,
        baseline_is="the network alone",
        frames=frames * plan.rounds,
    )
