"""Two processes over gloo against one that has both shares: batch norm, its gradients, and means of a loss."""

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import distributed, multiprocessing, nn  # noqa: E402

from seg_node.training.losses import SegmentationLoss  # noqa: E402
from seg_node.training.recipe import Loss  # noqa: E402
from seg_node.training.together import SharedBatchNorm, share_batch_norm, weight_of  # noqa: E402

WEIGHTS = np.array([1.0, 3.0, 0.0, 0.5])
LOSS = Loss(label_smoothing=0.1)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.PReLU(), nn.Conv2d(5, 4, 1))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Shares that differ much: the second has a single labelled pixel that counts."""
    torch.manual_seed(4)
    images = torch.randn(4, 3, 6, 7) * torch.tensor([1.0, 1.0, 5.0, 5.0]).view(4, 1, 1, 1)
    labels = torch.randint(0, 4, (4, 6, 7))
    labels[2:] = 255
    labels[2, 0, :2] = torch.tensor([1, 2])
    return images, labels


def share(rank: int, meeting: str, out: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    shared = network()
    share_batch_norm(shared)
    assert type(shared[1]) is SharedBatchNorm
    images, labels = (whole[2 * rank : 2 * rank + 2] for whole in batch())
    loss = SegmentationLoss(LOSS, WEIGHTS)(shared(images), labels)
    loss.backward()
    for parameter in shared.parameters():  # as DDP does
        distributed.all_reduce(parameter.grad)
        parameter.grad /= 2
    total = loss.detach().clone()
    distributed.all_reduce(total)
    gradients = {name: p.grad for name, p in shared.named_parameters()}
    torch.save((total / 2, gradients, shared.state_dict()), f"{out}_{rank}")
    distributed.destroy_process_group()


def test_two_shares_are_one_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(share, (str(tmp_path / "meeting"), str(tmp_path / "out")), nprocs=2)
    alone = network()
    images, labels = batch()
    loss = SegmentationLoss(LOSS, WEIGHTS)(alone(images), labels)
    loss.backward()
    for rank in (0, 1):
        total, gradients, state = torch.load(tmp_path / f"out_{rank}", weights_only=True)
        torch.testing.assert_close(total, loss.detach(), rtol=1e-5, atol=1e-6)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
        assert state.keys() == alone.state_dict().keys()
        for name, tensor in alone.state_dict().items():  # running statistics, too
            torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-6)


def test_one_process_is_left_as_it_was() -> None:
    plain, shared = network(), network()
    share_batch_norm(shared)
    images, _ = batch()
    assert torch.equal(plain(images), shared(images)) and torch.equal(plain.eval()(images), shared.eval()(images))
    assert weight_of(torch.tensor(7.0)) == 1 and type(copy.deepcopy(shared)[1]) is SharedBatchNorm


def test_pixels_that_weigh_nothing_make_no_nan() -> None:
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    for labels in (torch.full((1, 2, 2), 2), torch.full((1, 2, 2), 255)):  # a class of weight 0; nothing labelled
        loss = SegmentationLoss(Loss(), WEIGHTS)(logits, labels)
        loss.backward()
        assert loss == 0 and torch.isfinite(logits.grad).all()
