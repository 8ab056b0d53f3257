import numpy as np
import pytest

from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import STAGES, Segmenter

LABELS = np.arange(24, dtype=np.uint8).reshape(4, 6) % 11


def frame(height, width):
    return Frame(np.zeros((height, width, 3), np.uint8), "bgr")


def test_labels_at_the_cameras_size(make_card, answers):
    card = make_card()
    result = Segmenter(card, answers(card, LABELS)).segment(frame(8, 12))
    assert result.labels.dtype == np.uint8
    assert np.array_equal(result.labels, LABELS.repeat(2, axis=0).repeat(2, axis=1))
    assert result.confidence is None


@pytest.mark.parametrize("height, width", [(1, 1), (7, 1), (1, 9), (5, 7), (4, 6), (100, 3)])
def test_every_camera_size(make_card, answers, height, width):
    card = make_card()
    labels = Segmenter(card, answers(card, LABELS)).segment(frame(height, width)).labels
    assert labels.shape == (height, width) and set(np.unique(labels)) <= set(range(11))


def test_the_same_size_is_not_resized(make_card, answers):
    card = make_card()
    segmenter = Segmenter(card, answers(card, LABELS))
    first = segmenter.segment(frame(4, 6)).labels
    assert np.array_equal(first, LABELS)
    assert segmenter.segment(frame(4, 6)).labels is first


def test_ignored_classes_and_what_is_no_class_become_unlabelled(make_card, answers):
    card = make_card(classes=12, ignored=(3,))
    given = np.tile(np.array([0, 3, 10, 11, 200, 255], np.uint8), (4, 1))
    labels = Segmenter(card, answers(card, given)).segment(frame(4, 6)).labels
    assert labels[0].tolist() == [0, 255, 10, 255, 255, 255]
    assert given[0].tolist() == [0, 3, 10, 11, 200, 255]  # the runtime's own array


def test_confidence_at_the_cameras_size(make_card, answers):
    card = make_card()
    confidence = np.full((4, 6), 77, np.uint8)
    result = Segmenter(card, answers(card, LABELS, confidence)).segment(frame(9, 13))
    assert np.array_equal(result.confidence, np.full((9, 13), 77))


def test_the_network_sees_its_own_channel_order(make_card, answers):
    card = make_card(channels="rgb")
    runtime = answers(card, LABELS)
    image = np.zeros((8, 12, 3), np.uint8)
    image[...] = (1, 2, 3)
    Segmenter(card, runtime).segment(Frame(image, "bgr"))
    assert runtime.given.shape == (1, 4, 6, 3) and runtime.given[0, 0, 0].tolist() == [3, 2, 1]


def test_every_stage_is_timed(make_card, answers):
    card = make_card()
    timings = Segmenter(card, answers(card, LABELS)).segment(frame(8, 12)).timings
    assert tuple(timings) == STAGES and all(seconds >= 0 for seconds in timings.values())


def test_a_failing_runtime_is_not_hidden(make_card, answers):
    card = make_card()
    runtime = answers(card, LABELS)
    runtime._infer = lambda images: 1 / 0
    with pytest.raises(ZeroDivisionError):
        Segmenter(card, runtime).segment(frame(8, 12))
