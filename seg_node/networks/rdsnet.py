"""RDS-Net: residual depth-wise separable blocks (Doan et al., "Real-time Image Semantic Segmentation Networks
with Residual Depth-wise Separable Blocks").

Table I is the whole network: downsample to 1/8 in three steps, eight RDS blocks between and after, one 3x3
convolution to class scores, bilinear interpolation back. 919,960 parameters with 12 classes.
"""

from typing import Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional

ORDERS = ("paper", "authors")
_SHUFFLE_GROUPS = 4  # section III-C


def channel_shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Interleave the channels of ``groups`` groups (ShuffleNet). (N, C, H, W) to the same shape."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Downsample(nn.Module):
    """3x3 convolution with stride 2 beside 2x2 max-pooling, concatenated (section III-D, after ENet)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out - channels_in, 3, stride=2, padding=1)
        # ceil_mode: both branches give ceil(size / 2) for odd sizes too
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(torch.cat([self.conv(x), self.pool(x)], dim=1)))


class RDSBlock(nn.Module):
    """Depth-wise 3x3, then full 3x3 (dilated), each with batch norm; shuffle; dropout; add; ReLU (Fig. 2c).

    ``order="paper"`` shuffles after the 3x3 convolution, as section III-C says; ``"authors"`` shuffles the
    block's input, as their code does.
    """

    def __init__(self, channels: int, dilation: int, dropout: float, order: str) -> None:
        super().__init__()
        self.order = order
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.order == "authors":
            x = channel_shuffle(x, _SHUFFLE_GROUPS)
        y = functional.relu(self.norm1(self.depthwise(x)))
        y = self.norm2(self.conv(y))
        if self.order == "paper":
            y = channel_shuffle(y, _SHUFFLE_GROUPS)
        return functional.relu(x + self.dropout(y))


class RDSNet(nn.Module):
    """Normalised float (N, 3, H, W), any H and W from 8, to logits (N, classes, H, W)."""

    def __init__(self, classes: int, dropout: Tuple[float, float], order: str) -> None:
        super().__init__()
        early, late = dropout
        self.encoder = nn.Sequential(
            Downsample(3, 32),
            Downsample(32, 64),
            *(RDSBlock(64, 1, early, order) for _ in range(3)),
            Downsample(64, 128),
            *(RDSBlock(128, dilation, late, order) for dilation in (1, 2, 4, 8, 16)),
        )
        self.classify = nn.Conv2d(128, classes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.classify(self.encoder(x))
        return functional.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


def build(classes: int, dropout: Sequence[float] = (0.5, 0.3), order: str = "paper") -> RDSNet:
    """Build RDS-Net.

    ``dropout``: of the three RDS blocks at 1/4 and of the five at 1/8 (Table I; the authors' code has 0.3, 0.3).
    ``order``: "paper" or "authors", where the channel shuffle stands. Raises ValueError for anything else.
    """
    if order not in ORDERS:
        raise ValueError("order is {!r}; choose from {}".format(order, ", ".join(ORDERS)))
    if len(dropout) != 2 or not all(0 <= rate < 1 for rate in dropout):
        raise ValueError("dropout is {!r}; must be two rates from 0 to 1".format(dropout))
    return RDSNet(classes, (float(dropout[0]), float(dropout[1])), order)


NETWORKS = {"rdsnet": build}
