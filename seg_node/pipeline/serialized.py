"""Image messages as the middleware delivers them, in CDR: read where they lie. Imports no ROS.

A typed message costs two more copies of all its pixels, made with Python's lock held. Only what every ROS 2 middleware
writes is read here; whoever gets None lets rclpy read the message.
"""

import struct
from typing import Any, Callable, Optional, Tuple

from seg_node.pipeline.messages import MessageError

_PLAIN = (0, 1, 6, 7)  # representations without tags between the fields: CDR and CDR 2, of either byte order
_HEADER = 4  # bytes before the fields: representation and options


class ImageFields:
    """The fields of a sensor_msgs/Image or CompressedImage; ``data`` is a view of what was received."""

    __slots__ = ("data", "encoding", "format", "header", "height", "is_bigendian", "step", "width")

    header: Any  # what make_header returned
    height: int
    width: int
    encoding: str  # of an Image
    is_bigendian: int
    step: int
    format: str  # of a CompressedImage
    data: memoryview


def read_image(message: bytes, make_header: Callable[[int, int, str], Any]) -> Optional[ImageFields]:
    """Read a serialized sensor_msgs/Image.

    ``make_header`` gets the stamp's seconds and nanoseconds, and the frame_id. Returns None for a representation that
    is not known here. Raises MessageError for a message that is cut short.
    """
    return _read(message, make_header, _image)


def read_compressed(message: bytes, make_header: Callable[[int, int, str], Any]) -> Optional[ImageFields]:
    """Read a serialized sensor_msgs/CompressedImage, as ``read_image`` does."""
    return _read(message, make_header, _compressed)


def _read(
    message: bytes, make_header: Callable[[int, int, str], Any], rest: Callable[[ImageFields, bytes, str, int], int]
) -> Optional[ImageFields]:
    if len(message) < _HEADER or message[0] != 0 or message[1] not in _PLAIN:
        return None
    order, fields = "<" if message[1] & 1 else ">", ImageFields()
    try:
        seconds, nanoseconds = struct.unpack_from(order + "iI", message, _HEADER)
        frame_id, at = _text(message, order, _HEADER + 8)
        fields.header = make_header(seconds, nanoseconds, frame_id)
        at = rest(fields, message, order, at)
        (size,) = struct.unpack_from(order + "I", message, at)
    except struct.error as error:
        raise MessageError("a message of {} bytes ends within its header".format(len(message))) from error
    fields.data = memoryview(message)[at + 4 : at + 4 + size]
    if len(fields.data) < size:
        raise MessageError("a message of {} bytes claims to hold an image of {}".format(len(message), size))
    return fields


def _image(fields: ImageFields, message: bytes, order: str, at: int) -> int:
    """Read what stands between header and data; returns where the data begins."""
    fields.height, fields.width = struct.unpack_from(order + "II", message, at)
    fields.encoding, at = _text(message, order, at + 8, 1)
    fields.is_bigendian = message[at] if at < len(message) else 0
    at = _aligned(at + 1)
    (fields.step,) = struct.unpack_from(order + "I", message, at)
    return at + 4


def _compressed(fields: ImageFields, message: bytes, order: str, at: int) -> int:
    fields.format, at = _text(message, order, at)
    return at


def _text(message: bytes, order: str, at: int, align: int = 4) -> Tuple[str, int]:
    """Return the string at a 4-aligned offset, and the next offset that is a multiple of ``align``."""
    (length,) = struct.unpack_from(order + "I", message, at)
    at += 4
    if length > len(message) - at:
        raise struct.error("the string is longer than the message")
    text = message[at : at + length].rstrip(b"\0").decode("utf-8", "replace")
    return text, at + length if align == 1 else _aligned(at + length)


def _aligned(at: int) -> int:
    """Return the next multiple of 4, counted from the first field as CDR does: the header before it has 4 bytes."""
    return (at + 3) // 4 * 4
