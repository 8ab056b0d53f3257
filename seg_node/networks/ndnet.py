"""NDNet: a very narrow and deep backbone (Yang et al., "Real time backbone for semantic segmentation", 2019).

Table I is the backbone: down to 1/32 in five steps, the last three by residual layers of two separable convolutions
(Fig. 3b). Fig. 4 makes it an FCN32. What the paper leaves open is as in the authors' public code
(zgyang-hnu/NDNet), and so is ``ndnet45_encoder_decoder``, the network that they published weights of. Their second
classifier, on block 2 and only for a loss in training, is left out.
"""

import re
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional

_STEM = 8  # channels of the first convolution
_HEAD = 64  # channels before the class scores


def separable(channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> List[nn.Module]:
    """Depth-wise 3x3, then 1x1; batch norm only after both (Fig. 1 and 3b)."""
    return [
        nn.Conv2d(
            channels_in, channels_in, 3, stride, padding=dilation, dilation=dilation, groups=channels_in, bias=False
        ),
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


class Residual(nn.Module):
    """Separable convolution to ``middle`` channels and one to ``expansion`` times as many; added to the input, ReLU
    (Fig. 3b). The first of a block changes size or dilation, and its input goes through a separable convolution too.
    """

    def __init__(
        self, channels_in: int, middle: int, expansion: int, stride: int, dilation: int, shortcut: bool
    ) -> None:
        super().__init__()
        channels_out = middle * expansion
        self.reduce = nn.Sequential(*separable(channels_in, middle, stride, dilation), nn.ReLU())
        self.expand = nn.Sequential(*separable(middle, channels_out, 1, dilation))
        layers = separable(channels_in, channels_out, stride, dilation) if shortcut else []
        self.shortcut = nn.Sequential(*layers)  # empty: the input itself

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.expand(self.reduce(x)) + self.shortcut(x))


class NDNet(nn.Module):
    """The backbone of Table I: (N, 3, H, W) to the features of blocks 1, 2 and 3.

    At 1/8, 1/16 and 1/32; with ``output_stride`` 16, block 3 has a dilation of 2 instead and stays at 1/16.
    """

    def __init__(self, channels: Sequence[int], depths: Sequence[int], expansion: int, output_stride: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(_STEM))

        def block(channels_in: int, middle: int, depth: int, stride: int, dilation: int) -> nn.Sequential:
            layers = [Residual(channels_in, middle, expansion, stride, dilation, shortcut=True)]
            layers += [Residual(middle * expansion, middle, expansion, 1, dilation, False) for _ in range(depth - 1)]
            return nn.Sequential(*layers)

        last = (2, 1) if output_stride == 32 else (1, 2)  # stride, dilation
        self.block1 = block(_STEM, channels[0], depths[0], 2, 1)
        self.block2 = block(channels[0] * expansion, channels[1], depths[1], 2, 1)
        self.block3 = block(channels[1] * expansion, channels[2], depths[2], *last)

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = functional.relu(self.stem(x))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        eighth = self.block1(x)
        sixteenth = self.block2(eighth)
        return eighth, sixteenth, self.block3(sixteenth)


def _head(channels: int, classes: int) -> nn.Sequential:
    """3x3 to aggregate local context (separable in the authors' code), then 1x1 to class scores (section II-C)."""
    return nn.Sequential(*separable(channels, _HEAD), nn.ReLU(), nn.Conv2d(_HEAD, classes, 1))


def _resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


class FCN32(nn.Module):
    """Fig. 4: class scores at 1/32, upsampled. Normalised float (N, 3, H, W) to logits (N, classes, H, W)."""

    def __init__(self, classes: int, channels: Sequence[int], depths: Sequence[int], expansion: int) -> None:
        super().__init__()
        self.backbone = NDNet(channels, depths, expansion, output_stride=32)
        self.head = _head(channels[2] * expansion, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _resize(self.head(self.backbone(x)[2]), x)


class EncoderDecoder(nn.Module):
    """The authors' code only: block 3 at 1/16, upsampled and concatenated with block 1; class scores at 1/8."""

    def __init__(self, classes: int, channels: Sequence[int], depths: Sequence[int], expansion: int) -> None:
        super().__init__()
        self.backbone = NDNet(channels, depths, expansion, output_stride=16)
        early, late = channels[0] * expansion, channels[2] * expansion
        self.fuse = nn.Sequential(nn.Conv2d(early + late, late, 1, bias=False), nn.BatchNorm2d(late), nn.ReLU())
        self.head = _head(late, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        early, _, late = self.backbone(x)
        y = self.fuse(torch.cat([_resize(late, early), early], dim=1))
        return _resize(self.head(y), x)


def build(
    classes: int,
    channels: Sequence[int] = (16, 32, 64),
    depths: Sequence[int] = (4, 12, 6),
    expansion: int = 4,
    decoder: bool = False,
) -> nn.Module:
    """Build NDNet45, or another by its combinations (section II-C). Raises ValueError where these are not three.

    ``channels``: in the middle of the residual layers of blocks 1 to 3. ``depths``: how many layers each has.
    ``expansion``: e, how many times as many channels come out of a layer. ``decoder``: the authors' encoder-decoder
    instead of FCN32.
    """
    for what, combination in (("channels", channels), ("depths", depths), ("expansion", 3 * (expansion,))):
        if len(combination) != 3 or not all(isinstance(number, int) and number > 0 for number in combination):
            raise ValueError("{} is {!r}; must be three whole numbers from 1".format(what, combination))
    network = EncoderDecoder if decoder else FCN32
    return network(classes, channels, depths, expansion)


_NAMES = (
    (r"^features\.conv1\.", "backbone.stem."),
    (r"^features\.block3\.", "backbone.block1."),
    (r"^features\.block4\.", "backbone.block2."),
    (r"^features\.block5\.", "backbone.block3."),
    (r"\.conv1\.(dw|pw|bn)", r".reduce.\1"),
    (r"\.conv2\.(dw|pw|bn)", r".expand.\1"),
    (r"^fusion\.", "fuse."),
    (r"^seg\.transform\.", "head."),
    (r"^seg\.score\.", "head.4."),
    (r"^(backbone\.stem|fuse)\.conv\.", r"\1.0."),
    (r"^(backbone\.stem|fuse)\.bn\.", r"\1.1."),
    (r"\.dwconv\.", ".0."),
    (r"\.pwconv\.", ".1."),
    (r"\.bn\.", ".2."),
)


def from_authors(name: str, state: Dict[str, torch.Tensor]) -> Optional[Tuple[Dict[str, torch.Tensor], Dict[str, Any]]]:
    """Rename the tensors of zgyang-hnu/NDNet. Drops ``aux_seg``, their classifier for a loss in training."""
    if "features.conv1.conv.weight" not in state:
        return None
    return {_our_name(key): tensor for key, tensor in state.items() if not key.startswith("aux_seg.")}, {}


def _our_name(key: str) -> str:
    for pattern, replacement in _NAMES:
        key = re.sub(pattern, replacement, key)
    return key


_NETWORKS_OF_TABLE_1 = {
    "ndnet29": partial(build, channels=(24, 48, 96), depths=(3, 8, 3)),
    "ndnet45": partial(build, channels=(16, 32, 64), depths=(4, 12, 6)),
    "ndnet61": partial(build, channels=(12, 24, 48), depths=(6, 16, 8)),
}
NETWORKS = {
    **_NETWORKS_OF_TABLE_1,
    **{name + "_e2": partial(builder, expansion=2) for name, builder in _NETWORKS_OF_TABLE_1.items()},
    "ndnet29_wide": partial(build, channels=(64, 128, 256), depths=(3, 8, 3)),
    "ndnet45_encoder_decoder": partial(build, channels=(16, 32, 64), depths=(4, 12, 6), decoder=True),
}
