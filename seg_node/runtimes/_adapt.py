"""Between our contract (uint8 pixels in, uint8 class ids out) and a graph that wants or gives something else.

What a graph wants is on its card: layout, dtype, mean, std, scale, output kind. Our own exported graphs need none of
this and pass through without a copy.
"""

from typing import Callable, Optional, Sequence

import numpy as np

from seg_node.model_card import CARD_NAME, CardError, ModelCard
from seg_node.runtimes import Prediction


def check_graph(card: ModelCard, dtype: str, shape: tuple) -> None:
    """Raise CardError where a graph's input, as its library tells it, is not what the card says.

    ``dtype``: "uint8", "float32", ...; ``shape``: with anything but an int for a free side.
    """
    height, width = card.size
    expected = (height, width, 3) if card.layout == "nhwc" else (3, height, width)
    got = tuple(shape)[1:]
    fits = len(got) == 3 and all(not isinstance(side, int) or side == want for side, want in zip(got, expected))
    if dtype != card.dtype or not fits:
        raise CardError(
            "{}: says input {} (N, {}), but the graph has {} {}; correct the card's input".format(
                card.folder / CARD_NAME, card.dtype, ", ".join(map(str, expected)), dtype, tuple(shape)
            )
        )


def to_input(images: np.ndarray, card: ModelCard) -> np.ndarray:
    """Turn uint8 (N, H, W, 3) into what the card says that the graph takes."""
    if card.dtype == "uint8":
        return images if card.layout == "nhwc" else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    x = (images.astype(np.float32) / np.float32(card.scale) - mean) / std
    return x if card.layout == "nhwc" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def infer_in_batches(
    run: Callable, images: np.ndarray, card: ModelCard, batch: Optional[int], confidence: bool = False
) -> Prediction:
    """Label uint8 (N, H, W, 3) with ``run``, input to outputs of a graph that takes ``batch`` images; None: any number.

    ``confidence``: wanted; it is the graph's second output, or made of the logits. Raises ValueError where N images
    cannot be cut into such batches.
    """
    x = to_input(images, card)
    if batch in (None, len(x)):
        return to_prediction(run(x), card, confidence)
    if batch != 1:
        raise ValueError("the graph takes batches of {}; got {} images".format(batch, len(x)))
    each = [[output.copy() for output in run(x[i : i + 1])] for i in range(len(x))]
    return to_prediction([np.concatenate(outputs) for outputs in zip(*each)], card, confidence)


def to_prediction(outputs: Sequence[np.ndarray], card: ModelCard, confidence: bool = False) -> Prediction:
    """Turn a graph's outputs into a Prediction of ``card.size``.

    The first: labels (N, H, W) or (N, 1, H, W) of any integer type, or logits (N, classes, h, w); the second, if any:
    confidence, uint8 (N, H, W). Raises CardError where an output is not what the card says.
    """
    output, sure = outputs[0], outputs[1] if len(outputs) > 1 else None
    if card.output == "logits":
        if output.ndim != 4 or output.shape[1] != card.classes or output.dtype.kind != "f":
            raise _mismatch(card, output, "float logits (N, {}, h, w)".format(card.classes))
        if confidence:
            sure = _confidence(output)
        output = output.argmax(axis=1)
    elif output.ndim == 4 and output.shape[1] == 1:
        output = output[:, 0]
    if output.ndim != 3 or output.dtype.kind not in "iu":
        raise _mismatch(card, output, "integer labels (N, H, W)")
    labels = output if output.dtype == np.uint8 else output.astype(np.uint8)
    return Prediction(_stretch(labels, card), None if sure is None else _stretch(sure, card))


def _confidence(logits: np.ndarray) -> np.ndarray:
    """Return the largest class's share of the softmax: float (N, C, h, w) to uint8 (N, h, w)."""
    x = logits.astype(np.float32)
    share = 1.0 / np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1)
    return (255.0 * share + 0.5).astype(np.uint8)


def _stretch(labels: np.ndarray, card: ModelCard) -> np.ndarray:
    height, width = card.size
    if labels.shape[1:] == (height, width):
        return labels
    rows = (np.arange(height) * labels.shape[1]) // height
    columns = (np.arange(width) * labels.shape[2]) // width
    return labels[:, rows[:, None], columns]


def _mismatch(card: ModelCard, output: np.ndarray, wanted: str) -> CardError:
    return CardError(
        "{}: output.kind '{}' means {}, but the graph gives {} {}".format(
            card.folder / CARD_NAME, card.output, wanted, output.dtype, output.shape
        )
    )
