"""What makes several processes that share every batch train as one would: batch norm and means over all of them."""

from typing import Any

import torch
from torch import distributed, nn


def processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def weight_of(amount: torch.Tensor) -> torch.Tensor:
    """Return what a mean over this process's ``amount`` (of pixels, or of their weights; 0-dimensional) is multiplied
    with, so that the average over the processes, which DDP makes, is the mean over all of them.
    """
    if processes() == 1:
        return torch.ones_like(amount)
    total = amount.detach().clone()
    distributed.all_reduce(total)
    return amount * processes() / total.clamp(min=torch.finfo(total.dtype).tiny)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the shares of all processes, on CPUs, where PyTorch's SyncBatchNorm does not run.

    Shares have equal sizes, as a batch is shared out. A layer becomes one in place, see ``share_batch_norm``.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, H, W)."""
        if not self.training or processes() == 1:
            return super().forward(x)
        wide = x.float()
        mean = _average(wide.mean((0, 2, 3)))
        centred = wide - mean.view(1, -1, 1, 1)
        variance = _average(centred.square().mean((0, 2, 3)))
        if self.track_running_stats:
            self._note(mean.detach(), variance.detach(), processes() * x.numel() // x.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is None:
            return (centred * scale.view(1, -1, 1, 1)).to(x.dtype)
        scaled = centred * (scale * self.weight).view(1, -1, 1, 1)
        return (scaled + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    @torch.no_grad()
    def _note(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Let every batch norm of a network be a ``SharedBatchNorm``; its tensors and their names stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm


class _Average(torch.autograd.Function):
    """The mean over processes; a gradient goes back to all of them."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total / processes()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Average.forward(context, gradient)


def _average(values: torch.Tensor) -> torch.Tensor:
    average: torch.Tensor = _Average.apply(values)
    return average
