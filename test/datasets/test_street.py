"""The street: the same bytes everywhere, all eleven classes, any size, smooth motion."""

import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from seg_node.datasets.street import Street, open_split

SMALL = (90, 120)


def checksum(seed, index):
    image, label = Street(seed, SMALL).render(index)
    return zlib.crc32(image.tobytes()), zlib.crc32(label.tobytes())


def test_two_processes_render_the_same_bytes():
    code = (
        "import sys, zlib; from seg_node.datasets.street import Street\n"
        f"image, label = Street(5, {SMALL}).render(77)\n"
        "print(zlib.crc32(image.tobytes()), zlib.crc32(label.tobytes()))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(int(word) for word in other.stdout.split()) == checksum(5, 77)


def test_random_access_equals_sequential_access():
    street = Street(2, SMALL)
    sequence = [street.render(i) for i in range(4)]
    image, label = Street(2, SMALL).render(3)
    assert np.array_equal(image, sequence[3][0])
    assert np.array_equal(label, sequence[3][1])


def test_a_split_shows_every_class_and_nothing_else():
    shares = np.zeros(256)
    frames = np.zeros(256)
    samples = open_split("val", (180, 240), count=60)
    for _, label, _ in samples:
        counts = np.bincount(label.ravel(), minlength=256)
        shares += counts / label.size / len(samples)
        frames += (counts > 0) / len(samples)
    assert shares[11:].sum() == 0
    assert shares[:11].min() > 0.003
    assert frames[:11].min() > 1 / 3


@pytest.mark.parametrize("size", [(32, 32), (97, 131), (360, 480), (480, 200), (1080, 1920)])
def test_any_size(size):
    image, label = Street(1, size).render(10)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert label.shape == size and label.dtype == np.uint8
    assert label.max() <= 10


def test_a_size_too_small_is_refused():
    with pytest.raises(ValueError, match="32"):
        Street(0, (16, 480))


def test_splits_are_disjoint():
    seeds = [{s.seed(i) for i in range(len(s))} for s in map(open_split, ("train", "val", "test"))]
    assert [len(s) for s in seeds] == [1000, 100, 100]
    assert len(set.union(*seeds)) == 1200


def test_samples_have_their_own_names_and_frames():
    samples = open_split("train", SMALL, count=3)
    images, _, names = zip(*samples, strict=True)
    assert len(set(names)) == 3
    assert not np.array_equal(images[0], images[1])
    with pytest.raises(IndexError):
        samples[3]


def test_an_unknown_split_names_the_choices():
    with pytest.raises(ValueError, match="train, val, test"):
        open_split("holdout")


def test_the_picture_moves_between_frames_but_slightly():
    street = Street(4, (180, 240))
    for index in (0, 500, 5000):
        (image, label), (later, moved) = street.render(index), street.render(index + 1)
        change = np.abs(image.astype(int) - later).mean()
        assert 0.5 < change < 15
        assert 0 < (label != moved).mean() < 0.05


def test_the_drive_does_not_repeat():
    street = Street(6, SMALL)
    labels = [street.render(900 * k)[1] for k in range(5)]
    assert all((labels[0] != label).mean() > 0.02 for label in labels[1:])


@pytest.mark.parametrize("size", [(32, 32), (97, 131), (360, 480), (480, 200), (720, 1280)])
@pytest.mark.parametrize("seed", [1, 5])
def test_depth_changes_no_pixel_and_sky_alone_has_none(size, seed):
    street = Street(seed, size)
    for index in (0, 77):
        image, label, depth = street.render_with_depth(index)
        assert np.array_equal(image, street.render(index)[0]) and np.array_equal(label, street.render(index)[1])
        assert depth.shape == size and depth.dtype == np.float32
        assert np.array_equal(np.isinf(depth), label == 0)
        assert depth.min() > 0.5 and depth[label != 0].max() <= 180.1


def test_every_pixel_is_drawn(monkeypatch):
    """Between skyline and ground there may be a gap: what lay in memory must not show through it."""
    empty = np.empty

    def render(rubbish):
        def filled(*shape, **options):
            array = empty(*shape, **options)
            array.fill(rubbish)
            return array

        monkeypatch.setattr(np, "empty", filled)
        return Street(1, (720, 1280)).render(0)[0]

    assert np.array_equal(render(0), render(255))


@pytest.mark.parametrize("seed", range(4))
def test_the_ground_lies_flat_below_the_calibrated_camera(seed):
    street = Street(seed)
    for index in (0, 333, 2000):
        _, label, depth = street.render_with_depth(index)
        matrix = street.camera_matrix()
        rows = np.arange(label.shape[0])[:, None] - matrix[1, 2]
        below = (rows * depth / matrix[1, 1])[label == 3]  # metres, of every pixel of road
        camera_height = street._camera_height
        pitch = 0.0046 * depth[label == 3]  # the camera's, which a calibration does not know
        assert np.all(np.abs(below - camera_height) < pitch + 0.01)


def test_people_stand_where_their_feet_are():
    wrong, seen = [], 0
    for seed in range(12):
        _, label, depth = Street(seed).render_with_depth(100 * seed)
        count, parts, boxes, _ = cv2.connectedComponentsWithStats((label == 9).astype(np.uint8))
        for part in range(1, count):
            left, top, width, height, _ = boxes[part]
            foot = top + height
            inside = left > 0 and left + width < label.shape[1] and foot < label.shape[0] - 1
            under = np.flatnonzero(parts[foot - 1] == part)
            if not inside or height < 20 or label[foot, under[0]] not in (3, 4):
                continue  # cut off, or hidden behind something
            seen += 1
            wrong.append(abs(float(depth[foot, under[0]]) / float(depth[foot - 1, under[0]]) - 1))
    assert seen > 10
    assert max(wrong) < 0.06
