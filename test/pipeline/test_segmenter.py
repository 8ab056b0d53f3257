import numpy as np
import pytest

from seg_node.pipeline.frame import Frame
from seg_node.pipeline.region import View, ViewError
from seg_node.pipeline.segmenter import STAGES, Segmenter
from seg_node.runtimes import Prediction, Runtime

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


class Reads(Runtime):
    """The label of a pixel is its first channel over ten; its confidence the second channel."""

    calls = 0

    def _infer(self, images):
        self.calls += 1
        self.images = images
        return Prediction(images[..., 0] // 10, images[..., 1].copy())


def blocks(height, width, channels="bgr"):
    """Return a frame of three by three blocks and the class of each pixel, 0 to 8."""
    rows, columns = np.arange(height) * 3 // height, np.arange(width) * 3 // width
    classes = (3 * rows[:, None] + columns).astype(np.uint8)
    image = np.stack([classes * 10 + 5] * 3, axis=-1)
    return Frame(image, channels), classes


def agreement(labels, classes):
    """Share of equal pixels: the borders between blocks are resized, too."""
    return (labels == classes).mean()


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("shape", [(90, 120), (90, 240), (180, 60), (60, 60)])
def test_labels_lie_where_the_camera_saw_them(make_card, fit, shape):
    card = make_card(size=(120, 160))
    camera, classes = blocks(*shape)
    result = Segmenter(card, Reads(card), View(fit=fit)).segment(camera)
    assert result.labels.shape == result.confidence.shape == shape
    assert agreement(result.labels, classes) > 0.93
    assert np.abs(result.confidence.astype(int) - camera.image[..., 1]).mean() < 1.5


def test_letterbox_shows_the_network_the_cameras_aspect(make_card):
    card = make_card(size=(120, 160))._replace(mean=(1.0, 1.0, 1.0))
    runtime = Reads(card)
    Segmenter(card, runtime, View(fit="letterbox")).segment(blocks(60, 160)[0])
    seen = runtime.images[0, :, :, 0]
    assert (seen[:30] == 255).all() and (seen[90:] == 255).all() and (seen[30:90] < 100).all()


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_only_the_region_is_labelled(make_card, fit):
    card = make_card(size=(120, 160))
    camera, classes = blocks(180, 240)
    result = Segmenter(card, Reads(card), View((40, 30, 120, 60), fit)).segment(camera)
    inside = np.zeros((180, 240), bool)
    inside[30:90, 40:160] = True
    assert (result.labels[~inside] == 255).all() and (result.confidence[~inside] == 0).all()
    assert agreement(result.labels[inside], classes[inside]) > 0.93
    assert (result.confidence[inside] > 0).all()


def test_a_region_over_the_edge_is_cut_off(make_card):
    card = make_card(size=(120, 160))
    camera, classes = blocks(180, 240)
    labels = Segmenter(card, Reads(card), View((-50, 120, 170, 500))).segment(camera).labels
    assert agreement(labels[120:, :120], classes[120:, :120]) > 0.93
    assert (labels[:120] == 255).all() and (labels[:, 120:] == 255).all()


def test_a_region_outside_fails_that_frame_only(make_card):
    card = make_card(size=(120, 160))
    segmenter = Segmenter(card, Reads(card), View((200, 0, 10, 10)))
    with pytest.raises(ViewError, match="outside the camera image, which is 120 wide"):
        segmenter.segment(blocks(90, 120)[0])
    assert (segmenter.segment(blocks(180, 240)[0]).labels[:10, 200:210] != 255).all()


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("output, shape", [("network", (120, 160)), ((45, 60), (45, 60)), ((400, 300), (400, 300))])
def test_the_label_image_shows_all_the_camera_saw_at_any_size(make_card, fit, output, shape):
    card = make_card(size=(120, 160))
    view = View(None, fit, output)
    result = Segmenter(card, Reads(card), view).segment(blocks(90, 240)[0])
    assert result.labels.shape == result.confidence.shape == shape
    assert agreement(result.labels, blocks(*shape)[1]) > 0.93
    result = Segmenter(card, Reads(card), view._replace(roi=(80, 30, 80, 30))).segment(blocks(90, 240)[0])
    rows, columns = slice(shape[0] // 3, shape[0] * 2 // 3), slice(shape[1] // 3, shape[1] * 2 // 3)
    assert (result.labels != 255).mean() == pytest.approx(1 / 9, rel=0.05)
    assert (result.labels[rows, columns][1:-1, 1:-1] == 4).all()  # the block in the middle


def test_at_network_size_the_labels_are_not_resized(make_card, answers):
    card = make_card()
    segmenter = Segmenter(card, answers(card, LABELS), View(output_size="network"))
    assert np.array_equal(segmenter.segment(frame(50, 7)).labels, LABELS)


def test_the_view_may_change_between_two_frames(make_card):
    card = make_card(size=(120, 160))
    segmenter = Segmenter(card, Reads(card))
    camera = blocks(180, 240)[0]
    views = [
        View(),
        View((0, 0, 60, 60)),
        View((120, 60, 60, 60), "letterbox"),
        View(fit="letterbox"),
        View((120, 60, 60, 60), "letterbox", "network"),
        View((0, 0, 60, 60)),
    ]
    for view in views * 2:
        segmenter.view = view
        result, fresh = segmenter.segment(camera), Segmenter(card, Reads(card), view).segment(camera)
        assert np.array_equal(result.labels, fresh.labels) and np.array_equal(result.confidence, fresh.confidence)


def test_a_view_that_makes_no_sense_is_refused_and_the_old_one_kept(make_card, answers):
    card = make_card()
    with pytest.raises(ViewError):
        Segmenter(card, answers(card, LABELS), View(fit="crop"))
    segmenter = Segmenter(card, answers(card, LABELS), View(fit="letterbox"))
    with pytest.raises(ViewError, match="roi"):
        segmenter.view = View((1, 2, 3, -4))
    assert segmenter.view == View(fit="letterbox")


@pytest.mark.parametrize("view", [View(), View(fit="letterbox"), View((5, 5, 30, 90), "letterbox", (70, 90))])
def test_many_frames_are_labelled_as_each_alone(make_card, view):
    card = make_card(size=(120, 160), channels="rgb")
    runtime = Reads(card)
    segmenter = Segmenter(card, runtime, view)
    shapes = [((180, 240), "bgr"), ((120, 160), "rgb"), ((90, 300), "bgr"), ((180, 240), "rgb")]
    for count in (3, 1, 4, 2):
        frames = [blocks(*shape, channels)[0] for shape, channels in shapes[:count]]
        before = runtime.calls
        results = segmenter.segment_many(frames)
        assert runtime.calls == before + 1 and runtime.images.shape == (count, 120, 160, 3)
        assert len(results) == count
        for camera, result in zip(frames, results):
            alone = Segmenter(card, Reads(card), view).segment(camera)
            assert np.array_equal(result.labels, alone.labels)
            assert np.array_equal(result.confidence, alone.confidence)


def test_each_of_many_has_arrays_of_its_own_that_are_reused(make_card):
    card = make_card(size=(120, 160))
    runtime = Reads(card)
    segmenter = Segmenter(card, runtime)
    frames = [blocks(180, 240)[0], blocks(180, 240)[0]]
    first, second = segmenter.segment_many(frames)
    images = runtime.images
    assert not np.shares_memory(first.labels, second.labels)
    assert not np.shares_memory(first.confidence, second.confidence)
    again = segmenter.segment_many(frames)
    assert again[0].labels is first.labels and again[1].confidence is second.confidence
    assert np.shares_memory(runtime.images, images)


def test_a_single_frame_that_fits_reaches_the_network_without_a_copy(make_card):
    card = make_card(size=(120, 160))
    runtime = Reads(card)
    camera = blocks(120, 160)[0]
    Segmenter(card, runtime).segment_many([camera])
    assert np.shares_memory(runtime.images, camera.image)


def test_many_are_timed_each_and_inferred_together(make_card):
    card = make_card(size=(120, 160))
    results = Segmenter(card, Reads(card)).segment_many([blocks(180, 240)[0]] * 3)
    assert all(tuple(result.timings) == STAGES for result in results)
    assert len({result.timings["infer"] for result in results}) == 1
    assert len({result.timings["resize"] for result in results}) > 1


def test_no_frames_are_no_inference(make_card):
    card = make_card()
    runtime = Reads(card)
    assert Segmenter(card, runtime).segment_many([]) == [] and runtime.calls == 0


def test_the_small_labels_are_those_that_were_enlarged(make_card, answers):
    card = make_card()
    segmenter = Segmenter(card, answers(card, LABELS))
    assert np.array_equal(segmenter.segment(frame(8, 12)).small, LABELS)
    segmenter.view = View(roi=(0, 0, 6, 8))
    assert segmenter.segment(frame(8, 12)).small is None


@pytest.mark.parametrize("sizes", [[(8, 12)], [(4, 6)], [(8, 12), (5, 7)]])
def test_the_last_results_are_whole_until_settled(make_card, sizes):
    card = make_card()
    segmenter = Segmenter(card, Reads(card))
    kept = [result.labels for result in segmenter.segment_many([blocks(*size)[0] for size in sizes])]
    before, seen = [labels.copy() for labels in kept], []

    def settle():
        seen.append(all(map(np.array_equal, kept, before)))

    after = segmenter.segment_many([frame(*size) for size in sizes], settle)
    assert seen == [True]
    assert all(new.labels is old for new, old in zip(after, kept))  # and then overwritten
    assert not any(map(np.array_equal, kept, before))
