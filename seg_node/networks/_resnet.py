"""ResNet-101 (He et al., CVPR 2016, Table 1) as an encoder, with the stride in a bottleneck's 3x3 convolution. Its
tensors have torchvision's names, so that its ImageNet weights fit as they are; the classifier is left out.
"""

from typing import Tuple

import torch
from torch import nn
from torch.nn import functional


class Bottleneck(nn.Module):
    """1x1 convolution to ``channels``, 3x3, 1x1 to four times as many; add."""

    def __init__(self, channels_in: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        channels_out = 4 * channels
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet101(nn.Module):
    """(N, 3, H, W) to feature maps at 1/4, 1/8 and 1 / output stride, sizes rounded up."""

    channels = (256, 512, 2048)

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, 3, stride=1, dilation=1)
        self.layer2 = _stage(256, 128, 4, stride=2, dilation=1)
        self.layer3 = _stage(512, 256, 23, stride=2, dilation=1)
        dilated = output_stride == 16
        self.layer4 = _stage(1024, 512, 3, stride=1 if dilated else 2, dilation=2 if dilated else 1)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        quarter = self.layer1(x)
        eighth = self.layer2(quarter)
        return quarter, eighth, self.layer4(self.layer3(eighth))


def _stage(channels_in: int, channels: int, count: int, stride: int, dilation: int) -> nn.Sequential:
    # the first block sees a map that was not yet kept large by dilation
    first = Bottleneck(channels_in, channels, stride, 1)
    return nn.Sequential(first, *(Bottleneck(4 * channels, channels, 1, dilation) for _ in range(count - 1)))
