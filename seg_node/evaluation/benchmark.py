"""What a network costs in every backend and precision, measured in turns, and whether all of them say the same.

The network alone: ``Runtime.infer``, uint8 pixels in, uint8 labels out.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node import runtimes
from seg_node.datasets import open_split
from seg_node.evaluation.hardware import commit, machine
from seg_node.model_card import ModelCard
from seg_node.runtimes import Runtime

BASELINE = ("torch", "fp32")  # what the others are compared with, where it is there
_IMAGES = 8  # different ones, of the rendered street
_LONGEST = 20.0  # seconds of a turn
_WARM_UP = 3  # inferences before those that count: another one has just had the processor


class NothingRunsError(ValueError):
    """A model of which no backend here can run a file."""


class Way(NamedTuple):
    """A way to run a network."""

    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"


@dataclass
class Timing:
    """What came of one way."""

    way: Way
    runtime: Runtime
    milliseconds: list[float] = field(default_factory=list)  # an inference each
    agreement: float | None = None  # share of the pixels that have the baseline's label

    def as_dict(self, card: ModelCard, baseline: "Timing | None") -> dict[str, Any]:
        """Return what ``--json`` prints; ``ratio``: how many times as fast as the baseline."""
        p50, p95, p99 = (round(float(x), 3) for x in np.percentile(self.milliseconds, (50, 95, 99)))
        theirs = round(float(np.median(baseline.milliseconds)), 3) if baseline else None
        height, width = card.size
        return {
            "name": f"{card.name} {width}x{height}, {self.way}",
            "value": p50,
            "unit": "ms",
            "baseline": theirs,
            "ratio": round(theirs / p50, 3) if theirs else None,
            "baseline_is": str(baseline.way) if baseline else None,
            "equal_labels": None if self.agreement is None else round(self.agreement, 6),
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "frames": len(self.milliseconds),
            "device": self.runtime.device,
            "hardware": machine(),
            "commit": commit(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


def ways(names: Iterable[str], precisions: Iterable[str]) -> list[Way]:
    """Return all pairs; "auto" among the precisions is each backend's own choice."""
    wanted = list(precisions)
    return [Way(name, precision) for name in names for precision in wanted]


def open_ways(
    card: ModelCard, wanted: Sequence[Way], device: str, refused: Callable[[Way, str], None]
) -> Iterator[Timing]:
    """Load what can be loaded; ``refused`` is told of the others, and why."""
    for way in wanted:
        try:
            runtime = runtimes.load_runtime(card, way.runtime, device, way.precision)
        except (ValueError, OSError, ImportError, RuntimeError) as error:
            refused(way, " ".join(str(error).split()))
            continue
        yield Timing(way._replace(precision=runtime.precision), runtime)


def measure(
    card: ModelCard,
    wanted: Sequence[Way],
    frames: int,
    rounds: int,
    device: str = "auto",
    refused: Callable[[Way, str], None] = lambda way, why: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Timing]:
    """Time ``frames`` inferences of each way, in ``rounds`` turns, and compare their labels with the baseline's.

    The first in the list is the baseline: ``BASELINE`` if it is there. Raises NothingRunsError where none can be
    loaded.
    """
    with ExitStack() as stack:
        timings = []
        for timing in open_ways(card, wanted, device, refused):
            stack.enter_context(closing(timing.runtime))
            timings.append(timing)
        if not timings:
            raise NothingRunsError(f"model '{card.name}' runs in none of {', '.join(str(way) for way in wanted)} here")
        timings.sort(key=lambda timing: timing.way != BASELINE)  # stable
        compare(timings, street(card.size, card.channels), frames, rounds, progress)
    return timings


def compare(
    timings: Sequence[Timing],
    images: np.ndarray,
    frames: int,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fill in what came of runtimes that are loaded; the first is the baseline. ``images``: as ``infer`` takes."""
    for timing in timings:
        timing.agreement = _agreement(timings[0].runtime, timing.runtime, images)
    for turn in range(rounds):
        for timing in timings[:: 1 if turn % 2 == 0 else -1]:
            timing.milliseconds += infer(timing.runtime, images, -(-frames // rounds))
        progress(turn + 1, rounds)


def infer(runtime: Runtime, images: np.ndarray, frames: int) -> list[float]:
    """Return the ms of so many inferences of one image each; fewer, but some, where it is very slow.

    ``images``: uint8 (N, H, W, 3) of the card's size.
    """
    milliseconds, end = list[float](), time.perf_counter() + _LONGEST
    for index in range(_WARM_UP + frames):
        image = images[index % len(images)][None]
        start = time.perf_counter()
        if start > end and index > _WARM_UP:
            break
        runtime.infer(image)
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return milliseconds[_WARM_UP:]


def _agreement(one: Runtime, other: Runtime, images: np.ndarray) -> float:
    """Return the share of pixels on which two say the same."""
    equal = []
    for image in images:
        labels = one.infer(image[None]).labels.copy()  # reused by the next call
        equal.append(np.mean(labels == other.infer(image[None]).labels))
    return float(np.mean(equal))


def street(size: tuple[int, int], channels: str = "bgr", count: int = _IMAGES) -> np.ndarray:
    """Return images of the rendered street, uint8 (count, H, W, 3) of ``size`` (height, width)."""
    split = open_split("street", "val")
    pictures = [split[index * len(split) // count].image for index in range(count)]
    pictures = [cv2.resize(picture, size[::-1]) for picture in pictures]
    return np.ascontiguousarray(np.stack(pictures)[..., :: 1 if channels == "bgr" else -1])
