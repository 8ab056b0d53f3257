"""Write a trained network as a file that a robot runs, check it against PyTorch, and note it in the card.

example:
  seg-node export runs/rdsnet --to onnx --confidence
"""

import argparse
import json

from seg_node import exporters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a shipped model's name, or a folder with a card.yaml and PyTorch weights")
    parser.add_argument("--to", required=True, choices=exporters.targets(), help="the kind of file")
    parser.add_argument(
        "--confidence",
        action="store_true",
        help="write a second file too, which gives the confidence: for ~/confidence",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    wanted = exporters.Wanted(confidence=arguments.confidence)
    done = exporters.make(arguments.model, arguments.to, wanted)
    for kind, about in done.files.items():
        path, gate = done.card.parent / about["path"], about["parity"]
        if arguments.json:
            print(json.dumps({"file": str(path), "kind": kind, "bytes": path.stat().st_size, **gate}))
        else:
            print(
                f"{path}: {path.stat().st_size / 1e6:.1f} MB; agrees with PyTorch on {gate['agreement']:.3%} of the "
                f"pixels, {gate['worst']:.3%} of the worst of {gate['images']} images"
            )
    return 0
