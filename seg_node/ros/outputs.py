"""What one camera's frames become on topics, each made and sent only where someone listens."""

import array
import functools
import threading
import time
from typing import Any, Callable, Dict, Optional, Tuple

import cv2
import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from seg_node.label_set import LabelSet
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.messages import fill_image
from seg_node.pipeline.overlay import Overlay
from seg_node.pipeline.segmenter import Segmentation
from seg_node.ros.parameters import Settings

try:
    from vision_msgs.msg import LabelInfo, VisionClass  # type: ignore[import-not-found]
except ImportError:  # no part of ros_base
    LabelInfo = None

_ENCODINGS = {"label": "mono8", "confidence": "mono8", "overlay": "bgr8", "color": "bgr8"}
_CODECS = {"label": "png", "overlay": "jpeg"}  # of NAME/compressed
_PICTURES = ("overlay", "overlay/compressed", "color", "label/compressed")  # what may come a little later
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]  # fast, and as small


class Outputs:
    """``label``, ``confidence``, ``overlay``, ``color``, ``label/compressed``, ``overlay/compressed`` and
    ``camera_info`` under a prefix such as ``~/`` or ``~/front/``.
    """

    def __init__(self, node: Any, prefix: str, settings: Settings) -> None:
        self._node, self._prefix, self._settings = node, prefix, settings
        self.qos = QoSProfile(
            depth=settings.qos_output_depth,
            reliability=getattr(ReliabilityPolicy, settings.qos_output_reliability.upper()),
        )
        self._publishers: Dict[str, Any] = {}
        # a publisher must not be destroyed while it is used; one for each, since pictures are sent in another thread
        self._locks = {name: threading.RLock() for each in _ENCODINGS for name in (each, each + "/compressed")}
        self._messages = {name: _image() for name in _ENCODINGS}  # reused: making one costs more than filling it
        self._infos = node.create_publisher(CameraInfo, prefix + "camera_info", self.qos)
        self._overlay: Optional[Overlay] = None
        self.set(settings)

    def set(self, settings: Settings) -> None:
        """Take new settings: offer what they want, withdraw what they do not."""
        self._settings = settings
        for name in _ENCODINGS:
            wanted = getattr(settings, "publish_" + name)
            self._offer(name, Image, wanted)
            if name in _CODECS:
                self._offer(name + "/compressed", CompressedImage, wanted)

    def _offer(self, name: str, kind: Any, wanted: bool) -> None:
        with self._locks[name]:
            if wanted and name not in self._publishers:
                self._publishers[name] = self._node.create_publisher(kind, self._prefix + name, self.qos)
            elif not wanted and name in self._publishers:
                self._node.destroy_publisher(self._publishers.pop(name))

    def paint_with(self, label_set: LabelSet) -> None:
        """Take the colours for overlay and color. Unknown names in ``classes`` are left out."""
        overlay = Overlay(label_set)
        shown = [name for name in self._settings.classes if name in label_set.names]
        overlay.show(shown if self._settings.classes else None)
        self._overlay = overlay

    def labels(self, result: Segmentation, header: Any, info: Any, seconds: Dict[str, float]) -> None:
        """Publish a frame's labels and confidence under its own header; adds to ``seconds`` by stage."""
        start = time.perf_counter()
        self._send("label", result.labels, header)
        if result.confidence is not None:
            self._send("confidence", result.confidence, header)
        if info is not None and self.info_wanted():
            self._infos.publish(scaled_info(info, header, result.labels.shape))
        seconds["publish"] = time.perf_counter() - start

    def painting(self, frame: Frame, result: Segmentation, header: Any) -> Callable[[], Dict[str, float]]:
        """Return what compresses, paints and publishes what may come a little later, with the settings and colours of
        now; it returns seconds by stage, {} for nothing done.
        """
        return functools.partial(self._pictures, frame, result, header, self._overlay, self._settings)

    def _pictures(
        self, frame: Frame, result: Segmentation, header: Any, overlay: Optional[Overlay], settings: Settings
    ) -> Dict[str, float]:
        self._compress("label", result.labels, header)
        blended = self.wanted("overlay") or self.wanted("overlay/compressed")
        if overlay is None or not (blended or self.wanted("color")):
            return {}
        start = time.perf_counter()
        color = overlay.color(result.labels, result.small)
        self._send("color", color, header)
        if blended:
            image = overlay.blend(frame, result.labels, color, settings.overlay_alpha, settings.overlay_legend)
            self._send("overlay", image, header)
            self._compress("overlay", image, header)
        return {"overlay": time.perf_counter() - start}

    def pictures_wanted(self) -> bool:
        """Return whether somebody subscribes to what a ``painting`` makes."""
        return any(self.wanted(name) for name in _PICTURES)

    def info_wanted(self) -> bool:
        """Return whether somebody subscribes to camera_info."""
        return bool(self._infos.get_subscription_count())

    def wanted(self, name: str) -> bool:
        """Return whether an output is offered and somebody subscribes to it."""
        with self._locks[name]:
            publisher = self._publishers.get(name)
            return publisher is not None and bool(publisher.get_subscription_count())

    def _send(self, name: str, image: np.ndarray, header: Any) -> None:
        with self._locks[name]:
            if self.wanted(name):
                message = fill_image(self._messages[name], image, header, _ENCODINGS[name])
                self._publishers[name].publish(message)

    def _compress(self, name: str, image: np.ndarray, header: Any) -> None:
        topic = name + "/compressed"
        if not self.wanted(topic):
            return
        codec, encoding = _CODECS[name], _ENCODINGS[name]
        options = _PNG if codec == "png" else [cv2.IMWRITE_JPEG_QUALITY, self._settings.jpeg_quality]
        done, data = cv2.imencode("." + codec, image, options)
        if not done:
            raise RuntimeError("OpenCV cannot encode {} as {}".format(topic, codec))
        # as image_transport's compressed plug-in writes it
        message = CompressedImage(header=header, format="{0}; {1} compressed {0}".format(encoding, codec))
        message.data = array.array("B", data.tobytes())
        with self._locks[topic]:
            if self.wanted(topic):
                self._publishers[topic].publish(message)


def _image() -> Image:
    """Return a message that takes an array as its data as it is: unless it checks its fields, it copies the array."""
    return Image(check_fields=True) if "_check_fields" in Image.__slots__ else Image()  # Humble's always check


def scaled_info(info: Any, header: Any, size: Tuple[int, ...]) -> CameraInfo:
    """Return a CameraInfo of images (height, width) for a camera that ``info`` calibrates, as image_proc scales it.

    A camera's own region of interest and binning, if any, are in the matrices from here on.
    """
    roi = info.roi
    width, height = roi.width or info.width, roi.height or info.height
    across = size[1] / width if width else 1.0
    down = size[0] / height if height else 1.0
    k, p = list(info.k), list(info.p)
    for matrix, row in ((k, 3), (p, 4)):
        matrix[2] -= roi.x_offset * matrix[2 * row + 2]  # times 1, or 0 where it is not calibrated
        matrix[row + 2] -= roi.y_offset * matrix[2 * row + 2]
        matrix[:row] = [value * across for value in matrix[:row]]
        matrix[row : 2 * row] = [value * down for value in matrix[row : 2 * row]]
    return CameraInfo(
        header=header,
        height=size[0],
        width=size[1],
        distortion_model=info.distortion_model,
        d=info.d,
        k=k,
        r=info.r,
        p=p,
    )


class LabelNames:
    """``~/label_info`` (vision_msgs/LabelInfo), latched; nothing where vision_msgs is not installed."""

    def __init__(self, node: Any) -> None:
        self._node = node
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(LabelInfo, "~/label_info", latched) if LabelInfo else None

    def publish(self, label_set: LabelSet) -> None:
        """Say what the numbers in the label image mean from now on."""
        if self._publisher is None:
            return
        message = LabelInfo(threshold=0.0)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.class_map = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(label_set.names)]
        self._publisher.publish(message)
