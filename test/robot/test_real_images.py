"""From a camera's message to a painted label image on real pictures, with the backend that runs no network.

It labels a pixel by its first channel, so what must come out is known.
"""

import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seg_node.model_card import load_card
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.messages import compressed_to_frame, fill_image, to_frame
from seg_node.pipeline.overlay import Overlay
from seg_node.pipeline.region import View
from seg_node.pipeline.segmenter import STAGES, Segmenter
from seg_node.runtimes import load_runtime


@pytest.fixture
def fake(write_card):
    """Return a function that makes a Segmenter of the fake backend with a network of this size."""

    def make(height, width, view=None, **inputs):
        folder = write_card(
            network={"name": "external", "classes": 11},
            input=dict({"size": [height, width], "channels": "bgr"}, **inputs),
        )
        card = load_card(folder)
        runtime = load_runtime(card, "fake")
        runtime.wants_confidence = True
        return Segmenter(card, runtime, view or View())

    return make


def sent(image, encoding):
    """An image as a driver sends it: the message has what sensor_msgs/Image has."""
    return fill_image(SimpleNamespace(), image, SimpleNamespace(frame_id="camera"), encoding)


def pictures(golden, streets):
    return list(golden.values()) + [image for image, _ in streets]


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8"])
@pytest.mark.parametrize("channels", ["bgr", "rgb"])
def test_every_pixel_of_a_camera_of_the_networks_size(golden, fake, encoding, channels):
    segmenter = fake(240, 320, channels=channels)
    for image in golden.values():
        frame = to_frame(sent(image if encoding == "bgr8" else image[..., ::-1], encoding))
        result = segmenter.segment(frame)
        seen = image if channels == "bgr" else image[..., ::-1]
        assert np.array_equal(result.labels, seen[..., 0] % 11)
        assert np.array_equal(result.confidence, seen[..., 1])
        assert set(result.timings) == set(STAGES)


def test_camvid_at_its_own_size(streets, fake):
    segmenter = fake(360, 480)
    for image, _ in streets:
        assert np.array_equal(segmenter.segment(Frame(image, "bgr")).labels, image[..., 0] % 11)


@pytest.mark.parametrize("view", [View(), View(fit="letterbox"), View(roi=(40, 60, 200, 120))], ids=str)
def test_a_network_of_another_size(golden, fake, view):
    """Flat parts have one label at any size; outside the region there is none."""
    segmenter = fake(180, 320, view)
    for image in golden.values():
        levels = image // 64 * 64
        labels = segmenter.segment(Frame(levels, "bgr")).labels
        assert labels.shape == (240, 320)
        inside = np.zeros((240, 320), bool)
        x, y, width, height = view.roi or (0, 0, 320, 240)
        inside[y : y + height, x : x + width] = True
        assert (labels[~inside] == 255).all()
        around = np.ones((5, 5), np.uint8)
        flat = (cv2.erode(levels[..., 0], around) == cv2.dilate(levels[..., 0], around)) & inside
        assert flat.sum() > 5000 and np.array_equal(labels[flat], levels[flat][:, 0] % 11)


def test_a_jpeg_is_labelled_as_the_picture_in_it(golden, fake):
    segmenter = fake(240, 320)
    for image in golden.values():
        data = cv2.imencode(".jpg", image)[1]
        frame = compressed_to_frame(SimpleNamespace(format="bgr8; jpeg compressed bgr8", data=bytes(bytearray(data))))
        labels = segmenter.segment(frame).labels
        assert np.array_equal(labels, cv2.imdecode(data, cv2.IMREAD_COLOR)[..., 0] % 11)


def test_frames_of_many_cameras_in_one_inference(golden, streets, fake):
    segmenter = fake(240, 320)
    frames = [Frame(image, "bgr") for image in pictures(golden, streets)]
    together = [result.labels.copy() for result in segmenter.segment_many(frames)]
    for frame, labels in zip(frames, together):
        assert labels.shape == frame.image.shape[:2]
        assert np.array_equal(labels, segmenter.segment(frame).labels)


def test_the_overlay_is_half_picture_and_half_colour(golden, fake):
    segmenter = fake(240, 320)
    overlay, palette = Overlay(segmenter.label_set), segmenter.label_set.palette
    for image in golden.values():
        labels = segmenter.segment(Frame(image, "bgr")).labels
        color = overlay.color(labels)
        assert np.array_equal(color, palette[labels])
        unnamed = overlay.blend(Frame(image, "bgr"), labels, color, 0.5).copy()
        assert np.abs(unnamed.astype(int) * 2 - (image.astype(int) + palette[labels])).max() <= 1
        with_names = overlay.blend(Frame(image, "bgr"), labels, color, 0.5, legend=True)
        assert with_names.shape == image.shape and not np.array_equal(with_names, unnamed)


def test_the_node_labels_in_a_thread_of_its_own(golden, fake):
    """What the node does: a Segmenter is used by another thread than the one that made it."""
    segmenter, found = fake(240, 320), []

    def label():
        found.extend(segmenter.segment(Frame(image, "bgr")).labels.copy() for image in golden.values())

    thread = threading.Thread(target=label)
    thread.start()
    thread.join()
    assert all(np.array_equal(labels, image[..., 0] % 11) for labels, image in zip(found, golden.values()))
    assert len(found) == 8
