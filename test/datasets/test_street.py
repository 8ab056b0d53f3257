"""The street: the same bytes everywhere, all eleven classes, any size, smooth motion."""

import subprocess
import sys
import zlib

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
