import pytest

torch = pytest.importorskip("torch")

from seg_node.training.averaging import Averaged, average  # noqa: E402


def after(values: list[float], decay: float) -> float:
    kept = torch.tensor(values[0])  # the first is taken as it is
    for steps, value in enumerate(values[1:], 1):
        kept = average(kept, torch.tensor(value), torch.tensor(steps), decay)
    return float(kept)


def test_a_short_training_forgets_its_first_weights() -> None:
    assert after([100.0] + [0.0] * 60, 0.995) < 1e-3  # with a constant decay 74 would be left
    assert after([100.0] + [0.0] * 60, 0.5) < 1e-3


def test_a_long_one_decays_as_the_recipe_says() -> None:
    assert after([0.0] * 5000 + [1.0] * 200, 0.995) == pytest.approx(1 - 0.995**200, abs=1e-3)


def test_pytorch_averages_so() -> None:
    network = torch.nn.Linear(1, 1)
    callback = Averaged(0.9)
    averaged = torch.optim.swa_utils.AveragedModel(network, **callback._kwargs)
    wanted = []
    for value in (1.0, 2.0, 5.0):
        torch.nn.init.constant_(network.weight, value)
        averaged.update_parameters(network)
        wanted.append(value)
    assert float(averaged.module.weight) == pytest.approx(after(wanted, 0.9))
