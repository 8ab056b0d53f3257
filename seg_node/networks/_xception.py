"""Xception-65 as an encoder: Xception (Chollet, CVPR 2017) as DeepLabV3+ modifies it (Chen et al., ECCV 2018, Fig. 4):
more layers, strided separable convolutions in place of max-pooling, batch norm and ReLU after each depth-wise one.
"""

from collections import OrderedDict
from typing import List, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Separable(nn.Module):
    """Depth-wise 3x3 and point-wise convolution, each with batch norm; one ReLU before, or one after either."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, dilation: int, relu_first: bool) -> None:
        super().__init__()
        depthwise = nn.Conv2d(channels_in, channels_in, 3, stride, dilation, dilation, groups=channels_in, bias=False)
        weighted: List[Tuple[str, nn.Module]] = [
            ("depthwise", depthwise),
            ("bn_depth", _norm(channels_in)),
            ("pointwise", nn.Conv2d(channels_in, channels_out, 1, bias=False)),
            ("bn_point", _norm(channels_out)),
        ]
        if relu_first:
            layers = [("relu", nn.ReLU()), *weighted]
        else:
            layers = [*weighted[:2], ("relu1", nn.ReLU()), *weighted[2:], ("relu2", nn.ReLU())]
        self.block = nn.Sequential(OrderedDict(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.block(x)
        return y


class Block(nn.Module):
    """Three separable convolutions, the last with the stride; beside them the input, or a 1x1 convolution of it."""

    def __init__(
        self, channels: Sequence[int], stride: int = 1, dilation: int = 1, skip: Optional[str] = "sum"
    ) -> None:
        super().__init__()
        relu_first = skip is not None  # only the last block has no skip, and ReLUs inside
        self.sep_conv1 = Separable(channels[0], channels[1], 1, dilation, relu_first)
        self.sep_conv2 = Separable(channels[1], channels[2], 1, dilation, relu_first)
        self.sep_conv3 = Separable(channels[2], channels[3], stride, dilation, relu_first)
        self.skip = skip
        if skip == "conv":
            self.conv = nn.Conv2d(channels[0], channels[3], 1, stride, bias=False)
            self.bn = _norm(channels[3])

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return the output, and what the second convolution gives: the last at the input's resolution."""
        inner = self.sep_conv2(self.sep_conv1(x))
        y = self.sep_conv3(inner)
        if self.skip == "conv":
            y = y + self.bn(self.conv(x))
        elif self.skip == "sum":
            y = y + x
        return y, inner


class Xception65(nn.Module):
    """(N, 3, H, W) to feature maps at 1/4, 1/8 and 1 / output stride, sizes rounded up."""

    channels = (256, 728, 2048)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        dilated = output_stride == 16
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.bn1 = _norm(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.bn2 = _norm(64)
        self.block1 = Block((64, 128, 128, 128), stride=2, skip="conv")  # to H / 4
        self.block2 = Block((128, 256, 256, 256), stride=2, skip="conv")  # to H / 8
        self.block3 = Block((256, 728, 728, 728), stride=2, skip="conv")  # to H / 16
        self.middle = ["block{}".format(number) for number in range(4, 20)]
        for name in self.middle:
            self.add_module(name, Block((728, 728, 728, 728)))
        self.block20 = Block((728, 728, 1024, 1024), stride=1 if dilated else 2, skip="conv")
        self.block21 = Block((1024, 1536, 1536, 2048), dilation=2 if dilated else 1, skip=None)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x, _ = self.block1(x)
        x, quarter = self.block2(x)
        x, eighth = self.block3(x)
        for name in self.middle:
            x, _ = getattr(self, name)(x)
        x, _ = self.block20(x)
        x, _ = self.block21(x)
        return quarter, eighth, x
