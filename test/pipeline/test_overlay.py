import cv2
import numpy as np
import pytest

from seg_node.label_set import load_label_set
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import resize
from seg_node.pipeline.overlay import Overlay

LABEL_SET = load_label_set("camvid11")


@pytest.fixture
def labels():
    labels = np.random.default_rng(5).integers(0, 11, (9, 13), np.uint8)
    labels[2:5, 3:7] = 255
    return labels


def test_color_is_the_palette_exactly(labels):
    assert np.array_equal(Overlay(LABEL_SET).color(labels), LABEL_SET.palette[labels])


def test_every_id_has_the_palettes_color():
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    color = Overlay(LABEL_SET).color(ids)
    assert np.array_equal(color, LABEL_SET.palette[ids])
    assert color[15, 15].tolist() == [0, 0, 0]


@pytest.mark.parametrize("channels", ["bgr", "rgb"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_blend(labels, noise, channels, alpha):
    image, overlay = noise(9, 13, 3), Overlay(LABEL_SET)
    blend = overlay.blend(Frame(image, channels), labels, overlay.color(labels), alpha)
    bgr = (image if channels == "bgr" else image[..., ::-1]).astype(float)
    expected = alpha * LABEL_SET.palette[labels] + (1 - alpha) * bgr
    expected[labels == 255] = bgr[labels == 255]
    assert np.abs(blend - expected).max() <= 0.51
    assert np.array_equal(blend[labels == 255], bgr[labels == 255])


def test_buffers_are_reused_and_the_frame_left_alone(labels, noise):
    image, overlay = noise(9, 13, 3), Overlay(LABEL_SET)
    before = image.copy()
    color = overlay.color(labels)
    blend = overlay.blend(Frame(image, "rgb"), labels, color, 0.5)
    assert overlay.color(labels) is color
    assert overlay.blend(Frame(image, "rgb"), labels, color, 0.5) is blend
    assert np.array_equal(image, before)


def test_a_camera_may_change_its_size_and_its_rows_may_be_padded(noise):
    overlay = Overlay(LABEL_SET)
    for shape in ((4, 6), (1, 1), (7, 1), (1, 4), (4, 1), (5, 5)):
        labels, image = np.zeros(shape, np.uint8), noise(shape[0], shape[1] + 2, 3)[:, : shape[1]]
        blend = overlay.blend(Frame(image, "bgr"), labels, overlay.color(labels), 0.0)
        assert np.array_equal(blend, image)


@pytest.mark.parametrize("channels", ["bgr", "rgb"])
@pytest.mark.parametrize("camera", [(18, 26), (5, 8), (9, 20)])
def test_a_frame_of_another_size_is_resized_to_the_labels(labels, noise, channels, camera):
    image, overlay = noise(*camera, 3), Overlay(LABEL_SET)
    before = image.copy()
    blend = overlay.blend(Frame(image, channels), labels, overlay.color(labels), 0.5).copy()
    fitted = Frame(resize(image, labels.shape), channels)
    assert np.array_equal(blend, Overlay(LABEL_SET).blend(fitted, labels, overlay.color(labels), 0.5))
    again = overlay.blend(Frame(image, channels), labels, overlay.color(labels), 0.5)
    assert again is overlay.blend(Frame(image, channels), labels, overlay.color(labels), 0.5)
    assert np.array_equal(image, before)


def test_only_the_classes_shown_are_painted(labels, noise):
    image, overlay = noise(9, 13, 3), Overlay(LABEL_SET)
    overlay.show(["Road", "Car"])
    shown = np.isin(labels, [LABEL_SET.names.index("Road"), LABEL_SET.names.index("Car")])
    color = overlay.color(labels)
    assert np.array_equal(color[shown], LABEL_SET.palette[labels[shown]]) and not color[~shown].any()
    blend = overlay.blend(Frame(image, "bgr"), labels, color, 0.5)
    assert np.array_equal(blend[~shown], image[~shown])
    assert np.abs(blend[shown] - (0.5 * color[shown] + 0.5 * image[shown])).max() <= 0.51
    assert shown.any() and (~shown & (labels != 255)).any()


@pytest.mark.parametrize("everything", [None, [], LABEL_SET.names])
def test_all_classes_can_be_shown_again(labels, noise, everything):
    image, overlay = noise(9, 13, 3), Overlay(LABEL_SET)
    overlay.show(["Road"])
    overlay.show(everything)
    blend = overlay.blend(Frame(image, "bgr"), labels, overlay.color(labels), 0.5)
    fresh = Overlay(LABEL_SET)
    assert np.array_equal(blend, fresh.blend(Frame(image, "bgr"), labels, fresh.color(labels), 0.5))
    assert np.array_equal(LABEL_SET.palette, load_label_set("camvid11").palette)


def test_a_name_that_is_no_class_is_refused_and_nothing_changes(labels):
    overlay = Overlay(LABEL_SET)
    overlay.show(["Road"])
    before = overlay.color(labels).copy()
    with pytest.raises(ValueError, match=r"no class 'road', 'Cat'; it has Sky, Building, .*Bicyclist"):
        overlay.show(["road", "Car", "Cat"])
    assert np.array_equal(overlay.color(labels), before)


def test_the_legend_is_drawn_only_where_asked_for(noise):
    overlay = Overlay(LABEL_SET)
    image, labels = noise(240, 320, 3), np.full((240, 320), LABEL_SET.names.index("Car"), np.uint8)
    labels[100:] = LABEL_SET.names.index("Road")
    color = overlay.color(labels)
    plain = overlay.blend(Frame(image, "bgr"), labels, color, 0.5).copy()
    with_legend = overlay.blend(Frame(image, "bgr"), labels, color, 0.5, legend=True).copy()
    changed = (plain != with_legend).any(axis=2)
    assert changed.any() and not changed[:200].any()
    overlay.show(["Road"])
    fewer = (overlay.blend(Frame(image, "bgr"), labels, overlay.color(labels), 0.5, legend=True) == 24).all(axis=2)
    assert 0 < fewer.sum() < (with_legend == 24).all(axis=2).sum()  # pixels of its paper


def test_labels_that_were_enlarged_are_painted_while_small(labels):
    large = cv2.resize(labels, (40, 31), interpolation=cv2.INTER_NEAREST)
    overlay = Overlay(LABEL_SET)
    assert np.array_equal(overlay.color(large, labels), LABEL_SET.palette[large])
    assert np.array_equal(overlay.color(labels, labels), LABEL_SET.palette[labels])
    assert np.array_equal(overlay.color(labels, large), LABEL_SET.palette[labels])
    overlay.show(["Road"])
    assert np.array_equal(overlay.color(large, labels), overlay.color(large).copy())
