"""What ``seg-node evaluate --out`` leaves: figures, the confusion matrix, and the worst images to look at.

evaluation.json   what --json prints, the matrix, each image's scores, hardware and versions
evaluation.txt    the table
confusion.png     the matrix as a picture; confusion.csv: its counts
worst.jpg, worst/ the images with the lowest mIoU: image, truth, prediction, error
labels/           a label PNG of each image: class ids of the data set's label set, 255 unlabelled
"""

import csv
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from seg_node.datasets import Sample
from seg_node.evaluation import pictures, sheet
from seg_node.evaluation.confusion_picture import draw_confusion
from seg_node.evaluation.hardware import hardware, versions
from seg_node.evaluation.output_folder import write_picture
from seg_node.evaluation.score import Ground, Item, Report, number

MARK = "evaluation.json"
_CELL = 480  # pixels of a picture among the worst


def write_results(
    folder: Path,
    ground: Ground,
    report: Report,
    result: Mapping[str, Any],
    table: str,
    labels_of: Callable[[Item], np.ndarray],
    worst: int,
) -> None:
    """Write all but the labels. ``result``: what --json prints; ``labels_of``: an item's labels, uint8 (H, W)."""
    title = "{} on {} {}".format(result["model"], result["dataset"], result["split"])
    chosen = worst_items(report, result["void"], worst)
    shown = [f"worst/{rank:02d}_{Path(item.name).name}.jpg" for rank, item in enumerate(chosen, 1)]
    _write_worst(folder, ground, report, result, chosen, shown, title, labels_of)
    lines = (f"{report.images} images, mIoU {_percent(report.ignored.miou)} (void ignored)",)
    write_picture(folder / "confusion.png", draw_confusion(report.confusion, report.label_set, title, lines))
    _write_counts(folder / "confusion.csv", report)
    (folder / "evaluation.txt").write_text(table + "\n", encoding="utf-8")
    whole = {
        **result,
        "worst": [
            {"name": item.name, "miou": number(report.of_image(item, result["void"]).miou), "picture": path}
            for item, path in zip(chosen, shown, strict=True)
        ],
        "confusion": report.confusion.matrix.tolist(),
        "per_image": [_row(report, item, result["void"]) for item in report.items],
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    (folder / MARK).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def worst_items(report: Report, void: str, count: int) -> list[Item]:
    """Return the images with the lowest mIoU, worst first; one without ground truth has none."""
    scored = [(report.of_image(item, void).miou, item.position, item) for item in report.items]
    return [item for _, _, item in sorted((s for s in scored if not np.isnan(s[0])), key=lambda s: s[:2])[:count]]


def _write_worst(
    folder: Path,
    ground: Ground,
    report: Report,
    result: Mapping[str, Any],
    chosen: list[Item],
    shown: list[str],
    title: str,
    labels_of: Callable[[Item], np.ndarray],
) -> None:
    if not chosen:
        return
    heads = ["image", "ground truth", "prediction", pictures.ERROR_HEAD]
    rows = []
    for item, path in zip(chosen, shown, strict=True):
        sample = Sample(*ground.split[item.position])
        scores = report.of_image(item, result["void"])
        row = (f"{item.name}, mIoU {_percent(scores.miou)}", _portray(sample, labels_of(item), report))
        named = dict(zip(report.label_set.names, map(number, scores.iou), strict=True))
        legend = sheet.legend(report.label_set, sheet.width(len(heads), _CELL), named)
        text = f"{title}: {item.name}"
        accuracy = f"mIoU {_percent(scores.miou)}, pixel accuracy {_percent(scores.pixel_accuracy)}"
        write_picture(folder / path, sheet.draw(heads, [("", row[1])], text, [accuracy], legend, _CELL))
        rows.append(row)
    legend = sheet.legend(report.label_set, sheet.width(len(heads)), result["iou"])
    lines = [f"the {len(rows)} images with the lowest mIoU of {report.images}, void {result['void']}"]
    write_picture(folder / "worst.jpg", sheet.draw(heads, rows, title, lines, legend))


def _portray(sample: Sample, labels: np.ndarray, report: Report) -> list[np.ndarray | None]:
    size, label_set = sample.image.shape[:2], report.label_set
    return [
        sample.image,
        pictures.color(sample.label, label_set, size),
        pictures.color(labels, label_set, size),
        pictures.error(sample.image, sample.label, labels),
    ]


def _write_counts(path: Path, report: Report) -> None:
    names = [*report.label_set.names, "void"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["truth \\ prediction", *names])
        writer.writerows([name, *row] for name, row in zip(names, report.confusion.matrix.tolist(), strict=True))


def _row(report: Report, item: Item, void: str) -> dict[str, Any]:
    scores = report.of_image(item, void)
    milliseconds = None if item.milliseconds is None else round(item.milliseconds, 2)
    return {
        "name": item.name,
        "miou": number(scores.miou),
        "pixel_accuracy": number(scores.pixel_accuracy),
        "ms": milliseconds,
    }


def _percent(share: float) -> str:
    return "unknown" if np.isnan(share) else f"{100 * share:.2f} %"
