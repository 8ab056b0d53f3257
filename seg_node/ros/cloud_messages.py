"""Depth, points and camera_info messages to arrays, and clouds back. Imports no ROS, as ``messages.py``.

Arrays are views of a message's data. All that is wrong with a message raises CloudError with the reason.
"""

import math
import sys
from typing import Any, Callable, List, Tuple

import numpy as np

from seg_node.pipeline.label_cloud import POINT, Cloud, CloudError, Pinhole, fields

_DEPTHS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}  # millimetres, millimetres, metres
_FLOAT32, _UINT32 = 7, 6  # sensor_msgs/PointField
_FLOATS = {_FLOAT32: "f4", 8: "f8"}
XYZ = Tuple[np.ndarray, np.ndarray, np.ndarray]


def read_depth(msg: Any) -> np.ndarray:
    """View a sensor_msgs/Image as uint16 millimetres or float32 metres, (H, W), of the message's strides and order."""
    kind = _DEPTHS.get(msg.encoding)
    if kind is None:
        raise CloudError("depth has encoding '{}'; known are {}".format(msg.encoding, ", ".join(sorted(_DEPTHS))))
    dtype = np.dtype(_order(msg) + kind)
    if msg.step < msg.width * dtype.itemsize:
        raise CloudError(
            "depth has step {}, smaller than a row of {} pixels {}".format(msg.step, msg.width, msg.encoding)
        )
    data = _data(msg, msg.step, "depth")
    return np.ndarray((msg.height, msg.width), dtype, data, strides=(msg.step, dtype.itemsize))


def read_points(msg: Any) -> XYZ:
    """View a sensor_msgs/PointCloud2 as x, y and z, float32 or float64 (height, width); see ``organise``."""
    if msg.row_step < msg.width * msg.point_step:
        raise CloudError(
            "points have row_step {}, smaller than a row of {} points of {} bytes".format(
                msg.row_step, msg.width, msg.point_step
            )
        )
    data = _data(msg, msg.row_step, "points")
    known = {field.name: field for field in msg.fields}
    found: List[np.ndarray] = []
    for name in "xyz":
        field = known.get(name)
        if field is None or field.datatype not in _FLOATS:
            raise CloudError("points have no field '{}' of FLOAT32 or FLOAT64".format(name))
        dtype = np.dtype(_order(msg) + _FLOATS[field.datatype])
        if field.offset + dtype.itemsize > msg.point_step:
            raise CloudError(
                "field '{}' at offset {} does not fit in a point of {} bytes".format(name, field.offset, msg.point_step)
            )
        strides = (msg.row_step, msg.point_step)
        found.append(np.ndarray((msg.height, msg.width), dtype, data, field.offset, strides))
    return found[0], found[1], found[2]


def organise(xyz: XYZ, size: Tuple[int, ...]) -> XYZ:
    """Return points as rows and columns, given the camera image's (height, width).

    A cloud of one row that has a point for each pixel is taken to be the image's rows one after the other.
    """
    if xyz[0].shape[0] != 1 or size[0] == 1:
        return xyz
    if xyz[0].size != size[0] * size[1]:
        raise CloudError(
            "points are not organised: one row of {}, where the camera image has {}x{} pixels; "
            "send the camera's own cloud, before any filter".format(xyz[0].size, size[1], size[0])
        )
    return tuple(plane.reshape(size) for plane in xyz)  # type: ignore[return-value]


def read_pinhole(msg: Any) -> Pinhole:
    """Read the rectified camera of a sensor_msgs/CameraInfo: P, or K where P is not filled in; binning and roi too."""
    p, k = [float(value) for value in msg.p], [float(value) for value in msg.k]
    fx, fy, cx, cy = (p[0], p[5], p[2], p[6]) if p[0] > 0 else (k[0], k[4], k[2], k[5])
    if not all(map(math.isfinite, (fx, fy, cx, cy))) or fx <= 0 or fy <= 0:
        raise CloudError("camera_info is not calibrated: focal lengths are {:g} and {:g}".format(fx, fy))
    bins = (max(1, msg.binning_x), max(1, msg.binning_y))
    width, height = msg.roi.width or msg.width, msg.roi.height or msg.height
    if width < bins[0] or height < bins[1]:
        raise CloudError("camera_info has an image of {}x{}".format(width, height))
    cx, cy = (cx - msg.roi.x_offset) / bins[0], (cy - msg.roi.y_offset) / bins[1]
    return Pinhole(fx / bins[0], fy / bins[1], cx, cy, width // bins[0], height // bins[1])


def cloud_fields(cloud: Cloud, field_type: Callable[..., Any]) -> List[Any]:
    """Return the fields of a cloud's message; ``field_type`` is sensor_msgs/PointField."""
    return [
        field_type(name=name, offset=offset, datatype=_UINT32 if dtype.kind == "u" else _FLOAT32, count=1)
        for name, offset, dtype in fields(cloud)
    ]


def fill_cloud(msg: Any, cloud: Cloud, header: Any) -> Any:
    """Fill and return a PointCloud2 but for its fields. Takes the cloud's memory as it is: publish before the next."""
    msg.header = header
    msg.height, msg.width = cloud.points.shape
    msg.is_bigendian = sys.byteorder == "big"
    msg.point_step, msg.row_step = POINT.itemsize, POINT.itemsize * cloud.points.shape[1]
    msg.is_dense = False
    msg.data = cloud.data
    return msg


def _order(msg: Any) -> str:
    return ">" if msg.is_bigendian else "<"


def _data(msg: Any, step: int, what: str) -> np.ndarray:
    """Return the message's data as uint8, once it is known to hold ``height`` rows of ``step`` bytes."""
    if msg.height == 0 or msg.width == 0:
        raise CloudError("{}: empty, {}x{}".format(what, msg.width, msg.height))
    if len(msg.data) < step * msg.height:
        raise CloudError(
            "{}: truncated, {} bytes where {} rows of {} are due".format(what, len(msg.data), msg.height, step)
        )
    return np.frombuffer(msg.data, np.uint8)
