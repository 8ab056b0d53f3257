"""Every shipped model, or one, in every backend and precision, against eager PyTorch: time, equal labels, and mIoU."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

from bench.data import camvid
from bench.plan import Plan
from bench.table import Row, failure, row
from bench.workers import ROOT
from seg_node import model_card, runtimes
from seg_node.evaluation import benchmark

_TIMES, _TIMES_INT8, _POINTS = 4.0, 6.0, 0.5  # the goals
_EMULATED = benchmark.Way("torch", "fp16")  # on a CPU: ten times slower than fp32, and nobody's choice


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    for model in sorted({plan.model, *(model_card.names() if plan.name == "full" else ())}):
        say(f"{model}: every backend")
        yield from _of_model(plan, model, say)


def _of_model(plan: Plan, model: str, say: Callable[[str], None]) -> Iterator[Row]:
    card = model_card.load_card(model)
    refused: list[tuple[benchmark.Way, str]] = []
    names = [name for name in runtimes.names() if name != "fake"]
    ways = benchmark.ways(names, [name for name in runtimes.PRECISIONS if name != "auto"])
    ways.remove(_EMULATED)
    timings = benchmark.measure(
        card, ways, plan.frames, plan.rounds, "cpu", refused=lambda way, why: refused.append((way, why))
    )
    rows = [timing.as_dict(card, timings[0]) for timing in timings]
    others = list(zip(timings, rows, strict=True))[1:]
    if not others:
        yield from rows
        return
    for timing, each in others:
        if timing.way.precision == "int8":
            each |= {"goal": f"int8: >= {_TIMES_INT8:g} x", "met": each["ratio"] >= _TIMES_INT8}
    yield from rows
    best = max((each for _, each in others), key=lambda each: each["ratio"])
    yield row(
        f"{card.name}: the best of them, {best['name'].rpartition(', ')[2]}",
        best["value"],
        "ms",
        best["baseline"],
        best["ratio"],
        f">= {_TIMES:g} x",
        best["ratio"] >= _TIMES,
        frames=best["frames"],
    )
    for way, why in refused:
        yield failure(f"{card.name}, {way}", why)
    if plan.name == "full":
        yield from _scores(card, [timing.way for timing in timings], say)


def _scores(card: model_card.ModelCard, ways: list[benchmark.Way], say: Callable[[str], None]) -> Iterator[Row]:
    """What the lower precisions cost in mIoU, by ``seg-node evaluate``; PyTorch comes first."""
    data = camvid() if card.label_set.startswith("camvid") else None
    where = ["--dataset", "camvid", "--data", str(data)] if data else ["--dataset", "street"]
    wanted = [way for way in ways if way.precision in ("bf16", "int8") and way.runtime != "torch"]
    base = None
    for way in [ways[0], *wanted]:
        say(f"{card.name}: mIoU of {way}")
        words = ["evaluate", str(card.folder), *where, "--split", "val", "--runtime", way.runtime]
        done = subprocess.run(
            [sys.executable, "-m", "seg_node", *words, "--precision", way.precision, "--json"],
            cwd=ROOT,
            text=True,
            capture_output=True,
            check=False,
        )
        name = f"{card.name}, {way}: mIoU on {where[1]} val"
        if done.returncode:
            yield failure(name, done.stderr.strip().splitlines()[-1])
            continue
        scored = json.loads(done.stdout)
        miou = 100 * scored["miou"]
        base = miou if base is None else base
        goal = {"goal": f"<= {_POINTS:g} points lost", "met": base - miou <= _POINTS} if way.precision == "int8" else {}
        yield row(name, miou, "%", base, points_lost=round(base - miou, 3), images=scored["images"], **goal)
