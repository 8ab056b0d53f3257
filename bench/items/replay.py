"""Offline replay against the bare network: reading, decoding, resizing, counting and writing beside it."""

import tempfile
import time
from collections.abc import Callable, Iterator
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


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    card = load_card(plan.model)
    with tempfile.TemporaryDirectory(prefix="seg_node_bench_") as folder:
        bag = Path(folder) / "street.mcap"
        say(f"recording {plan.seconds:g} s of street")
        record_street(bag, plan.seconds, _RATE)
        runtime, images = load_runtime(card), street(card.size, card.channels)
        frames = 0
        for outputs, what in (((), "report.json alone"), (OUTPUTS, "with video, bag, recording and page")):
            with Replayer(Replay(plan.model, outputs=outputs)) as replayer:
                say(f"replaying, {what}")
                frames = replayer.replay(bag, Path(folder) / "warm")["frames"]["out"]

                def replay(replayer: Replayer = replayer) -> float:
                    start = time.perf_counter()
                    replayer.replay(bag, Path(folder) / "out")
                    return time.perf_counter() - start

                results = in_turns(
                    plan.rounds,
                    {"replay": replay, "bare": lambda: sum(infer(runtime, images, frames)) / 1e3},  # noqa: B023
                )
            ours, bare = frames / np.median(results["replay"]), frames / np.median(results["bare"])
            goal = {"goal": f">= {_WANTED:g} x", "met": bool(ours / bare >= _WANTED)} if not outputs else {}
            yield row(
                f"{card.name}, offline replay, {what}",
                float(ours),
                "frames a second",
                float(bare),
                baseline_is="the network alone",
                frames=frames * plan.rounds,
                **goal,
            )
        runtime.close()
