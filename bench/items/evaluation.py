"""Scoring Cityscapes' files against the official scripts: the same numbers, and how many times as fast."""

from collections.abc import Callable, Iterator

from bench.items._script import rows_of
from bench.plan import Plan
from bench.table import Row

_TIMES, _SAME = 20.0, 5e-5


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    say(f"{plan.images} images, ours and the official one")
    for each in rows_of("official_score.py", str(plan.images)):
        if "ratio" in each and "skipped" not in each:
            same = each.get("largest_difference", 0.0) < _SAME
            counting = "counting" in each["name"]
            each["goal"] = f">= {_TIMES:g} x, same scores" if counting else "same scores"
            each["met"] = bool(same and (not counting or each["ratio"] >= _TIMES))
            each.setdefault("baseline_is", "the official cityscapesScripts")
        yield each
