"""ERFNet with depthwise separable, grouped and shuffled convolutions, and gradual grouping (Vallurupalli et al.,
"Efficient Semantic Segmentation using Gradual Grouping", 2018).

A Conv-module (Fig. 2) is ERFNet's block with each 3x1 and 1x3 pair replaced by a depthwise 3x3 and a pointwise 1x1
convolution; DG2, DG4 and DG8 group the pointwise ones, an S behind shuffles their channels. The names:

    d_star, dg2_star .. dg8s_star   Conv-modules in all of the encoder (Table 1)
    d, dg2 .. dg8s                  in the last two blocks at 1/4 and the last four at 1/8 (Table 2)
    d_light, dg2_light, dg4_light   the encoder of Table 1 with the light decoder (section 5.2), "proposed" in Table 4

Gradual grouping (section 3.3) trains ``form="dense"``, whose connections between groups are multiplied by alpha, and
takes alpha from 1 to 0 meanwhile: ``set_alpha``. ``to_grouped`` then makes the weights of ``form="grouped"``, the
network to run. The encoder is trained first (section 4.3): ``part="encoder"`` is it with a classifier of its own, and
its tensors are named as in the whole network. The networks of Table 4 are trained on ImageNet before: the classifiers.
"""

import functools
from typing import Any, Callable, Dict, Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional

from seg_node.networks import erfnet

Builder = Callable[..., nn.Module]
State = Dict[str, torch.Tensor]

GROUPS = (1, 2, 4, 8)
FORMS = ("grouped", "dense")
PARTS = ("whole", "encoder", "imagenet")
LAYOUTS = ("printed", "counted")
# Table 2 has 3-5 and 5-7 for rows 3 to 7, but three and two blocks: those are what its parameters add up to
_SELECTIVE = (3, 4)  # blocks at 1/4 and at 1/8 that stay ERFNet's


class GradualConv2d(nn.Conv2d):
    """Convolution between ``groups`` groups of channels, those from one group to another weakened (Fig. 1).

    ``alpha`` (groups, groups) is what the weights from group to group are multiplied by: 1 within a group, and between
    groups from 1 (a dense convolution) to 0 (a grouped one). It is set, not learnt, and saved with the weights.
    """

    alpha: torch.Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, groups: int) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=kernel // 2)
        self.register_buffer("alpha", torch.ones(groups, groups))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        groups = self.alpha.shape[0]
        weight = self.weight.reshape(groups, self.out_channels // groups, groups, -1)
        weight = (weight * self.alpha.reshape(groups, 1, groups, 1)).reshape(self.weight.shape)
        return functional.conv2d(x, weight, self.bias, padding=self.padding)


def set_alpha(network: nn.Module, alpha: float) -> None:
    """Set how strong the connections between groups are, from 1 to 0. Raises ValueError where there are none."""
    if not 0 <= alpha <= 1:
        raise ValueError("alpha is {!r}; must be from 0 to 1".format(alpha))
    layers = [layer for layer in network.modules() if isinstance(layer, GradualConv2d)]
    if not layers:
        raise ValueError("the network has no gradual convolutions: build it with form='dense'")
    for layer in layers:
        layer.alpha.fill_(alpha).fill_diagonal_(1)


def to_grouped(state: State) -> State:
    """Return the state dict of ``form="grouped"`` that computes what that of ``form="dense"`` does at alpha 0.

    Raises ValueError where alpha is not 0, or where nothing is gradual.
    """
    grouped = dict(state)
    for key, alpha in state.items():
        if not key.endswith(".alpha"):
            continue
        groups = alpha.shape[0]
        if not torch.equal(alpha.cpu().float(), torch.eye(groups)):
            raise ValueError("{} is not 0 between groups: train until it is".format(key))
        weight = key[: -len("alpha")] + "weight"
        rows = state[weight].chunk(groups)
        grouped[weight] = torch.cat([row.chunk(groups, dim=1)[group] for group, row in enumerate(rows)])
        del grouped[key]
    if len(grouped) == len(state):
        raise ValueError("these are no weights of form='dense': they have no alpha")
    return grouped


class ChannelShuffle(nn.Module):
    """Interleave the channels of the groups (Fig. 3). (N, C, H, W) to the same shape."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def separable_pair(
    channels: int, dilation: int, groups: int = 1, shuffle: bool = False, form: str = "grouped"
) -> nn.Sequential:
    """Depthwise 3x3, ReLU, pointwise 1x1 (in groups, shuffled after): one half of a Conv-module (Fig. 2).

    The ReLU between and the biases are those of the pair that it replaces; the paper's text leaves them open.
    """
    pointwise: nn.Module = nn.Conv2d(channels, channels, 1, groups=groups)
    if form == "dense":
        pointwise = GradualConv2d(channels, channels, 1, groups)
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels),
        nn.ReLU(),
        pointwise,
        *([ChannelShuffle(groups)] if shuffle else []),
    )


def conv_module(
    channels: int, dilation: int = 1, dropout: float = 0.0, pair: erfnet.Layers = separable_pair
) -> nn.Module:
    """Conv-module (Fig. 2): two separable pairs, the second dilated, with ERFNet's batch norm, dropout and residual."""
    return erfnet.NonBottleneck1d(channels, dilation, dropout, plain=pair, dilated=pair)


class LightUpsampler(nn.Module):
    """1x1 convolution in place of the 3x3 transposed one (section 5.2), then bilinear to twice the size.

    Bilinear after the convolution gives what it gives before, for a quarter of the multiplications.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 1)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return functional.relu(functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


class PlainDownsampler(nn.Module):
    """3x3 convolution with stride 2 to all of the channels, no pooling beside it."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(x)))


def network(classes: int, kept: Tuple[int, int], pair: erfnet.Layers, light: bool, part: str, layout: str) -> nn.Module:
    """Assemble Table 1 or 2. ``kept``: how many first blocks at 1/4 and at 1/8 are ERFNet's own."""
    separable = functools.partial(conv_module, pair=pair)

    def block(index: int, first: int) -> Builder:
        return erfnet.NonBottleneck1d if index < first else separable

    body = erfnet.encoder(
        [block(i, kept[0])(64, 1, erfnet.EARLY_DROPOUT) for i in range(erfnet.EARLY_BLOCKS)],
        [block(i, kept[1])(128, rate, erfnet.LATE_DROPOUT) for i, rate in enumerate(erfnet.LATE_DILATIONS)],
        PlainDownsampler if layout == "counted" else erfnet.Downsampler,
    )
    if part == "imagenet":
        return erfnet.Classification(body, classes)
    if part == "encoder":
        return erfnet.EncoderAlone(body, erfnet.classifier(classes))
    blocks = 1 if layout == "counted" else 2
    if light:  # its Conv-modules have no groups: those are in the encoder only (section 4.3)
        head = erfnet.decoder(classes, LightUpsampler, conv_module, blocks)
    else:
        head = erfnet.decoder(classes, blocks=blocks)
    return erfnet.EncoderDecoder(body, head, None if layout == "counted" else erfnet.classifier(classes))


def build(
    classes: int,
    groups: int = 1,
    shuffle: bool = False,
    selective: bool = False,
    light: bool = False,
    form: str = "grouped",
    part: str = "whole",
    layout: str = "printed",
) -> nn.Module:
    """Build one of the paper's networks; a name sets ``groups``, ``shuffle``, ``selective`` and ``light``.

    ``form``: "grouped", or "dense" to train it by gradual grouping. ``part``: "whole", "encoder", or
    "imagenet", the encoder as a classifier of images.
    ``layout``: "printed" is what Tables 1 and 2 say; "counted" is what all of the paper's parameters and FLOPs
    but one row add up to: plain convolutions as downsamplers, one block, not two, in each stage of the decoder, and no
    classifier of the encoder's own.
    Raises ValueError for anything else.
    """
    for option, value, allowed in (("form", form, FORMS), ("part", part, PARTS), ("layout", layout, LAYOUTS)):
        if value not in allowed:
            raise ValueError("{} is {!r}; choose from {}".format(option, value, ", ".join(allowed)))
    if groups not in GROUPS:
        raise ValueError("groups is {!r}; choose from {}".format(groups, ", ".join(map(str, GROUPS))))
    if groups == 1 and (shuffle or form == "dense"):
        raise ValueError("groups is 1: nothing to shuffle, and form='dense' is what it is anyway")
    pair = functools.partial(separable_pair, groups=groups, shuffle=shuffle, form=form)
    return network(classes, _SELECTIVE if selective else (0, 0), pair, light, part, layout)


def _family(end: str, groups: Sequence[int], shuffles: Sequence[bool], **options: Any) -> Dict[str, Builder]:
    family: Dict[str, Builder] = {"d" + end: functools.partial(build, **options)}
    for g in groups:
        for shuffle in shuffles:
            name = "dg{}{}{}".format(g, "s" if shuffle else "", end)
            family[name] = functools.partial(build, groups=g, shuffle=shuffle, **options)
    return family


NETWORKS = {
    **_family("_star", (2, 4, 8), (False, True)),  # Table 3
    **_family("_light", (2, 4), (False,), light=True),  # Table 4
    **_family("", (2, 4, 8), (False, True), selective=True),  # Table 5
}
CLASSIFIERS = {
    "d_star_imagenet": functools.partial(build, part="imagenet"),
    "dg2_star_imagenet": functools.partial(build, groups=2, part="imagenet"),
    "dg4_star_imagenet": functools.partial(build, groups=4, part="imagenet"),
}
