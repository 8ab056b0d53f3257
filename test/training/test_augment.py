import numpy as np
import pytest

from seg_node.training.augment import augment, fit
from seg_node.training.recipe import Augment

RNG = np.random.default_rng


def pair(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A label of blocks, and an image whose three channels are the label times 20."""
    label = np.add.outer(np.arange(height) // 10, np.arange(width) // 10).astype(np.uint8)
    return np.repeat(label[..., None] * 20, 3, 2), label


def test_nothing_asked_nothing_changed() -> None:
    image, label = pair()
    new_image, new_label = augment(image, label, Augment(), RNG(1))
    assert np.array_equal(image, new_image) and np.array_equal(label, new_label)


def test_a_flip_mirrors_both() -> None:
    image, label = pair()
    seen = {augment(image, label, Augment(flip=True), RNG(seed))[1].tobytes() for seed in range(20)}
    assert seen == {label.tobytes(), label[:, ::-1].tobytes()}


@pytest.mark.parametrize("how", [Augment(scale=(0.5, 2.0)), Augment(rotate=10), Augment(translate=5)], ids=str)
def test_image_and_label_move_together(how: Augment) -> None:
    image, label = pair()
    for seed in range(10):
        new_image, new_label = augment(image, label, how, RNG(seed))
        inside = new_label != 255
        assert inside.any() and new_image.shape == image.shape
        # but for a pixel along the blocks' edges, where the image is interpolated
        assert np.mean(np.abs(new_image[inside][:, 0] / 20 - new_label[inside]) < 0.5) > 0.85


def test_what_comes_from_outside_is_unlabelled() -> None:
    image, label = pair()
    _, small = augment(image, label, Augment(scale=(0.5, 0.5)), RNG(1))
    assert np.mean(small == 255) == pytest.approx(0.75, abs=0.05)


def test_light_changes_the_image_alone() -> None:
    image, label = pair()
    how = Augment(brightness=0.2, contrast=0.3, saturation=0.3, blur=1.0)
    new_image, new_label = augment(image, label, how, RNG(3))
    assert not np.array_equal(image, new_image) and np.array_equal(label, new_label)


def test_the_same_seed_gives_the_same() -> None:
    image, label = pair()
    how = Augment(flip=True, scale=(0.5, 2), rotate=5, brightness=0.1)
    one, two = augment(image, label, how, RNG((1, 2))), augment(image, label, how, RNG((1, 2)))
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def test_fit_keeps_ids() -> None:
    image, label = pair()
    new_image, new_label = fit(image, label, (33, 77))
    assert new_image.shape == (33, 77, 3) and set(np.unique(new_label)) <= set(np.unique(label))
    assert fit(image, label, (40, 60))[0] is image
