"""Show what a new model wins and loses on recorded drives, and gate on it.

A and B are folders that seg-node replay wrote, or their report.json; B is the new one. Frames are compared one by one
where both have the same bag and stamp. Exits with 1 when B misses a threshold, or one cannot be checked.

examples:
  seg-node compare-reports old_out new_out
  seg-node compare-reports old_out new_out --min-miou-gain 0 --max-class-loss 0.02 --max-p95-ratio 1.1
  seg-node compare-reports old_out new_out --max-frame-loss 0.15 --json

Shares are 0 to 1: --max-class-loss 0.02 allows each class two points of IoU.
"""

import argparse
import json
import math
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, metavar="A", help="the old report, or its folder")
    parser.add_argument("b", type=Path, metavar="B", help="the new report, or its folder")
    parser.add_argument("--min-miou-gain", type=_number, metavar="X", help="mIoU of B less that of A, at least")
    parser.add_argument("--max-class-loss", type=_number, metavar="X", help="IoU that any one class may lose")
    parser.add_argument("--max-p95-ratio", type=_number, metavar="X", help="time of an image (p95), B over A, at most")
    parser.add_argument("--max-frame-loss", type=_number, metavar="X", help="mIoU that any one frame may lose")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is no number to compare with")
    return value


def run(arguments: argparse.Namespace) -> int:
    from seg_node.replay import compare, report

    limits = compare.Limits(*(getattr(arguments, name) for name in compare.Limits._fields))
    result = compare.compare(report.read(arguments.a), report.read(arguments.b), limits)
    print(json.dumps(result) if arguments.json else _table(result))
    return 1 if result["missed"] else 0


def _table(result: dict) -> str:
    a, b, frames = result["a"], result["b"], result["frames"]
    lines = [
        f"{name}: {r['model']} on {r['bag']}, {r['images']} images, {r['runtime']} ({r['mode']})"
        for name, r in (("A", a), ("B", b))
    ]
    lines += ["", f"{'':<24}{'A':>10}{'B':>10}{'change':>10}"]
    lines += [_row(name, pair) for name, pair in result["iou"].items()]
    titles = {
        "miou": "mIoU",
        "pixel_accuracy": "pixel accuracy",
        "class_accuracy": "class accuracy",
        "frequency_weighted_iou": "frequency weighted IoU",
    }
    lines += [_row(titles[key], pair) for key, pair in result["totals"].items()]
    lines.append(_row("frame to frame", result["agreement"]))
    for key, pair in result["ms_per_image"].items():
        ratio = f"{pair['ratio']:>8.2f} x" if pair["ratio"] is not None else f"{'-':>10}"
        lines.append(f"{'ms an image, ' + key:<24}{_cell(pair['a'], 1):>10}{_cell(pair['b'], 1):>10}{ratio}")
    lost = result["lost_frames"]
    lines.append(f"{'frames lost':<24}{lost['a']:>10}{lost['b']:>10}{lost['change']:>+10}")
    lines += [
        "",
        f"{frames['matched']} frames in both, {frames['scored']} with ground truth: "
        f"B is better in {frames['won']}, worse in {frames['lost']}",
    ]
    for title, rows in (("largest losses", frames["largest_losses"]), ("largest gains", frames["largest_gains"])):
        lines += [f"{title}:"] * bool(rows)
        lines += [
            f"  {row['bag'] + ' ' if row['bag'] else ''}frame {row['index']} at {row['elapsed']:.2f} s: "
            f"{100 * row['a']:.1f} -> {100 * row['b']:.1f} ({100 * row['change']:+.1f})"
            for row in rows
        ]
    lines += [f"note: {text}" for text in result["warnings"]]
    lines += [f"MISSED {text}" for text in result["missed"]]
    return "\n".join(lines)


def _row(name: str, pair: dict) -> str:
    change = "-" if pair["change"] is None else f"{100 * pair['change']:+.2f}"
    return f"{name:<24}{_cell(pair['a']):>10}{_cell(pair['b']):>10}{change:>10}"


def _cell(value: float | None, scale: float = 100) -> str:
    return "-" if value is None else f"{scale * value:.2f}"
