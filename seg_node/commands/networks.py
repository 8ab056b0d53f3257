"""Show what networks there are and what they cost: parameters, multiply-adds, FLOPs, output stride, memory.

example:
  seg-node networks
  seg-node networks espnet c3net2 --classes 20 --size 512x1024 --json
  seg-node networks --paper
  seg-node networks ndnet45 --paper

macs are the multiply-adds of convolutions and matrix products. FLOPs are those of the C3 paper's Table 5:
multiplications and additions apart, batch norm, activations, average pooling and bilinear upsampling too. Stride is
the input's height over that of the coarsest feature map. Memory is the most that is alive at a time in a forward pass
of one image in float32, weights apart. --paper prints the papers' figures beside ours, FLOPs as that paper counts them:
macs_norm is macs and two operations for each value that batch norm makes, flops_c3_once the C3 paper's FLOPs with a
multiply-add counted once.
"""

import argparse
import json
from typing import TYPE_CHECKING

from seg_node.commands._arguments import WrongArguments
from seg_node.sources.arguments import image_size

if TYPE_CHECKING:
    from seg_node.evaluation.papers import Row

_IMAGENET = {"classes": 1000, "size": (224, 224)}
_CITYSCAPES = {"classes": 19, "size": (512, 1024)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks (default: all)")
    parser.add_argument("--classes", type=_positive, metavar="N", help="outputs (default 19; classifiers 1000)")
    parser.add_argument(
        "--size", type=image_size, metavar="HxW", help="of the image (default 512x1024; classifiers 224x224)"
    )
    parser.add_argument("--paper", action="store_true", help="the papers' tables, with ours and the difference")
    parser.add_argument("--json", action="store_true", help="print one JSON object a network, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node import networks

    known = networks.names() + networks.classifiers()
    for name in arguments.names:
        if name not in known:
            raise WrongArguments(f"no network '{name}': choose from {', '.join(known)}")
    if arguments.paper:
        if _given(arguments):
            raise WrongArguments("--paper takes no --classes and no --size: the papers' own stand in their tables")
        return _show_papers(arguments)
    if not arguments.json:
        print(f"{'network':<32}{'parameters':>12}{'macs':>10}{'FLOPs (C3)':>12}{'stride':>8}{'memory':>10}   input")
    for name in arguments.names or known:
        _show(name, {**(_IMAGENET if name in networks.classifiers() else _CITYSCAPES), **_given(arguments)}, arguments)
    return 0


def _given(arguments: argparse.Namespace) -> dict:
    given = {"classes": arguments.classes, "size": arguments.size}
    return {key: value for key, value in given.items() if value is not None}


def _show(name: str, of: dict, arguments: argparse.Namespace) -> None:
    from seg_node import networks
    from seg_node.evaluation.flops import complexity

    height, width = of["size"]
    cost = complexity(lambda: networks.build(name, of["classes"]), of["size"])
    if arguments.json:
        print(json.dumps({"name": name, **cost._asdict(), "classes": of["classes"], "size": [height, width]}))
    else:
        print(
            f"{name:<32}{cost.parameters:>12,}{cost.macs / 1e9:>8.2f} G{cost.flops_c3 / 1e9:>10.2f} G"
            f"{cost.output_stride:>8}{cost.activation_bytes / 1e6:>7.0f} MB   {height}x{width}, {of['classes']} classes"
        )


def _show_papers(arguments: argparse.Namespace) -> int:
    from seg_node.evaluation.papers import load_papers

    shown = ""
    for row in load_papers():
        if arguments.names and row.network not in arguments.names:
            continue
        counts = row.measure() if row.network else {}
        if arguments.json:
            print(json.dumps(_as_dict(row, counts)))
            continue
        if shown != row.paper + row.table:
            shown = row.paper + row.table
            print(f"\n{row.title}\n{row.table}: {row.about} ({row.size[0]}x{row.size[1]}; FLOPs are {row.flops_are})")
        print(f"  {row.name:<44}{row.network or '(not built)'}")
        for what, figure in row.figures.items():
            if counts:
                difference = f"{counts[what]:>17,}{100 * (counts[what] / figure.value - 1):>+9.2f} %"
                print(f"    {what:<12}paper {figure.printed:>10}   ours {difference}")
            else:
                print(f"    {what:<12}paper {figure.printed:>10}")
            if figure.why:
                print(f"      {figure.why}")
        if row.note:
            print(f"    {row.note}")
    return 0


def _as_dict(row: "Row", counts: dict) -> dict:
    figures = {
        what: {"paper": figure.value, "ours": counts.get(what), "why": figure.why}
        for what, figure in row.figures.items()
    }
    return {
        "paper": row.paper,
        "table": row.table,
        "row": row.name,
        "name": row.network,
        "classes": row.classes,
        "size": list(row.size),
        "flops_are": row.flops_are,
        **figures,
        "note": row.note,
    }


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of classes")
    return int(text)
