"""Time a network in every backend and precision that is here, in turns, and compare their labels.

The network alone, without ROS: pixels in, labels out, on images of the rendered street. What is compared takes turns in
rounds, so that what else the machine does falls on all alike; close other programs all the same. `make bench` in a
checkout measures the whole node, and everything else, besides.

examples:
  seg-node benchmark rdsnet_camvid
  seg-node benchmark runs/mine rdsnet_camvid --runtime onnx --runtime openvino --frames 500
  seg-node benchmark rdsnet_camvid --runtime tensorrt --runtime torch --device gpu --json
"""

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from seg_node import runtimes

    add = parser.add_argument
    add(
        "models", nargs="*", metavar="MODEL", help="a shipped model's name, or a folder with a card.yaml (default: all)"
    )
    add(
        "--runtime", action="append", choices=runtimes.names(), help="a backend, may be given again (default: all here)"
    )
    precisions = [name for name in runtimes.PRECISIONS if name != "auto"]
    add("--precision", action="append", choices=precisions, help="may be given again (default: all that are possible)")
    add("--device", default="auto", help="auto, cpu or gpu (default auto)")
    add("--frames", type=_count, default=200, metavar="N", help="inferences of each (default 200)")
    add("--rounds", type=_count, default=5, metavar="N", help="turns that they are spread over (default 5)")
    add("--json", action="store_true", help="print one JSON object a backend and precision, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node import model_card, runtimes
    from seg_node.evaluation import benchmark
    from seg_node.evaluation.hardware import machine

    names = arguments.runtime or [n for n in runtimes.names() if n != "fake" and runtimes.is_installed(n)]
    wanted = benchmark.ways(names, arguments.precision or [p for p in runtimes.PRECISIONS if p != "auto"])
    named = bool(arguments.runtime and arguments.precision)  # then it matters why one is not possible
    failed = False
    if not arguments.json:
        print(machine())
    for model in arguments.models or model_card.names():
        card = model_card.load_card(model)
        reasons: list[str] = []

        def refused(way: benchmark.Way, why: str, reasons: list[str] = reasons) -> None:
            if named:
                print(f"{way}: {why}", file=sys.stderr)
            elif why not in reasons:
                reasons.append(why)

        try:
            timings = benchmark.measure(
                card, wanted, arguments.frames, arguments.rounds, arguments.device, refused, _progress
            )
        except benchmark.NothingRunsError as error:  # the other models may
            print("\n  ".join([f"seg-node benchmark: {error}", *reasons]), file=sys.stderr)
            failed = True
            continue
        rows = [timing.as_dict(card, timings[0]) for timing in timings]
        for row in rows:
            print(json.dumps(row) if arguments.json else _line(row), flush=True)
    return int(failed)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} rounds", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _line(row: dict) -> str:
    return (
        f"{row['name']:<44}{row['value']:>9.2f} ms  p95 {row['p95']:>8.2f}  p99 {row['p99']:>8.2f}"
        f"{row['ratio']:>8.2f} x {row['baseline_is']}, {row['equal_labels']:.3%} equal labels, {row['device']}"
    )


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return int(text)
