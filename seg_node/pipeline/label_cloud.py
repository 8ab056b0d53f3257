"""Labels in space: depth or points of a camera, and what its image shows there, as one organised cloud.

A cloud is as high and wide as the depth; without depth a point's x, y and z are NaN, so that PCL, RViz and Nav2
pass over it. ``rgb`` holds 0x00RRGGBB in the bytes of a float, as PCL and RViz expect, and ``label`` is uint32 and
``confidence`` float32 because PCL reads a field only in the type of its own point (PointXYZRGBL, PointSurfel).
"""

import array
from typing import Any, Dict, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from seg_node.pipeline.frame import Frame

POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4"), ("label", "<u4"), ("confidence", "<f4")]
)  # x, y, z in metres; label 255 is unlabelled; confidence 0 to 1
_PLANES = POINT.itemsize // 4
_ASPECT = 0.02  # share by which two pictures of one view may differ in shape: 848x480 is called 16:9, too
_NEAREST = getattr(cv2, "INTER_NEAREST_EXACT", cv2.INTER_NEAREST)  # OpenCV before 4.3 is half a pixel off


class CloudError(ValueError):
    """What was given makes no cloud; the message says why, and what to do."""


class Pinhole(NamedTuple):
    """A rectified camera: focal lengths and centre in pixels of an image of this size."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def resized(self, width: int, height: int) -> "Pinhole":
        """Return the same camera with an image of another size; pixel centres are at whole numbers."""
        across, down = width / self.width, height / self.height
        centre = ((self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5)
        return Pinhole(self.fx * across, self.fy * down, centre[0], centre[1], width, height)


class Cloud(NamedTuple):
    """An organised cloud. Its memory is reused by the next call."""

    points: np.ndarray  # POINT (H, W), a view of data
    data: "array.array[int]"  # the same as "B": what a message takes without a copy
    confident: bool  # false: the network gives no confidence, and the field's 0 means nothing


class LabelCloud:
    """Makes clouds of one camera; one caller at a time. Buffers stay as long as the size does."""

    def __init__(self) -> None:
        self._size: Tuple[int, int] = (0, 0)
        self._rays: Tuple[Optional[Pinhole], np.ndarray, np.ndarray] = (None, np.empty(0), np.empty(0))
        self._resized: Dict[str, np.ndarray] = {}

    def from_depth(
        self,
        depth: np.ndarray,
        pinhole: Pinhole,
        labels: np.ndarray,
        confidence: Optional[np.ndarray] = None,
        frame: Optional[Frame] = None,
    ) -> Cloud:
        """Return the cloud of a depth image that is registered to the camera's.

        ``depth`` is (H, W), uint16 millimetres or floating metres, of any strides and byte order; 0, negative, NaN
        and infinite are no point. ``labels`` and ``confidence`` are uint8, and they, the frame's image and the
        pinhole may have other sizes than the depth: the nearest pixel counts. Raises CloudError where frame or
        pinhole have another shape than the depth, and so another view.
        """
        size = (depth.shape[0], depth.shape[1])
        _check_view(size, (pinhole.height, pinhole.width), "camera_info is for")
        self._prepare(size)
        x, y, z = self._floats[0], self._floats[1], self._floats[2]
        _to_metres(depth, z, self._mask)
        across, down = self._look_up_rays(pinhole.resized(size[1], size[0]))
        np.multiply(z, across, out=x)
        np.multiply(z, down, out=y)
        return self._finish(labels, confidence, frame)

    def from_points(
        self,
        xyz: Tuple[np.ndarray, np.ndarray, np.ndarray],
        labels: np.ndarray,
        confidence: Optional[np.ndarray] = None,
        frame: Optional[Frame] = None,
    ) -> Cloud:
        """Return the cloud of points that lie as the pixels of the camera's image do.

        ``xyz`` are three floating arrays (H, W) of any strides and byte order, in whatever frame. The rest is as in
        ``from_depth``. Raises CloudError where the frame has another shape than the points.
        """
        self._prepare((xyz[0].shape[0], xyz[0].shape[1]))
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is what it nearly is
            for plane, values in zip(self._floats, xyz):
                np.copyto(plane, values, casting="same_kind")
        return self._finish(labels, confidence, frame)

    def _prepare(self, size: Tuple[int, int]) -> None:
        if size == self._size:
            return
        height, width = size
        self._planes = np.zeros((_PLANES, height, width), np.int32)
        self._floats = self._planes.view(np.float32)
        self._mask = np.empty(size, np.bool_)
        self._bgra = np.empty((height, width, 4), np.uint8)
        self._data = array.array("B", [0]) * (height * width * POINT.itemsize)
        self._size = size

    def _look_up_rays(self, pinhole: Pinhole) -> Tuple[np.ndarray, np.ndarray]:
        """Return float32 (W,) and (H, 1): x and y of each pixel's ray at a depth of one."""
        if self._rays[0] != pinhole:
            across = (np.arange(pinhole.width) - pinhole.cx) / pinhole.fx
            down = (np.arange(pinhole.height) - pinhole.cy) / pinhole.fy
            self._rays = (pinhole, across.astype(np.float32), down.astype(np.float32)[:, np.newaxis])
        return self._rays[1], self._rays[2]

    def _finish(self, labels: np.ndarray, confidence: Optional[np.ndarray], frame: Optional[Frame]) -> Cloud:
        """Add the image's planes to x, y and z, and interleave them."""
        self._paint(frame)
        np.copyto(self._planes[4], self._fit(labels, "labels"))
        if confidence is None:
            self._planes[5] = 0
        else:
            np.multiply(self._fit(confidence, "confidence"), np.float32(1 / 255), out=self._floats[5])
        # One pass over the memory; writing field by field takes three times as long.
        words = np.frombuffer(self._data, np.int32).reshape(self._size + (_PLANES,))
        cv2.merge(list(self._planes), dst=words)
        points = np.frombuffer(self._data, POINT).reshape(self._size)
        return Cloud(points, self._data, confidence is not None)

    def _paint(self, frame: Optional[Frame]) -> None:
        if frame is None:
            self._planes[3] = 0
            return
        _check_view(self._size, frame.image.shape[:2], "the camera image is")
        code = cv2.COLOR_BGR2BGRA if frame.channels == "bgr" else cv2.COLOR_RGB2BGRA
        cv2.cvtColor(self._fit(frame.image, "image"), code, dst=self._bgra)
        # Without alpha no colour is a NaN, which a float may not survive as.
        np.bitwise_and(self._bgra.view(np.int32)[..., 0], 0x00FFFFFF, out=self._planes[3])

    def _fit(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return uint8 (H, W) or (H, W, 3) at the cloud's size; itself where it has it."""
        height, width = self._size
        if image.shape[:2] == self._size:
            return image
        resized = self._resized.get(name)
        if resized is not None and resized.shape[:2] != self._size:
            resized = None
        self._resized[name] = cv2.resize(image, (width, height), dst=resized, interpolation=_NEAREST)
        return self._resized[name]


def _to_metres(depth: np.ndarray, z: np.ndarray, mask: np.ndarray) -> None:
    """Write depth into z, float32, with NaN where there is none; ``mask`` is scratch."""
    if depth.dtype.kind == "u":
        np.multiply(depth, np.float32(0.001), out=z, dtype=np.float32)
        np.equal(depth, 0, out=mask)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(z, depth, casting="same_kind")
            np.copyto(z, np.nan, where=np.isinf(z, out=mask))
            np.less_equal(z, 0.0, out=mask)
    np.copyto(z, np.nan, where=mask)


def _check_view(size: Tuple[int, ...], other: Tuple[int, ...], what: str) -> None:
    """Raise CloudError unless two (height, width) can show one view, up to scale."""
    small, large = sorted((size, other))
    height = large[0] * small[1] / large[1]
    if abs(height - small[0]) > max(1.0, _ASPECT * small[0]):
        raise CloudError(
            "depth is {}x{}, but {} {}x{}, which is no other size of the same view; "
            "register depth to the camera image (depth_image_proc does)".format(
                size[1], size[0], what, other[1], other[0]
            )
        )


def fields(cloud: Cloud) -> Tuple[Tuple[str, int, Any], ...]:
    """Return (name, offset, dtype) of the fields that mean something in this cloud."""
    table: Any = POINT.fields
    names = [name for name in POINT.names or () if cloud.confident or name != "confidence"]
    return tuple((name, table[name][1], table[name][0]) for name in names)
