"""Two models on the same images of a data set: what B wins and loses against A, and pictures of where.

comparison.json   what --json prints, each image's scores, hardware and versions
comparison.txt    the table
differ.jpg        where they differ most; gains/ and losses/: image, truth, A, B, and who is right
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seg_node.datasets import Sample
from seg_node.evaluation import pictures, sheet
from seg_node.evaluation.confusion import Confusion
from seg_node.evaluation.hardware import hardware, versions
from seg_node.evaluation.output_folder import write_picture
from seg_node.evaluation.score import Ground, Item, Report, number

MARK = "comparison.json"
TOTALS = ("miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "category_miou")
_HEADS = ["image", "ground truth", "A", "B", pictures.DIFFERENCE_HEAD]
_DRAWS = 1000  # of the bootstrap
_LISTED = 5  # gains and losses that are named
_CELL = 440  # pixels of a picture

Label = Callable[[Sample], np.ndarray]  # to uint8 (H, W), class ids of the data set's label set


class Pair(NamedTuple):
    """One image as both scored it."""

    a: Item
    b: Item
    miou: tuple[float, float]

    @property
    def change(self) -> float:
        return self.miou[1] - self.miou[0]


def compare(a: Report, b: Report, void: str) -> dict[str, Any]:
    """Return what --json prints, but for the models' names. Shares are 0 to 1."""
    one, other = a.as_dict(void), b.as_dict(void)
    ordered = sorted(pairs(a, b, void), key=lambda pair: (pair.change, pair.a.position))
    return {
        "void": void,
        "images": a.images,
        "gt_scale": a.scale,
        "totals": {key: _pair(one[key], other[key]) for key in TOTALS},
        "miou_change_95": change_interval(a, b, void),
        "iou": {name: _pair(one["iou"][name], other["iou"][name]) for name in one["iou"]},
        "category_iou": {key: _pair(value, other["category_iou"][key]) for key, value in one["category_iou"].items()},
        "ms_per_image": {"a": one["ms_per_image"], "b": other["ms_per_image"]},
        "won": sum(pair.change > 0 for pair in ordered),
        "lost": sum(pair.change < 0 for pair in ordered),
        "largest_gains": [_about(pair) for pair in ordered[::-1][:_LISTED] if pair.change > 0],
        "largest_losses": [_about(pair) for pair in ordered[:_LISTED] if pair.change < 0],
    }


def pairs(a: Report, b: Report, void: str) -> list[Pair]:
    """Return the images that have scores."""
    both = [
        Pair(one, other, (a.of_image(one, void).miou, b.of_image(other, void).miou))
        for one, other in zip(a.items, b.items, strict=True)
    ]
    return [pair for pair in both if np.isfinite(pair.change)]


def change_interval(a: Report, b: Report, void: str) -> list[float] | None:
    """Return between what the change of the mIoU lies in 95 % of draws of as many images (bootstrap), B less A.

    Says whether a change is more than the choice of images; frames of one drive are alike, so it is a narrow estimate.
    None for fewer than two images.
    """
    if a.images < 2:
        return None
    classes, rng = a.label_set.class_count, np.random.default_rng(0)
    one, other = (np.stack([item.matrix for item in report.items]) for report in (a, b))
    changes = []
    for _ in range(_DRAWS):
        times = np.bincount(rng.integers(0, a.images, a.images), minlength=a.images)
        mious = [Confusion(classes, np.tensordot(times, m, 1)).scores(void).miou for m in (one, other)]
        changes.append(mious[1] - mious[0])
    low, high = np.nanpercentile(changes, (2.5, 97.5))
    return [round(float(low), 5), round(float(high), 5)]


def write_comparison(
    folder: Path,
    ground: Ground,
    reports: tuple[Report, Report],
    result: dict[str, Any],
    table: str,
    labels: Sequence[Label],
) -> None:
    """Write everything. ``labels``: what labels a sample, of A and of B."""
    ordered = sorted(pairs(*reports, result["void"]), key=lambda pair: (pair.change, pair.a.position))
    losses = [pair for pair in ordered[:_LISTED] if pair.change < 0]
    gains = [pair for pair in ordered[::-1][:_LISTED] if pair.change > 0]
    rows: list[tuple[str, Sequence[np.ndarray | None]]] = []
    for kind, chosen in (("gains", gains), ("losses", losses)):
        for rank, pair in enumerate(chosen, 1):
            row = _portray(ground, pair, labels)
            path = folder / kind / f"{rank:02d}_{Path(pair.a.name).name}.jpg"
            title = f"{pair.a.name}: A {result['a']['model']}, B {result['b']['model']}"
            write_picture(path, sheet.draw(_HEADS, [("", row)], title, [_caption(pair)], _legend(ground), _CELL))
            rows.append((f"{pair.a.name}, {_caption(pair)}", row))
    if rows:
        title = "A {}, B {} on {} {}".format(
            result["a"]["model"], result["b"]["model"], result["dataset"], result["split"]
        )
        lines = [f"largest gains of B, then its largest losses, of {result['images']} images; void {result['void']}"]
        write_picture(folder / "differ.jpg", sheet.draw(_HEADS, rows, title, lines, _legend(ground), _CELL))
    (folder / "comparison.txt").write_text(table + "\n", encoding="utf-8")
    whole = {
        **result,
        "per_image": [_about(pair) for pair in pairs(*reports, result["void"])],
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    (folder / MARK).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _portray(ground: Ground, pair: Pair, labels: Sequence[Label]) -> list[np.ndarray | None]:
    sample = Sample(*ground.split[pair.a.position])
    size = sample.image.shape[:2]
    a, b = (pictures.to_size(label(sample), size).copy() for label in labels)
    colors = [pictures.color(part, ground.label_set, size) for part in (sample.label, a, b)]
    return [sample.image, *colors, pictures.difference(sample.image, sample.label, a, b)]


def _legend(ground: Ground) -> np.ndarray:
    return sheet.legend(ground.label_set, sheet.width(len(_HEADS), _CELL))


def _caption(pair: Pair) -> str:
    return f"mIoU A {100 * pair.miou[0]:.1f}, B {100 * pair.miou[1]:.1f} ({100 * pair.change:+.1f})"


def _about(pair: Pair) -> dict[str, Any]:
    return {"name": pair.a.name, **_pair(number(pair.miou[0]), number(pair.miou[1]))}


def _pair(a: float | None, b: float | None) -> dict[str, float | None]:
    return {"a": a, "b": b, "change": None if a is None or b is None else round(b - a, 5)}
