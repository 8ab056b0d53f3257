"""The share of its time that a training waits for data, in the training's own words (curve.jsonl)."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from bench.data import camvid
from bench.plan import Plan
from bench.table import Row, failure, row
from bench.workers import ROOT

_WANTED, _BATCH, _EPOCHS = 0.03, 8, 3


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    data = camvid()
    source = "camvid" if data else "street"
    name = f"training rdsnet, {source}, batches of {_BATCH}: waiting for data"
    with tempfile.TemporaryDirectory(prefix="seg_node_bench_") as folder:
        recipe = Path(folder) / "bench.yaml"
        count = plan.steps * _BATCH
        changes = {
            "base": "rdsnet_camvid_street",
            "name": "bench",
            "train": [{"dataset": source, "split": "train", "per_epoch": count}],
            "validate": {"dataset": source, "split": "val", "per_epoch": 2},
            "batch_size": _BATCH,
            "epochs": _EPOCHS,
            "validate_every": _EPOCHS,
        }
        if plan.name == "tiny":
            changes |= {"input": {"size": [48, 64]}, "batch_size": 2}
        recipe.write_text(yaml.safe_dump(changes), encoding="utf-8")
        say(f"{_EPOCHS} epochs of {plan.steps} steps")
        words = ["train", str(recipe), "--out", f"{folder}/run", *(["--data", str(data)] if data else [])]
        words += ["--workers", "1", "--cache", f"{folder}/cache"]
        environment = {**os.environ, "MPLCONFIGDIR": folder}
        done = subprocess.run(
            [sys.executable, "-m", "seg_node", *words],
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            yield failure(name, (done.stderr.strip().splitlines() or ["it failed"])[-1])
            return
        epochs = [json.loads(line) for line in (Path(folder) / "run/curve.jsonl").read_text().splitlines()]
    # the first one reads the files and starts the loaders, the last one validates
    for number, what in ((0, "first epoch, from files"), (1, "later ones")):
        line = epochs[number]
        goal = {"goal": f"< {_WANTED:.0%}", "met": line["waited"] < _WANTED * line["seconds"]} if number else {}
        yield row(
            f"{name}, {what}",
            100 * line["waited"] / line["seconds"],
            "% of the time",
            steps=plan.steps,
            seconds=line["seconds"],
            **goal,
        )
