"""What a network costs: parameters, multiply-adds, FLOPs, output stride and activation memory.

Counted from the operations that its forward pass runs, on tensors without data (PyTorch's meta device), so a count
takes no memory and hardly any time at any size. Knows nothing of which network it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_CONVOLUTIONS = {_ATEN.convolution.default}
_NORMS = {_ATEN.native_batch_norm.default, _ATEN._native_batch_norm_legit_no_training.default}
_ACTIVATION_NAMES = [
    "relu",
    "_prelu_kernel",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "elu",
    "leaky_relu",
    "silu",
]
_ACTIVATIONS = {
    getattr(_ATEN, name + end).default for name in _ACTIVATION_NAMES for end in ("", "_") if hasattr(_ATEN, name + end)
}
_AVERAGES = {_ATEN.avg_pool2d.default, _ATEN._adaptive_avg_pool2d.default, _ATEN.mean.dim}  # mean: to one value
_BILINEAR = {_ATEN.upsample_bilinear2d.default, _ATEN.upsample_bilinear2d.vec}


class Complexity(NamedTuple):
    """``macs``: multiply-adds of convolutions and matrix products (ERFNet, Gradual Grouping and NDNet count so).
    ``norm_values``: values that batch norm makes. ``flops_c3``: Table 5 of the C3 paper, multiplications and additions
    apart, with batch norm, activations, average pooling and bilinear upsampling. ``output_stride``: input height over
    that of the coarsest feature map that a convolution makes (one value for the whole image does not count).
    ``activation_bytes``: the most that is alive at a time in a forward pass of one image in float32, with its input.
    """

    parameters: int
    macs: int
    norm_values: int
    flops_c3: int
    output_stride: int
    activation_bytes: int

    @property
    def macs_norm(self) -> int:
        """``macs``, and two operations for each value that batch norm makes: as thop counts (Dual ASPP)."""
        return self.macs + 2 * self.norm_values

    @property
    def flops_c3_once(self) -> int:
        """``flops_c3`` with a multiply-add counted once, as Table 4 of the C3 paper has it."""
        return self.flops_c3 - self.macs


def parameters(network: torch.nn.Module) -> int:
    """Return the number of learnt values (buffers such as batch norm's running mean are none)."""
    return sum(weight.numel() for weight in network.parameters())


def complexity(build: Callable[[], torch.nn.Module], size: tuple[int, int]) -> Complexity:
    """Count the network that ``build`` makes, in eval mode, for one RGB image of ``size`` (height, width)."""
    with torch.device("meta"):
        network = build().eval()
        image = torch.empty(1, 3, *size)
    with torch.no_grad(), _Counter(image) as counter:
        network(image)
    return Complexity(parameters(network), counter.macs, counter.norms, counter.flops, counter.stride, counter.peak)


class _Counter(TorchDispatchMode):
    """Sees every operation below autograd, so functional calls count like modules."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.macs = self.norms = self.flops = self.peak = 0
        self.stride = 1
        self._height = image.shape[2]
        self._alive = [(StorageWeakRef(image.untyped_storage()), image.untyped_storage().nbytes())]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        out = result[0] if isinstance(result, (tuple, list)) else result
        if isinstance(out, torch.Tensor):
            self._count(function, args, out)
            self._remember(out)
        return result

    def _count(self, function: Any, args: Any, out: torch.Tensor) -> None:
        if function in _CONVOLUTIONS:
            image, weight, transposed = args[0], args[1], args[6]
            # weight is (out, in / groups, *kernel), transposed (in, out / groups, *kernel): each value of the output,
            # transposed of the input, takes part in weight.numel() / (its channels) multiplications
            places = image if transposed else out
            macs = places.numel() // places.shape[1] * weight.numel()
            self.macs += macs
            self.flops += 2 * macs
            if out.shape[2:].numel() > 1:
                self.stride = max(self.stride, round(self._height / out.shape[2]))
        elif function is _ATEN.addmm.default:
            macs = args[1].numel() * args[2].shape[1]
            self.macs += macs
            self.flops += 2 * macs
        elif function in _NORMS:
            self.norms += out.numel()
            self.flops += 2 * out.numel()
        elif function in _ACTIVATIONS:
            self.flops += out.numel()
        elif function in _AVERAGES:
            self.flops += args[0].numel()
        elif function in _BILINEAR:
            self.flops += 3 * args[0].numel()

    def _remember(self, out: torch.Tensor) -> None:
        storage = out.untyped_storage()
        self._alive = [(ref, size) for ref, size in self._alive if not ref.expired()]
        if StorageWeakRef(storage) not in [ref for ref, _ in self._alive]:
            self._alive.append((StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self._alive))
