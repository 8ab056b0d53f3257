"""How often a frame's pixels are touched on their way, and that no memory is taken for them: counted, not timed."""

import tracemalloc

import numpy as np
import pytest

from seg_node.label_set import load_label_set
from seg_node.pipeline import enlarge, legend, messages, network_input, overlay, segmenter
from seg_node.pipeline.messages import fill_image, to_frame
from seg_node.pipeline.overlay import Overlay
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import Prediction, Runtime

CAMERA, NETWORK = (180, 240), (90, 120)
LARGE = 10_000  # bytes: half of the smallest image here
MODULES = (enlarge, legend, messages, network_input, overlay, segmenter)
PIXELS = {"take", "equal", "ascontiguousarray", "copyto", "array", "empty", "zeros", "concatenate"}  # of NumPy's


class Counted:
    """A module whose functions note their names when what they return is as large as an image."""

    def __init__(self, module, names, noted):
        self._module, self._names, self._noted = module, names, noted

    def __getattr__(self, name):
        value = getattr(self._module, name)
        if isinstance(value, type) or not callable(value) or (self._names and name not in self._names):
            return value

        def call(*args, **kwargs):
            result = value(*args, **kwargs)
            if isinstance(result, np.ndarray) and result.nbytes >= LARGE:
                self._noted.append(name)
            return result

        return call


@pytest.fixture
def passes(monkeypatch):
    """The names of the functions that made or changed an image, in their order."""
    noted = []
    for module in MODULES:
        for name, names in (("cv2", None), ("np", PIXELS)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, Counted(getattr(module, name), names, noted))
    return noted


class Message:
    """What a ROS message is here: anything with fields."""


class Way:
    """All that happens to a camera's message, as in the node; ``sent`` are the messages that it reuses."""

    def __init__(self, card, runtime):
        self.segmenter, self.overlay = Segmenter(card, runtime), Overlay(load_label_set("camvid11"))
        self.sent = {name: Message() for name in ("label", "color", "overlay")}

    def label(self, message):
        frame = to_frame(message)
        result = self.segmenter.segment(frame)
        fill_image(self.sent["label"], result.labels, None, "mono8")
        return frame, result

    def pictures(self, frame, result):
        color = self.overlay.color(result.labels, result.small)
        blend = self.overlay.blend(frame, result.labels, color, 0.5)
        for name, image in (("color", color), ("overlay", blend)):
            fill_image(self.sent[name], image, None, "bgr8")


class Fixed(Runtime):
    """Answers the same labels, without a copy."""

    def _infer(self, images):
        return self.prediction


@pytest.fixture
def way(make_card):
    def make(size=NETWORK, channels="bgr"):
        runtime = Fixed(make_card(size=size, channels=channels))
        labels = np.arange(size[0] * size[1], dtype=np.uint64).reshape((1,) + size) % 11
        runtime.prediction = Prediction(labels.astype(np.uint8))
        return Way(runtime.card, runtime)

    return make


def camera(noise, encoding="bgr8", size=CAMERA):
    return fill_image(Message(), noise(*size, 3), None, encoding)


@pytest.mark.parametrize(
    "network, channels, encoding, labelling",
    [
        (NETWORK, "bgr", "bgr8", ["resize", "LUT", "resize", "take"]),
        (NETWORK, "bgr", "rgb8", ["resize", "cvtColor", "LUT", "resize", "take"]),
        (CAMERA, "bgr", "bgr8", ["LUT"]),
        (CAMERA, "rgb", "bgr8", ["cvtColor", "LUT"]),
    ],
)
def test_passes_over_the_pixels(way, noise, passes, network, channels, encoding, labelling):
    node, message = way(network, channels), camera(noise, encoding)
    for _ in range(3):
        del passes[:]
        frame, result = node.label(message)
        assert passes == labelling
    node.pictures(frame, result)
    del passes[:]
    node.pictures(frame, result)
    paint = ["applyColorMap"] + ["resize", "take"] * (network != CAMERA)
    assert passes == paint + ["cvtColor"] * (encoding == "rgb8") + ["addWeighted", "equal", "copyTo"]


@pytest.mark.parametrize("network", [NETWORK, CAMERA])
@pytest.mark.parametrize("encoding", ["bgr8", "rgb8"])
def test_no_memory_is_taken_for_a_frame(way, noise, network, encoding):
    node, message = way(network), camera(noise, encoding)
    for _ in range(3):
        node.pictures(*node.label(message))
    assert peak(lambda: camera(noise)) > 3 * LARGE, "this test sees nothing"
    assert peak(lambda: [node.pictures(*node.label(message)) for _ in range(10)]) < LARGE


def peak(work):
    """Return how many bytes more than before were held at one moment."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_what_is_sent_is_what_was_made(way, noise):
    node, message = way(), camera(noise)
    frame, result = node.label(message)
    node.pictures(frame, result)
    assert np.array_equal(np.frombuffer(node.sent["label"].data, np.uint8).reshape(CAMERA), result.labels)
    sent = np.frombuffer(node.sent["color"].data, np.uint8).reshape(CAMERA + (3,))
    assert np.array_equal(sent, load_label_set("camvid11").palette[result.labels])
