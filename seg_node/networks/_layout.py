"""In which order of memory a network must not be computed."""

from torch import nn


def needs_contiguous(network: nn.Module) -> bool:
    """Return whether oneDNN, on CPUs, gets one of its convolutions wrong in half precision and channels last.

    Dilated ones with groups or with input channels that are no multiple of 16: their weight gradients are off by more
    than their own size, or NaN, and some never end, without gradients either, as seen with oneDNN 3.12 of PyTorch 2.13
    on AVX-512. The other order of the same tensors is right.
    """
    return any(
        isinstance(module, nn.Conv2d)
        and max(module.dilation) > 1
        and (module.groups > 1 or module.in_channels % 16 != 0)
        for module in network.modules()
    )
