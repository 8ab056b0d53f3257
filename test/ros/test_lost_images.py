"""What a stream tells of images that never came, with and without a middleware that counts them."""

import types

import pytest

pytest.importorskip("rclpy")

from seg_node.ros.gaps import Gaps
from seg_node.ros.health import OK, WARN, Condition, Health
from seg_node.ros.stream import Stream
from seg_node.ros.transport import crowded

MB = 1 << 20


@pytest.fixture
def stream():
    condition = Condition()
    condition.state = "active"
    logger = types.SimpleNamespace(warning=lambda *_, **__: None)
    stream = types.SimpleNamespace(
        health=Health(condition),
        _gaps=Gaps(),
        _lost=0,
        _told=0,
        _hears_of_losses=True,
        _image_bytes=3 * 3840 * 2160,
        _node=types.SimpleNamespace(get_logger=lambda: logger),
        why_silent=lambda: "",
    )
    stream.report = lambda: Stream.report(stream)
    return stream


def see(stream, numbers, numbered=True):
    for number in numbers:
        stream._gaps.see(number / 30, number if numbered else None)


def test_losses_that_the_middleware_tells_are_told_once_with_advice(stream, monkeypatch, tmp_path):
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path))
    stream._lost = 5
    level, message, values = stream.report()
    assert level == WARN and message.startswith("5 images lost") and "seg-node doctor" in message
    assert f"FASTDDS_DEFAULT_PROFILES_FILE={tmp_path}/fastdds-128mb.xml" in message, "one that fits this camera"
    assert stream.report().level == OK and dict(values)["lost_before_arrival"] == "5"


def test_what_was_only_replaced_is_counted_and_no_fault(stream):
    see(stream, [1, 2, 5, 6])
    stream._lost = stream._told = 1
    level, _, values = stream.report()
    assert level == OK and dict(values)["replaced_before_taken"] == "1"


def test_without_the_middlewares_word_numbers_tell(stream):
    stream._hears_of_losses = False
    see(stream, [1, 2, 5, 6])
    level, message, values = stream.report()
    assert level == WARN and message.startswith("2 images lost") and dict(values)["replaced_before_taken"] == "0"


def test_without_numbers_stamps_tell(stream):
    stream._hears_of_losses = False
    see(stream, [n for n in range(30) if n % 3], numbered=False)
    level, message, _ = stream.report()
    assert level == WARN and message.startswith("about 9 images lost")
    assert stream.report().level == OK


@pytest.mark.parametrize(
    ("frame", "segment", "says"),
    [
        (8 * 1920 * 1080, 32 * MB, ""),
        (4 * 3840 * 2160, 64 * MB, ""),
        (8 * 3840 * 2160, 64 * MB, "SEG_NODE_SHARED_MEMORY=256"),
        (4 * 8 * 1920 * 1080, 64 * MB, "SEG_NODE_SHARED_MEMORY=256"),  # four cameras
        (8 * 3840 * 2160, 0, ""),  # another middleware
    ],
)
def test_what_goes_out_fits_or_is_told(frame, segment, says, monkeypatch):
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    text = crowded(frame, segment)
    assert (says in text) if says else text == ""
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/home/me/mine.xml")  # goes before that variable
    text = crowded(frame, segment)
    assert ("set segment_size in /home/me/mine.xml to 268435456" in text) if says else text == ""
