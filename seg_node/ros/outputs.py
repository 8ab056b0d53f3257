"""The image topics that the node publishes, each painted and sent only where someone listens."""

import time
from typing import Any, Dict, Optional

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from seg_node.label_set import LabelSet
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.overlay import Overlay
from seg_node.pipeline.segmenter import Segmentation
from seg_node.ros.messages import fill_image

ENCODINGS = {"label": "mono8", "confidence": "mono8", "overlay": "bgr8", "color": "bgr8"}


class Outputs:
    """``~/label``, ``~/confidence``, ``~/overlay`` and ``~/color`` of one node."""

    def __init__(self, node: Any) -> None:
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers = {name: node.create_publisher(Image, "~/" + name, qos) for name in ENCODINGS}
        self._overlay: Optional[Overlay] = None

    def paint_with(self, label_set: LabelSet) -> None:
        """Take the colours for overlay and color."""
        self._overlay = Overlay(label_set)

    def labels(self, result: Segmentation, header: Any, seconds: Dict[str, float]) -> None:
        """Publish a frame's labels and confidence under its own header; adds to ``seconds`` by stage."""
        self._send("label", result.labels, header, seconds)
        if result.confidence is not None:
            self._send("confidence", result.confidence, header, seconds)

    def pictures(
        self, frame: Frame, result: Segmentation, header: Any, alpha: float, seconds: Dict[str, float]
    ) -> None:
        """Paint and publish ``~/overlay`` and ``~/color``; adds to ``seconds`` by stage."""
        if not self._wanted("overlay") and not self._wanted("color"):
            return
        assert self._overlay is not None
        start = time.perf_counter()
        images = {"color": self._overlay.color(result.labels)}
        if self._wanted("overlay"):
            images["overlay"] = self._overlay.blend(frame, result.labels, images["color"], alpha)
        seconds["overlay"] = time.perf_counter() - start
        for name, image in images.items():
            self._send(name, image, header, seconds)

    def _wanted(self, name: str) -> bool:
        return bool(self._publishers[name].get_subscription_count())

    def _send(self, name: str, image: np.ndarray, header: Any, seconds: Dict[str, float]) -> None:
        start = time.perf_counter()
        if self._wanted(name):
            self._publishers[name].publish(fill_image(Image(), image, header, ENCODINGS[name]))
        seconds["publish"] = seconds.get("publish", 0.0) + time.perf_counter() - start
