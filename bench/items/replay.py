"""Offline replay against the bare network: reading, decoding, resizing, counting and writing beside it.

The bag is as ``ros2 bag record`` writes one that is not told otherwise, not compressed; ours are, which is a row of its
own.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from rosbags.convert import convert

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
    ("auto", (), "recorded", "report.json alone"),
    ("auto", (), "compressed", "report.json alone, a compressed bag"),
    ("auto", OUTPUTS, "recorded", "with video, bag, recording and page"),
    ("fp32", (), "recorded", "report.json alone"),
)


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="seg_node_bench_") as folder:
        bags = {kind: Path(folder) / kind for kind in ("compressed", "recorded")}
        say(f"recording {plan.seconds:g} s of street")
        record_street(bags["compressed"], plan.seconds, _RATE)
        _write_plainly(bags["compressed"], bags["recorded"])
        for precision, outputs, kind, what in _CASES:
            say(f"replaying, precision {precision}, {what}")
            yield _replayed(plan, bags[kind], Replay(plan.model, precision=precision, outputs=outputs), what)


def _write_plainly(bag: Path, path: Path) -> None:
    """Write the bag's messages to another one, without compression."""
    convert(
        [bag],
        path,
        dst_storage="mcap",
        dst_version=9,
        compress=None,
        compress_mode="none",
        default_typestore=None,
        typestore=None,
        exclude_topics=(),
        include_topics=(),
        exclude_msgtypes=(),
        include_msgtypes=(),
    )


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

        def bare() -> float:  # of a slow network fewer are measured
            return float(np.mean(infer(runtime, images, frames))) * frames / 1e3

        results = in_turns(plan.rounds, {"replay": replay, "bare": bare})
        precision = runtime.precision
    # each round by itself: within one a machine that is shared keeps its pace, over minutes it does not
    ratio = float(np.median(np.array(results["bare"]) / np.array(results["replay"])))
    held = not settings.outputs
    return row(
        f"{card.name} in {precision}, offline replay, {what}",
        float(frames / np.median(results["replay"])),
        "frames a second",
        float(frames / np.median(results["bare"])),
        ratio,
        goal=f">= {_WANTED:g} x" if held else "",
        met=ratio >= _WANTED if held else None,
        baseline_is="the network alone",
        frames=frames * plan.rounds,
    )
