import numpy as np
import pytest

from seg_node.pipeline.region import WHOLE, Box, Placement, View, ViewError, check_view, place

CAMERA, NETWORK = (480, 640), (360, 480)


def test_by_default_all_of_the_image_goes_everywhere():
    assert place(WHOLE, CAMERA, NETWORK) == Placement(None, None, None, CAMERA)


@pytest.mark.parametrize(
    "roi, source",
    [
        ((10, 20, 30, 40), Box(20, 10, 40, 30)),
        ((-10, -20, 30, 40), Box(0, 0, 20, 20)),
        ((600, 400, 100, 100), Box(400, 600, 80, 40)),
        ((639, 479, 1, 1), Box(479, 639, 1, 1)),
        ((0, 0, 640, 480), None),
        ((-5, -5, 9999, 9999), None),
    ],
)
def test_a_region_is_cut_off_at_the_images_edge(roi, source):
    where = place(View(roi), CAMERA, NETWORK)
    assert where.source == source and where.target == source and where.inside is None


@pytest.mark.parametrize("roi", [(640, 0, 10, 10), (0, 480, 10, 10), (-10, 0, 10, 10), (0, -10, 10, 10)])
def test_a_region_outside_the_image_is_refused(roi):
    with pytest.raises(ViewError, match="outside the camera image, which is 640 wide and 480 high"):
        place(View(roi), CAMERA, NETWORK)


@pytest.mark.parametrize(
    "camera, inside",
    [
        ((480, 640), None),  # the network's aspect
        ((240, 640), Box(90, 0, 180, 480)),
        ((640, 480), Box(0, 105, 360, 270)),
        ((1, 1000), Box(179, 0, 1, 480)),
        ((1000, 1), Box(0, 239, 360, 1)),
    ],
)
def test_letterbox_keeps_the_aspect_and_is_centred(camera, inside):
    assert place(View(fit="letterbox"), camera, NETWORK).inside == inside


def test_letterbox_takes_the_regions_aspect():
    assert place(View((0, 0, 100, 100), "letterbox"), CAMERA, NETWORK).inside == Box(0, 60, 360, 360)


@pytest.mark.parametrize("output, size", [(None, CAMERA), ("network", NETWORK), ((50, 70), (50, 70))])
def test_the_label_image_has_the_size_asked_for(output, size):
    assert place(View(None, "stretch", output), CAMERA, NETWORK) == Placement(None, None, None, size)


def test_a_region_scales_with_the_label_image():
    assert place(View((64, 48, 320, 240), "stretch", (48, 64)), CAMERA, NETWORK).target == Box(5, 6, 24, 32)


def test_a_region_is_never_smaller_than_a_pixel_nor_beside_the_label_image():
    for x, y in ((0, 0), (300, 200), (639, 479)):
        box = place(View((x, y, 1, 1), "stretch", (5, 7)), CAMERA, NETWORK).target
        assert box.height == box.width == 1 and 0 <= box.top < 5 and 0 <= box.left < 7


def test_checking_makes_plain_tuples():
    view = check_view(View([np.int64(1), 2, 3, 4], "letterbox", [5, 6]))
    assert view == View((1, 2, 3, 4), "letterbox", (5, 6)) and type(view.roi[0]) is int
    assert check_view(View(output_size="camera")) == WHOLE
    assert place(view, CAMERA, NETWORK) is place(view, CAMERA, NETWORK)


@pytest.mark.parametrize(
    "view, why",
    [
        (View((1, 2, 3)), "roi"),
        (View((1, 2, 3, 0)), "above 0"),
        (View((1, 2, -3, 4)), "above 0"),
        (View((1.5, 2, 3, 4)), "whole pixels"),
        (View((True, 2, 3, 4)), "whole pixels"),
        (View("1234"), "whole pixels"),
        (View(5), "whole pixels"),
        (View(()), "roi"),
        (View(fit="crop"), "choose from stretch, letterbox"),
        (View(output_size="half"), "camera, network"),
        (View(output_size=(0, 5)), "from 1 to"),
        (View(output_size=(5, 99999)), "from 1 to"),
        (View(output_size=(5,)), "height and width"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(view, why):
    with pytest.raises(ViewError, match=why):
        check_view(view)


def test_a_box_is_a_view_of_its_part():
    image = np.arange(24).reshape(4, 6)
    part = Box(1, 2, 2, 3).of(image)
    assert part.tolist() == [[8, 9, 10], [14, 15, 16]] and np.shares_memory(part, image)
