"""Record a bag of the rendered street: images, camera_info, depth, and the true class of every pixel.

OUT is a file that ends in .mcap, or a folder. Its topics: /camera/image_raw (bgr8), /camera/camera_info,
/camera/depth (16UC1 millimetres, registered to the image; 0 is farther than 65 m, or sky), /camera/ground_truth (mono8,
class ids of label set camvid11) and /camera/ground_truth_info (their names). Ctrl-C ends the bag early. The same seed,
size and rate give the same bag.

examples:
  seg-node record-street street.mcap --seconds 30
  seg-node record-street street.mcap --seconds 60 --rate 30 --size 720x1280 --seed 3 --compressed
  seg-node replay street.mcap --model rdsnet_camvid --label /camera/ground_truth
  ros2 bag play street.mcap
"""

import argparse
import math
from pathlib import Path

from seg_node.commands._arguments import WrongArguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from seg_node.sources.arguments import image_size

    parser.add_argument("out", type=Path, metavar="OUT", help="the bag: a .mcap file, or a folder; must not be there")
    parser.add_argument("--seconds", type=positive, default=30.0, metavar="S", help="(default: 30)")
    parser.add_argument("--rate", type=positive, default=10.0, metavar="R", help="images a second (default: 10)")
    parser.add_argument("--size", type=image_size, default=(360, 480), metavar="HxW", help="(default: 360x480)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="which street (default: 7)")
    add_codec(parser)


def add_codec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compressed", action="store_true", help="CompressedImage on TOPIC/compressed instead of raw images"
    )
    parser.add_argument("--codec", choices=["jpeg", "png"], help="of --compressed; png loses nothing (default: jpeg)")


def codec_of(arguments: argparse.Namespace) -> str:
    """Return the codec, "" for raw images."""
    if arguments.codec and not arguments.compressed:
        raise WrongArguments(f"--codec {arguments.codec}: is of --compressed, which is not given")
    return (arguments.codec or "jpeg") if arguments.compressed else ""


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


def run(arguments: argparse.Namespace) -> int:
    from seg_node.replay.make_bag import record_street
    from seg_node.replay.progress import Bars

    codec = codec_of(arguments)
    with Bars("images") as bars:
        made = record_street(
            arguments.out,
            arguments.seconds,
            arguments.rate,
            arguments.size,
            arguments.seed,
            codec,
            bars.add("recording"),
        )
    print(made)
    return 130 if made.stopped else 0
