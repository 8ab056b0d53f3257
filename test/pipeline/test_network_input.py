import cv2
import numpy as np
import pytest

from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import NetworkInput, resize, to_bgr
from seg_node.pipeline.region import View, place

LETTERBOX = View(fit="letterbox")


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


def test_padded_rows_are_copied_into_the_same_buffer(make_card, noise):
    network_input = NetworkInput(make_card())
    padded = Frame(noise(4, 9, 3)[:, :6], "bgr")
    assert np.shares_memory(network_input.fit(padded), network_input.fit(padded))


def test_a_region_of_the_networks_size_is_taken_as_it_is(make_card, noise):
    image = noise(10, 20, 3)
    where = place(View((3, 2, 6, 4)), (10, 20), (4, 6))
    assert np.array_equal(NetworkInput(make_card()).fit(Frame(image, "bgr"), where)[0], image[2:6, 3:9])


@pytest.mark.parametrize("card_channels", ["bgr", "rgb"])
@pytest.mark.parametrize("shape", [(20, 20), (10, 60), (20, 10), (8, 8)])
def test_letterbox(make_card, noise, card_channels, shape):
    card = make_card(size=(8, 16), channels=card_channels)._replace(mean=(0.1, 0.25, 1.5), scale=200.0)
    image = noise(*shape, 3)
    where = place(LETTERBOX, shape, card.size)
    fitted = NetworkInput(card).fit(Frame(image, "bgr"), where)[0]
    expected = np.empty((8, 16, 3), np.uint8)
    expected[:] = (20, 50, 255)  # mean * scale, no more than a pixel can be
    small = resize(image, where.inside.of(expected).shape[:2])
    where.inside.of(expected)[:] = small if card_channels == "bgr" else small[..., ::-1]
    assert np.array_equal(fitted, expected)


def test_the_mean_colour_comes_back_after_other_frames(make_card, noise):
    card = make_card()._replace(mean=(0.5, 0.5, 0.5))
    network_input = NetworkInput(card)
    for view, shape in ((LETTERBOX, (5, 5)), (View(), (5, 5)), (LETTERBOX, (5, 5)), (LETTERBOX, (2, 9))):
        image = noise(*shape, 3)
        where = place(view, shape, card.size)
        fitted = network_input.fit(Frame(image, "bgr"), where)
        assert np.array_equal(fitted, NetworkInput(card).fit(Frame(image, "bgr"), where))


def test_a_batch_holds_what_fit_returns(make_card, noise):
    card = make_card(channels="rgb")._replace(mean=(0.5, 0.5, 0.5))
    network_input = NetworkInput(card)
    for count in (2, 3, 1, 3):
        batch = network_input.batch(count)
        for turn in range(2):
            shapes = [(4, 6), (9, 9), (3, 30), (4, 6)][turn:]
            frames = [Frame(noise(*shape, 3), ("bgr", "rgb")[i % 2]) for i, shape in enumerate(shapes)]
            for index, frame in enumerate(frames[:count]):
                where = place(LETTERBOX, frame.image.shape[:2], card.size)
                network_input.fit_into(index, frame, where)
                assert np.array_equal(batch[index], NetworkInput(card).fit(frame, where)[0])
        assert batch.shape == (count, 4, 6, 3) and batch.flags.c_contiguous


def test_to_bgr(noise):
    image, out = noise(4, 6, 3), np.empty((4, 6, 3), np.uint8)
    assert to_bgr(Frame(image, "bgr"), out) is image
    swapped = to_bgr(Frame(image, "rgb"), out)
    assert swapped is out and np.array_equal(swapped, image[..., ::-1])
