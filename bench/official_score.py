"""How much faster are we than the official Cityscapes evaluation, on the same PNG files, with the same scores?

    python bench/official_score.py [IMAGES]        (default 20, rendered, 2048x1024, about 19 objects each)

Measured with and without the instance level, each from files to scores, and counting alone, with the decoded images in
memory: decoding PNGs takes both most of their time, and is a library's. The official one is pure Python, as `pip
install cityscapesScripts` installs it. Prints one JSON object a line; exits with 1 where a score differs in the fourth
decimal, or where counting is not 20 times as fast.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from cityscapes_official import official, score_officially, write_dataset  # noqa: E402

from seg_node.datasets import Sample, Split, open_split  # noqa: E402
from seg_node.evaluation.hardware import hardware  # noqa: E402
from seg_node.evaluation.label_files import instance_reader, label_reader  # noqa: E402
from seg_node.evaluation.score import Ground, evaluate_files  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402

ROUNDS = 5
WANTED = 20.0  # times as fast, counting


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    good = True
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        pairs = write_dataset(data, count, (1024, 2048))
        for instances in (True, False):
            for decoded in (False, True):
                row = measure(data, pairs, instances, decoded)
                print(json.dumps(row), flush=True)
                good &= row["largest_difference"] < 5e-5 and (row["ratio"] >= WANTED or not decoded)
    return 0 if good else 1


def measure(data: Path, pairs: list[tuple[Path, Path]], instances: bool, decoded: bool) -> dict:
    """Run both; ``decoded``: with the images in memory."""
    label_set = load_label_set("cityscapes19")
    split, read = open_split("cityscapes", "val", data), label_reader(data / "results", label_set, "raw")
    if decoded:
        split = InMemory(split)
        labels = {sample.name: read(sample.name) for sample in split.samples}
        read = labels.__getitem__
    ground = Ground(split, label_set, workers=0 if decoded else os.cpu_count() or 1)
    clock = time.process_time if decoded else time.perf_counter  # both count in one thread
    with images_in_memory(pairs) if decoded else nullcontext():
        their_seconds, theirs = timed(lambda: score_officially(pairs, instances), clock)
    our_seconds, ours = timed(lambda: evaluate_files(read, ground, instances=instances), clock)
    what = "counting" if decoded else "files to scores"
    return {
        "name": f"cityscapes_score, {what}, {'with' if instances else 'without'} instance level",
        "value": round(1e3 * our_seconds / len(pairs), 2),
        "unit": "ms an image",
        "baseline": round(1e3 * their_seconds / len(pairs), 2),
        "ratio": round(their_seconds / our_seconds, 1),
        "largest_difference": largest_difference(theirs, ours.as_dict("ignored")),
        "images": len(pairs),
        "hardware": hardware(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


class InMemory:
    """A split whose files have been read."""

    def __init__(self, split: Split) -> None:
        objects = instance_reader(split)
        self.samples = [split.label(index) for index in range(len(split))]
        self.objects = [objects(index) for index in range(len(split))]

    def __len__(self) -> int:
        return len(self.samples)

    def label(self, index: int) -> Sample:
        return self.samples[index]

    def instances(self, index: int) -> np.ndarray:
        return self.objects[index]


@contextmanager
def images_in_memory(pairs: list[tuple[Path, Path]]) -> Iterator[None]:
    """Give the official module images that are decoded already, where it opens files."""
    module = official()
    paths = [str(path) for pair in pairs for path in pair]
    paths += [path.replace("labelIds", "instanceIds") for path in paths if "labelIds" in path]
    images = {path: module.Image.open(path) for path in paths}
    for image in images.values():
        image.load()
    before, module.Image = module.Image, SimpleNamespace(open=images.__getitem__)
    try:
        yield
    finally:
        module.Image = before


def timed(work: Callable, clock: Callable[[], float]) -> tuple[float, Any]:
    """Return the seconds of the fastest of a few rounds (what else runs on a machine only adds), and the result."""
    seconds = []
    for _ in range(ROUNDS):
        start = clock()
        result = work()
        seconds.append(clock() - start)
    return min(seconds), result


def largest_difference(theirs: dict, ours: dict) -> float:
    """Return the largest difference of a score that both have."""
    pairs = [(theirs["averageScoreClasses"], ours["miou"]), (theirs["averageScoreCategories"], ours["category_miou"])]
    for their_key, our_key in (
        ("classScores", "iou"),
        ("categoryScores", "category_iou"),
        ("classInstScores", "instance_iou"),
        ("categoryInstScores", "category_instance_iou"),
    ):
        pairs += [(theirs[their_key][name], value) for name, value in ours[our_key].items() if value is not None]
    return max(abs(a - b) for a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
