import cv2
import numpy as np
import pytest

from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import NetworkInput, resize, to_bgr


def test_resize_takes_height_then_width(noise):
    image = noise(10, 20, 3)
    resized = resize(image, (4, 6))
    assert np.array_equal(resized, cv2.resize(image, (6, 4)))


def test_resize_writes_into_out(noise):
    out = np.empty((4, 6, 3), np.uint8)
    assert resize(noise(10, 20, 3), (4, 6), out=out) is out


def test_resize_to_the_same_size_keeps_the_pixels(noise):
    image = noise(5, 7)
    assert np.array_equal(resize(image, (5, 7)), image)


@pytest.mark.parametrize("card_channels", ["bgr", "rgb"])
@pytest.mark.parametrize("frame_channels", ["bgr", "rgb"])
@pytest.mark.parametrize("shape", [(10, 20), (4, 6), (1, 1), (7, 1)])
def test_fit(make_card, noise, card_channels, frame_channels, shape):
    image = noise(*shape, 3)
    fitted = NetworkInput(make_card(channels=card_channels)).fit(Frame(image, frame_channels))
    expected = resize(image, (4, 6))
    if card_channels != frame_channels:
        expected = expected[..., ::-1]
    assert fitted.shape == (1, 4, 6, 3) and fitted.flags.c_contiguous
    assert np.array_equal(fitted[0], expected)


def test_fit_reuses_its_buffer(make_card, noise):
    network_input = NetworkInput(make_card())
    first = network_input.fit(Frame(noise(10, 20, 3), "bgr"))
    second = network_input.fit(Frame(noise(8, 20, 3), "bgr"))
    assert np.shares_memory(first, second)


def test_a_frame_that_fits_is_not_copied(make_card, noise):
    image = noise(4, 6, 3)
    assert np.shares_memory(NetworkInput(make_card()).fit(Frame(image, "bgr")), image)


@pytest.mark.parametrize("size", [(4, 6), (3, 5)])
def test_padded_rows(make_card, noise, size):
    padded = noise(4, 9, 3)[:, :6]
    fitted = NetworkInput(make_card(size=size)).fit(Frame(padded, "bgr"))
    assert np.array_equal(fitted[0], resize(padded.copy(), size))


def test_fit_leaves_the_frame_alone(make_card, noise):
    image = noise(4, 6, 3)
    before = image.copy()
    NetworkInput(make_card(channels="rgb")).fit(Frame(image, "bgr"))
    assert np.array_equal(image, before)


def test_to_bgr(noise):
    image, out = noise(4, 6, 3), np.empty((4, 6, 3), np.uint8)
    assert to_bgr(Frame(image, "bgr"), out) is image
    swapped = to_bgr(Frame(image, "rgb"), out)
    assert swapped is out and np.array_equal(swapped, image[..., ::-1])
