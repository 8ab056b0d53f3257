"""Where frames come from when no robot is there: one file a kind of source.

    street   a drive that the project renders itself, with ground truth
    video    a video file, a camera (index or /dev/video0) or a stream (rtsp://…)
    folder   a folder of images
    bag      an image topic of a ROS 2 bag

A source gives pixels, or a recorded message as it is. It knows nothing of rclpy: ``ros/camera.py`` sends what it gives.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

if sys.version_info < (3, 10):  # noqa: UP036  a robot's Python
    raise ImportError("seg_node.sources needs Python 3.10 or newer; this is {}.{}".format(*sys.version_info))

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".webp")
BAGS = (".mcap", ".db3")


class SourceError(ValueError):
    """A source that gives no frames; the message names it and says what to do."""


class Shot(NamedTuple):
    """What a camera sends at one moment: ``image``, or ``message`` where a bag holds one."""

    image: np.ndarray | None = None  # uint8 (H, W, 3) BGR
    truth: np.ndarray | None = None  # uint8 (H, W), class ids of the source's label set
    message: bytes | None = None  # a whole message in CDR, as it was recorded


class Source:
    """Frames at a steady rate. A kind of source sets what differs and implements ``shots``."""

    title = ""  # for people: what this is
    rate = 10.0  # frames per second
    length: int | None = None  # frames of one pass; None where there is no end or nobody knows
    live = False  # frames come when they come: send at once, and an end is a failure
    compressed = False  # messages are CompressedImage, not Image
    frame_bytes = 0  # of what is sent at a moment, the largest that is known; 0: nobody knows
    label_set: str | None = None  # of the ground truth; None where there is none

    def __init__(self) -> None:
        self.notes: list[str] = []  # what a person should know, a line each

    def shots(self) -> Iterator[Shot]:
        """Give the frames once, from the first."""
        raise NotImplementedError

    def endless(self) -> Iterator[Shot]:
        """Give the frames again and again. Raises SourceError where a pass gives none, or a live source ends."""
        while True:
            count = 0
            for shot in self.shots():
                count += 1
                yield shot
            if self.live:
                raise SourceError(f"{self.title}: stopped giving frames after {count}; is it still connected?")
            if count == 0:
                raise SourceError(f"{self.title}: no frame in it can be read")

    def close(self) -> None:
        """Free what the source holds."""


def open_source(text: str | None = None, topic: str | None = None, size: tuple[int, int] | None = None) -> Source:
    """Open a source by what a person types; None or "" is the street.

    ``topic`` chooses among a bag's image topics, ``size`` (height, width) is the street's. Raises SourceError.
    """
    kind = _kind(text)
    if topic and kind != "bag":
        raise SourceError(
            "{}: has no topics, so there is no '{}' in it; a topic is for a ROS 2 bag".format(
                text or "the street", topic
            )
        )
    if kind == "street":
        from seg_node.sources.street import StreetSource

        return StreetSource(size or (360, 480))
    assert text
    if kind == "bag":
        from seg_node.sources.bag import BagSource

        return BagSource(Path(text), topic)
    if kind == "folder":
        from seg_node.sources.folder import FolderSource

        return FolderSource(Path(text))
    from seg_node.sources.video import VideoSource

    return VideoSource(text, live=kind == "live")


def by_number(path: Path) -> list[str | int]:
    """Key to sort files as people number them: frame10 comes after frame9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _kind(text: str | None) -> str:
    """Return street, bag, folder, video or live. Raises SourceError where ``text`` is none of them."""
    if not text:
        return "street"
    if re.match(r"\d+$|/dev/video|[a-z]+://", text):
        return "live"
    path = Path(text)
    if not path.exists():
        if text == "street":
            return "street"
        raise SourceError(
            f"{text}: no such file or folder. A source is a video, a folder of images, a rosbag2 "
            "folder or .mcap or .db3 file, a camera index such as 0, or nothing for the street"
        )
    if path.is_dir():
        is_bag = (path / "metadata.yaml").exists() or any(p.suffix in BAGS for p in path.iterdir())
        return "bag" if is_bag else "folder"
    if path.suffix == ".bag":
        raise SourceError(
            "{}: is a ROS 1 bag. Convert it, then give the new folder: rosbags-convert --src {} --dst {}".format(
                text, text, path.with_suffix("")
            )
        )
    if path.suffix in BAGS:
        return "bag"
    return "folder" if path.suffix.lower() in IMAGES else "video"
