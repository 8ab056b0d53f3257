"""ROS messages in CDR, made of arrays: images, camera calibrations, class names, diagnostics. Needs no ROS.

Definitions are those of ROS 2 Jazzy; the messages made here are the same in every distribution since Foxy.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from seg_node.label_set import LabelSet

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
_VISION = {  # no part of what rosbags knows
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    LABEL_INFO: "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
}
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # fast, and seldom larger


@cache
def types() -> Any:
    """Return rosbags' typestore with all the types that are made here. Raises ImportError saying what to install."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise ImportError("writing bags needs the library rosbags: pip install rosbags") from error
    store = get_typestore(Stores.ROS2_JAZZY)
    for kind, text in _VISION.items():
        if kind not in store.types:
            store.register(get_types_from_msg(text, kind))
    return store


def image(stamp: int, frame_id: str, pixels: np.ndarray, encoding: str) -> bytes:
    """An Image of pixels (H, W) or (H, W, channels), of the type that ``encoding`` means; ``stamp`` in ns."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels)
    fields = {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": data.nbytes // height,
        "data": data.view(np.uint8).reshape(-1),
    }
    return _cdr(IMAGE, header=_header(stamp, frame_id), **fields)


def compressed_image(stamp: int, frame_id: str, pixels: np.ndarray, codec: str, quality: int = 90) -> bytes:
    """A CompressedImage of uint8 (H, W, 3) BGR or (H, W); ``codec``: "jpeg" or "png". Raises ValueError."""
    options = _PNG if codec == "png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode("." + codec, pixels, options)
    if not done:
        raise ValueError(f"OpenCV cannot encode {pixels.dtype} {pixels.shape} as {codec}")
    encoding = "bgr8" if pixels.ndim == 3 else "mono8"
    # as image_transport's compressed plug-in writes it
    text = f"{encoding}; {codec} compressed {encoding}"
    return _cdr(COMPRESSED, header=_header(stamp, frame_id), format=text, data=data.reshape(-1))


def camera_info(stamp: int, frame_id: str, size: Sequence[int], matrix: np.ndarray) -> bytes:
    """A CameraInfo of a pinhole without distortion; ``size``: (height, width), ``matrix``: float (3, 3)."""
    from_pixels = np.asarray(matrix, np.float64)
    projection = np.hstack([from_pixels, np.zeros((3, 1))])
    region = _new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return _cdr(
        CAMERA_INFO,
        header=_header(stamp, frame_id),
        height=size[0],
        width=size[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=from_pixels.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=projection.reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def label_info(stamp: int, frame_id: str, label_set: LabelSet) -> bytes:
    """A vision_msgs/LabelInfo: the name of each class id of a label image."""
    classes = [_new("vision_msgs/msg/VisionClass", class_id=i, class_name=n) for i, n in enumerate(label_set.names)]
    return _cdr(LABEL_INFO, header=_header(stamp, frame_id), class_map=classes, threshold=0.0)


def diagnostics(stamp: int, name: str, message: str, hardware: str, values: Mapping[str, str]) -> bytes:
    """A DiagnosticArray with one status, level OK."""
    pairs = [_new("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in values.items()]
    fields = {"level": 0, "name": name, "message": message, "hardware_id": hardware, "values": pairs}
    return _cdr(DIAGNOSTICS, header=_header(stamp, ""), status=[_new("diagnostic_msgs/msg/DiagnosticStatus", **fields)])


def _new(kind: str, **fields: Any) -> Any:
    return types().types[kind](**fields)


def _header(stamp: int, frame_id: str) -> Any:
    time = _new("builtin_interfaces/msg/Time", sec=stamp // 10**9, nanosec=stamp % 10**9)
    return _new("std_msgs/msg/Header", stamp=time, frame_id=frame_id)


def _cdr(kind: str, **fields: Any) -> bytes:
    return bytes(types().serialize_cdr(_new(kind, **fields), kind))
