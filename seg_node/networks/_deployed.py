"""A network as it is deployed: uint8 pixels in, uint8 class ids out, nothing left outside to disagree about."""

from typing import Sequence

import torch
from torch import nn


class Deployed(nn.Module):
    """uint8 (N, H, W, 3) to uint8 (N, H, W): normalise, network, argmax.

    ``mean`` and ``std`` apply to ``x / scale``, in the order of the images' channels.
    """

    gain: torch.Tensor
    offset: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], scale: float) -> None:
        super().__init__()
        self.network = network
        # folded: (x / scale - mean) / std = x * gain + offset
        gain = 1.0 / (scale * torch.tensor(std, dtype=torch.float64))
        offset = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("gain", gain.float().view(1, 3, 1, 1))
        self.register_buffer("offset", offset.float().view(1, 3, 1, 1))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float (N, classes, H, W)."""
        x: torch.Tensor = self.network(images.permute(0, 3, 1, 2).float() * self.gain + self.offset)
        return x

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits(images).argmax(1).to(torch.uint8)
