"""Bags made of what is no recording: the rendered street with its ground truth and depth, a folder, a video.

Stamps begin at ``START`` and are even, so that the same call writes the same messages anywhere, any time.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.datasets.street import LABEL_SET, Street
from seg_node.label_set import LabelSet, load_label_set
from seg_node.replay import bag_messages as messages
from seg_node.replay.bag_writer import BagWriter, latched
from seg_node.replay.progress import Interrupts
from seg_node.sources import Source, SourceError, open_source
from seg_node.sources.bag import BagSource
from seg_node.sources.folder import FolderSource

START = 1_577_836_800 * 10**9  # ns: 2020-01-01 UTC
TOPIC = "/camera/image_raw"
FRAME_ID = "camera"  # the fixed frame of our RViz layouts
_NAME = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
_FARTHEST = 65.535  # metres; what 16 bits of millimetres reach

Progress = Callable[[int, "int | None"], None]  # frames done, of how many


class Made(NamedTuple):
    """What was written."""

    path: Path
    frames: int  # 0: there is no bag
    labels: int
    stopped: bool  # by Ctrl-C, before the end
    notes: tuple[str, ...] = ()  # what of the source is not in it

    def __str__(self) -> str:
        if self.frames == 0:
            return "stopped before the first frame: there is no bag"
        text = f"{self.path}: {self.frames} image{'' if self.frames == 1 else 's'}"
        if self.labels:
            text += f", {self.labels} with ground truth"
        return "; ".join([text, *(["stopped early"] if self.stopped else self.notes)])


class View(NamedTuple):
    """One moment of a camera."""

    image: np.ndarray  # uint8 (H, W, 3) BGR
    truth: np.ndarray | None = None  # uint8 (H, W) class ids, 255 unlabelled
    depth: np.ndarray | None = None  # float32 (H, W) metres along the camera's axis


class Camera(NamedTuple):
    """How views become messages: topics beside ``topic``, and what does not change."""

    topic: str = TOPIC
    codec: str = ""  # of a CompressedImage: "jpeg" or "png"; "": raw
    label_set: LabelSet | None = None  # of the truth
    matrix: np.ndarray | None = None  # float (3, 3): a pinhole's; None: not calibrated

    def beside(self, name: str) -> str:
        """Return a topic's name in the same namespace."""
        base = self.topic.rstrip("/").removesuffix("/compressed")
        return base.rpartition("/")[0] + "/" + name


def record_street(
    path: Path,
    seconds: float,
    rate: float = 10.0,
    size: tuple[int, int] = (360, 480),
    seed: int = 7,
    codec: str = "",
    progress: Progress = lambda done, total: None,
) -> Made:
    """Write a rendered drive: image, camera_info, depth and ground_truth. Raises ValueError, OSError."""
    street = Street(seed, size, rate)
    cv2.setNumThreads(1)  # the same bytes on every machine
    total = max(1, round(seconds * rate))
    views = (View(*street.render_with_depth(index)) for index in range(total))
    camera = Camera(codec=codec, label_set=load_label_set(LABEL_SET), matrix=street.camera_matrix())
    return write_views(path, views, camera, rate, total, progress)


def bag_from(
    path: Path,
    source: Source,
    rate: float | None = None,
    topic: str = TOPIC,
    codec: str = "",
    progress: Progress = lambda done, total: None,
) -> Made:
    """Write a source's frames, with ground truth where it has one; ``rate``: frames a second, if not the source's own.

    Raises SourceError where no frame of it can be read, OSError where the bag cannot be written.
    """
    if not _NAME.fullmatch(topic):
        raise ValueError(f"'{topic}' is no name of a topic: words of letters, digits and _ with / between")
    topic = "/" + topic.lstrip("/")
    views = (View(shot.image, shot.truth) for shot in source.shots() if shot.image is not None)
    label_set = load_label_set(source.label_set) if source.label_set else None
    camera = Camera(topic, codec, label_set)
    made = write_views(path, views, camera, rate or source.rate, source.length, progress)
    if made.frames == 0 and not made.stopped:
        raise SourceError(f"{source.title}: no frame in it can be read, so there is no bag")
    return made._replace(notes=tuple(_left_out(source, made.frames)))


def _left_out(source: Source, frames: int) -> Iterator[str]:
    """Say what of a whole pass of ``source`` did not become ``frames`` with their ground truth."""
    if isinstance(source, FolderSource):
        if source.unread:
            yield f"{len(source.unread)} could not be read, the first: {source.unread[0]}"
        if source.unlabelled:
            yield f"{len(source.unlabelled)} without ground truth, the first: {source.unlabelled[0]}"
    elif source.length and frames < 0.98 * source.length - 2:  # what a container says may be off by a little
        yield f"it should have {source.length}: is the file cut short?"


def open_files(text: str) -> Source:
    """Open a folder of images or a video. Raises SourceError for what is neither."""
    path = Path(text)
    if not (path.is_dir() or path.is_file()):
        raise SourceError(f"{text}: no such file or folder; give a folder of images, or a video")
    source = open_source(str(path.absolute()))
    if isinstance(source, BagSource):
        source.close()
        raise SourceError(f"{text}: is a bag already; seg-node replay reads it as it is")
    return source


def write_views(
    path: Path, views: Iterator[View], camera: Camera, rate: float, total: int | None, progress: Progress
) -> Made:
    """Write the views, ``rate`` a second. Ctrl-C ends the bag after the view at hand; a second one, without a bag."""
    frames = labels = 0
    with Interrupts() as interrupts, BagWriter(path) as bag:
        writer = _Views(bag, camera)
        for index, view in enumerate(itertools.takewhile(lambda _: not interrupts.received, views)):
            writer.write(START + round(index * 1e9 / rate), view)
            frames, labels = frames + 1, labels + (view.truth is not None)
            progress(frames, total)
    return Made(path, frames, labels, interrupts.received)


class _Views:
    """Writes views; a topic is there from its first message on."""

    def __init__(self, bag: BagWriter, camera: Camera) -> None:
        self._bag, self._camera = bag, camera
        self._topics: dict[str, Any] = {}

    def write(self, stamp: int, view: View) -> None:
        camera = self._camera
        if camera.codec:
            data = messages.compressed_image(stamp, FRAME_ID, view.image, camera.codec)
            self._send(camera.topic.removesuffix("/compressed") + "/compressed", messages.COMPRESSED, stamp, data)
        else:
            self._send(camera.topic, messages.IMAGE, stamp, messages.image(stamp, FRAME_ID, view.image, "bgr8"))
        if camera.matrix is not None:
            info = messages.camera_info(stamp, FRAME_ID, view.image.shape[:2], camera.matrix)
            self._send(camera.beside("camera_info"), messages.CAMERA_INFO, stamp, info)
        if view.depth is not None:
            depth = messages.image(stamp, FRAME_ID, to_millimetres(view.depth), "16UC1")
            self._send(camera.beside("depth"), messages.IMAGE, stamp, depth)
        if view.truth is not None:
            self._send_truth(stamp, view.truth)

    def _send_truth(self, stamp: int, truth: np.ndarray) -> None:
        name, label_set = self._camera.beside("ground_truth"), self._camera.label_set
        if label_set is not None and name + "_info" not in self._topics:
            info = messages.label_info(stamp, FRAME_ID, label_set)
            self._send(name + "_info", messages.LABEL_INFO, stamp, info, [latched()])
        self._send(name, messages.IMAGE, stamp, messages.image(stamp, FRAME_ID, truth, "mono8"))

    def _send(self, topic: str, kind: str, stamp: int, data: bytes, qos: Any = None) -> None:
        if topic not in self._topics:
            self._topics[topic] = self._bag.add(topic, kind, qos)
        self._bag.write(self._topics[topic], stamp, data)


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """Return uint16 (H, W) of metres (H, W), as depth cameras send it; 0: farther than 65.535 m, or sky."""
    return np.where(depth <= _FARTHEST, np.rint(depth * 1000), 0).astype(np.uint16)
