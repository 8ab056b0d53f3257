"""The first fields of an image message in CDR, read and written in place.

A recorded message goes out as it came in, but for its stamp: so its encoding, step and compression reach the
node untouched, whatever distribution recorded them.
"""

import struct


def _order(message: bytes) -> str:
    return "<" if message[1] & 1 else ">"


def restamp(message: bytes, nanoseconds: int) -> bytes:
    """Return the message with its header's stamp (ns since 1970) replaced. Raises struct.error if it is too short."""
    copy = bytearray(message)
    struct.pack_into(_order(message) + "iI", copy, 4, nanoseconds // 10**9, nanoseconds % 10**9)
    return bytes(copy)


def stamp_of(message: bytes) -> int:
    """Return the header's stamp, ns. Raises struct.error or IndexError if the message is too short."""
    seconds, nanoseconds = struct.unpack_from(_order(message) + "iI", message, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def frame_of(message: bytes) -> str:
    """Return the header's frame_id. Raises struct.error or IndexError if the message is too short."""
    return _text(message, _order(message), 12)[0]  # behind the CDR header and the stamp


def _text(message: bytes, order: str, at: int) -> tuple[str, int]:
    """Return the string at a 4-aligned offset, and the next 4-aligned offset."""
    (length,) = struct.unpack_from(order + "I", message, at)
    text = bytes(message[at + 4 : at + 4 + length]).rstrip(b"\0").decode("utf-8", "replace")
    return text, at + 4 + (length + 3) // 4 * 4


def image_format(message: bytes, compressed: bool) -> tuple[str, int, int]:
    """Return encoding (or the compressed format), height and width (0 where compressed). Raises struct.error."""
    order = _order(message)
    _, at = _text(message, order, 12)  # behind the CDR header and the stamp: frame_id
    height = width = 0
    if not compressed:
        height, width = struct.unpack_from(order + "II", message, at)
        at += 8
    return _text(message, order, at)[0], height, width
