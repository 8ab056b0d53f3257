from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from seg_node import networks  # noqa: E402
from seg_node.training.gradual_grouping import GradualGrouping, alpha_at  # noqa: E402


def test_alpha_falls_evenly_and_ends_at_its_end() -> None:
    alphas = [alpha_at(step, 11, (1.0, 0.0)) for step in range(11)]
    assert alphas == pytest.approx([1 - step / 10 for step in range(11)])
    assert alphas[0] == 1.0 and alphas[-1] == 0.0  # exactly: only then it can be grouped


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000])
def test_the_last_step_has_the_end_exactly(steps: int) -> None:
    assert alpha_at(steps - 1, steps, (1.0, 0.0)) == 0.0
    assert alpha_at(0, steps, (0.0, 0.0)) == 0.0


def test_every_gradual_layer_has_it_while_it_trains() -> None:
    network = networks.build("dg4_star", 5, form="dense", part="encoder")
    task = SimpleNamespace(network=network, log=lambda *a: None, steps=lambda: 11)
    callback = GradualGrouping((1.0, 0.0))
    for step, expected in ((0, 1.0), (5, 0.5), (10, 0.0)):
        callback.on_train_batch_start(SimpleNamespace(global_step=step), task, None, 0)
        alphas = [buffer for name, buffer in network.named_buffers() if name.endswith("alpha")]
        assert len(alphas) == 26  # two in each of 13 blocks
        between = ~torch.eye(4, dtype=torch.bool)
        for alpha in alphas:
            assert torch.allclose(alpha[between], torch.tensor(expected)) and torch.equal(alpha.diag(), torch.ones(4))


def test_a_network_without_such_layers_is_refused() -> None:
    task = SimpleNamespace(network=networks.build("dg4_star", 5), log=lambda *a: None, steps=lambda: 11)
    trainer = SimpleNamespace(global_step=0)
    with pytest.raises(ValueError, match="form='dense'"):
        GradualGrouping((1.0, 0.0)).on_train_batch_start(trainer, task, None, 0)
