"""ESPNet: efficient spatial pyramids of dilated convolutions (Mehta et al., ECCV 2018), the baseline of the C3 paper.

The C3 paper's Fig. 4(b) is the ESP module: reduce the channels, dilated 3x3 convolutions in parallel, sum them
hierarchically. ``Encoder`` is ESPNet-C: to 1/8 in three steps, with the shrunk image concatenated at 1/2 and 1/4.
``ESPNet`` adds a decoder of transposed convolutions. Table 3 of the C3 paper with 20 classes: ESPNet (p=2, q=8)
364,569 parameters, ESPNet-tiny (q=3) 202,649. The networks of ``c3.py`` are these two classes with other modules.
"""

import re
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import nn
from torch.nn import functional

VARIANTS = ("test", "train")
PARTS = ("whole", "encoder")
State = Dict[str, torch.Tensor]
Layer = Callable[[int, int, int], nn.Module]  # (channels in, channels out, dilation) to a layer of the same H and W
Module = Callable[[int, int, int, bool], nn.Module]  # (channels in, channels out, stride, residual)


def dilated_convolution(channels_in: int, channels_out: int, dilation: int) -> nn.Module:
    """3x3 convolution with holes: what the ESP module runs in parallel."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=False)


class NormAct(nn.Module):
    """Batch norm and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-3)
        self.act = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(x))


class ConvNormAct(nn.Module):
    """3x3 convolution, batch norm, PReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)
        self.act = nn.PReLU(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x)))


class Pyramid(nn.Module):
    """Reduce the channels, K dilated layers in parallel, merge (C3 paper, Fig. 4).

    With stride 1 it reduces by 1x1, with stride 2 by 3x3. Each branch gives 1/K of the output's channels, the first
    the remainder too; ``fuse`` sums the branches but the first one by one (hierarchical feature fusion, step C).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: int,
        residual: bool,
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        layer: Layer = dilated_convolution,
        fuse: bool = True,
    ) -> None:
        super().__init__()
        self.residual, self.fuse = residual, fuse
        dilations = dilations[:channels_out]  # the decoder's, where there are fewer classes than branches
        each = channels_out // len(dilations)
        first = channels_out - each * (len(dilations) - 1)
        size = 1 if stride == 1 else 3
        self.reduce = nn.Conv2d(channels_in, each, size, stride=stride, padding=size // 2, bias=False)  # A
        self.branches = nn.ModuleList(  # B
            layer(each, each if i else first, dilation) for i, dilation in enumerate(dilations)
        )
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)
        self.act = nn.PReLU(channels_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        reduced = self.reduce(x)
        parts = [branch(reduced) for branch in self.branches]
        if self.fuse:
            for i in range(2, len(parts)):
                parts[i] = parts[i - 1] + parts[i]
        y = torch.cat(parts, dim=1)
        if self.residual:
            y = x + y  # D
        return self.act(self.norm(y))


class Features(NamedTuple):
    """What the encoder made on its way, each (N, channels, H, W)."""

    half: torch.Tensor  # 16 channels
    half_mixed: torch.Tensor  # 19: with the image
    quarter: torch.Tensor  # 64
    quarter_mixed: torch.Tensor  # 131: with its module's input and the image
    scores: torch.Tensor  # of the classes, at 1/8


class Encoder(nn.Module):
    """ESPNet-C: p modules at 1/4, q modules at 1/8, and a classifier there. Any H and W: odd sizes round up."""

    def __init__(
        self, classes: int, p: int, q: int, module: Module, shrink: nn.Module, channels: Tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.channels = c1, c2, c3 = channels  # at 1/2, 1/4, 1/8
        self.shrink = shrink  # the image by two
        self.level1 = ConvNormAct(3, c1, stride=2)
        self.mix1 = NormAct(c1 + 3)
        self.down2 = module(c1 + 3, c2, 2, False)
        self.level2 = nn.Sequential(*(module(c2, c2, 1, True) for _ in range(p)))
        self.mix2 = NormAct(2 * c2 + 3)
        self.down3 = module(2 * c2 + 3, c3, 2, False)
        self.level3 = nn.Sequential(*(module(c3, c3, 1, True) for _ in range(q)))
        self.mix3 = NormAct(2 * c3)
        self.classify = nn.Conv2d(2 * c3, classes, 1, bias=False)

    def forward(self, image: torch.Tensor) -> Features:
        image2 = self.shrink(image)
        half = self.level1(image)
        half_mixed = self.mix1(torch.cat([half, image2], dim=1))
        down = self.down2(half_mixed)
        quarter = self.level2(down)
        quarter_mixed = self.mix2(torch.cat([quarter, down, self.shrink(image2)], dim=1))
        down = self.down3(quarter_mixed)
        eighth = self.mix3(torch.cat([down, self.level3(down)], dim=1))
        return Features(half, half_mixed, quarter, quarter_mixed, self.classify(eighth))


class EncoderOnly(nn.Module):
    """ESPNet-C by itself: normalised float (N, 3, H, W) to logits (N, classes, H, W), from 1/8 bilinearly."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.encoder(x).scores
        return functional.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


class ESPNet(nn.Module):
    """The whole network: normalised float (N, 3, H, W), any H and W, to logits (N, classes, H, W).

    The decoder doubles three times by 2x2 transposed convolutions, ``classes`` channels wide all the way: to 1/4, where
    a module mixes in the encoder's features, to 1/2, where a convolution does, and to the image. ``mixed``: that
    convolution sees the features at 1/2 with the image in them.
    """

    def __init__(self, classes: int, encoder: Encoder, module: Module, mixed: bool) -> None:
        super().__init__()
        half, quarter, _ = encoder.channels
        self.mixed = mixed
        self.encoder = encoder
        self.norm3 = nn.BatchNorm2d(classes, eps=1e-3)
        self.up3 = nn.ConvTranspose2d(classes, classes, 2, stride=2, bias=False)
        self.project2 = nn.Conv2d(2 * quarter + 3, classes, 1, bias=False)
        self.mix2 = NormAct(2 * classes)
        self.combine2 = module(2 * classes, classes, 1, False)
        self.up2 = nn.ConvTranspose2d(classes, classes, 2, stride=2, bias=False)
        self.mix1 = NormAct(classes)
        self.combine1 = ConvNormAct(half + (3 if mixed else 0) + classes, classes, stride=1)
        self.up1 = nn.ConvTranspose2d(classes, classes, 2, stride=2, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.encoder(image)
        quarter = self.project2(found.quarter_mixed)
        x = _crop(self.up3(self.norm3(found.scores)), quarter)  # to 1/4
        x = self.combine2(self.mix2(torch.cat([quarter, x], dim=1)))
        half = found.half_mixed if self.mixed else found.half
        x = self.mix1(_crop(self.up2(x), half))  # to 1/2
        x = self.combine1(torch.cat([x, half], dim=1))
        return _crop(self.up1(x), image)


def _crop(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Drop the row and the column that doubling adds where a size was odd."""
    return x[:, :, : like.shape[2], : like.shape[3]]


def check_depth(p: int, q: int) -> None:
    """Raise ValueError unless ``p`` and ``q`` are numbers of modules."""
    if not all(isinstance(count, int) and count > 0 for count in (p, q)):
        raise ValueError("p is {!r} and q {!r}; must be whole numbers from 1".format(p, q))


def _encoder(classes: int, p: int, q: int) -> Encoder:
    check_depth(p, q)
    return Encoder(classes, p, q, Pyramid, nn.AvgPool2d(3, stride=2, padding=1), (16, 64, 128))


def assemble(classes: int, encoder: Encoder, module: Module, mixed: bool, part: str) -> Union[ESPNet, EncoderOnly]:
    """Return the whole network, or the encoder alone, which is trained first: its tensors have the same names.

    Raises ValueError for another ``part``.
    """
    if part not in PARTS:
        raise ValueError("part is {!r}; choose from {}".format(part, ", ".join(PARTS)))
    return EncoderOnly(encoder) if part == "encoder" else ESPNet(classes, encoder, module, mixed)


def build(
    classes: int, p: int = 2, q: int = 8, variant: str = "test", part: str = "whole"
) -> Union[ESPNet, EncoderOnly]:
    """Build ESPNet with ``p`` modules at 1/4 and ``q`` at 1/8.

    ``variant``: the authors' code has two definitions. In "test", which the paper's counts are of, the last convolution
    sees the 16 channels at 1/2; in "train" the image's three too. ``part``: "whole" or "encoder".
    Raises ValueError for anything else.
    """
    if variant not in VARIANTS:
        raise ValueError("variant is {!r}; choose from {}".format(variant, ", ".join(VARIANTS)))
    return assemble(classes, _encoder(classes, p, q), Pyramid, variant == "train", part)


# the authors' tensor names (sacmehta/ESPNet; clovaai/c3_sinet has the same) and ours, applied in this order
_NAMES = [
    (r"\bbn\.bn\.", "norm."),
    (r"\bbn\.act\.", "act."),
    (r"\bbn\.", "norm."),
    (r"\bb([123])\.", r"mix\1."),
    (r"\blevel([23])_0\.", r"down\1."),
    (r"\bc1\.conv\.", "reduce."),
    (r"^classifier\.(?=weight)", "up1."),
    (r"\bclassifier\.conv\.", "classify."),
    (r"^level3_C\.conv\.", "project2."),
    (r"^br\.", "norm3."),
    (r"^up_l3\.0\.", "up3."),
    (r"^combine_l2_l3\.0\.", "mix2."),
    (r"^combine_l2_l3\.1\.", "combine2."),
    (r"^up_l2\.0\.", "up2."),
    (r"^up_l2\.1\.", "mix1."),
    (r"^conv\.", "combine1."),
]


def rename(state: State, branches: Sequence[str]) -> State:
    """Return the tensors with our names. ``branches``: what the authors call a module's branches, in order."""
    names = _NAMES + [(r"\b{}\.conv\.".format(branch), "branches.{}.".format(i)) for i, branch in enumerate(branches)]
    return {replace(name, names): tensor for name, tensor in state.items()}


def replace(name: str, names: Sequence[Tuple[str, str]]) -> str:
    """Return the name with each pattern of ``names`` replaced, in this order."""
    for pattern, ours in names:
        name = re.sub(pattern, ours, name)
    return name


def depth(state: State, prefix: str = "encoder.") -> Dict[str, int]:
    """Return p and q as the authors' tensor names tell them."""
    names = [[n for n in state if re.match(prefix + level + r"\.\d+\.c1\.", n)] for level in ("level2", "level3")]
    return {"p": len(names[0]), "q": len(names[1])}


def from_authors(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """See ``networks.adopt``. Of the whole network, or of the encoder alone for ``espnet_c``; old files have no
    num_batches_tracked.
    """
    branches = ["d1", "d2", "d4", "d8", "d16"]
    if name == "espnet_c":
        if "level3_0.d16.conv.weight" not in state:
            return None
        return {"encoder." + key: tensor for key, tensor in rename(state, branches).items()}, dict(depth(state, ""))
    if "encoder.level3_0.d16.conv.weight" not in state or "conv.conv.weight" not in state:
        return None
    last = state["conv.conv.weight"]  # (classes, classes + 16 or 19, 3, 3)
    variant = "train" if last.shape[1] - last.shape[0] == 19 else "test"
    return rename(state, branches), dict(depth(state), variant=variant)


NETWORKS = {"espnet": build, "espnet_tiny": partial(build, q=3), "espnet_c": partial(build, part="encoder")}
