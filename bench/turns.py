"""Things that are compared take turns, so that what else the machine does falls on all of them alike."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


def in_turns(rounds: int, things: Mapping[str, Callable[[], Result]]) -> dict[str, list[Result]]:
    """Do each thing ``rounds`` times: all once, then all again the other way round, and so on."""
    results: dict[str, list[Result]] = {name: [] for name in things}
    for number in range(rounds):
        for name in list(things)[:: 1 if number % 2 == 0 else -1]:
            results[name].append(things[name]())
    return results


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Return p50, p95 and p99, and of how many values."""
    if not len(values):
        return {"frames": 0}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {
        "p50": round(float(p50), 3),
        "p95": round(float(p95), 3),
        "p99": round(float(p99), 3),
        "frames": len(values),
    }
