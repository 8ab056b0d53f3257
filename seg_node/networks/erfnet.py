"""ERFNet: residual blocks of one-dimensional convolutions (Romera et al., "ERFNet: Efficient Residual Factorized
ConvNet for Real-Time Semantic Segmentation", 2018).

Table I of its paper is the whole network: three downsamplers and thirteen Non-bottleneck-1D blocks make the encoder
at 1/8, three transposed convolutions with four more blocks the decoder. Layers, dropout and batch norm are those of
the authors' public code (Eromera/erfnet_pytorch): 2,066,642 parameters with 19 classes. 2,451 of them are the
encoder's own classifier, which runs only where the encoder is trained alone: ``erfnet_encoder``.
"""

import functools
import re
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch
from torch import nn
from torch.nn import functional

State = Dict[str, torch.Tensor]
Layers = Callable[[int, int], nn.Module]  # (channels, dilation) to layers that keep the shape

EARLY_BLOCKS = 5  # at 1/4
LATE_DILATIONS = (2, 4, 8, 16, 2, 4, 8, 16)  # at 1/8
EARLY_DROPOUT = 0.03
LATE_DROPOUT = 0.3


class Downsampler(nn.Module):
    """3x3 convolution with stride 2 beside 2x2 max-pooling, concatenated (after ENet)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out - channels_in, 3, stride=2, padding=1)
        # ceil_mode: both branches give ceil(size / 2) for odd sizes too
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(torch.cat([self.conv(x), self.pool(x)], dim=1)))


class Upsampler(nn.Module):
    """3x3 transposed convolution to twice the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(x)))


def factorized_pair(channels: int, dilation: int) -> nn.Sequential:
    """3x1, ReLU, 1x3: one 3x3 convolution in two."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)),
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
    )


class NonBottleneck1d(nn.Module):
    """Non-bottleneck-1D (Fig. 2c): a plain pair, a dilated one, each with batch norm; dropout; add; ReLU.

    ``plain`` and ``dilated`` make the layers of the first and of the second pair.
    """

    def __init__(
        self,
        channels: int,
        dilation: int = 1,
        dropout: float = 0.0,
        plain: Layers = factorized_pair,
        dilated: Layers = factorized_pair,
    ) -> None:
        super().__init__()
        self.plain = plain(channels, 1)
        self.norm1 = nn.BatchNorm2d(channels, eps=1e-3)
        self.dilated = dilated(channels, dilation)
        self.norm2 = nn.BatchNorm2d(channels, eps=1e-3)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm1(self.plain(x)))
        y = self.norm2(self.dilated(y))
        return functional.relu(x + self.dropout(y))


def encoder(
    early: Sequence[nn.Module], late: Sequence[nn.Module], downsampler: Callable[[int, int], nn.Module] = Downsampler
) -> nn.Sequential:
    """Image to 128 channels at 1/8 (rows 1 to 16), with the given blocks of 64 channels at 1/4 and of 128 at 1/8."""
    return nn.Sequential(downsampler(3, 16), downsampler(16, 64), *early, downsampler(64, 128), *late)


def decoder(
    classes: int,
    upsampler: Callable[[int, int], nn.Module] = Upsampler,
    block: Callable[[int], nn.Module] = NonBottleneck1d,
    blocks: int = 2,
) -> nn.Sequential:
    """128 channels at 1/8 to logits at the size of the image, rounded up to a multiple of 8 (rows 17 to 23)."""
    return nn.Sequential(
        upsampler(128, 64),
        *(block(64) for _ in range(blocks)),
        upsampler(64, 16),
        *(block(16) for _ in range(blocks)),
        nn.ConvTranspose2d(16, classes, 2, stride=2),
    )


class EncoderDecoder(nn.Module):
    """Normalised float (N, 3, H, W), any H and W, to logits (N, classes, H, W).

    ``classify``: the encoder's classifier from its training alone; it is kept, and does not run.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, classify: Optional[nn.Module] = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        if classify is not None:
            self.classify = classify.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.decoder(self.encoder(x))
        return scores[:, :, : x.shape[2], : x.shape[3]]  # strides begin at the top left, so what is too much is below


class EncoderAlone(nn.Module):
    """The encoder with a 1x1 classifier, scores enlarged to the image: how the encoder is trained before the decoder.

    Its tensors are named as in the whole network.
    """

    def __init__(self, encoder: nn.Module, classify: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.classify = classify

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.classify(self.encoder(x))
        return functional.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


class Classification(nn.Module):
    """The encoder as the authors pretrain it on ImageNet: normalised float (N, 3, H, W) to logits (N, classes).

    Its tensors are named as in the whole network.
    """

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.fc = nn.Linear(128, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = functional.max_pool2d(self.encoder(x), 2)
        return self.fc(pooled.mean((2, 3)))  # type: ignore[no-any-return]

    def dense(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes, H / 16, W / 16) of every place; their mean is ``forward``'s."""
        pooled = functional.max_pool2d(self.encoder(x), 2)
        return functional.conv2d(pooled, self.fc.weight[:, :, None, None], self.fc.bias)


def classifier(classes: int) -> nn.Module:
    """Scores of the encoder's 128 channels."""
    return nn.Conv2d(128, classes, 1)


def build(classes: int, alone: bool = False, dilated: Optional[Layers] = None, classifies: bool = False) -> nn.Module:
    """Build ERFNet, or its encoder ``alone``, or its encoder as a classifier of images (``classifies``).

    ``dilated``: (channels, dilation) to the layers that stand in the place of the dilated 3x1 and 1x3 convolutions, in
    the eight blocks that have them; batch norm follows them, dropout and the residual are the block's. None: ERFNet's.
    """
    second = dilated or factorized_pair
    early = [NonBottleneck1d(64, 1, EARLY_DROPOUT) for _ in range(EARLY_BLOCKS)]
    late = [NonBottleneck1d(128, rate, LATE_DROPOUT, dilated=second) for rate in LATE_DILATIONS]
    body = encoder(early, late)
    if classifies:
        return Classification(body, classes)
    if alone:
        return EncoderAlone(body, classifier(classes))
    return EncoderDecoder(body, decoder(classes), classifier(classes))


_BLOCK = {
    "conv3x1_1": "plain.0",
    "conv1x3_1": "plain.2",
    "bn1": "norm1",
    "conv3x1_2": "dilated.0",
    "conv1x3_2": "dilated.2",
    "bn2": "norm2",
    "conv": "conv",
    "bn": "norm",
}


def from_authors(name: str, state: State) -> Optional[Tuple[State, Dict[str, Any]]]:
    """Read a state dict of the authors' network, or of the one that they pretrained the encoder with on ImageNet.

    The ImageNet classifier becomes ``erfnet_encoder``'s: what it says of the averaged features, said of each place.
    Raises ValueError where the whole network is wanted and the file has the encoder only.
    """
    if "features.encoder.initial_block.conv.weight" in state:
        if name == "erfnet":
            raise ValueError("these are weights of the encoder alone: take them for erfnet_encoder")
        state = {re.sub(r"^features\.", "", key): value for key, value in state.items()}
        state["encoder.output_conv.weight"] = state.pop("classifier.linear.weight")[:, :, None, None]
        state["encoder.output_conv.bias"] = state.pop("classifier.linear.bias")
    elif "encoder.initial_block.conv.weight" not in state:
        return None
    # the authors' file always holds the decoder, which does not run while the encoder is trained alone
    dropped = () if name == "erfnet" else ("decoder.",)
    return {_our_key(key): value for key, value in state.items() if not key.startswith(dropped)}, {}


def _our_key(key: str) -> str:
    key = key.replace("encoder.output_conv.", "classify.")
    key = key.replace("encoder.initial_block.", "encoder.layers.-1.")  # ours is in one row with the layers
    key = key.replace("decoder.output_conv.", "decoder.6.")
    match = re.match(r"(encoder|decoder)\.layers\.(-?\d+)\.(\w+)\.(\w+)$", key)
    if not match:
        return key
    part, index, layer, tensor = match.groups()
    place = int(index) + (1 if part == "encoder" else 0)
    return "{}.{}.{}.{}".format(part, place, _BLOCK[layer], tensor)


NETWORKS = {"erfnet": build, "erfnet_encoder": functools.partial(build, alone=True)}
CLASSIFIERS = {"erfnet_imagenet": functools.partial(build, classifies=True)}
