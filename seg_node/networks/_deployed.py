"""A network as it is deployed: uint8 pixels in, uint8 class ids out, nothing left outside to disagree about."""

from typing import Sequence, Tuple, Union

import torch
from torch import nn


class Deployed(nn.Module):
    """Pixels, 0..255 of any dtype (N, H, W, 3), to uint8 (N, H, W): normalise, network, argmax.

    ``mean`` and ``std`` apply to ``x / scale``, in the order of the images' channels. Where ``confidence`` is set, the
    label's share of the softmax comes beside it: uint8 (N, H, W), 255 is certain. An exporter may set ``out``, the
    dtype of both, and ``half_inside``.
    """

    gain: torch.Tensor
    offset: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], scale: float) -> None:
        super().__init__()
        self.network = network
        self.confidence = False
        self.out = torch.uint8
        self._inside = torch.float32
        # folded: (x / scale - mean) / std = x * gain + offset
        gain = 1.0 / (scale * torch.tensor(std, dtype=torch.float64))
        offset = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("gain", gain.float().view(1, 3, 1, 1))
        self.register_buffer("offset", offset.float().view(1, 3, 1, 1))

    def half_inside(self) -> "Deployed":
        """Make the network compute in float16; normalisation and confidence stay float32."""
        self.network.half()
        self._inside = torch.float16
        return self

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float (N, classes, H, W)."""
        x = images.permute(0, 3, 1, 2).float() * self.gain + self.offset
        logits: torch.Tensor = self.network(x.to(self._inside))
        return logits

    def forward(self, images: torch.Tensor) -> Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]]:
        logits = self.logits(images)
        labels = logits.argmax(1).to(self.out)
        if not self.confidence:
            return labels
        best = logits.float().amax(1, keepdim=True)
        share = 1.0 / torch.exp(logits.float() - best).sum(1)  # the softmax of the largest
        return labels, (255.0 * share + 0.5).to(self.out)
