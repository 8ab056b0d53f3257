"""ROS image messages to frames and back. Imports no ROS: any object with the fields of the message will do.

Views of a message's data where its layout allows, copies only where pixels must be computed.
"""

import array
import struct
from typing import Any, Callable, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from seg_node.pipeline.frame import Frame, array_of

MOST_PIXELS = 1 << 25  # of a compressed image, 8K: one flipped bit must not cost gigabytes and a minute
LABEL_ENCODINGS = ("mono8", "8UC1")  # encodings of label images
_MARKERS = 1000  # steps through a JPEG's header, which has a dozen


class MessageError(ValueError):
    """An image message that cannot be read; the message says why."""


class _Encoding(NamedTuple):
    pixel: int  # bytes a pixel takes in a row
    # (rows uint8 (R, step), message, what may be overwritten or None) -> uint8 (H, W, 3)
    decode: Callable[[np.ndarray, Any, Optional[np.ndarray]], np.ndarray]
    channels: str = "bgr"  # of what decode returns


def to_frame(msg: Any, out: Optional[np.ndarray] = None) -> Frame:
    """Read a sensor_msgs/Image; ``step`` padding and, for 16 bits, ``is_bigendian`` are honoured.

    rgb8 and bgr8 come back as views of the message's data; others are written into ``out``, uint8 (H, W, 3), where it
    has their size. Raises MessageError.
    """
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        known = ", ".join(sorted(ENCODINGS))
        raise MessageError("unknown encoding '{}'; known are {}".format(msg.encoding, known))
    image = encoding.decode(_rows(msg, encoding), msg, out)
    return Frame(image, encoding.channels)


def compressed_to_frame(msg: Any, out: Optional[np.ndarray] = None) -> Frame:
    """Read a sensor_msgs/CompressedImage, JPEG or PNG. Raises MessageError.

    ``out`` is as in ``to_frame``, but OpenCV decodes into memory of its own.
    """
    del out
    # A robot's camera does not turn its images by EXIF.
    image = _decompress(msg, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    # image_transport's "rgb8; jpeg compressed rgb8": RGB went in where the codec expects BGR.
    channels = "rgb" if "compressed rgb" in msg.format else "bgr"
    return Frame(image, channels)


def to_labels(msg: Any, compressed: bool) -> np.ndarray:
    """Read an image of class ids, sensor_msgs/Image or CompressedImage, as it is: uint8 (H, W) where all is well.

    A compressed one may turn out to have more channels or bits. Raises MessageError.
    """
    if compressed:
        return _decompress(msg, cv2.IMREAD_UNCHANGED)
    if msg.encoding not in LABEL_ENCODINGS:
        raise MessageError("label images are {}, this one is '{}'".format(" or ".join(LABEL_ENCODINGS), msg.encoding))
    return _plane8(_rows(msg, ENCODINGS[msg.encoding]), msg)


def _decompress(msg: Any, flags: int) -> np.ndarray:
    """Decode a CompressedImage with OpenCV. Raises MessageError."""
    if "compressedDepth" in msg.format:
        raise MessageError("format '{}' is depth, not a camera image".format(msg.format))
    data = np.frombuffer(msg.data, np.uint8) if len(msg.data) else np.empty(0, np.uint8)
    if data[:2].tobytes() not in (b"\xff\xd8", b"\x89P"):  # others' decoders take half a minute for a damaged one
        raise MessageError("cannot decode {} bytes of format '{}': neither JPEG nor PNG".format(data.size, msg.format))
    width, height = _claimed_size(data)
    if width * height > MOST_PIXELS:
        raise MessageError("{} bytes claim to be an image of {}x{} pixels: damaged?".format(data.size, width, height))
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error:  # no data, or absurd dimensions
        image = None
    if image is None:
        raise MessageError("cannot decode {} bytes of format '{}'".format(data.size, msg.format))
    return np.asarray(image)


def _claimed_size(data: np.ndarray) -> Tuple[int, int]:
    """Return width and height from the header of a JPEG or PNG, uint8 (N,); (0, 0) for what has none.

    Raises MessageError as ``_check_chunks`` does.
    """
    start = data[:4].tobytes()
    if start == b"\x89PNG" and data.size >= 24:
        _check_chunks(data)
        width, height = struct.unpack_from(">II", data.data, 16)
        return width, height
    at = 2 if start[:2] == b"\xff\xd8" else data.size
    for _ in range(_MARKERS):
        if at + 9 > data.size:
            break
        marker, kind, length, _, height, width = struct.unpack_from(">BBHBHH", data.data, at)
        if marker != 0xFF or kind == 0xFF:  # a decoder, too, goes on to the next marker
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a start of frame
            return width, height
        elif kind == 0xDA:  # pixels without one
            break
        else:
            at += 2 + length
    return 0, 0


def _check_chunks(data: np.ndarray) -> None:
    """Raise MessageError for a PNG, uint8 (N,), cut short or with a damaged length: OpenCV would take that on trust."""
    at, kind = 8, b""
    while kind != b"IEND" and at + 12 <= data.size:
        length, kind = struct.unpack_from(">I4s", data.data, at)
        at += 12 + length
    if kind != b"IEND" or at > data.size:
        raise MessageError("a PNG of {} bytes is cut short or damaged".format(data.size))


def fill_image(msg: Any, image: np.ndarray, header: Any, encoding: str) -> Any:
    """Fill and return an Image message: uint8 (H, W) or (H, W, 3), and the header as it is.

    An image from ``frame.reuse`` becomes the message's data as it lies: it must not change before the message is
    published, which copies it. Any other is copied here.
    """
    data = array_of(image)
    if data is None:
        data = array.array("B")  # anything else is converted element by element: 100 times slower
        data.frombytes(memoryview(np.ascontiguousarray(image).data).cast("B"))
    msg.header = header
    msg.height, msg.width = image.shape[:2]
    msg.encoding = encoding
    msg.is_bigendian = 0
    msg.step = image.shape[1] * (image.shape[2] if image.ndim == 3 else 1)
    msg.data = data
    return msg


def _rows(msg: Any, encoding: _Encoding) -> np.ndarray:
    """Return the message's data as uint8 (rows, step) without a copy, once its size is known to be right."""
    if msg.height == 0 or msg.width == 0:
        raise MessageError("the image is empty: {}x{}".format(msg.width, msg.height))
    rows, row = msg.height, msg.width * encoding.pixel
    if encoding.decode in (_nv12, _nv21):  # luma, then a row of chroma pairs for two rows
        rows, row = msg.height + (msg.height + 1) // 2, msg.width + msg.width % 2
    if msg.step < row:
        raise MessageError(
            "step {} is smaller than a row of {} bytes ({} pixels, {})".format(msg.step, row, msg.width, msg.encoding)
        )
    data = np.frombuffer(msg.data, np.uint8) if len(msg.data) else np.empty(0, np.uint8)
    if data.size < msg.step * rows:
        raise MessageError(
            "truncated: {} bytes of data, {}x{} {} with step {} needs {}".format(
                data.size, msg.width, msg.height, msg.encoding, msg.step, msg.step * rows
            )
        )
    return data[: msg.step * rows].reshape(rows, msg.step)


def _pixels(rows: np.ndarray, msg: Any, count: int) -> np.ndarray:
    """Return uint8 (H, W, count), a view."""
    shape = (msg.height, msg.width, count)
    return np.lib.stride_tricks.as_strided(rows, shape, (msg.step, count, 1))


def _three(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return _pixels(rows, msg, 3)


def _rgba(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return cv2.cvtColor(_pixels(rows, msg, 4), cv2.COLOR_RGBA2BGR, dst=out)


def _bgra(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return cv2.cvtColor(_pixels(rows, msg, 4), cv2.COLOR_BGRA2BGR, dst=out)


def _plane8(rows: np.ndarray, msg: Any) -> np.ndarray:
    return rows[:, : msg.width]


def _plane16(rows: np.ndarray, msg: Any) -> np.ndarray:
    """16 to 8 bits by dropping the low byte, ``value >> 8``; a dim 12-bit camera comes out dark."""
    return np.ascontiguousarray(_pixels(rows, msg, 2)[:, :, 0 if msg.is_bigendian else 1])


def _mono8(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return cv2.cvtColor(_plane8(rows, msg), cv2.COLOR_GRAY2BGR, dst=out)


def _mono16(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return cv2.cvtColor(_plane16(rows, msg), cv2.COLOR_GRAY2BGR, dst=out)


def _yuv422(rows: np.ndarray, msg: Any, out: Optional[np.ndarray], code: int, chroma: int) -> np.ndarray:
    """Four bytes hold two pixels that share U and V; ``chroma``: which of a pixel's two bytes is U or V."""
    pixels = _pixels(rows, msg, 2)
    if msg.width % 2 == 0:
        return cv2.cvtColor(pixels, code, dst=out)
    # The last pixel of an odd width has its U but not its V: take its left neighbour's, or neutral.
    pixels = cv2.copyMakeBorder(pixels, 0, 0, 0, 1, cv2.BORDER_REPLICATE)
    pixels[:, -1, chroma] = pixels[:, -3, chroma] if msg.width > 1 else 128
    return cv2.cvtColor(pixels, code)[:, : msg.width]


def _uyvy(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return _yuv422(rows, msg, out, cv2.COLOR_YUV2BGR_UYVY, 0)


def _yuyv(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return _yuv422(rows, msg, out, cv2.COLOR_YUV2BGR_YUY2, 1)


def _two_planes(rows: np.ndarray, msg: Any, out: Optional[np.ndarray], code: int) -> np.ndarray:
    height, width = msg.height, msg.width
    half = ((height + 1) // 2, (width + 1) // 2)
    luma, chroma = rows[:height, :width], rows[height:]
    chroma = np.lib.stride_tricks.as_strided(chroma, half + (2,), (msg.step, 2, 1))
    if height % 2 or width % 2:
        luma = cv2.copyMakeBorder(luma, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    image = cv2.cvtColorTwoPlane(luma, chroma, code, dst=out)
    return image if image.shape[:2] == (height, width) else image[:height, :width]


def _nv12(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return _two_planes(rows, msg, out, cv2.COLOR_YUV2BGR_NV12)


def _nv21(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
    return _two_planes(rows, msg, out, cv2.COLOR_YUV2BGR_NV21)


def _bayer(code: int, plane: Callable[[np.ndarray, Any], np.ndarray]) -> Callable:
    def decode(rows: np.ndarray, msg: Any, out: Optional[np.ndarray]) -> np.ndarray:
        small = msg.height < 3 or msg.width < 3  # too small to have all three colours around a pixel
        return cv2.cvtColor(plane(rows, msg), cv2.COLOR_GRAY2BGR if small else code, dst=out)

    return decode


ENCODINGS = {
    "rgb8": _Encoding(3, _three, "rgb"),
    "bgr8": _Encoding(3, _three),
    "8UC3": _Encoding(3, _three),
    "rgba8": _Encoding(4, _rgba),
    "bgra8": _Encoding(4, _bgra),
    "mono8": _Encoding(1, _mono8),
    "8UC1": _Encoding(1, _mono8),
    "mono16": _Encoding(2, _mono16),
    "yuv422": _Encoding(2, _uyvy),
    "uyvy": _Encoding(2, _uyvy),
    "yuv422_yuy2": _Encoding(2, _yuyv),
    "yuyv": _Encoding(2, _yuyv),
    "nv12": _Encoding(1, _nv12),
    "nv21": _Encoding(1, _nv21),
    # ROS names the first two pixels of the first two rows, OpenCV those one row down and one to the right.
    "bayer_rggb8": _Encoding(1, _bayer(cv2.COLOR_BayerBG2BGR, _plane8)),
    "bayer_bggr8": _Encoding(1, _bayer(cv2.COLOR_BayerRG2BGR, _plane8)),
    "bayer_gbrg8": _Encoding(1, _bayer(cv2.COLOR_BayerGR2BGR, _plane8)),
    "bayer_grbg8": _Encoding(1, _bayer(cv2.COLOR_BayerGB2BGR, _plane8)),
    "bayer_rggb16": _Encoding(2, _bayer(cv2.COLOR_BayerBG2BGR, _plane16)),
    "bayer_bggr16": _Encoding(2, _bayer(cv2.COLOR_BayerRG2BGR, _plane16)),
    "bayer_gbrg16": _Encoding(2, _bayer(cv2.COLOR_BayerGR2BGR, _plane16)),
    "bayer_grbg16": _Encoding(2, _bayer(cv2.COLOR_BayerGB2BGR, _plane16)),
}
