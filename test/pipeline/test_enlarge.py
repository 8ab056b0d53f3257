import cv2
import numpy as np
import pytest

from seg_node.pipeline.enlarge import Nearest

SIZES = [
    ((4, 6), (9, 13)),
    ((36, 48), (108, 192)),
    ((5, 7), (5, 20)),
    ((5, 7), (20, 7)),
    ((1, 1), (3, 2)),
    ((9, 8), (4, 30)),
]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("small, large", SIZES)
def test_pixels_are_opencvs(noise, small, large, channels):
    image, out = noise(*small, *channels), np.zeros(large + channels, np.uint8)
    Nearest()(image, out)
    assert np.array_equal(out, cv2.resize(image, large[::-1], interpolation=cv2.INTER_NEAREST))


def test_a_part_of_a_larger_image_and_changing_sizes(noise):
    nearest, canvas = Nearest(), np.zeros((40, 50), np.uint8)
    for small, (height, width) in (((4, 6), (20, 30)), ((4, 6), (21, 31)), ((8, 6), (21, 31)), ((4, 6), (20, 30))):
        canvas[:] = 9
        image = noise(*small)
        nearest(image, canvas[3 : 3 + height, 5 : 5 + width])
        expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(canvas[3 : 3 + height, 5 : 5 + width], expected)
        assert (canvas[:3] == 9).all() and (canvas[:, :5] == 9).all()
