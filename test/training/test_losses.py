import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from seg_node.training.losses import (  # noqa: E402
    build_loss,
    class_frequency,
    class_weights,
    enet_weights,
    lovasz_softmax,
    median_weights,
    ohem_cross_entropy,
)
from seg_node.training.recipe import Loss, Ohem  # noqa: E402

EQUAL = np.full(2, 0.5)


def sample(classes: int = 4, size: tuple[int, int] = (6, 7), void: float = 0.2, seed: int = 1):
    """Random logits (2, C, H, W) that ask for gradients, and labels (2, H, W), some of them 255."""
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(2, classes, *size, generator=generator)).requires_grad_()
    labels = torch.randint(0, classes, (2, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < void] = 255
    return logits, labels


def test_enet_weights() -> None:
    """Equation 11 with c = 1.02: between 1 and 50."""
    weights = enet_weights(np.array([0.0, 1.0]), 1.02)
    assert weights == pytest.approx([50.5, 1.42], rel=0.01)


def test_median_weights() -> None:
    assert median_weights(np.array([0.6, 0.1, 0.3, 0.0])) == pytest.approx([0.5, 3, 1, 0])


def test_median_balancing_counts_the_images_that_have_a_class() -> None:
    """A quarter of one image, and three quarters of both: by hand, after SegNet's section on balancing."""
    images = [
        np.array([[0, 0, 0, 1]], np.uint8),
        np.array([[0, 0, 0, 2]], np.uint8),
        np.array([[0, 0, 0, 255]], np.uint8),
    ]
    frequency = class_frequency(images, 4, where_it_occurs=True)
    assert frequency == pytest.approx([9 / 11, 1 / 4, 1 / 4, 0])
    assert median_weights(frequency) == pytest.approx([11 / 36, 1, 1, 0])


def test_frequency_ignores_void() -> None:
    assert class_frequency([np.array([[0, 0, 1, 255]], np.uint8)], 3) == pytest.approx([2 / 3, 1 / 3, 0])


def test_void_as_a_class_may_weigh_nothing() -> None:
    how = Loss(class_weights="enet", void_weight=0)
    assert class_weights(how, np.array([0.5, 0.4, 0.1]), void=2)[2] == 0
    assert class_weights(Loss(void_weight=0), np.full(3, 1 / 3), void=1) == pytest.approx([1, 0, 1])
    assert class_weights(how, EQUAL) == pytest.approx(enet_weights(EQUAL, 1.02))  # void is no class here


def test_void_pixels_cost_nothing() -> None:
    loss = build_loss(Loss(), EQUAL)
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 0, 0, 1] = 50
    labels = torch.tensor([[[0, 255]]])
    assert float(loss(logits, labels)) == pytest.approx(np.log(2))


def test_the_plain_loss_is_pytorchs() -> None:
    logits, labels = sample()
    frequency = np.array([0.1, 0.2, 0.3, 0.4])
    weight = torch.tensor(enet_weights(frequency, 1.1), dtype=torch.float32)
    theirs = torch.nn.CrossEntropyLoss(weight, ignore_index=255, label_smoothing=0.1)(logits, labels)
    ours = build_loss(Loss(class_weights="enet", c=1.1, label_smoothing=0.1), frequency)(logits, labels)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("how", [Loss(), Loss(ohem=Ohem()), Loss(lovasz=1.0), Loss(ohem=Ohem(), lovasz=1.0)], ids=str)
def test_a_batch_without_labels_costs_and_teaches_nothing(how: Loss) -> None:
    logits, labels = sample()
    loss = build_loss(how, np.full(4, 0.25))(logits, torch.full_like(labels, 255))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("threshold, keep", [(0.7, 0.01), (0.3, 0.5), (0.0, 0.25), (1.0, 0.1)])
def test_ohem_is_the_mean_over_the_hard_pixels(threshold: float, keep: float) -> None:
    """Against a plain loop over pixels."""
    logits, labels = sample()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    pixels = []  # probability of the right class, cost, weight
    probability = logits.detach().double().softmax(1)
    for n, y, x in np.ndindex(*labels.shape):
        c = int(labels[n, y, x])
        if c != 255:
            p = float(probability[n, c, y, x])
            pixels.append((p, -np.log(p), float(weight[c])))
    pixels.sort()
    least = max(round(keep * len(pixels)), 1)
    hard = [pixel for i, pixel in enumerate(pixels) if pixel[0] < threshold or i < least]
    expected = sum(w * cost for _, cost, w in hard) / sum(w for _, _, w in hard)
    ours = ohem_cross_entropy(logits, labels, Ohem(threshold, keep), weight)
    assert float(ours) == pytest.approx(expected, rel=1e-5)


def test_ohem_teaches_hard_pixels_alone() -> None:
    logits, labels = sample(void=0)
    ohem_cross_entropy(logits, labels, Ohem(0.3, 0.001)).backward()
    sure = logits.detach().softmax(1).gather(1, labels[:, None])[:, 0]
    assert torch.equal(logits.grad.abs().sum(1) > 0, sure < 0.3)


def lovasz_by_its_definition(probability: np.ndarray, labels: np.ndarray) -> float:
    """The Lovasz extension of 1 - Jaccard as the integral, over a threshold from 0 to 1, of the loss of the set of the
    pixels whose error reaches the threshold; mean over the classes that occur. ``probability`` (pixels, C).
    """
    found = []
    for c in np.unique(labels):
        error = np.where(labels == c, 1 - probability[:, c], probability[:, c])
        steps = np.unique(np.concatenate([[0.0], error, [1.0]]))
        total = 0.0
        for low, high in itertools.pairwise(steps):
            wrong = error >= high  # constant for thresholds in (low, high]
            total += (high - low) * wrong.sum() / max((wrong | (labels == c)).sum(), 1)
        found.append(total)
    return float(np.mean(found))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stride", [1, 2])
def test_lovasz_is_its_definition(seed: int, stride: int) -> None:
    logits, labels = sample(seed=seed)
    some = labels[:, ::stride, ::stride].numpy().ravel()
    probability = logits.detach().double().softmax(1)[:, :, ::stride, ::stride].movedim(1, -1).reshape(-1, 4).numpy()
    expected = lovasz_by_its_definition(probability[some != 255], some[some != 255])
    assert float(lovasz_softmax(logits, labels, stride)) == pytest.approx(expected, rel=1e-5)


def test_lovasz_of_certain_answers_is_what_iou_lacks() -> None:
    labels = torch.tensor([[[0, 0, 0, 1], [1, 1, 2, 2]]])
    said = torch.tensor([[[0, 0, 1, 1], [1, 2, 2, 2]]])
    logits = 100.0 * torch.nn.functional.one_hot(said, 3).movedim(-1, 1)
    ious = [2 / 3, 2 / 4, 2 / 3]
    assert float(lovasz_softmax(logits, labels)) == pytest.approx(1 - np.mean(ious))


def test_lovasz_has_the_gradient_of_its_value() -> None:
    logits, labels = sample(classes=3, size=(2, 3))
    logits = logits.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x, labels), logits)


def test_lovasz_is_added_with_its_weight() -> None:
    logits, labels = sample()
    even = np.full(4, 0.25)
    plain, both = build_loss(Loss(), even), build_loss(Loss(lovasz=0.5, lovasz_stride=2), even)
    assert float(both(logits, labels)) == pytest.approx(
        float(plain(logits, labels)) + 0.5 * float(lovasz_softmax(logits, labels, 2))
    )


@pytest.mark.parametrize("how, says", [(Loss(name="dice"), "dice"), (Loss(class_weights="mine"), "mine")])
def test_what_there_is_not(how: Loss, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build_loss(how, EQUAL)


def test_a_classifier_learns_every_class_however_many_there_are() -> None:
    """255 is a class there like any other."""
    equal = np.full(1000, 1 / 1000)
    logits = torch.randn(4, 1000, generator=torch.Generator().manual_seed(1))
    for how in (Loss(), Loss(ohem=Ohem(1.0, 1.0))):
        loss = build_loss(how, equal, ignored=1000)
        for labels in ([300, 400, 500, 999], [255] * 4, [1, 255, 300, 400]):
            wanted = functional.cross_entropy(logits, torch.tensor(labels))
            assert float(loss(logits, torch.tensor(labels))) == pytest.approx(float(wanted))
    assert class_frequency([np.array(300), np.array(999)], 1000)[[300, 999]] == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="lovasz"):
        build_loss(Loss(lovasz=0.5), equal, ignored=1000)
