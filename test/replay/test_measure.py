"""What is measured frame by frame, against figures worked out by hand."""

import cv2
import numpy as np
import pytest
from bags import GAP, START

from seg_node.label_set import load_label_set
from seg_node.model_card import load_card
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter
from seg_node.replay.drive import Picture
from seg_node.replay.measure import Measure
from seg_node.replay.motion import Consistency
from seg_node.replay.offline import Result
from seg_node.replay.worst import COUNT, Worst
from seg_node.runtimes import load_runtime

CAMVID, CAMVID12 = load_label_set("camvid11"), load_label_set("camvid12")


def result(labels, truth=None, index=0, pixels=None, stamp=None) -> Result:
    labels = np.asarray(labels, np.uint8)
    pixels = np.zeros((*labels.shape, 3), np.uint8) if pixels is None else pixels
    truth = None if truth is None else np.asarray(truth, np.uint8)
    stamp = START + index * GAP if stamp is None else stamp
    picture = Picture(index, stamp, START + index * GAP, Frame(pixels, "bgr"), truth)
    return Result(picture, labels, None, {"infer": 2.0, "total": 3.0})


def scene(shift: int, size=(120, 160)) -> tuple[np.ndarray, np.ndarray]:
    """A textured picture and its labels, both moved to the right by ``shift`` pixels."""
    rng = np.random.default_rng(5)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (size[0], size[1] + 64), np.uint8), (7, 7), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    blocks = rng.integers(0, 11, (size[0] // 20, (size[1] + 64) // 16), np.uint8)
    labels = cv2.resize(blocks, (size[1] + 64, size[0]), interpolation=cv2.INTER_NEAREST)
    at = 40 - shift
    return np.dstack([texture] * 3)[:, at : at + size[1]].copy(), labels[:, at : at + size[1]].copy()


# --- motion ---------------------------------------------------------------------------------------------------


def test_labels_that_move_with_the_picture_agree_though_their_pixels_differ():
    consistency, agreements = Consistency(), []
    for shift in (0, 4, 8):
        pixels, labels = scene(shift)
        agreements.append(consistency.add(Frame(pixels, "bgr"), labels))
    still = (scene(0)[1] == scene(4)[1]).mean()
    assert agreements[0] is None and min(agreements[1:]) > 0.97 and still < 0.85


def test_labels_that_stay_while_the_picture_moves_do_not_agree():
    consistency, labels = Consistency(), scene(0)[1]
    consistency.add(Frame(scene(0)[0], "bgr"), labels)
    assert consistency.add(Frame(scene(6)[0], "bgr"), labels) < 0.85


def test_flickering_labels_of_a_still_picture_are_counted_exactly():
    consistency, pixels = Consistency(), scene(0)[0]
    labels = np.zeros((120, 160), np.uint8)
    consistency.add(Frame(pixels, "bgr"), labels)
    labels = labels.copy()
    labels[:, :40] = 1
    assert consistency.add(Frame(pixels, "bgr"), labels) == pytest.approx(0.75)
    labels = labels.copy()
    labels[:, :80] = 255  # what is unlabelled is not counted
    assert consistency.add(Frame(pixels, "bgr"), labels) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (15, 15), (16, 16), (17, 2000), (1000, 17), (720, 1280)])
def test_pictures_of_any_size(size):
    rng = np.random.default_rng(2)
    consistency, pixels = Consistency(), rng.integers(0, 256, (*size, 3), np.uint8)
    labels = rng.integers(0, 11, size, np.uint8)
    assert consistency.add(Frame(pixels, "bgr"), labels) is None
    again = consistency.add(Frame(pixels, "bgr"), labels)
    assert again is None or again > 0.9
    assert consistency.add(Frame(np.zeros((30, 50, 3), np.uint8), "rgb"), np.zeros((30, 50), np.uint8)) is None


# --- scores ---------------------------------------------------------------------------------------------------


def test_scores_of_a_frame_and_of_all():
    measure = Measure(CAMVID, CAMVID)
    measure.see(result([[0, 0, 1, 1]], [[0, 0, 0, 1]]))  # Sky 2/3, Building 1/2
    measure.see(result([[3, 3, 3, 3]], [[3, 3, 3, 255]], index=1))  # void does not count
    measure.see(result([[3, 3, 3, 3]], index=2))  # no ground truth
    first, second, third = measure.moments
    assert first["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-5) and first["accuracy"] == 0.75
    assert (second["miou"], second["accuracy"]) == (1.0, 1.0) and (third["miou"], third["accuracy"]) == (None, None)
    assert measure.scored == 2 and measure.confusion.scores().pixel_accuracy == pytest.approx(6 / 7)
    assert [m["elapsed"] for m in measure.moments] == [0.0, 0.05, 0.1]
    assert first["shares"] == [0.5, 0.5, *[0.0] * 9] and first["ms"] == {"infer": 2.0, "total": 3.0}


def test_all_void_and_all_unlabelled():
    measure = Measure(CAMVID, CAMVID)
    measure.see(result([[0, 1]], [[255, 255]]))
    measure.see(result([[255, 255]], [[0, 1]], index=1))
    assert measure.moments[0]["miou"] is None
    assert (measure.moments[1]["miou"], measure.moments[1]["accuracy"]) == (0.0, 0.0)
    assert measure.moments[1]["shares"] == [0.0] * 11


def test_a_models_void_class_is_no_class():
    measure = Measure(CAMVID12, CAMVID)
    measure.see(result([[0, 11, 1, 1]], [[0, 0, 1, 255]]))
    scores = measure.confusion.scores()
    assert scores.iou[0] == 0.5 and scores.iou[1] == 1.0 and np.isnan(scores.iou[11])
    assert measure.moments[0]["shares"][11] == 0.25


def test_ground_truth_in_another_order_is_brought_into_the_models():
    other = CAMVID._replace(name="turned", names=CAMVID.names[::-1])
    measure = Measure(CAMVID, other)
    measure.see(result([[0, 1]], [[10, 9]]))
    assert measure.moments[0]["miou"] == 1.0
    with pytest.raises(ValueError, match="name different classes"):
        Measure(CAMVID, load_label_set("cityscapes19"))


def test_without_stamps_time_is_that_of_recording():
    measure = Measure(CAMVID)
    for index in range(3):
        measure.see(result([[0]], index=index, stamp=0))
    assert [m["elapsed"] for m in measure.moments] == [0.0, 0.05, 0.1]


def test_a_camera_whose_clock_is_set_late_goes_on_in_time():
    measure = Measure(CAMVID)
    for index, stamp in enumerate((0, 0, 1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + 50_000_000)):
        measure.see(result([[0]], index=index, stamp=stamp))
    assert [m["elapsed"] for m in measure.moments] == [0.0, 0.05, 0.1, 0.15]


def test_against_a_second_model(write_card):
    card = load_card(write_card())
    measure = Measure(CAMVID, against=Segmenter(card, load_runtime(card, "fake")))
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :16] = 3  # the other model says 3 here, 0 elsewhere
    measure.see(result(np.zeros((48, 64)), pixels=pixels))
    assert measure.moments[0]["against"] == 0.75 and measure.moments[0]["miou"] is None
    assert measure.confusion_against.matrix[3, 0] == 48 * 16


# --- worst frames ---------------------------------------------------------------------------------------------


def test_the_worst_ten_with_pictures():
    measure = Measure(CAMVID, CAMVID)
    worst = Worst(measure, CAMVID)
    good = np.random.default_rng(4).permutation(30)
    for index, count in enumerate(good):
        labels = np.ones((1, 40), np.uint8)
        labels[0, : count + 1] = 0
        shown = result(labels, np.zeros((1, 40)), index)
        measure.see(shown)
        worst.see(shown)
    assert [entry["index"] for entry in worst.entries] == [int(np.flatnonzero(good == i)[0]) for i in range(COUNT)]
    assert [entry["score"] for entry in worst.entries] == sorted(m["miou"] for m in measure.moments)[:COUNT]
    first = worst.entries[0]
    assert first["why"] == "miou" and set(worst.files) == {
        e[k] for e in worst.entries for k in ("image", "overlay", "truth")
    }
    truth = cv2.imdecode(np.frombuffer(worst.files[first["truth"]], np.uint8), cv2.IMREAD_COLOR)
    assert (truth == CAMVID.palette[0]).all()


def test_without_ground_truth_the_worst_are_those_that_disagree(write_card):
    measure = Measure(CAMVID)
    worst = Worst(measure)
    pixels = scene(0)[0]
    for index, width in enumerate((0, 0, 80, 80, 0)):
        labels = np.zeros((120, 160), np.uint8)
        labels[:, :width] = 1
        shown = result(labels, index=index, pixels=pixels)
        measure.see(shown)
        worst.see(shown)
    assert [(e["index"], e["score"], e["why"], e["truth"]) for e in worst.entries[:2]] == [
        (2, 0.5, "agreement", None),
        (4, 0.5, "agreement", None),
    ]


def test_large_pictures_are_scaled_down_and_rgb_is_turned():
    measure = Measure(CAMVID, CAMVID)
    worst = Worst(measure, CAMVID)
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    pixels[...] = (200, 0, 0)  # red
    shown = result(np.zeros((1080, 1920)), np.ones((1080, 1920)))
    shown = shown._replace(picture=shown.picture._replace(frame=Frame(pixels, "rgb")))
    measure.see(shown)
    worst.see(shown)
    image = cv2.imdecode(np.frombuffer(worst.files["worst/000000.jpg"], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (720, 1280, 3) and image[100, 100, 2] > 180 and image[100, 100, 0] < 20
