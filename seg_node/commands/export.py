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
    path, parity = exporters.export(arguments.model, arguments.to, arguments.confidence)
    if arguments.json:
        print(json.dumps({"file": str(path), "bytes": path.stat().st_size, **parity._asdict()}))
    else:
        print(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB; agrees with PyTorch on {parity.equal:.3%} of the pixels "
            f"of the worst of {parity.images} images"
        )
    return 0
