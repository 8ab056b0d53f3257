"""Score a model on a data set, through the same pipeline and runtime that the robot runs.

example:
  seg-node evaluate rdsnet_camvid --dataset camvid --data CamVid --split val
  seg-node evaluate runs/rdsnet --dataset street --split test --runtime torch

mIoU is the mean over the classes of intersection over union. Void ground truth is ignored (the usual way);
--void counted counts a class predicted there as wrong, as ESPNet's and RDS-Net's CamVid figures do. The table shows
both.
"""

import argparse
import json
import sys
from pathlib import Path

from seg_node import datasets, runtimes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a shipped model's name, or a folder with a card.yaml")
    parser.add_argument("--dataset", required=True, choices=datasets.names())
    parser.add_argument("--data", type=Path, help="the data set's folder; the street needs none")
    parser.add_argument("--split", default="val", help="train, val or test (default val)")
    parser.add_argument(
        "--runtime",
        default="auto",
        choices=["auto", *runtimes.names()],
        help="auto takes the fastest that is installed",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or gpu (default auto)")
    parser.add_argument("--void", default="ignored", choices=["ignored", "counted"], help="which figures --json prints")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the label images there")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.evaluation.score import evaluate
    from seg_node.label_set import load_label_set
    from seg_node.model_card import load_card
    from seg_node.pipeline.segmenter import Segmenter

    card = load_card(arguments.model)
    truth = load_label_set(datasets.label_set_of(arguments.dataset))
    split = datasets.open_split(arguments.dataset, arguments.split, arguments.data)
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
    runtime = runtimes.load_runtime(card, arguments.runtime, arguments.device)
    report = evaluate(Segmenter(card, runtime), split, truth, arguments.save, _show_progress)
    what = {"model": card.name, "dataset": arguments.dataset, "split": arguments.split}
    result = {**what, **report.as_dict(arguments.void), "runtime": runtime.name, "precision": runtime.precision}
    runtime.close()
    print(
        json.dumps(result) if arguments.json else _table(result, report.as_dict("ignored"), report.as_dict("counted"))
    )
    return 0


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total} images", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _table(what: dict, ignored: dict, counted: dict) -> str:
    lines = [
        f"{what['model']} on {what['dataset']} {what['split']}, {what['images']} images, runtime {what['runtime']}, "
        f"{what['ms_per_image']['p50']:.1f} ms an image (p95 {what['ms_per_image']['p95']:.1f})",
        f"{'':<24}{'void ignored':>14}{'void counted':>14}",
    ]

    def row(name: str, one: object, other: object) -> str:
        def cell(value: object) -> str:
            return f"{100 * value:>12.2f} %" if isinstance(value, float) else f"{'-':>14}"

        return f"{name:<24}{cell(one)}{cell(other)}"

    lines += [row(name, ignored["iou"][name], counted["iou"][name]) for name in ignored["iou"]]
    lines += [
        row(title, ignored[key], counted[key])
        for title, key in (
            ("mIoU", "miou"),
            ("pixel accuracy", "pixel_accuracy"),
            ("class accuracy", "class_accuracy"),
            ("frequency weighted IoU", "frequency_weighted_iou"),
        )
    ]
    return "\n".join(lines)
