"""MobileNetV2 (Sandler et al., CVPR 2018, Table 2) and MobileNetV3 (Howard et al., ICCV 2019, Tables 1 and 2) as
encoders. Their tensors have torchvision's names, so that its ImageNet weights fit as they are; the last 1x1
convolution and the classifier are left out.

An encoder maps (N, 3, H, W) to three feature maps: at 1/4, at 1/8, and its last at 1 / output stride, sizes rounded up.
"""

from typing import List, NamedTuple, Optional, Tuple, Type

import torch
from torch import nn

Features = Tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _round(channels: float) -> int:
    """Return the nearest multiple of 8 that is not more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and activation."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        activation: Type[nn.Module],
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        v3: bool = False,
    ) -> None:
        padding = kernel // 2 * dilation
        conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, groups, bias=False)
        super().__init__(conv, _norm(channels_out, v3), activation())


def _norm(channels: int, v3: bool) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01) if v3 else nn.BatchNorm2d(channels)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand 1x1, depth-wise 3x3, project 1x1 without activation."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        expand = [] if expansion == 1 else [ConvNorm(channels_in, hidden, 1, nn.ReLU6)]
        self.conv = nn.Sequential(
            *expand,
            ConvNorm(hidden, hidden, 3, nn.ReLU6, stride, dilation, hidden),
            nn.Conv2d(hidden, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.residual else y


class SqueezeExcite(nn.Module):
    """Scale the channels by what their means over the image say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _round(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.fc2(y))


class _Row(NamedTuple):
    """A row of MobileNetV3's Table 1 or 2."""

    kernel: int
    hidden: int
    channels: int
    squeeze: bool
    activation: Type[nn.Module]
    stride: int


class BottleneckV3(nn.Module):
    """MobileNetV3's block: that of V2 with squeeze-and-excite and other activations."""

    def __init__(self, channels_in: int, row: _Row, dilation: int) -> None:
        super().__init__()
        hidden, act = row.hidden, row.activation
        stride = 1 if dilation > 1 else row.stride
        self.block = nn.Sequential(
            *([] if hidden == channels_in else [ConvNorm(channels_in, hidden, 1, act, v3=True)]),
            ConvNorm(hidden, hidden, row.kernel, act, stride, dilation, hidden, v3=True),
            *([SqueezeExcite(hidden)] if row.squeeze else []),
            ConvNorm(hidden, row.channels, 1, nn.Identity, v3=True),
        )
        self.residual = row.stride == 1 and channels_in == row.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.block(x)
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """``channels``: of the three feature maps; ``ends``: the numbers of the layers that they come from."""

    def __init__(self, layers: List[nn.Module], ends: Tuple[int, int, int], channels: Tuple[int, int, int]) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.ends = ends
        self.channels = channels

    def forward(self, x: torch.Tensor) -> Features:
        maps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.ends:
                maps.append(x)
        quarter, eighth, last = maps
        return quarter, eighth, last


def mobilenetv2(output_stride: int) -> MobileNet:
    """Build MobileNetV2's encoder. ``output_stride``: 16 or 32."""
    layers: List[nn.Module] = [ConvNorm(3, 32, 3, nn.ReLU6, stride=2)]
    channels, dilation = 32, 1
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, channels_out, count, first_stride in rows:
        if channels_out == 160 and output_stride == 16:  # dilated by 2 from here, in place of the stride
            dilation = 2
        for number in range(count):
            stride = first_stride if number == 0 and dilation == 1 else 1
            layers.append(InvertedResidual(channels, channels_out, expansion, stride, dilation))
            channels = channels_out
    return MobileNet(layers, (3, 6, 17), (24, 32, 320))


def mobilenetv3_large(output_stride: int, reduced_tail: Optional[bool] = None) -> MobileNet:
    """Build MobileNetV3-Large's encoder.

    ``output_stride``: 16 or 32. ``reduced_tail``: the last stage has half as many channels, as MobileNetV3's paper has
    it for segmentation (section 6.4); None: where the output stride is 16. torchvision's weights are for False.
    """
    half = _divider(output_stride, reduced_tail)
    relu, swish = nn.ReLU, nn.Hardswish
    rows = [
        _Row(3, 16, 16, False, relu, 1),
        _Row(3, 64, 24, False, relu, 2),
        _Row(3, 72, 24, False, relu, 1),
        _Row(5, 72, 40, True, relu, 2),
        _Row(5, 120, 40, True, relu, 1),
        _Row(5, 120, 40, True, relu, 1),
        _Row(3, 240, 80, False, swish, 2),
        _Row(3, 200, 80, False, swish, 1),
        _Row(3, 184, 80, False, swish, 1),
        _Row(3, 184, 80, False, swish, 1),
        _Row(3, 480, 112, True, swish, 1),
        _Row(3, 672, 112, True, swish, 1),
        _Row(5, 672, 160 // half, True, swish, 2),
        _Row(5, 960 // half, 160 // half, True, swish, 1),
        _Row(5, 960 // half, 160 // half, True, swish, 1),
    ]
    return _mobilenetv3(rows, (3, 6, 15), output_stride)


def mobilenetv3_small(output_stride: int, reduced_tail: Optional[bool] = None) -> MobileNet:
    """Build MobileNetV3-Small's encoder; see mobilenetv3_large."""
    half = _divider(output_stride, reduced_tail)
    relu, swish = nn.ReLU, nn.Hardswish
    rows = [
        _Row(3, 16, 16, True, relu, 2),
        _Row(3, 72, 24, False, relu, 2),
        _Row(3, 88, 24, False, relu, 1),
        _Row(5, 96, 40, True, swish, 2),
        _Row(5, 240, 40, True, swish, 1),
        _Row(5, 240, 40, True, swish, 1),
        _Row(5, 120, 48, True, swish, 1),
        _Row(5, 144, 48, True, swish, 1),
        _Row(5, 288, 96 // half, True, swish, 2),
        _Row(5, 576 // half, 96 // half, True, swish, 1),
        _Row(5, 576 // half, 96 // half, True, swish, 1),
    ]
    return _mobilenetv3(rows, (1, 3, 11), output_stride)


def _divider(output_stride: int, reduced_tail: Optional[bool]) -> int:
    if reduced_tail not in (None, False, True):
        raise ValueError("reduced_tail is {!r}; must be true, false or none".format(reduced_tail))
    return 2 if reduced_tail or (reduced_tail is None and output_stride == 16) else 1


def _mobilenetv3(rows: List[_Row], ends: Tuple[int, int, int], output_stride: int) -> MobileNet:
    layers: List[nn.Module] = [ConvNorm(3, 16, 3, nn.Hardswish, stride=2, v3=True)]
    channels = 16
    for number, row in enumerate(rows):
        dilation = 2 if output_stride == 16 and number >= len(rows) - 3 else 1  # the last three are the last stage
        layers.append(BottleneckV3(channels, row, dilation))
        channels = row.channels
    quarter, eighth, last = (rows[end - 1].channels for end in ends)
    return MobileNet(layers, ends, (quarter, eighth, last))
