"""Score a model on a data set, through the same pipeline and runtime that the robot runs.

examples:
  seg-node evaluate rdsnet_camvid --dataset camvid --data CamVid --split val
  seg-node evaluate runs/rdsnet --dataset street --split test --runtime torch --out results
  seg-node evaluate models/dg2 --dataset cityscapes --data Cityscapes --gt-scale 2 --limit 50
  seg-node evaluate --predictions results_of_somebody --dataset cityscapes --data Cityscapes
  seg-node evaluate runs/encoder --dataset imagenet --data ImageNet     # a classifier's training: top 1 and top 5

mIoU is the mean over the classes of intersection over union. Void ground truth is ignored (the usual way);
--void counted counts a class predicted there as wrong, as ESPNet's and RDS-Net's CamVid figures do. The table shows
both. Cityscapes' category IoU, and where gtFine_instanceIds.png are there its instance-level iIoU, are those of the
official evaluation.

--out leaves evaluation.json, evaluation.txt, confusion.png and .csv, worst.jpg and worst/ (image, ground truth,
prediction, error), and labels/: a PNG of class ids for each image.
"""

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_node import datasets, runtimes
from seg_node.commands._arguments import WrongArguments
from seg_node.commands._scoring import (
    add_data_arguments,
    add_runtime_arguments,
    cell,
    check_split,
    open_ground,
    spread,
    whole,
)

if TYPE_CHECKING:
    from seg_node.evaluation.score import Ground, Progress, Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("model", nargs="?", help="a shipped model's name, or a folder with a card.yaml")
    what.add_argument(
        "--predictions", type=Path, metavar="DIR", help="no model: score label PNGs, NAME.png or NAME_anything.png"
    )
    parser.add_argument(
        "--prediction-ids",
        default="raw",
        choices=["raw", "classes"],
        help="what these PNGs hold: ids as in the data set's files (Cityscapes: labelIds), or class ids as --out "
        "writes them (default raw)",
    )
    add_data_arguments(parser, *datasets.classifiers())
    add_runtime_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write figures, pictures and labels there")
    parser.add_argument("--worst", default=10, type=whole, metavar="N", help="images in worst/ (default 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    if arguments.dataset in datasets.classifiers():
        return _classify(arguments)
    from seg_node.evaluation import results
    from seg_node.evaluation.output_folder import output_folder
    from seg_node.replay.progress import Bars

    ground = open_ground(arguments)
    reads = [arguments.predictions] if arguments.predictions else []
    out = output_folder(arguments.out, results.MARK, reads) if arguments.out else nullcontext()
    with out as folder:
        with Bars("images") as bars:
            report, about, labels_of = _score(arguments, ground, folder, bars.add("scoring"))
        what = {"model": about.pop("model"), "dataset": arguments.dataset, "split": arguments.split}
        result = {**what, **report.as_dict(arguments.void), **about}
        table = _table(result, report.as_dict("ignored"), report.as_dict("counted"))
        if folder is not None:
            results.write_results(folder, ground, report, result, table, labels_of, arguments.worst)
    print(json.dumps(result) if arguments.json else table)
    if arguments.out and not arguments.json:
        print(f"written: {arguments.out}/confusion.png, worst.jpg, evaluation.json and more")
    return 0


def _classify(arguments: argparse.Namespace) -> int:
    """Score a classifier, which has no exported file: by PyTorch, from its training's folder."""
    unused = {"--predictions": arguments.predictions, "--out": arguments.out, "--gt-scale": arguments.gt_scale != 1}
    unused["--runtime or --precision"] = {arguments.runtime, arguments.precision} - {"auto", "torch", "fp32"}
    for option, given in unused.items():
        if given:
            raise WrongArguments(f"{option}: is for networks that label pixels; {arguments.dataset}'s are classified")
    from seg_node.datasets import imagenet
    from seg_node.replay.progress import Bars
    from seg_node.training.classifier import score_classifier

    check_split(arguments)
    split = imagenet.open_split(arguments.split, arguments.data)
    chosen = spread(len(split), arguments.limit)
    with Bars("images") as bars:
        progress = bars.add("scoring")
        score = score_classifier(Path(arguments.model), split, chosen, arguments.workers, progress)
    what = {"model": arguments.model, "dataset": arguments.dataset, "split": arguments.split, "images": len(chosen)}
    if arguments.json:
        about = {"runtime": "torch", "precision": "fp32", "ms_per_image_in_batches": score.ms}
        print(json.dumps({**what, "top1": score.top1, "top5": score.top5, "top1_of_class": score.of_class, **about}))
        return 0
    print("{model} on {dataset} {split}, {images} images, runtime torch fp32".format(**what), end="")
    print(f", {score.ms:.1f} ms an image in batches")
    weakest = sorted((share, name) for name, share in score.of_class.items() if share is not None)[:5]
    rows = {"top 1": score.top1, "top 5": score.top5} | {f"  weakest: {name}": share for share, name in weakest}
    print("\n".join(f"{title:<24}{cell(share)}" for title, share in rows.items()))
    return 0


def _score(
    arguments: argparse.Namespace, ground: "Ground", folder: Path | None, progress: "Progress"
) -> tuple["Report", dict[str, Any], Callable]:
    """Return the report, what was scored, and a function: an item of the report -> its labels, uint8 (H, W)."""
    from seg_node.evaluation.label_files import label_reader
    from seg_node.evaluation.score import evaluate_files, evaluate_on
    from seg_node.model_card import load_card
    from seg_node.pipeline.segmenter import Segmenter

    if arguments.predictions:
        read = label_reader(arguments.predictions, ground.label_set, arguments.prediction_ids)
        report = evaluate_files(read, ground, progress)
        return report, {"model": str(arguments.predictions), "runtime": None}, lambda item: read(item.name)
    card = load_card(arguments.model)
    runtime = runtimes.load_runtime(card, arguments.runtime, arguments.device, arguments.precision)
    labels = folder / "labels" if folder else None
    try:
        report = evaluate_on(ground, Segmenter(card, runtime), labels, progress)
    finally:
        runtime.close()
    about = {"model": card.name, "runtime": runtime.name, "precision": runtime.precision, "device": runtime.device}
    # `folder` has another name once all is written
    saved = label_reader(labels, ground.label_set, "classes") if labels else None
    return report, about, lambda item: saved(item.name) if saved else None


def _table(what: dict, ignored: dict, counted: dict) -> str:
    times = what["ms_per_image"]
    head = f"{what['model']} on {what['dataset']} {what['split']}, {what['images']} images"
    if times:
        head += (
            f", runtime {what['runtime']} {what['precision']}, {times['p50']:.1f} ms an image (p95 {times['p95']:.1f})"
        )
    if what["gt_scale"] != 1:
        head += f", at 1/{what['gt_scale']} of the ground truth's size"
    lines = [head, f"{'':<24}{'void ignored':>14}{'void counted':>14}"]

    def add(titles: dict[str, str], one: dict, other: dict) -> None:
        lines.extend(f"{title:<24}{cell(one[key])}{cell(other[key])}" for key, title in titles.items())

    add({name: name for name in ignored["iou"]}, ignored["iou"], counted["iou"])
    totals = {
        "miou": "mIoU",
        "pixel_accuracy": "pixel accuracy",
        "class_accuracy": "class accuracy",
        "frequency_weighted_iou": "frequency weighted IoU",
    }
    add(totals, ignored, counted)
    if ignored["category_iou"]:
        lines.append("categories")
        add({name: f"  {name}" for name in ignored["category_iou"]}, ignored["category_iou"], counted["category_iou"])
        add({"category_miou": "  mean"}, ignored, counted)
    if ignored["instance_iou"]:
        lines.append("instance level (iIoU; objects weigh alike)")
        lines += [f"  {name:<22}{cell(value)}" for name, value in ignored["instance_iou"].items()]
        lines.append(f"  {'mean of classes':<22}{cell(ignored['instance_miou'])}")
        lines.append(f"  {'mean of categories':<22}{cell(ignored['category_instance_miou'])}")
    return "\n".join(lines)
