"""DRN: dilated residual networks (Yu, Koltun and Funkhouser, "Dilated Residual Networks", CVPR 2017), architectures A
and C, as the C3 paper compares with them (its Tables 3 and 4) and the authors' public code (fyu/drn) defines them.

A is ResNet whose last two stages keep stride 8 and are dilated by 2 and 4 (section 2). C has no max-pooling and ends
with two levels of falling dilation, without residual connections, that remove the gridding (section 4). For
segmentation, the last feature map is classified pixel by pixel and upsampled by 8. With 19 classes: drn_a50 23,546,963
parameters, drn_c26 20,623,331.
"""

from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Type, Union

import torch
from torch import nn
from torch.nn import functional

UPSAMPLINGS = ("bilinear", "aligned", "deconvolution")
_STRIDE = 8

# (channels_in, channels_out, dilation) to what stands in for a dilated 3x3 convolution
Dilated = Optional[Callable[[int, int, int], nn.Module]]
State = Dict[str, torch.Tensor]


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _convolution3x3(channels_in: int, channels_out: int, stride: int, dilation: int, dilated: Dilated) -> nn.Module:
    if dilation > 1 and dilated is not None:  # no dilated convolution of DRN has a stride
        return dilated(channels_in, channels_out, dilation)
    return _convolution(channels_in, channels_out, 3, stride, dilation)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> Optional[nn.Module]:
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(_convolution(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the input added unless ``residual`` is False (levels 7 and 8 of architecture C)."""

    expansion = 1

    def __init__(
        self, channels_in: int, channels: int, stride: int, dilation: int, dilated: Dilated, residual: bool = True
    ) -> None:
        super().__init__()
        self.conv1 = _convolution3x3(channels_in, channels, stride, dilation, dilated)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution3x3(channels, channels, 1, dilation, dilated)
        self.bn2 = nn.BatchNorm2d(channels)
        self.residual = residual
        self.downsample = _shortcut(channels_in, channels, stride) if residual else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.residual:
            y = y + (x if self.downsample is None else self.downsample(x))
        return functional.relu(y)


class Bottleneck(nn.Module):
    """1x1 convolution to ``channels``, 3x3 (which has the stride and the dilation), 1x1 to four times as many; add."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int, dilation: int, dilated: Dilated) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_in, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution3x3(channels, channels, stride, dilation, dilated)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _convolution(channels, 4 * channels, 1)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample = _shortcut(channels_in, 4 * channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class EncoderA(nn.Module):
    """Architecture A. (N, 3, H, W) to (N, 512 or 2048, H / 8, W / 8), sizes rounded up."""

    def __init__(
        self, block: Union[Type[BasicBlock], Type[Bottleneck]], blocks: Sequence[int], dilated: Dilated
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.channels = 64
        self.layer1 = self._level(block, 64, blocks[0], 1, 1, dilated)  # H / 4
        self.layer2 = self._level(block, 128, blocks[1], 2, 1, dilated)  # H / 8
        self.layer3 = self._level(block, 256, blocks[2], 1, 2, dilated)
        self.layer4 = self._level(block, 512, blocks[3], 1, 4, dilated)

    def _level(self, block: Any, channels: int, count: int, stride: int, dilation: int, dilated: Dilated) -> nn.Module:
        # the authors do not dilate a level's first block, which would have had ResNet's stride
        blocks = [block(self.channels, channels, stride, 1, dilated)]
        self.channels = channels * block.expansion
        blocks += [block(self.channels, channels, 1, dilation, dilated) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x))))
        y: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return y


class EncoderC(nn.Module):
    """Architecture C with basic blocks. (N, 3, H, W) to (N, 512, H / 8, W / 8), sizes rounded up."""

    channels = 512

    def __init__(self, blocks: Sequence[int], dilated: Dilated) -> None:
        super().__init__()

        def level(count: int, channels_in: int, channels: int, stride: int, dilation: int, residual: bool) -> nn.Module:
            first = BasicBlock(channels_in, channels, stride, dilation, dilated, residual)
            rest = [BasicBlock(channels, channels, 1, dilation, dilated, residual) for _ in range(count - 1)]
            return nn.Sequential(first, *rest)

        self.conv1 = _convolution(3, 16, 7)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = level(blocks[0], 16, 16, 1, 1, True)
        self.layer2 = level(blocks[1], 16, 32, 2, 1, True)  # H / 2
        self.layer3 = level(blocks[2], 32, 64, 2, 1, True)  # H / 4
        self.layer4 = level(blocks[3], 64, 128, 2, 1, True)  # H / 8
        self.layer5 = level(blocks[4], 128, 256, 1, 2, True)
        self.layer6 = level(blocks[5], 256, 512, 1, 4, True)
        self.layer7 = level(blocks[6], 512, 512, 1, 2, False)
        self.layer8 = level(blocks[7], 512, 512, 1, 1, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        y: torch.Tensor = self.layer8(self.layer7(self.layer6(self.layer5(x))))
        return y


class Segmentation(nn.Module):
    """Normalised float (N, 3, H, W) to logits (N, classes, H, W).

    ``upsampling="deconvolution"`` gives what the authors' fixed bilinear deconvolution gives: the same, but for the
    outermost four pixels, whose logits fade towards zero (all classes' by the same factor: labels are equal).
    ``"aligned"`` is their other choice: bilinear, with the corners of the map at the corners of the image.
    """

    def __init__(self, encoder: Union[EncoderA, EncoderC], classes: int, upsampling: str) -> None:
        super().__init__()
        if upsampling not in UPSAMPLINGS:
            raise ValueError("upsampling is {!r}; choose from {}".format(upsampling, ", ".join(UPSAMPLINGS)))
        self.encoder = encoder
        self.seg = nn.Conv2d(encoder.channels, classes, 1)
        # near zero: the encoder's output is large before training, and logits of hundreds would saturate the loss
        nn.init.normal_(self.seg.weight, std=1e-3)
        self.aligned = upsampling == "aligned"
        self.margin = 1 if upsampling == "deconvolution" else 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        scores = self.seg(self.encoder(x))  # H / 8
        if self.margin:  # a deconvolution sees zeros beyond the border
            scores = functional.pad(scores, [self.margin] * 4)
        scores = functional.interpolate(scores, scale_factor=_STRIDE, mode="bilinear", align_corners=self.aligned)
        start = self.margin * _STRIDE
        # sizes that are no multiple of 8 were rounded up
        return scores[:, :, start : start + height, start : start + width]


class Classification(nn.Module):
    """Normalised float (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, encoder: Union[EncoderA, EncoderC], classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.fc = nn.Linear(encoder.channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.encoder(x).mean((2, 3)))  # type: ignore[no-any-return]

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes, H / 8, W / 8) of every place; their mean is ``forward``'s."""
        return functional.conv2d(self.encoder(x), self.fc.weight[:, :, None, None], self.fc.bias)


def encoder_a34(dilated: Dilated = None) -> EncoderA:
    return EncoderA(BasicBlock, (3, 4, 6, 3), dilated)


def encoder_a50(dilated: Dilated = None) -> EncoderA:
    return EncoderA(Bottleneck, (3, 4, 6, 3), dilated)


def encoder_c26(dilated: Dilated = None, degridding_blocks: int = 1) -> EncoderC:
    return EncoderC((1, 1, 2, 2, 2, 2) + 2 * (_count(degridding_blocks),), dilated)


def encoder_c42(dilated: Dilated = None, degridding_blocks: int = 1) -> EncoderC:
    return EncoderC((1, 1, 3, 4, 6, 3) + 2 * (_count(degridding_blocks),), dilated)


def _count(degridding_blocks: int) -> int:
    if not 1 <= degridding_blocks <= 4:
        raise ValueError("degridding_blocks is {!r}; must be 1 to 4".format(degridding_blocks))
    return degridding_blocks


def drn_a50(classes: int, dilated: Dilated = None, upsampling: str = "bilinear") -> Segmentation:
    """Build DRN-A-50 for segmentation.

    ``dilated(channels_in, channels_out, dilation)`` makes what stands in for a 3x3 convolution with a dilation above
    1, of equal output size; None: that convolution. ``upsampling``: see Segmentation.
    """
    return Segmentation(encoder_a50(dilated), classes, upsampling)


def drn_c26(
    classes: int, dilated: Dilated = None, degridding_blocks: int = 1, upsampling: str = "bilinear"
) -> Segmentation:
    """Build DRN-C-26 for segmentation. ``degridding_blocks``: in level 7, and as many in level 8; for the rest see
    drn_a50.
    """
    return Segmentation(encoder_c26(dilated, degridding_blocks), classes, upsampling)


def classifier(encoder: Callable[..., Union[EncoderA, EncoderC]], classes: int, **options: Any) -> Classification:
    """Build one for classification. ``options``: the encoder's; with ``degridding_blocks=2`` the C26 is the C3 paper's
    "C28*", the C42 its "C44*" (its Table 4).
    """
    return Classification(encoder(**options), classes)


NETWORKS = {"drn_a50": drn_a50, "drn_c26": drn_c26}
CLASSIFIERS = {
    "drn_a34_imagenet": partial(classifier, encoder_a34),
    "drn_a50_imagenet": partial(classifier, encoder_a50),
    "drn_c26_imagenet": partial(classifier, encoder_c26),
    "drn_c42_imagenet": partial(classifier, encoder_c42),
}

# the modules of the authors' ``base``, by position; those that are left out have no weights
_BASE_A = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_BASE_C = {"0": "conv1", "1": "bn1", **{str(level + 2): "layer{}".format(level) for level in range(1, 9)}}


def from_authors(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """Take the authors' segmentation checkpoints (``base.0.weight``, ``seg.weight``) and ImageNet's (``conv1.weight``,
    ``fc.weight``). A segmentation network takes of an ImageNet checkpoint what its encoder needs: ``seg`` is missing.
    """
    if "conv1.weight" in state:
        ours = _from_imagenet(state, with_fc=name in CLASSIFIERS)
    elif "base.0.weight" in state and name in NETWORKS:
        ours = _from_segmentation(state, _BASE_A if name.startswith("drn_a") else _BASE_C)
    else:
        return None
    options: Dict[str, Any] = {}
    if "base.0.weight" in state:  # without a deconvolution it was their other choice
        options["upsampling"] = "deconvolution" if "up.weight" in state else "aligned"
    degridding_blocks = sum(key.startswith("encoder.layer7.") and key.endswith("conv1.weight") for key in ours)
    if degridding_blocks:
        options["degridding_blocks"] = degridding_blocks
    return ours, options


def _from_imagenet(state: State, with_fc: bool) -> State:
    ours = {}
    for key, tensor in state.items():
        if not key.startswith("fc."):
            ours["encoder." + key] = tensor
        elif with_fc:
            # architecture C has a 1x1 convolution there: (classes, channels, 1, 1)
            ours[key] = tensor.flatten(1) if tensor.dim() == 4 else tensor
    return ours


def _from_segmentation(state: State, base: Dict[str, str]) -> State:
    ours = {}
    for key, tensor in state.items():
        if key.startswith("base."):
            number, rest = key[len("base.") :].split(".", 1)
            if number not in base:
                raise ValueError("{} has no place in this architecture of DRN".format(key))
            ours["encoder.{}.{}".format(base[number], rest)] = tensor
        elif key.startswith("seg."):
            ours[key] = tensor
    # ``up`` is not learnt: it must be the bilinear kernel that upsampling="deconvolution" stands for
    if "up.weight" in state and not torch.allclose(state["up.weight"].float().cpu(), _bilinear_kernel(), atol=1e-4):
        raise ValueError("up.weight is not the fixed bilinear kernel, which is the only one this network has")
    return ours


def _bilinear_kernel() -> torch.Tensor:
    """Return the weights, (1, 1, 16, 16), of the deconvolution that upsamples by 8 bilinearly."""
    ramp = 1 - (torch.arange(2 * _STRIDE) - (_STRIDE - 0.5)).abs() / _STRIDE
    return (ramp[:, None] * ramp[None, :]).view(1, 1, 2 * _STRIDE, 2 * _STRIDE)
