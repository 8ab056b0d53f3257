"""Look for what is wrong with a data set, before training does: every file is read.

Found are: label values that mean nothing, labels of another size than their image, files that cannot be read or are cut
short, images without label and labels without image, images whose names are not the data set's, and splits without
samples. Then comes how often each class occurs. The exit code is 1 where anything is wrong; another number of samples
than was published is said, and is not wrong.

examples:
  seg-node check-data CamVid --dataset camvid
  seg-node check-data cityscapes --dataset cityscapes --split train --workers 8 --picture classes.png
  seg-node check-data drives --dataset bag --json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from seg_node import datasets
from seg_node.commands._arguments import WrongArguments

if TYPE_CHECKING:
    from seg_node.preparation.check import SplitReport

_NEEDED = ("train", "val", "all")  # another split, as test, may be kept elsewhere


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="?", type=Path, metavar="DIR", help="the data set's folder; the street has none")
    parser.add_argument("--dataset", required=True, choices=[*datasets.names(), *datasets.classifiers()])
    parser.add_argument("--split", action="append", metavar="S", help="only this one; may be repeated (default: all)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--show", type=int, default=10, metavar="N", help="bad files to name (default 10)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw how often each class occurs, as PNG")
    parser.add_argument("--json", action="store_true", help="print one JSON object a split, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.preparation.check import check_split
    from seg_node.replay.progress import Bars

    if arguments.workers < 0:
        raise WrongArguments(f"--workers {arguments.workers}: must be 0 or more")
    if arguments.picture and arguments.picture.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise WrongArguments(f"--picture {arguments.picture}: must end in .png")
    reports = []
    splits = arguments.split or datasets.splits_of(arguments.dataset, arguments.data)
    with Bars("samples") as bars:
        for split in splits:
            report = check_split(arguments.dataset, split, arguments.data, arguments.workers, bars.add(split))
            absent = [problem.kind for problem in report.problems] == ["empty"]
            if absent and not arguments.split and split not in _NEEDED:
                bars.say(f"split {split} is not there, and was left out")
                continue
            reports.append(report)
    for report in reports:
        if arguments.json:
            print(json.dumps({"dataset": arguments.dataset, **report.as_dict()}))
        else:
            print(_text(report, arguments.show))
    if not arguments.json:
        print("\n" + _table(reports))
    if arguments.picture:
        _draw(arguments.picture, arguments.dataset, reports)
    return int(any(report.problems for report in reports))


def _text(report: "SplitReport", show: int) -> str:
    sizes = ", ".join(f"{count} of {size}" for size, count in report.sizes.most_common(3))
    more = f" and {len(report.sizes) - 3} other sizes" if len(report.sizes) > 3 else ""
    bad = f"{len(report.problems)} problems" if report.problems else "nothing wrong"
    other = f" where {report.published} are published" if report.published not in (None, report.samples) else ""
    lines = [f"{report.split}: {report.samples} samples{other} ({sizes or 'none read'}{more}), {bad}"]
    lines += [f"  {problem.kind:<11}{problem.message}" for problem in report.problems[:show]]
    if len(report.problems) > show:
        lines.append(f"  and {len(report.problems) - show} more; --show {len(report.problems)} names them")
    return "\n".join(lines)


def _table(reports: "list[SplitReport]") -> str:
    """Return a row for each class: its share of what is labelled, and in how many images it is, for each split."""
    if not reports:
        return "nothing was there to look at"
    width = max(24, *(len(name) + 2 for name in reports[0].names)) if reports[0].names else 24
    lines = [f"{'share of labelled, images':<{width}}" + "".join(f"{report.split:>22}" for report in reports)]
    for number, name in enumerate(reports[0].names):
        cells = (f"{100 * report.shares[number]:>13.4f} %{report.images[number]:>7}" for report in reports)
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)


def _draw(path: Path, dataset: str, reports: "list[SplitReport]") -> None:
    import cv2

    from seg_node.preparation.frequencies import draw

    if not reports or not cv2.imwrite(str(path), draw(f"{dataset}: share of labelled pixels", reports)):
        raise OSError(f"{path}: cannot be written; give a folder that is there")
    print(f"{path}: how often each class occurs", file=sys.stderr)
