import numpy as np
import pytest

torch = pytest.importorskip("torch")

from seg_node.training.losses import build_loss, class_frequency, enet_weights  # noqa: E402
from seg_node.training.recipe import Loss  # noqa: E402


def test_enet_weights() -> None:
    """Equation 11 with c = 1.02: between 1 and 50."""
    weights = enet_weights(np.array([0.0, 1.0]), 1.02)
    assert weights == pytest.approx([50.5, 1.42], rel=0.01)


def test_frequency_ignores_void() -> None:
    assert class_frequency([np.array([[0, 0, 1, 255]], np.uint8)], 3) == pytest.approx([2 / 3, 1 / 3, 0])


def test_void_pixels_cost_nothing() -> None:
    loss = build_loss(Loss(), np.full(2, 0.5))
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 0, 0, 1] = 50
    labels = torch.tensor([[[0, 255]]])
    assert float(loss(logits, labels)) == pytest.approx(np.log(2))


@pytest.mark.parametrize("how, says", [(Loss(name="dice"), "dice"), (Loss(class_weights="mine"), "mine")])
def test_what_there_is_not(how: Loss, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build_loss(how, np.full(2, 0.5))
