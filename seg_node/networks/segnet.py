"""SegNet (Badrinarayanan et al., "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
2017).

The encoder is VGG16's 13 convolutions; the decoder is its mirror image, and puts values back where max-pooling took
them from (Fig. 2 and 3). ``segnet_basic`` is the small one of section 3.1. What the paper leaves open is as in the
authors' public models (alexgkendall/SegNet-Tutorial), but a convolution before batch norm has no bias: it would do
nothing.
"""

from typing import List, Sequence, Tuple

import torch
from torch import nn

from seg_node.networks._unpool import pool, unpool

# channels in, and out of each convolution, stage by stage
_VGG16 = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))


def _convolutions(channels: Sequence[int], size: int, relu: bool = True) -> nn.Sequential:
    layers: List[nn.Module] = []
    before = channels[0]
    for after in channels[1:]:
        layers += [nn.Conv2d(before, after, size, padding=size // 2, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU()] if relu else []
        before = after
    return nn.Sequential(*layers)


class SegNet(nn.Module):
    """Normalised float (N, 3, H, W) to logits (N, classes, H, W).

    Each encoder stage ends in 2x2 max-pooling, each decoder stage begins with unpooling to that stage's size: odd sizes
    are rounded up on the way down, as the authors' models do.
    """

    def __init__(self, encoder: Sequence[nn.Module], decoder: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        taken: List[Tuple[torch.Tensor, Tuple[int, int]]] = []
        for stage in self.encoder:
            x = stage(x)
            height, width = x.shape[2:]
            x, places = pool(x, 2)
            taken.append((places, (height, width)))
        for stage, (places, size) in zip(self.decoder, reversed(taken)):
            x = stage(unpool(x, places, size, 2))
        return x


def build(classes: int) -> SegNet:
    """Build SegNet: 13 convolutions down to 1/32, 13 up."""
    encoder = [_convolutions(channels, 3) for channels in _VGG16]
    decoder = [_convolutions(channels[::-1], 3) for channels in _VGG16[:0:-1]]
    last = nn.Sequential(*_convolutions((64, 64), 3), nn.Conv2d(64, classes, 3, padding=1))
    return SegNet(encoder, [*decoder, last])


def build_basic(classes: int) -> SegNet:
    """Build SegNet-Basic: 4 encoders and 4 decoders of one 7x7 convolution to 64 channels; no ReLU in the decoders."""
    encoder = [_convolutions((channels, 64), 7) for channels in (3, 64, 64, 64)]
    decoder = [_convolutions((64, 64), 7, relu=False) for _ in range(4)]
    decoder[-1].add_module("classify", nn.Conv2d(64, classes, 1))
    return SegNet(encoder, decoder)


NETWORKS = {"segnet": build, "segnet_basic": build_basic}
