import itertools
import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from seg_node.training.recipe import Optimizer, Schedule, Trains  # noqa: E402
from seg_node.training.schedules import build_optimizer, build_schedule  # noqa: E402

ADAM = Optimizer("adam", lr=0.01)


def network() -> nn.Module:
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "encoder2": nn.Conv2d(4, 4, 1),
            "decoder": nn.Conv2d(4, 2, 1),
        }
    )


def rates(how: Schedule, steps: int, epochs: int = 1, lr: float = 0.01) -> list[float]:
    """The rate at each step, the schedule being stepped as Lightning does."""
    optimizer = build_optimizer(network(), Optimizer("sgd", lr))
    built = build_schedule(optimizer, how, steps)
    each = built["lr_scheduler"]["interval"]
    seen = []
    for step in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if each == "step" or (step + 1) % (steps // epochs) == 0:
            built["lr_scheduler"]["scheduler"].step()
    return seen


def test_poly_is_the_closed_form() -> None:
    """Without warm-up: (1 - share done) to the power, as ERFNet and DeepLab have it."""
    seen = rates(Schedule("poly", power=0.9, warm_up=0), 50)
    assert seen == pytest.approx([0.01 * (1 - step / 50) ** 0.9 for step in range(50)])


def test_cosine_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.01)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(Schedule("cosine", warm_up=0), 40) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_warm_up_rises_evenly_and_ends_at_the_full_rate(name: str) -> None:
    seen = rates(Schedule(name, warm_up=0.1), 100)
    assert seen[:10] == pytest.approx([0.01 * (step + 1) / 11 for step in range(10)])
    assert seen[10] == pytest.approx(0.01) == max(seen)
    assert all(a > b for a, b in itertools.pairwise(seen[10:])) and seen[-1] < 0.0005


@pytest.mark.parametrize("unit, milestones", [("step", (20, 30)), ("epoch", (2, 3))])
def test_milestones_count_steps_or_epochs(unit: str, milestones: tuple[int, ...]) -> None:
    seen = rates(Schedule("step", factor=0.1, milestones=milestones, unit=unit), 40, epochs=4)
    assert seen == pytest.approx([0.01] * 20 + [0.001] * 10 + [0.0001] * 10)


def test_one_cycle_keeps_the_ratio_between_groups() -> None:
    optimizer = build_optimizer(network(), ADAM, (Trains("encoder", 0.1), Trains("all")))
    cycle = build_schedule(optimizer, Schedule("one_cycle", warm_up=0.5), 10)["lr_scheduler"]["scheduler"]
    for _ in range(9):
        low, high = (group["lr"] for group in optimizer.param_groups)
        assert low == pytest.approx(high / 10)
        optimizer.step()
        cycle.step()


def test_plateau_halves_when_the_loss_stagnates() -> None:
    optimizer = build_optimizer(network(), ADAM)
    built = build_schedule(optimizer, Schedule("plateau", factor=0.5, patience=2), 10)["lr_scheduler"]
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9):
        built["scheduler"].step(loss)
    assert built["monitor"] == "loss_epoch" and optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


def test_constant_stays() -> None:
    optimizer = build_optimizer(network(), ADAM)
    assert build_schedule(optimizer, Schedule("constant"), 10) is optimizer


def test_an_almost_frozen_encoder_stays_and_the_decoder_learns() -> None:
    """Gradual grouping, section 4.3: 5e-20 and 5e-4."""
    net = network()
    how = Optimizer("adam", lr=5e-4, weight_decay=1e-4)
    optimizer = build_optimizer(net, how, (Trains("encoder", 1e-16), Trains("all")))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([5e-20, 5e-4])
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in net.named_parameters()}
    # "encoder" is a module's name: encoder2 is another's
    assert {name for name, by in moved.items() if by > 1e-10} == {
        f"{m}.{t}" for m in ("encoder2", "decoder") for t in ("weight", "bias")
    }


def test_what_is_not_named_is_frozen() -> None:
    net = network()
    optimizer = build_optimizer(net, ADAM, (Trains("decoder"),))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {"decoder.weight", "decoder.bias"}


def test_the_longest_name_counts() -> None:
    optimizer = build_optimizer(network(), ADAM, (Trains("encoder", 0.5), Trains("encoder.1", 0.0)))
    (group,) = optimizer.param_groups
    assert group["lr"] == pytest.approx(0.005) and [p.ndim for p in group["params"]] == [4, 1]


def test_vectors_may_decay_less() -> None:
    net = network()
    optimizer = build_optimizer(net, Optimizer("adamw", 0.01, weight_decay=0.02, decay_vectors=0))
    for group in optimizer.param_groups:
        assert {p.ndim == 1 for p in group["params"]} == {group["weight_decay"] == 0}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(net.parameters()))


@pytest.mark.parametrize(
    "trains, says",
    [((Trains("encodr"), Trains("all")), "encodr.*encoder, encoder2, decoder"), ((Trains("all", 0.0),), "every")],
)
def test_trains_that_cannot_be_meant(trains: tuple[Trains, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build_optimizer(network(), ADAM, trains)


def test_what_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"lion.*adamw"):
        build_optimizer(network(), Optimizer("lion", 0.1))
    with pytest.raises(ValueError, match=r"stairs.*cosine"):
        build_schedule(build_optimizer(network(), ADAM), Schedule("stairs"), 10)


def test_sgd_has_its_momentum() -> None:
    (group,) = build_optimizer(network(), Optimizer("sgd", 0.1, 1e-4, momentum=0.8, nesterov=True)).param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.8, True, 1e-4)
    assert math.isclose(group["lr"], 0.1)
