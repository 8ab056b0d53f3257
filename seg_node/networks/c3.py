"""C3: concentrated-comprehensive convolution (Park et al., "C3: Concentrated-Comprehensive Convolution and its
application to semantic segmentation").

Section 3.2 is the C3 block, a light stand-in for a dilated 3x3 convolution: look at the neighbourhood that the holes
skip (concentration), then far (comprehensive). Section 3.3 puts it into ESPNet: C3Net1 has 198,434 parameters with 20
classes, C3Net2 191,614. Table 2 takes the block apart; Tables 3 and 4 put it into ERFNet, ENet and DRN. Where the text
leaves a layer open, it is as in the authors' public code (clovaai/c3_sinet), or as the printed figures tell.
"""

import re
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional

from seg_node.networks import drn, enet, erfnet, espnet
from seg_node.networks.espnet import Encoder, Layer, NormAct, Pyramid, State

# dilations of the parallel blocks
DOUBLING = (2, 4, 8, 16)  # C3Net1
COPRIME = (2, 3, 7, 13)  # C3Net2


class _OneChannel(nn.Conv2d):
    """A convolution of one channel that pads the image itself, as the decoder's are with four to seven classes.

    PyTorch 2.13 on a CPU (oneDNN) else writes past its memory in the backward pass where the image is about as high
    as the padding: 48 pixels of the network's input were too few for the column of 31.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        down, across = (int(border) for border in self.padding)
        padded = functional.pad(x, (across, across, down, down))
        return functional.conv2d(padded, self.weight, dilation=self.dilation)


def _depthwise(channels: int, size: Tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    padding = (dilation * (size[0] // 2), dilation * (size[1] // 2))
    kind = _OneChannel if channels == 1 else nn.Conv2d
    return kind(channels, channels, size, padding=padding, dilation=dilation, groups=channels, bias=False)


def _comprehensive(channels_in: int, channels_out: int, dilation: int) -> List[nn.Module]:
    """Depth-wise dilated 3x3, then point-wise."""
    return [_depthwise(channels_in, (3, 3), dilation), nn.Conv2d(channels_in, channels_out, 1, bias=False)]


def separable(channels_in: int, channels_out: int, dilation: int) -> nn.Module:
    """The comprehensive stage without a concentration stage: "ds-Dilate" (section 3.1)."""
    return nn.Sequential(*_comprehensive(channels_in, channels_out, dilation))


def c3_block(channels_in: int, channels_out: int, dilation: int) -> nn.Module:
    """C3 (Fig. 3): the neighbourhood as a column and a row. With a dilation of 1 nothing is skipped: a convolution."""
    if dilation == 1:
        return espnet.dilated_convolution(channels_in, channels_out, 1)
    length = 2 * dilation - 1
    return nn.Sequential(
        _depthwise(channels_in, (length, 1)),
        nn.BatchNorm2d(channels_in),
        nn.PReLU(channels_in),
        _depthwise(channels_in, (1, length)),
        nn.BatchNorm2d(channels_in),
        *_comprehensive(channels_in, channels_out, dilation),
    )


def rc3_block(channels_in: int, channels_out: int, dilation: int) -> nn.Module:
    """RC3 (Fig. 3): the neighbourhood as a square, by a regular depth-wise convolution. With a dilation of 1 as C3."""
    if dilation == 1:
        return espnet.dilated_convolution(channels_in, channels_out, 1)
    length = 2 * dilation - 1
    return nn.Sequential(
        _depthwise(channels_in, (length, length)),
        nn.BatchNorm2d(channels_in),
        *_comprehensive(channels_in, channels_out, dilation),
    )


def square_c3_block(channels: int, dilation: int) -> nn.Module:
    """C3 with as many channels out as in, as ERFNet and ENet have them."""
    return c3_block(channels, channels, dilation)


class BilinearDecoder(nn.Module):
    """C3NetV2, of the authors' code only: normalised float (N, 3, H, W), any H and W, to logits (N, classes, H, W).

    Doubles the encoder's scores bilinearly, and mixes in its features at 1/4 and at 1/2 by separable convolutions.
    """

    def __init__(self, classes: int, encoder: Encoder) -> None:
        super().__init__()
        half, quarter, _ = encoder.channels
        self.encoder = encoder
        self.norm = nn.BatchNorm2d(classes, eps=1e-3)
        self.combine2 = nn.Sequential(separable(classes + quarter, classes, 1), NormAct(classes))
        self.combine1 = nn.Sequential(separable(classes + half, classes, 1), NormAct(classes))
        self.classify = nn.Conv2d(classes, classes, 1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.encoder(image)
        x = _enlarge(self.norm(found.scores), found.quarter)  # to 1/4
        x = self.combine2(torch.cat([x, found.quarter], dim=1))
        x = _enlarge(x, found.half)  # to 1/2
        x = self.combine1(torch.cat([x, found.half], dim=1))
        return self.classify(_enlarge(x, image))


def _enlarge(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def _c3_encoder(module: espnet.Module, classes: int, p: int, q: int, half: int, channels: Sequence[int]) -> Encoder:
    espnet.check_depth(p, q)
    if len(channels) != 2 or min(channels) < 1:
        raise ValueError("channels is {!r}; must be two numbers, of channels at 1/4 and at 1/8".format(channels))
    # ceil_mode: odd sizes round up, as they do in the convolutions
    shrink = nn.AvgPool2d(2, stride=2, ceil_mode=True)
    return Encoder(classes, p, q, module, shrink, (half, channels[0], channels[1]))


def _c3_module(layer: Layer, dilations: Sequence[int]) -> espnet.Module:
    """The C3 module (section 3.3, Fig. 4a): parallel blocks, concatenated as they are."""
    if not dilations or min(dilations) < 1:
        raise ValueError("dilations is {!r}; must be one or more, each 1 or more".format(dilations))
    return partial(Pyramid, layer=layer, dilations=tuple(dilations), fuse=False)


def _c3net(
    layer: Layer,
    classes: int,
    p: int = 2,
    q: int = 8,
    dilations: Sequence[int] = DOUBLING,
    channels: Sequence[int] = (64, 128),
    part: str = "whole",
) -> nn.Module:
    """ESPNet with C3 modules of the blocks that ``layer`` makes.

    ``p``, ``q``: the numbers of modules at 1/4 and at 1/8. ``channels``: there. ``part``: "whole", or the "encoder"
    alone, which is trained first. Raises ValueError where one is wrong.
    """
    module = _c3_module(layer, dilations)
    return espnet.assemble(classes, _c3_encoder(module, classes, p, q, 16, channels), module, True, part)


def _c3net_v2(
    classes: int,
    p: int = 2,
    q: int = 8,
    dilations: Sequence[int] = DOUBLING,
    channels: Sequence[int] = (64, 128),
) -> BilinearDecoder:
    """C3NetV2: at 1/2 it has as many channels as there are classes; for the rest see ``_c3net``."""
    module = _c3_module(c3_block, dilations)
    return BilinearDecoder(classes, _c3_encoder(module, classes, p, q, classes, channels))


def _espnet(layer: Layer, mixed: bool, classes: int, p: int = 2, q: int = 8, part: str = "whole") -> nn.Module:
    """ESPNet with all it has, hierarchical fusion and the dilation of 1 too, and other blocks in its modules."""
    espnet.check_depth(p, q)
    module = partial(Pyramid, layer=layer)
    shrink = nn.AvgPool2d(3, stride=2, padding=1)
    return espnet.assemble(classes, Encoder(classes, p, q, module, shrink, (16, 64, 128)), module, mixed, part)


NETWORKS = {
    "c3net1": partial(_c3net, c3_block),  # Table 2, experiment 7
    "c3net2": partial(_c3net, c3_block, dilations=COPRIME),
    "c3net2_v2": _c3net_v2,
    "c3_espnet": partial(_espnet, c3_block, False),
    "ds_espnet": partial(_espnet, separable, True),  # Table 2, experiment 2
    "c3_no_concentration": partial(_c3net, separable),  # 3
    # 4 and 5: more layers, more channels. How many is not printed; these meet the increase in parameters and in FLOPs
    "c3_no_concentration_l": partial(_c3net, separable, p=4, q=11),
    "c3_no_concentration_c": partial(_c3net, separable, channels=(96, 128)),
    "rc3": partial(_c3net, rc3_block),  # 6
    # Table 3
    "c3_enet": partial(enet.build, dilated=square_c3_block),
    "c3_erfnet": partial(erfnet.build, dilated=square_c3_block),
    "c3_drn_a50": partial(drn.drn_a50, dilated=c3_block),
    "c3_drn_c26": partial(drn.drn_c26, dilated=c3_block),
}

# Table 4. C28* and C44* have two blocks instead of one in each of the last two levels, as 13.11 M and 14.90 M tell
CLASSIFIERS = {
    "c3_drn_a50_imagenet": partial(drn.classifier, drn.encoder_a50, dilated=c3_block),
    "c3_drn_c26_imagenet": partial(drn.classifier, drn.encoder_c26, dilated=c3_block),
    "c3_drn_c28_imagenet": partial(drn.classifier, drn.encoder_c26, dilated=c3_block, degridding_blocks=2),
    "c3_drn_c42_imagenet": partial(drn.classifier, drn.encoder_c42, dilated=c3_block),
    "c3_drn_c44_imagenet": partial(drn.classifier, drn.encoder_c42, dilated=c3_block, degridding_blocks=2),
}

# the authors' names of C3NetV2's decoder and ours; the rest is named as in C3Net
_V2_NAMES = [
    (r"^conv_l([12])\.conv\.", r"combine\1.0."),
    (r"^conv_l([12])\.", r"combine\1.1."),
    (r"^classifier\.1\.conv\.", "classify."),
]


def from_authors(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """See ``networks.adopt``. The authors published C3Net and C3NetV2."""
    mark = {"c3net1": "level3_C.conv.weight", "c3net2": "level3_C.conv.weight", "c3net2_v2": "conv_l2.conv.0.weight"}
    first = re.compile(r"encoder\.level2_0\.(d\d)\.conv\.(0\.)?weight")
    kernels = {match.group(1): state[key] for key in state for match in [first.fullmatch(key)] if match}
    if mark.get(name) not in state or not kernels:
        return None
    branches = sorted(kernels)  # d1, d2, d3, d4
    options: Dict[str, Any] = dict(espnet.depth(state))
    options["dilations"] = [_dilation(kernels[branch]) for branch in branches]
    options["channels"] = [state["encoder.level{}_0.bn.weight".format(level)].numel() for level in (2, 3)]
    if name == "c3net2_v2":
        state = {espnet.replace(key, _V2_NAMES): tensor for key, tensor in state.items()}
    return espnet.rename(state, branches), options


def _dilation(first: torch.Tensor) -> int:
    """From the weights of a block's first convolution: a column of 2d - 1, or a plain 3x3 where d is 1."""
    height, width = first.shape[2:]
    return (int(height) + 1) // 2 if width == 1 else 1
