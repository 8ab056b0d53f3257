"""How a person names a source on a command line: the same words for every program that takes one."""

import argparse


def image_size(text: str) -> tuple[int, int]:
    """Parse "360x480" as (height, width). Raises argparse.ArgumentTypeError."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
        if min(height, width) < 1:
            raise ValueError
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not HEIGHTxWIDTH, such as 360x480") from error
    return height, width


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="video, folder of images, rosbag2 folder or .mcap or .db3 file, camera index; "
        "none: a street rendered on the fly, with ground truth",
    )
    parser.add_argument("--topic", metavar="T", help="the bag's image topic (default: chosen, and said)")
    parser.add_argument("--size", type=image_size, metavar="HxW", help="size of the street (default: 360x480)")


def source_words(source: str | None, topic: str | None, size: tuple[int, int] | None) -> list[str]:
    """Return the words that ``add_source_arguments`` parses to these values."""
    words = ["--topic=" + topic] if topic else []
    words += ["--size={}x{}".format(*size)] if size else []
    return words + (["--", source] if source else [])
