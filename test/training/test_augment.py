import numpy as np
import pytest

from seg_node.training.augment import _hue, cut_out, fit, light, middle, paste, warp
from seg_node.training.recipe import Augment

RNG = np.random.default_rng


def augment(
    image: np.ndarray, label: np.ndarray, how: Augment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """As training does."""
    image, label = warp(image, label, how, rng)
    return light(image, how, rng), label


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


def test_a_window_of_the_scaled_image() -> None:
    """Twice the size, windows of 16x24: every block of 10 pixels is 20 there."""
    image, label = pair()
    how = Augment(scales=(2.0,), crop=(16, 24))
    large = np.kron(label, np.ones((2, 2), np.uint8))
    for seed in range(10):
        new_image, new_label = augment(image, label, how, RNG(seed))
        assert new_image.shape == (16, 24, 3) and new_label.shape == (16, 24)
        assert (new_label != 255).all()  # it lies inside
        windows = np.lib.stride_tricks.sliding_window_view(large, (16, 24))
        assert (windows == new_label).mean((2, 3)).max() > 0.9  # it is one of them, but for blocks' edges


def test_a_window_larger_than_the_image_leaves_the_rest_unlabelled() -> None:
    image, label = pair(20, 30)
    _, new = augment(image, label, Augment(crop=(40, 60)), RNG(1))
    assert np.mean(new == 255) == pytest.approx(0.75, abs=0.03)


def test_windows_reach_every_corner() -> None:
    _, label = pair()
    reached = np.zeros_like(label, bool)
    marks = np.arange(label.size, dtype=np.float32).reshape(label.shape)
    for seed in range(300):
        how = Augment(crop=(20, 30))
        window, _ = augment(np.repeat(marks[..., None], 3, 2), label, how, RNG(seed))
        reached.ravel()[np.rint(window[..., 0]).astype(int)] = True
    assert reached.mean() > 0.95


def test_scales_are_those_that_are_listed() -> None:
    _, label = pair(80, 80)
    image = np.zeros((80, 80, 3), np.uint8)
    shares = {
        round(float(np.mean(augment(image, label, Augment(scales=(0.25, 0.5)), RNG(seed))[1] != 255)), 2)
        for seed in range(20)
    }
    assert shares == {0.06, 0.25}


def test_hue_turns_colours_and_leaves_greys() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, 2)
    for seed in range(5):
        assert np.abs(light(grey, Augment(hue=180), RNG(seed)).astype(int) - grey).max() <= 1
    turned = _hue(2 * np.pi / 3)  # a third of the circle: blue, green, red change places
    assert np.allclose(np.sort(turned, 1), [[0, 0, 1]] * 3, atol=1e-9) and not np.allclose(turned, np.eye(3))
    assert np.allclose(_hue(0.7) @ _hue(-0.7), np.eye(3))


def test_gamma_keeps_black_and_white_and_the_order() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, 2)
    middles = []
    for seed in range(20):
        new = light(ramp, Augment(gamma=2.0), RNG(seed))[:, 0, 0].astype(int)
        assert new[0] == 0 and new[255] == 255 and (np.diff(new) >= 0).all()
        middles.append(new[128])
    darkest, brightest = 255 * (128 / 255) ** 2, 255 * (128 / 255) ** 0.5
    assert darkest - 1 <= min(middles) < 110 and 145 < max(middles) <= brightest + 1


def test_noise_has_at_most_its_deviation() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    spread = [light(image, Augment(noise=0.1), RNG(seed)).std() for seed in range(20)]
    assert 0 < min(spread) < 10 and 18 < max(spread) < 26  # of 25.5


def test_pasted_classes_bring_pixels_and_labels() -> None:
    image, label = pair()
    other_label = np.zeros_like(label)
    other_label[5:15, 20:30], other_label[20:, :10], other_label[30:, 50:] = 7, 8, 255
    other = np.full_like(image, 200)
    new_image, new_label = paste(image, label, other, other_label, (7,))
    over = other_label == 7
    assert (new_image[over] == 200).all() and (new_label[over] == 7).all()
    assert np.array_equal(new_image[~over], image[~over]) and np.array_equal(new_label[~over], label[~over])
    assert new_label.dtype == np.uint8 and image is not new_image


def test_cut_outs_have_the_area_and_the_aspect() -> None:
    """The image's own coordinates as pixels tell what was cut out."""
    y, x = np.mgrid[:200, :240].astype(np.uint8)
    image = np.stack([y, x, y], 2)
    how = Augment(area=(0.2, 0.5), aspect=(0.75, 1.3333))
    for seed in range(50):
        part = cut_out(image, how, (64, 64), RNG(seed)).astype(int)
        assert part.shape == (64, 64, 3)
        h, w = np.ptp(part[..., 0]) + 1, np.ptp(part[..., 1]) + 1
        assert 0.15 < h * w / (200 * 240) < 0.55 and 0.7 < w / h < 1.45


def test_a_cut_out_is_lit_once() -> None:
    """A classifier's sample: the loop lights it, cutting does not."""
    how = Augment(area=(1.0, 1.0), brightness=0.3, noise=0.1)
    image = np.full((40, 40, 3), 100, np.uint8)
    assert (cut_out(image, how, (40, 40), RNG(1)) == image).all()


def test_a_cut_out_that_never_fits_is_the_middle() -> None:
    image = np.zeros((20, 100, 3), np.uint8)
    image[:, 40:60] = 255
    part = cut_out(image, Augment(area=(1.0, 1.0), aspect=(1.0, 1.0)), (10, 10), RNG(1))
    assert (part == 255).all()


def test_the_middle_of_the_resized_image() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[25:75, 125:175] = 255
    part = middle(image, 40, (20, 20))  # to 40x120, its middle
    assert part.shape == (20, 20, 3) and (part[2:-2, 2:-2] == 255).all()
