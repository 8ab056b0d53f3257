import numpy as np
import pytest

from seg_node.label_set import load_label_set
from seg_node.pipeline.frame import Frame
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
