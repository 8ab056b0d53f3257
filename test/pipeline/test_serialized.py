"""Messages in CDR, and what is none. Those that ROS itself writes are read in test/ros."""

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seg_node.pipeline.messages import MessageError, compressed_to_frame, to_frame
from seg_node.pipeline.serialized import read_compressed, read_image


def header_of(seconds, nanoseconds, frame_id):
    return SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def serialize(frame_id, *fields, big=False):
    """Write a stamp, the frame_id and fields: each number with how struct calls it, aligned; texts; pixels."""
    order, data = ">" if big else "<", b""
    for field in [("i", -5), ("I", 999999999), frame_id, *fields]:
        if isinstance(field, tuple):
            kind, value = field
            data += bytes(-len(data) % struct.calcsize(kind)) + struct.pack(order + kind, value)
            continue
        body = field.encode() + b"\0" if isinstance(field, str) else field.tobytes()
        data += bytes(-len(data) % 4) + struct.pack(order + "I", len(body)) + body
    return bytes([0, 0 if big else 1, 0, 0]) + data


def image(frame_id="camera", encoding="bgr8", big=False):
    pixels = np.arange(2 * 10, dtype=np.uint8)  # a step of 10: a byte of padding a row
    return serialize(frame_id, ("I", 2), ("I", 3), encoding, ("B", 1), ("I", 10), pixels, big=big), pixels


def compressed(data, text="png"):
    return serialize("camera", text, data)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["bgr8", "rgba8", "mono8", "bayer_rggb16", ""])
@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "abcd", "Kameraträger/vorn"])
def test_every_field_of_an_image(frame_id, encoding, big):
    data, pixels = image(frame_id, encoding, big)
    read = read_image(data, header_of)
    assert (read.header.stamp.sec, read.header.stamp.nanosec, read.header.frame_id) == (-5, 999_999_999, frame_id)
    assert (read.height, read.width, read.encoding, read.is_bigendian, read.step) == (2, 3, encoding, 1, 10)
    assert bytes(read.data) == pixels.tobytes()


def test_pixels_are_read_where_they_lie():
    data, pixels = image()
    frame = to_frame(read_image(data, header_of))
    assert np.array_equal(frame.image, pixels.reshape(2, 10)[:, :9].reshape(2, 3, 3))
    assert np.shares_memory(frame.image, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("text", ["png", "jpeg", "rgb8; jpeg compressed bgr8"])
def test_a_compressed_image(noise, text):
    pixels = noise(5, 7, 3)
    data = compressed(cv2.imencode(".png", pixels)[1], text)
    read = read_compressed(data, header_of)
    assert (read.header.frame_id, read.format) == ("camera", text)
    assert np.array_equal(compressed_to_frame(read).image, pixels)


@pytest.mark.parametrize(
    "read, data",
    [(read_image, image()[0]), (read_compressed, compressed(np.zeros(9, np.uint8)))],
)
def test_a_message_cut_short(read, data):
    for length in range(4, len(data)):
        with pytest.raises(MessageError, match="message of {} bytes".format(length)):
            read(data[:length], header_of)


def test_a_text_longer_than_the_message():
    data = bytearray(image()[0])
    struct.pack_into("<I", data, 12, 2**32 - 1)
    with pytest.raises(MessageError, match="ends within its header"):
        read_image(bytes(data), header_of)


@pytest.mark.parametrize("start", [b"", b"\0\1", b"\0\2\0\0", b"\0\3\0\0", b"\1\1\0\0", b"\0\x0a\0\0"])
def test_what_is_not_known_is_left_to_rclpy(start):
    assert read_image(start + image()[0][4:] if len(start) == 4 else start, header_of) is None


def test_noise_never_raises_anything_else():
    generator = np.random.default_rng(1)
    good = np.frombuffer(image()[0], np.uint8)
    for _ in range(2000):
        data = good.copy()
        data[generator.integers(0, len(data), 3)] = generator.integers(0, 256, 3)
        for read, decode in ((read_image, to_frame), (read_compressed, compressed_to_frame)):
            try:
                fields = read(data.tobytes(), header_of)
                if fields is not None:
                    decode(fields)
            except MessageError:
                pass
