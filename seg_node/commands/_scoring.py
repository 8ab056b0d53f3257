"""What evaluate and compare share: which data, which runtime, and the table's cells."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from seg_node import datasets, runtimes
from seg_node.commands._arguments import WrongArguments

if TYPE_CHECKING:
    from seg_node.evaluation.score import Ground


def add_data_arguments(parser: argparse.ArgumentParser, *more: str) -> None:
    """``more``: data sets beside those with label images."""
    parser.add_argument("--dataset", required=True, choices=[*datasets.names(), *more])
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data set's folder; the street needs none")
    parser.add_argument("--split", default="val", help="train, val or test (default val)")
    parser.add_argument(
        "--void", default="ignored", choices=["ignored", "counted"], help="which figures --json and pictures are of"
    )
    parser.add_argument(
        "--gt-scale",
        default=1,
        type=whole,
        metavar="N",
        help="score at 1/N of the ground truth's size, its every N-th row and column; Gradual Grouping has 2",
    )
    parser.add_argument("--limit", type=whole, metavar="N", help="N images only, spread evenly over the split")
    parser.add_argument(
        "--workers",
        default=0,
        type=_not_negative,
        metavar="N",
        help="threads that read, score and write while the network runs: faster, but on few cores ms an image rises "
        "(default 0)",
    )


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        default="auto",
        choices=["auto", *runtimes.names()],
        help="auto takes the fastest that is installed",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or gpu (default auto)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=runtimes.PRECISIONS,
        help="(default auto: as the node, int8 where the card says that it is harmless)",
    )


def open_ground(arguments: argparse.Namespace) -> "Ground":
    """Open what is scored against. Raises ValueError for a split that is not there, DatasetError for bad data."""
    from seg_node.evaluation.score import Ground
    from seg_node.label_set import load_label_set

    check_split(arguments)
    split = datasets.open_split(arguments.dataset, arguments.split, arguments.data)
    label_set = load_label_set(datasets.label_set_of(arguments.dataset, arguments.data))
    return Ground(split, label_set, spread(len(split), arguments.limit), arguments.gt_scale, arguments.workers)


def check_split(arguments: argparse.Namespace) -> None:
    """Raise WrongArguments for a split that the data set does not have."""
    known = datasets.may_open(arguments.dataset, arguments.data)
    if arguments.split not in known:
        raise WrongArguments(f"--split {arguments.split}: {arguments.dataset} has {', '.join(known)}")


def spread(count: int, limit: int | None) -> range | list[int]:
    """Return which of ``count`` images are scored."""
    if limit is None or limit >= count:
        return range(count)
    return [index * count // limit for index in range(limit)]


def whole(text: str) -> int:
    """Parse a whole number from 1. Raises argparse.ArgumentTypeError."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def _not_negative(text: str) -> int:
    return 0 if text == "0" else whole(text)


def cell(value: object, wide: int = 14) -> str:
    """Return a share as a table's cell."""
    return f"{100 * value:>{wide - 2}.2f} %" if isinstance(value, float) else f"{'-':>{wide}}"
