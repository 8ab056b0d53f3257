"""Dual ASPP (Xiao et al., "Dual ASPP for Lightweight Semantic Segmentation on High-Resolution Image"): its five
encoders, each with no head, with DeepLabV3+'s (Chen et al., ECCV 2018) and with the paper's Dual ASPP.

The paper leaves the widths open. With these, its printed parameters and FLOPs come out for ResNet-101, Xception-65
and MobileNetV2: every 3x3 convolution of a head is depth-wise separable; both kinds of ASPP pool the image too; 256
channels within the heads for output stride 16, and 48 of the 1/4 map, as in DeepLabV3+; 128 within Dual ASPP's block.
"""

from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Type, Union

import torch
from torch import nn
from torch.nn import functional

from seg_node.networks._mobilenet import MobileNet, mobilenetv2, mobilenetv3_large, mobilenetv3_small
from seg_node.networks._resnet import ResNet101
from seg_node.networks._xception import Xception65

State = Dict[str, torch.Tensor]
Channels = Tuple[int, int, int]  # of the feature maps at 1/4, at 1/8 and of the last
Maps = Tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _pointwise(channels_in: int, channels_out: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU())


def _separable(channels_in: int, channels_out: int, dilation: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(
        channels_in, channels_in, 3, padding=dilation, dilation=dilation, groups=channels_in, bias=False
    )
    return nn.Sequential(depthwise, nn.BatchNorm2d(channels_in), nn.ReLU(), *_pointwise(channels_in, channels_out))


def _conv_block(channels_in: int, width: int, classes: int) -> nn.Sequential:
    """Fig. 3: two times depth-wise 3x3 and point-wise convolution, then a third point-wise one to the classes."""
    return nn.Sequential(_separable(channels_in, width), _separable(width, width), nn.Conv2d(width, classes, 1))


def _resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class _ImageNorm(nn.BatchNorm2d):
    """Batch norm of one value a channel and image. In training on one image it uses what it saw before, and learns no
    mean: there is nothing to take one over, and PyTorch refuses to.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or x.shape[0] > 1:
            return super().forward(x)
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1 convolution, three dilated ones and the image's mean, side by side."""

    def __init__(self, channels_in: int, channels_out: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.point = _pointwise(channels_in, channels_out)
        self.atrous = nn.ModuleList([_separable(channels_in, channels_out, rate) for rate in rates])
        self.image = _pointwise(channels_in, channels_out)
        self.image[1] = _ImageNorm(channels_out)
        self.project = nn.Sequential(*_pointwise((2 + len(rates)) * channels_out, channels_out), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3])
        y: torch.Tensor = self.project(torch.cat([self.point(x), *(atrous(x) for atrous in self.atrous), image], 1))
        return y


class NoHead(nn.Module):
    """Section 4.3: the last feature map goes straight to the 3x3 convolution block."""

    output_stride = 16

    def __init__(self, channels: Channels, classes: int) -> None:
        super().__init__()
        self.block = _conv_block(channels[2], 256, classes)

    def forward(self, maps: Maps) -> torch.Tensor:
        scores: torch.Tensor = self.block(maps[2])
        return scores


class DeepLabV3Plus(nn.Module):
    """Fig. 1: ASPP after the last map, beside the map at 1/4, through the block at 1/4."""

    output_stride = 16

    def __init__(self, channels: Channels, classes: int) -> None:
        super().__init__()
        self.aspp = ASPP(channels[2], 256, (6, 12, 18))
        self.skip = _pointwise(channels[0], 48)
        self.block = _conv_block(256 + 48, 256, classes)

    def forward(self, maps: Maps) -> torch.Tensor:
        skip = self.skip(maps[0])
        scores: torch.Tensor = self.block(torch.cat([_resize(self.aspp(maps[2]), skip), skip], 1))
        return scores


class DualASPP(nn.Module):
    """Fig. 2: ASPP1 after the map at 1/32, ASPP2 after that at 1/8, concatenated, through the block at 1/8."""

    output_stride = 32

    def __init__(self, channels: Channels, classes: int) -> None:
        super().__init__()
        self.aspp1 = ASPP(channels[2], 128, (6, 12, 18))
        self.aspp2 = ASPP(channels[1], classes, (12, 24, 36))
        self.block = _conv_block(128 + classes, 128, classes)

    def fuse(self, maps: Maps) -> torch.Tensor:
        fine = self.aspp2(maps[1])
        return torch.cat([_resize(self.aspp1(maps[2]), fine), fine], 1)  # 128 + classes, H / 8

    def forward(self, maps: Maps) -> torch.Tensor:
        scores: torch.Tensor = self.block(self.fuse(maps))
        return scores


class DualASPPWithSkip(DualASPP):
    """Table 4: DeepLabV3+'s skip connection from 1/4 added, and so the block at 1/4. As many channels as from ASPP2:
    these give the FLOPs that Table 4 prints; DeepLabV3+'s 48 do not.
    """

    def __init__(self, channels: Channels, classes: int) -> None:
        super().__init__(channels, classes)
        self.skip = _pointwise(channels[0], classes)
        self.block = _conv_block(128 + 2 * classes, 128, classes)

    def forward(self, maps: Maps) -> torch.Tensor:
        skip = self.skip(maps[0])
        scores: torch.Tensor = self.block(torch.cat([_resize(self.fuse(maps), skip), skip], 1))
        return scores


Encoder = Union[MobileNet, ResNet101, Xception65]
Head = Union[Type[NoHead], Type[DeepLabV3Plus], Type[DualASPP]]


class DeepLab(nn.Module):
    """Normalised float (N, 3, H, W) to logits (N, classes, H, W)."""

    def __init__(self, encoder: Encoder, head: Head, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head(encoder.channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _resize(self.head(self.encoder(x)), x)


def _builder(encoder: Callable[..., Encoder], head: Head) -> Callable[..., DeepLab]:
    def build(classes: int, **options: Any) -> DeepLab:
        """``options``: the encoder's; only MobileNetV3 has one, ``reduced_tail`` (see _mobilenet)."""
        return DeepLab(encoder(head.output_stride, **options), head, classes)

    return build


_ENCODERS: Dict[str, Callable[..., Encoder]] = {
    "mobilenetv2": mobilenetv2,
    "mobilenetv3_large": mobilenetv3_large,
    "mobilenetv3_small": mobilenetv3_small,
    "resnet101": ResNet101,
    "xception65": Xception65,
}
_HEADS: Dict[str, Head] = {"": NoHead, "_deeplabv3plus": DeepLabV3Plus, "_dual_aspp": DualASPP}

NETWORKS = {encoder + head: _builder(_ENCODERS[encoder], _HEADS[head]) for encoder in _ENCODERS for head in _HEADS}
NETWORKS["mobilenetv3_small_dual_aspp_skip"] = _builder(mobilenetv3_small, DualASPPWithSkip)

# what torchvision's classifiers have and an encoder has not: the last 1x1 convolution and the classifier
_NOT_ENCODED = {
    "mobilenetv2": ("features.18.", "classifier."),
    "mobilenetv3_large": ("features.16.", "classifier."),
    "mobilenetv3_small": ("features.12.", "classifier."),
    "resnet101": ("fc.",),
}


def from_authors(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """Take torchvision's ImageNet weights of the encoder (``features.0.0.weight``, ``layer1.0.conv1.weight``): the
    head's are missing. MobileNetV3 then has its full tail, as those weights do.
    """
    for encoder, dropped in _NOT_ENCODED.items():
        if name.startswith(encoder) and ("features.0.0.weight" in state or "layer1.0.conv1.weight" in state):
            ours = {"encoder." + key: tensor for key, tensor in state.items() if not key.startswith(dropped)}
            return ours, {"reduced_tail": False} if encoder.startswith("mobilenetv3") else {}
    return None
