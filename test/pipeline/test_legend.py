import cv2
import numpy as np
import pytest

from seg_node.label_set import load_label_set
from seg_node.pipeline import legend as legend_module
from seg_node.pipeline.legend import Legend

CITYSCAPES, CAMVID = load_label_set("cityscapes19"), load_label_set("camvid11")
WHITE = 255


def draw(label_set, labels, hidden=None):
    """Return where a white picture was drawn over, and the picture."""
    image = np.full((*labels.shape, 3), WHITE, np.uint8)
    Legend(label_set).draw(image, labels, hidden)
    return (image != WHITE).any(axis=2), image


def stripes(label_set, height, width):
    return (
        np.repeat(np.arange(width) * label_set.class_count // width, height).reshape(width, height).T.astype(np.uint8)
    )


def swatches(label_set, image):
    """Return the ids of the classes of whose exact colour the picture has a square: letters have none so wide."""
    square = np.ones((4, 4), np.uint8)
    exact = [(image == color).all(axis=2).astype(np.uint8) for color in label_set.palette[: label_set.class_count]]
    return [i for i, mask in enumerate(exact) if cv2.erode(mask, square).any()]


@pytest.mark.parametrize("label_set", [CITYSCAPES, CAMVID], ids=lambda s: s.name)
@pytest.mark.parametrize("width, height", [(320, 240), (320, 180), (640, 480), (1280, 720), (1920, 1080), (720, 1280)])
def test_at_most_a_quarter_of_the_image(label_set, width, height):
    drawn, _ = draw(label_set, stripes(label_set, height, width))
    assert drawn.any() and not drawn[: height * 3 // 4].any()
    assert drawn[-1].any()  # along the lower edge


@pytest.mark.parametrize("width, height", [(320, 240), (640, 480), (1920, 1080)])
def test_every_class_seen_has_its_swatch_and_no_other(width, height):
    labels = np.full((height, width), 255, np.uint8)
    ids = [1, 3, 5, 8]
    for place, class_id in enumerate(ids):
        labels[:, 20 * place : 20 * place + 20] = class_id
    assert swatches(CAMVID, draw(CAMVID, labels)[1]) == ids


def test_all_of_camvid_fits_the_smallest_camera():
    assert swatches(CAMVID, draw(CAMVID, stripes(CAMVID, 240, 320))[1]) == list(range(11))


def test_hidden_classes_are_left_out():
    hidden = np.full(256, 255, np.uint8)
    hidden[[3, 8]] = 0
    assert swatches(CAMVID, draw(CAMVID, stripes(CAMVID, 240, 320), hidden)[1]) == [3, 8]


def test_a_few_pixels_are_noise():
    labels = np.full((240, 320), 3, np.uint8)
    labels[7, 7] = 8
    assert swatches(CAMVID, draw(CAMVID, labels)[1]) == [3]


def test_where_not_all_fit_the_largest_stay():
    labels = stripes(CAMVID, 60, 160)
    labels[10:50] = 3
    labels[50:] = 8
    kept = swatches(CAMVID, draw(CAMVID, labels)[1])
    assert {3, 8} <= set(kept) and len(kept) < 11


@pytest.mark.parametrize("shape", [(1, 1), (9, 13), (40, 20), (7, 500)])
def test_an_image_too_small_is_left_as_it_is(shape):
    drawn, _ = draw(CAMVID, np.full(shape, 3, np.uint8))
    assert not drawn.any()


def test_nothing_labelled_is_no_legend():
    assert not draw(CAMVID, np.full((240, 320), 255, np.uint8))[0].any()


def test_a_tile_is_rendered_once_for_a_size(monkeypatch):
    rendered = []
    render = legend_module._render
    monkeypatch.setattr(legend_module, "_render", lambda *given: rendered.append(given) or render(*given))
    legend = Legend(CAMVID)
    for width in (320, 320, 1920, 1920):
        labels = stripes(CAMVID, width * 3 // 4, width)
        legend.draw(np.zeros((*labels.shape, 3), np.uint8), labels)
    assert len(rendered) == 22


def test_names_that_opencv_cannot_write_do_not_stop_it():
    odd = CAMVID._replace(names=("Straße", "", *CAMVID.names[2:]))
    assert draw(odd, stripes(odd, 240, 320))[0].any()
