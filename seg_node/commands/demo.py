"""Show a network at work: a camera and the real ROS 2 node, live in the terminal, then video and pictures.

Plays SOURCE as a camera to the node over real DDS, in separate processes, for some seconds, and writes
OUT/overlay.mp4, OUT/label/*.png, OUT/sheet.png and OUT/latency.json. Ctrl-C ends it early and keeps what it
has.

examples:
  seg-node demo                                   a street rendered on the fly, with ground truth
  seg-node demo drive.mp4 --duration 60
  seg-node demo recording/ --topic /front/image   a ROS 2 bag (also one .mcap or .db3 file)
  seg-node demo 0                                 the first camera of this machine
"""

import argparse
import math
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from seg_node import runtimes
    from seg_node.sources.arguments import add_source_arguments

    add_source_arguments(parser)
    parser.add_argument("--duration", type=_seconds, default=20.0, metavar="S", help="seconds (default: 20)")
    parser.add_argument(
        "--model",
        default="rdsnet_camvid",
        help="a shipped model's name or a folder with a card.yaml (default: rdsnet_camvid)",
    )
    parser.add_argument(
        "--runtime",
        default="auto",
        choices=["auto", *runtimes.names()],
        help="backend that runs it (default: the fastest installed)",
    )
    parser.add_argument("--out", type=Path, default=Path("demo_out"), metavar="DIR", help="(default: demo_out)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number of seconds")
    return value


def run(arguments: argparse.Namespace) -> int:
    from seg_node import runtimes
    from seg_node.demo import session
    from seg_node.model_card import load_card

    if arguments.runtime != "auto" and not runtimes.is_installed(arguments.runtime):
        needed = runtimes.backend(arguments.runtime).REQUIRES
        raise ImportError(f"--runtime {arguments.runtime} needs {needed}, which is not installed")
    plan = session.Plan(
        card=load_card(arguments.model),
        model=arguments.model,
        runtime=arguments.runtime,
        source=arguments.source,
        topic=arguments.topic,
        size=arguments.size,
        duration=arguments.duration,
        out=arguments.out,
    )
    return session.run(plan)
