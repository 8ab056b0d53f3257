"""Show what model B wins and loses against model A on the same images of a data set.

examples:
  seg-node compare rdsnet_camvid runs/better --dataset camvid --data CamVid
  seg-node compare models/erfnet models/dg2 --dataset cityscapes --data Cityscapes --limit 100 --out results --json

Both run through the pipeline and runtime that the robot runs, one after the other. The change of the mIoU comes with
the interval in which 95 % of draws of as many images have it: a change whose interval holds 0 may be chance. --out
leaves comparison.json, differ.jpg, and gains/ and losses/ with the images where they differ most: image, ground truth,
A, B, and who is right. (compare-reports compares recorded drives.)
"""

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg_node import runtimes
from seg_node.commands._scoring import add_data_arguments, add_runtime_arguments, cell, open_ground

if TYPE_CHECKING:
    from seg_node.evaluation.comparison import Label
    from seg_node.evaluation.score import Ground, Progress, Report

_TITLES = {
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "class_accuracy": "class accuracy",
    "frequency_weighted_iou": "frequency weighted IoU",
    "category_miou": "category IoU, mean",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the old model: a shipped one's name, or a folder with a card.yaml")
    parser.add_argument("b", metavar="B", help="the new one")
    add_data_arguments(parser)
    add_runtime_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write figures and pictures there")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.evaluation.comparison import MARK, compare, write_comparison
    from seg_node.evaluation.output_folder import output_folder
    from seg_node.replay.progress import Bars

    ground = open_ground(arguments)
    out = output_folder(arguments.out, MARK) if arguments.out else nullcontext()
    with out as folder, Bars("images") as bars:
        models = [_Model(model, arguments) for model in (arguments.a, arguments.b)]
        reports = [model.score(ground, bars.add(model.name)) for model in models]
        result = {
            **{key: model.about for key, model in zip("ab", models, strict=True)},
            "dataset": arguments.dataset,
            "split": arguments.split,
            **compare(reports[0], reports[1], arguments.void),
        }
        table = _table(result)
        if folder is not None:
            labels = [model.labels(ground) for model in models]
            write_comparison(folder, ground, (reports[0], reports[1]), result, table, labels)
        for model in models:
            model.close()
    print(json.dumps(result) if arguments.json else table)
    if arguments.out and not arguments.json:
        print(f"written: {arguments.out}/differ.jpg, comparison.json and more")
    return 0


class _Model:
    """One of the two, ready to run."""

    def __init__(self, model: str, arguments: argparse.Namespace) -> None:
        from seg_node.model_card import load_card
        from seg_node.pipeline.segmenter import Segmenter

        self.name = model
        card = load_card(model)
        self._runtime = runtimes.load_runtime(card, arguments.runtime, arguments.device, arguments.precision)
        self._segmenter = Segmenter(card, self._runtime)
        self.about: dict[str, Any] = {
            "model": card.name,
            "runtime": self._runtime.name,
            "precision": self._runtime.precision,
            "device": self._runtime.device,
            "input_size": list(card.size),
        }

    def score(self, ground: "Ground", progress: "Progress") -> "Report":
        from seg_node.evaluation.score import evaluate_on

        return evaluate_on(ground, self._segmenter, progress=progress)

    def labels(self, ground: "Ground") -> "Label":
        from seg_node.evaluation.score import labeller

        label = labeller(self._segmenter, ground)
        return lambda sample: np.asarray(label(sample)[0])

    def close(self) -> None:
        self._runtime.close()


def _table(result: dict[str, Any]) -> str:
    a, b = result["a"], result["b"]
    lines = [
        f"{name}: {about['model']}, input {about['input_size'][1]}x{about['input_size'][0]}, "
        f"runtime {about['runtime']} {about['precision']}, {times['p50']:.1f} ms an image (p95 {times['p95']:.1f})"
        for name, about, times in (("A", a, result["ms_per_image"]["a"]), ("B", b, result["ms_per_image"]["b"]))
    ]
    if a["precision"] != b["precision"]:
        lines.append("They differ in precision too; --precision fp32 compares the networks alone.")
    scale = f", at 1/{result['gt_scale']} of the ground truth's size" if result["gt_scale"] != 1 else ""
    lines.append(f"{result['dataset']} {result['split']}, {result['images']} images, void {result['void']}{scale}")
    lines.append(f"{'':<24}{'A':>12}{'B':>12}{'change':>12}")
    lines += [_row(name, pair) for name, pair in result["iou"].items()]
    lines += [_row(_TITLES[key], pair) for key, pair in result["totals"].items() if pair["a"] is not None]
    if result["miou_change_95"]:
        low, high = (100 * value for value in result["miou_change_95"])
        lines.append(f"mIoU changes by {low:+.2f} to {high:+.2f} in 95 % of draws of {result['images']} images")
    lines.append(f"B is better on {result['won']} images, worse on {result['lost']}")
    for title in ("largest_gains", "largest_losses"):
        lines += [f"{title.replace('_', ' ')}:"] * bool(result[title])
        lines += [
            f"  {row['name']:<30}{100 * row['a']:>6.1f} -> {100 * row['b']:.1f} ({100 * row['change']:+.1f})"
            for row in result[title]
        ]
    return "\n".join(lines)


def _row(name: str, pair: dict[str, float | None]) -> str:
    change = f"{100 * pair['change']:>+12.2f}" if pair["change"] is not None else f"{'-':>12}"
    return f"{name:<24}{cell(pair['a'], 12)}{cell(pair['b'], 12)}{change}"
