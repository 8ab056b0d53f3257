"""Every encoding against pixels laid out by hand. Without ROS: stand-ins have the fields of the messages."""

import array
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seg_node.pipeline.frame import reuse
from seg_node.pipeline.messages import ENCODINGS, MessageError, compressed_to_frame, fill_image, to_frame

HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=3, nanosec=25), frame_id="camera")
# BT.601, limited range: (Y, U, V) and the BGR they mean
RED, GREEN, BLUE = ((81, 90, 240), (0, 0, 255)), ((145, 54, 34), (0, 255, 0)), ((41, 240, 110), (255, 0, 0))
SIZES = [(4, 6), (5, 7), (1, 1), (3, 1), (1, 3), (2, 1)]  # height, width


def message(rows, encoding, width, height=None, *, pad=0, bigendian=0):
    """An Image message of uint8 rows (R, bytes); ``pad`` bytes of 0xAA follow each row."""
    rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=0xAA)
    return SimpleNamespace(
        header=HEADER,
        height=height or len(rows),
        width=width,
        encoding=encoding,
        is_bigendian=bigendian,
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


def noise(height, width, channels, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def bgr(frame):
    return frame.image if frame.channels == "bgr" else frame.image[..., ::-1]


@pytest.mark.parametrize("pad", [0, 1, 5])
@pytest.mark.parametrize("height, width", SIZES)
class TestPlainEncodings:
    @pytest.mark.parametrize(
        "encoding, order",
        [
            ("bgr8", [0, 1, 2]),
            ("8UC3", [0, 1, 2]),
            ("rgb8", [2, 1, 0]),
            ("bgra8", [0, 1, 2, 3]),
            ("rgba8", [2, 1, 0, 3]),
        ],
    )
    def test_colour(self, encoding, order, height, width, pad):
        pixels = noise(height, width, len(order))
        frame = to_frame(message(pixels[..., order].reshape(height, -1), encoding, width, pad=pad))
        assert np.array_equal(bgr(frame), pixels[..., :3])

    @pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
    def test_grey(self, encoding, height, width, pad):
        grey = noise(height, width, 1)
        frame = to_frame(message(grey[..., 0], encoding, width, pad=pad))
        assert np.array_equal(bgr(frame), np.repeat(grey, 3, axis=2))

    @pytest.mark.parametrize("bigendian", [0, 1])
    def test_16_bits_keep_the_high_byte(self, height, width, pad, bigendian):
        values = np.random.default_rng(2).integers(0, 65536, (height, width))
        data = values.astype(">u2" if bigendian else "<u2").view(np.uint8)
        frame = to_frame(message(data, "mono16", width, pad=pad, bigendian=bigendian))
        assert np.array_equal(bgr(frame)[..., 1], values >> 8)


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE], ids=["red", "green", "blue"])
@pytest.mark.parametrize("pad", [0, 3])
class TestYuv:
    @pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
    @pytest.mark.parametrize("height, width", [(4, 6), (1, 2), (3, 5), (5, 3)])
    def test_422(self, encoding, height, width, pad, colour):
        (y, u, v), expected = colour
        pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
        row = (pair * width)[: 2 * width]  # an odd width ends in half a pair
        frame = to_frame(message(np.array([row] * height, np.uint8), encoding, width, pad=pad))
        assert frame.image.shape == (height, width, 3)
        assert np.abs(bgr(frame).astype(int) - expected).max() <= 2

    @pytest.mark.parametrize("encoding", ["nv12", "nv21"])
    @pytest.mark.parametrize("height, width", [(4, 6), (2, 2), (3, 4), (4, 3), (1, 1), (5, 1)])
    def test_420(self, encoding, height, width, pad, colour):
        (y, u, v), expected = colour
        even = width + width % 2
        rows = np.full((height + (height + 1) // 2, even), y, np.uint8)
        rows[height:, 0::2], rows[height:, 1::2] = (u, v) if encoding == "nv12" else (v, u)
        frame = to_frame(message(rows, encoding, width, height, pad=pad))
        assert frame.image.shape == (height, width, 3)
        assert np.abs(bgr(frame).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_422_luma_stays_in_its_place(encoding, width):
    luma = np.linspace(16, 235, width).astype(np.uint8)
    row = np.full((width, 2), 128, np.uint8)
    row[:, 1 if encoding in ("yuv422", "uyvy") else 0] = luma
    frame = to_frame(message(row.reshape(1, -1), encoding, width))
    expected = (luma.astype(float) - 16) * 255 / 219
    assert np.abs(bgr(frame)[0, :, 1] - expected).max() <= 1.5


def test_nv12_colours_stay_in_their_place():
    rows = np.zeros((6, 4), np.uint8)
    rows[:4, :2], rows[:4, 2:] = RED[0][0], BLUE[0][0]
    rows[4:] = [RED[0][1], RED[0][2], BLUE[0][1], BLUE[0][2]]
    image = bgr(to_frame(message(rows, "nv12", 4, 4))).astype(int)
    assert np.abs(image[:, :2] - RED[1]).max() <= 2 and np.abs(image[:, 2:] - BLUE[1]).max() <= 2


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("colour", ["b", "g", "r"])
@pytest.mark.parametrize("height, width, pad", [(6, 8, 0), (7, 9, 3), (3, 3, 0)])
def test_bayer(pattern, colour, height, width, pad):
    """A scene of one colour lights only that colour's sites; every pixel must come out in it."""
    tile = np.array([[255 * (site == colour) for site in pattern]], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (height // 2 + 1, width // 2 + 1))[:height, :width]
    expected = np.broadcast_to([255 * (c == colour) for c in "bgr"], (height - 2, width - 2, 3))
    frame = to_frame(message(mosaic, f"bayer_{pattern}8", width, pad=pad))
    assert np.array_equal(bgr(frame)[1:-1, 1:-1], expected)
    for order, bigendian in (("<u2", 0), (">u2", 1)):
        deep = (mosaic.astype(int) * 256 + 7).astype(order).view(np.uint8)  # the low byte is dropped
        frame = to_frame(message(deep, f"bayer_{pattern}16", width, pad=pad, bigendian=bigendian))
        assert np.array_equal(bgr(frame)[1:-1, 1:-1], expected)


@pytest.mark.parametrize("height, width", [(1, 1), (4, 1), (1, 4), (2, 2)])
def test_bayer_too_small_for_colour_is_grey(height, width):
    pixels = noise(height, width, 1)
    frame = to_frame(message(pixels[..., 0], "bayer_rggb8", width))
    assert np.array_equal(frame.image, np.repeat(pixels, 3, axis=2))


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("height, width", SIZES)
def test_every_encoding_takes_every_size(encoding, height, width):
    step = 4 * width + 4
    msg = message(noise(2 * height, step, 1)[..., 0], encoding, width, height)
    frame = to_frame(msg)
    assert frame.image.shape == (height, width, 3) and frame.image.dtype == np.uint8
    assert frame.channels in ("bgr", "rgb")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
@pytest.mark.parametrize("pad", [0, 1])
def test_three_channels_are_a_view(encoding, pad):
    msg = message(noise(4, 15, 1)[..., 0], encoding, 5, pad=pad)
    frame = to_frame(msg)
    msg.data[0] ^= 0xFF
    assert frame.image[0, 0, 0] == msg.data[0]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"encoding": "32FC1"}, "unknown encoding '32FC1'; known are 8UC1.*yuyv"),
        ({"encoding": ""}, "unknown encoding ''"),
        ({"width": 0}, "empty: 0x4"),
        ({"height": 0}, "empty: 6x0"),
        ({"step": 17}, "step 17 is smaller than a row of 18 bytes"),
        ({"step": 0}, "step 0 is smaller"),
        ({"data": array.array("B", bytes(71))}, "truncated: 71 bytes .* needs 72"),
        ({"data": array.array("B")}, "truncated: 0 bytes"),
        ({"width": 2**31, "height": 2**31, "step": 2**32 - 1}, "smaller than a row"),
        ({"height": 2**32 - 1}, "truncated: 72 bytes"),
    ],
)
def test_bad_messages_say_why(change, reason):
    msg = message(noise(4, 18, 1)[..., 0], "bgr8", 6)
    vars(msg).update(change)
    with pytest.raises(MessageError, match=reason):
        to_frame(msg)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_a_byte_too_few_is_noticed(encoding):
    msg = message(noise(6, 16, 1)[..., 0], encoding, 4, 4)
    msg.data = msg.data[: (16 * 6 if encoding in ("nv12", "nv21") else 16 * 4) - 1]
    with pytest.raises(MessageError, match="truncated"):
        to_frame(msg)


def compressed(data, text):
    return SimpleNamespace(header=HEADER, format=text, data=array.array("B", data))


@pytest.mark.parametrize(
    "suffix, text, tolerance",
    [
        (".png", "png", 0),
        (".png", "bgr8; png compressed bgr8", 0),
        (".jpg", "jpeg", 6),
        (".jpg", "rgb8; jpeg compressed bgr8", 6),
    ],
)
def test_compressed(suffix, text, tolerance):
    image = cv2.resize(noise(3, 4, 3), (40, 30))
    frame = compressed_to_frame(compressed(cv2.imencode(suffix, image)[1].tobytes(), text))
    assert frame.channels == "bgr"
    assert np.abs(frame.image.astype(int) - image).mean() <= tolerance


def test_compressed_rgb_goes_by_its_format():
    data = cv2.imencode(".png", noise(3, 4, 3))[1].tobytes()
    assert compressed_to_frame(compressed(data, "rgb8; jpeg compressed rgb8")).channels == "rgb"


@pytest.mark.parametrize(
    "data, text, reason",
    [
        (b"", "jpeg", "cannot decode 0 bytes"),
        (b"no image", "jpeg", "cannot decode 8 bytes of format 'jpeg'"),
        (b"x", "16UC1; compressedDepth png", "depth"),
        (b"\xff\xd8" + b"\xff" * 20, "jpeg", "cannot decode"),
        (b"\xff\xd8\xff\xe0", "jpeg", "cannot decode"),
    ],
)
def test_bad_compressed_messages_say_why(data, text, reason):
    with pytest.raises(MessageError, match=reason):
        compressed_to_frame(compressed(data, text))


def test_a_png_with_a_damaged_length_is_refused_at_once():
    data = cv2.imencode(".png", noise(30, 40, 3))[1].tobytes()
    at = data.index(b"IDAT") - 4
    for broken in (data[:at] + b"\x7f\xff\xff\xf0" + data[at + 4 :], data[:-20]):
        with pytest.raises(MessageError, match="cut short or damaged"):
            compressed_to_frame(compressed(broken, "png"))


def claiming(suffix, width, height, before=b""):
    """A small image whose header says another size; ``before``: bytes between a JPEG's segments."""
    data = cv2.imencode(suffix, noise(30, 40, 3))[1].tobytes()
    if suffix == ".png":
        head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    at = data.index(struct.pack(">BHH", 8, 30, 40))  # of the start of frame: bits, height, width
    assert data[at - 4 : at - 3] == b"\xff"
    return data[: at - 4] + before + data[at - 4 : at + 1] + struct.pack(">HH", height, width) + data[at + 5 :]


@pytest.mark.parametrize("suffix, before", [(".jpg", b""), (".jpg", b"\0\xff"), (".png", b"")])
def test_a_few_bytes_that_claim_to_be_a_huge_image_cost_no_memory(suffix, before):
    with pytest.raises(MessageError, match="bytes claim to be an image of 20000x16000 pixels"):
        compressed_to_frame(compressed(claiming(suffix, 20000, 16000, before), "jpeg"))
    if suffix == ".jpg":  # as before: what is damaged, but of a possible size, is shown as far as it goes
        assert compressed_to_frame(compressed(claiming(suffix, 80, 60, before), "jpeg")).image.shape == (60, 80, 3)


@pytest.mark.parametrize("shape, encoding", [((3, 5), "mono8"), ((3, 5, 3), "bgr8"), ((1, 1), "mono8")])
@pytest.mark.parametrize("contiguous", [True, False])
def test_fill_image(shape, encoding, contiguous):
    image = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    given = image if contiguous else np.repeat(image, 2, axis=1)[:, ::2]
    msg = fill_image(SimpleNamespace(), given, HEADER, encoding)
    assert msg.header is HEADER and isinstance(msg.data, array.array)
    pixels = bgr(to_frame(msg))
    assert np.array_equal(pixels if image.ndim == 3 else pixels[..., 0], image)


def test_a_reused_buffer_becomes_the_data_without_a_copy():
    image = reuse(None, (3, 4, 3))
    image[:] = noise(3, 4, 3)
    msg = fill_image(SimpleNamespace(), image, HEADER, "bgr8")
    assert np.shares_memory(np.frombuffer(msg.data, np.uint8), image)
    assert np.array_equal(bgr(to_frame(msg)), image)
    part = fill_image(SimpleNamespace(), image[1:], HEADER, "bgr8")
    assert not np.shares_memory(np.frombuffer(part.data, np.uint8), image)
    assert np.array_equal(bgr(to_frame(part)), image[1:])


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("height, width", [(4, 6), (5, 7), (2, 2)])
def test_pixels_that_are_computed_go_into_memory_that_is_given(encoding, height, width):
    def camera(seed):
        given = noise(2 * height, width + width % 2, 4, seed).reshape(2 * height, -1)
        return message(given, encoding, width, height)

    first, second, expected = camera(1), camera(2), to_frame(camera(2))
    out = to_frame(first).image
    if encoding in ("rgb8", "bgr8", "8UC3"):
        out = np.zeros_like(out)
        assert np.shares_memory(to_frame(second, out).image, np.frombuffer(second.data, np.uint8))
    elif out.base is None:  # an odd size can be a part of what was computed
        assert to_frame(second, out).image is out
    for memory in (out, np.zeros((1, 2, 3), np.uint8), None):
        assert np.array_equal(to_frame(second, memory).image, expected.image)
