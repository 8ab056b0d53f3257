"""ENet (Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation", 2016).

Table 1 is the whole network: down to 1/8 in three steps, two stages of bottlenecks that are regular, dilated or
asymmetric, and a small decoder that puts values back where max-pooling took them from. What the paper leaves open is as
in the public code davidtvs/PyTorch-ENet of 2018: 358,134 parameters with 20 classes. The options are what that code
changed before and after.
"""

import re
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import nn
from torch.nn import functional

from seg_node.networks._unpool import WINDOWS, pool, unpool

PARTS = ("whole", "encoder")
SLOPES = ("block", "layer", "channel")
Layer = Callable[[int, int], nn.Module]  # (channels, dilation), keeps the size
Kind = Union[int, str]  # of a bottleneck: a dilation, or "asymmetric"
_STAGE: Sequence[Kind] = (1, 2, "asymmetric", 4, 1, 8, "asymmetric", 16)  # stages 2 and 3 of Table 1


class _Activations:
    """Makes the activations of one block: ReLU, or PReLU with ``slopes`` as ``build`` says."""

    def __init__(self, relu: bool, slopes: str) -> None:
        self.relu, self.slopes = relu, slopes
        self._shared = nn.PReLU()

    def inner(self) -> nn.Module:
        if self.relu:
            return nn.ReLU()
        return self._shared if self.slopes == "block" else nn.PReLU()

    def last(self, channels: int) -> nn.Module:
        return nn.PReLU(channels) if self.slopes == "channel" and not self.relu else self.inner()


def _normed(conv: nn.Module, channels: int, *activation: nn.Module) -> List[nn.Module]:
    return [conv, nn.BatchNorm2d(channels), *activation]


def _conv(channels_in: int, channels_out: int, size: int = 1, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, size, bias=False, **options)


class Initial(nn.Module):
    """3x3 convolution with stride 2 beside max-pooling, concatenated (Fig. 2a)."""

    def __init__(self, channels: int, relu: bool, slopes: str) -> None:
        super().__init__()
        self.conv = _conv(3, channels - 3, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.act = _Activations(relu, slopes).last(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = functional.max_pool2d(x, 3, stride=2, padding=1)
        return self.act(self.norm(torch.cat([self.conv(x), pooled], dim=1)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, ``middle``, 1x1 back, dropout; added to the input (Fig. 2b)."""

    def __init__(self, channels: int, kind: Kind, dropout: float, relu: bool, slopes: str, dilated: Layer) -> None:
        super().__init__()
        act = _Activations(relu, slopes)
        inner = channels // 4
        self.reduce = nn.Sequential(*_normed(_conv(channels, inner), inner, act.inner()))
        if isinstance(kind, str):
            down, across = _asymmetric(inner)
            self.middle = nn.Sequential(*_normed(down, inner, act.inner()), *_normed(across, inner, act.inner()))
        else:
            layer = dilated(inner, kind) if kind > 1 else _dilated(inner, 1)
            self.middle = nn.Sequential(*_normed(layer, inner, act.inner()))
        self.expand = nn.Sequential(*_normed(_conv(inner, channels), channels, act.inner()))
        self.dropout = nn.Dropout2d(dropout)
        self.act = act.last(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.dropout(self.expand(self.middle(self.reduce(x))))
        return self.act(x + y)  # type: ignore[no-any-return]


def _dilated(channels: int, dilation: int) -> nn.Module:
    return _conv(channels, channels, 3, padding=dilation, dilation=dilation)


def _asymmetric(channels: int) -> Tuple[nn.Module, nn.Module]:
    """A 5x5 convolution as 5x1 and 1x5 (section 4)."""
    return (
        nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), bias=False),
        nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), bias=False),
    )


class Down(nn.Module):
    """A bottleneck whose first convolution is 2x2 with stride 2; beside it max-pooling, and zeros for the channels that
    this lacks (Fig. 2b). Also returns where the maxima were.
    """

    def __init__(
        self, channels_in: int, channels_out: int, dropout: float, relu: bool, slopes: str, window: int
    ) -> None:
        super().__init__()
        act = _Activations(relu, slopes)
        inner = channels_in // 4
        self.window = window
        self.reduce = nn.Sequential(*_normed(_conv(channels_in, inner, 2, stride=2), inner, act.inner()))
        self.middle = nn.Sequential(*_normed(_dilated(inner, 1), inner, act.inner()))
        self.expand = nn.Sequential(*_normed(_conv(inner, channels_out), channels_out, act.inner()))
        self.dropout = nn.Dropout2d(dropout)
        self.act = act.last(channels_out)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        maxima, places = pool(x, self.window)
        height, width = x.shape[2:]
        even = functional.pad(x, (0, width % 2, 0, height % 2))
        y = self.dropout(self.expand(self.middle(self.reduce(even))))
        y = y + functional.pad(maxima, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return self.act(y), places


class Up(nn.Module):
    """A bottleneck with a transposed convolution; beside it 1x1 and unpooling (Fig. 2b, section 4)."""

    def __init__(
        self, channels_in: int, channels_out: int, relu: bool, slopes: str, window: int, late_activation: bool
    ) -> None:
        super().__init__()
        act = _Activations(relu, slopes)
        inner = channels_in // 4
        self.window = window
        self.main = nn.Sequential(*_normed(_conv(channels_in, channels_out), channels_out))
        self.reduce = nn.Sequential(*_normed(_conv(channels_in, inner), inner, act.inner()))
        self.middle = nn.Sequential(*_normed(_twice_the_size(inner, inner, window), inner, act.inner()))
        last = [act.inner()] if late_activation else []
        self.expand = nn.Sequential(*_normed(_conv(inner, channels_out), channels_out, *last))
        self.dropout = nn.Dropout2d(0.1)
        self.act = act.last(channels_out)

    def forward(self, x: torch.Tensor, places: torch.Tensor, size: Tuple[int, int]) -> torch.Tensor:
        y = self.dropout(self.expand(self.middle(self.reduce(x))[:, :, : size[0], : size[1]]))
        return self.act(unpool(self.main(x), places, size, self.window) + y)  # type: ignore[no-any-return]


def _twice_the_size(channels_in: int, channels_out: int, window: int) -> nn.ConvTranspose2d:
    border = window - 2
    return nn.ConvTranspose2d(
        channels_in, channels_out, window, stride=2, padding=border, output_padding=border, bias=False
    )


class ENet(nn.Module):
    """Normalised float (N, 3, H, W), any H and W from 8, to logits (N, classes, H, W)."""

    def __init__(
        self,
        classes: int,
        encoder_relu: bool,
        decoder_relu: bool,
        slopes: str,
        window: int,
        late_activation: bool,
        dilated: Layer,
        part: str,
    ) -> None:
        super().__init__()

        def stage(channels: int, kinds: Sequence[Kind], dropout: float, relu: bool) -> nn.Sequential:
            return nn.Sequential(*(Bottleneck(channels, kind, dropout, relu, slopes, dilated) for kind in kinds))

        self.initial = Initial(16, encoder_relu, slopes)
        self.down1 = Down(16, 64, 0.01, encoder_relu, slopes, window)
        self.stage1 = stage(64, (1, 1, 1, 1), 0.01, encoder_relu)
        self.down2 = Down(64, 128, 0.1, encoder_relu, slopes, window)
        self.stage2 = stage(128, _STAGE, 0.1, encoder_relu)
        self.stage3 = stage(128, _STAGE, 0.1, encoder_relu)
        self.alone = part == "encoder"
        if self.alone:
            self.scores = nn.Conv2d(128, classes, 1)
            return
        self.up4 = Up(128, 64, decoder_relu, slopes, window, late_activation)
        self.stage4 = stage(64, (1, 1), 0.1, decoder_relu)
        self.up5 = Up(64, 16, decoder_relu, slopes, window, late_activation)
        self.stage5 = stage(16, (1,), 0.1, decoder_relu)
        self.classify = _twice_the_size(16, classes, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        half = self.initial(x)  # (16, H / 2, W / 2)
        quarter, places1 = self.down1(half)  # (64, H / 4, W / 4)
        quarter = self.stage1(quarter)
        y, places2 = self.down2(quarter)  # (128, H / 8, W / 8)
        y = self.stage3(self.stage2(y))
        if self.alone:
            return functional.interpolate(self.scores(y), size=(height, width), mode="bilinear", align_corners=False)
        y = self.stage4(self.up4(y, places2, quarter.shape[2:]))
        y = self.stage5(self.up5(y, places1, half.shape[2:]))
        return self.classify(y)[:, :, :height, :width]  # type: ignore[no-any-return]


def build(
    classes: int,
    encoder_relu: bool = False,
    decoder_relu: bool = True,
    slopes: str = "block",
    window: int = 3,
    late_activation: bool = True,
    dilated: Optional[Layer] = None,
    part: str = "whole",
) -> ENet:
    """Build ENet. Raises ValueError where an option is none of the choices.

    ``encoder_relu``, ``decoder_relu``: ReLU, or else PReLU.
    ``slopes``: PReLU has one slope for a "block" (the public code from April 2018), one for each "layer" (from July
    2019), or one for each layer and for each "channel" after the addition (before April 2018: 360,932 parameters).
    ``window``: of max-pooling and of the decoder's transposed convolutions, 3, or 2 (from August 2019: 351,804 with
    slopes by layer).
    ``late_activation``: whether the decoder has an activation between the last 1x1 convolution and the addition (until
    March 2021).
    ``dilated``: (channels, dilation) to the layer that stands in place of each dilated 3x3 convolution; batch norm and
    activation follow it. None: the convolution.
    ``part``: "whole", or the "encoder" alone, which is trained first, with a classifier of its own at 1/8.
    """
    if part not in PARTS:
        raise ValueError("part is {!r}; choose from {}".format(part, ", ".join(PARTS)))
    if slopes not in SLOPES:
        raise ValueError("slopes is {!r}; choose from {}".format(slopes, ", ".join(SLOPES)))
    if window not in WINDOWS:
        raise ValueError("window is {!r}; choose from {}".format(window, WINDOWS))
    return ENet(classes, encoder_relu, decoder_relu, slopes, window, late_activation, dilated or _dilated, part)


# the public code's names of the parts of a block, of all its years
_PARTS = {
    "main_branch": "conv",
    "batch_norm": "norm",
    "out_prelu": "act",
    "out_activation": "act",
    "main_conv1": "main",
    "ext_conv1": "reduce",
    "ext_conv2": "middle",
    "ext_conv3": "expand",
    "ext_tconv1": "middle.0",
    "ext_tconv1_bnorm": "middle.1",
    "ext_tconv1_activation": "middle.2",
}


def from_authors(name: str, state: Dict[str, torch.Tensor]) -> Optional[Tuple[Dict[str, torch.Tensor], Dict[str, Any]]]:
    """Rename the tensors of davidtvs/PyTorch-ENet, of any of its years.

    ``late_activation`` has no tensor where the decoder has ReLU: of the years that could be, the newest is taken.
    """
    if "initial_block.main_branch.weight" not in state:
        return None
    window = 2 if "upsample4_0.ext_tconv1.weight" in state else 3
    ours = {_our_name(key, window): tensor for key, tensor in state.items()}
    encoder_slope, decoder_slope = ours.get("initial.act.weight"), ours.get("stage5.0.act.weight")
    options: Dict[str, Any] = {"window": window, "encoder_relu": encoder_slope is None}
    options["decoder_relu"] = decoder_slope is None
    slope = decoder_slope if encoder_slope is None else encoder_slope
    named_prelu = any(".out_prelu." in key for key in state)  # until July 2019
    if slope is not None:
        options["slopes"] = "channel" if slope.numel() > 1 else "block" if named_prelu else "layer"
    if decoder_slope is not None:
        options["late_activation"] = "up4.expand.2.weight" in ours
    else:
        options["late_activation"] = window == 3 or named_prelu
    return ours, options


def _our_name(key: str, window: int) -> str:
    block, part, rest = (key.split(".", 2) + [""])[:3]
    if block == "transposed_conv":
        return "classify." + part
    match = re.match(r"(initial_block|[a-z]+)(?:(\d)_(\d))?$", block)
    if match is None or part not in _PARTS:
        return key  # loading will name it
    kind, stage, number = match.groups()
    if window == 2 and kind == "upsample" and part == "ext_conv2":
        part = "ext_conv3"  # since 2019 the transposed convolution has a name of its own
    if kind in ("upsample", "downsample"):
        ours = {"upsample": "up", "downsample": "down"}[kind] + stage
    elif kind == "initial_block":
        ours = "initial"
    else:  # stage 3 has no downsampling, and starts at 0
        ours = "stage{}.{}".format(stage, int(number) - (stage != "3"))
    return ".".join([ours, _PARTS[part], rest])


NETWORKS = {"enet": build}
