"""Between our contract (uint8 pixels in, uint8 class ids out) and a graph that wants or gives something else.

What a graph wants is on its card: layout, dtype, mean, std, scale, output kind and name. Our own exported graphs need
none of this and pass through without a copy. Where a graph is not as its card says, the error says what to write there.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from seg_node.model_card import CARD_NAME, CardError, ModelCard
from seg_node.runtimes import Prediction


class Tensor(NamedTuple):
    """A graph's input or output, as its library tells it."""

    name: str
    dtype: str  # as NumPy calls it: uint8, float32, ...
    shape: Tuple[Any, ...]  # -1, or anything but an int, for a free side; () where nothing is known

    def __str__(self) -> str:
        sides = ", ".join(str(side) if _is_fixed(side) else "?" for side in self.shape)
        return "'{}' {} ({})".format(self.name, self.dtype, sides)


def _is_fixed(side: Any) -> bool:
    return isinstance(side, int) and side >= 0


def pick_input(card: ModelCard, inputs: Sequence[Tensor]) -> Tensor:
    """Return the one input. Raises CardError where there are others, or where it is not as the card says."""
    if len(inputs) != 1:
        raise CardError(
            "{}: the graph has {} inputs: {}; one image is all that a network gets here: export it anew with the "
            "others fixed".format(card.folder / CARD_NAME, len(inputs), _listed(inputs))
        )
    check_graph(card, inputs[0].dtype, inputs[0].shape)
    return inputs[0]


def pick_output(card: ModelCard, outputs: Sequence[Tensor]) -> int:
    """Return which output to read: the card's ``output.name``, or the first that can be what ``output.kind`` says.

    Raises CardError that lists the outputs where there is none.
    """
    if card.output_name is not None:
        for index, output in enumerate(outputs):
            if output.name == card.output_name:
                return index
        raise CardError(
            "{}: output.name is '{}', but the graph gives {}; correct output.name".format(
                card.folder / CARD_NAME, card.output_name, _listed(outputs)
            )
        )
    for index, output in enumerate(outputs):
        if _may_be(output, card):
            return index
    raise CardError(
        "{}: output.kind '{}' means {}, but the graph gives {}; correct output.kind, output.name or "
        "network.classes{}".format(
            card.folder / CARD_NAME, card.output, _meaning(card), _listed(outputs), _hint(outputs[:1], card)
        )
    )


def check_graph(card: ModelCard, dtype: str, shape: tuple) -> None:
    """Raise CardError where a graph's input, as its library tells it, is not what the card says.

    ``dtype``: "uint8", "float32", ...; ``shape``: with -1, or anything but an int, for a free side.
    """
    height, width = card.size
    expected = (height, width, 3) if card.layout == "nhwc" else (3, height, width)
    got = tuple(shape)[1:]
    fits = len(got) == 3 and all(_is(side, want) for side, want in zip(got, expected))
    if dtype != card.dtype or not fits:
        raise CardError(
            "{}: says input {} (N, {}), but the graph has {} {}; {}".format(
                card.folder / CARD_NAME,
                card.dtype,
                ", ".join(map(str, expected)),
                dtype,
                tuple(shape),
                _right_input(card, dtype, got),
            )
        )


def _right_input(card: ModelCard, dtype: str, got: tuple) -> str:
    """Say what the card's input must be for a graph of ``dtype`` and sides ``got``, batch apart."""
    layout = "nchw" if got[:1] == (3,) else "nhwc" if got[2:] == (3,) else None
    if dtype not in ("uint8", "float32", "float16") or layout is None or len(got) != 3:
        return "an input is uint8, float32 or float16 of shape (N, 3, H, W) or (N, H, W, 3): export it anew so"
    sides = got[1:] if layout == "nchw" else got[:2]
    size = [side if _is_fixed(side) else own for side, own in zip(sides, card.size)]
    return "correct the card's input: {{size: {}, layout: {}, dtype: {}}}".format(size, layout, dtype)


def _may_be(output: Tensor, card: ModelCard) -> bool:
    """Whether a tensor can be what ``card.output`` says; a side that is not known can be anything."""
    shape, floats = output.shape, output.dtype.startswith("float")
    if not shape:
        return floats or card.output == "labels"
    if card.output == "labels":
        flat = len(shape) in (2, 3) or (len(shape) == 4 and (_is(shape[1], 1) or _is(shape[3], 1)))
        return flat and (not floats or output.dtype in ("float32", "float16"))
    if not floats or len(shape) not in (3, 4):
        return False
    sides = (shape[-3], shape[-1])
    return any(_is(side, card.classes) or (card.classes == 2 and _is(side, 1)) for side in sides)


def _is(side: Any, wanted: int) -> bool:
    return not _is_fixed(side) or bool(side == wanted)


def _meaning(card: ModelCard) -> str:
    if card.output == "labels":
        return "labels (N, H, W)"
    one = " or (N, 1, h, w)" if card.classes == 2 else ""
    return "float {0} (N, {1}, h, w) or (N, h, w, {1}){2}".format(card.output, card.classes, one)


def _hint(outputs: Sequence[Tensor], card: ModelCard) -> str:
    """Say what the first output looks like."""
    for output in outputs:
        if len(output.shape) == 4 and output.dtype.startswith("float") and _is_fixed(output.shape[1]):
            return ": this looks like kind logits with {} classes".format(max(output.shape[1], 2))
        if output.dtype.startswith(("int", "uint")):
            return ": this looks like kind labels"
    return ""


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(map(str, tensors)) or "nothing"


def to_input(images: np.ndarray, card: ModelCard) -> np.ndarray:
    """Turn uint8 (N, H, W, 3) into what the card says that the graph takes."""
    planar = card.layout == "nchw"
    if card.dtype == "uint8":
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if planar else images
    count, height, width, _ = images.shape
    x = np.empty((count, 3, height, width) if planar else images.shape, np.float32)
    for channel in range(3):
        # folded: (x / scale - mean) / std = x * gain + offset
        gain = 1.0 / (card.scale * card.std[channel])
        offset = -card.mean[channel] / card.std[channel]
        plane = x[:, channel] if planar else x[..., channel]
        np.multiply(images[..., channel], np.float32(gain), out=plane)
        plane += np.float32(offset)
    return x if card.dtype == "float32" else x.astype(card.dtype)


def infer_in_batches(
    run: Callable, images: np.ndarray, card: ModelCard, batch: Optional[int], confidence: bool = False
) -> Prediction:
    """Label uint8 (N, H, W, 3) with ``run``, input to outputs of a graph that takes ``batch`` images; None: any number.

    ``confidence``: wanted; it is the graph's second output, or made of the logits. A batch that N images do not fill
    is filled with the last of them.
    """
    x = to_input(images, card)
    if batch in (None, len(x)):
        return to_prediction(run(x), card, confidence)
    each: List[List[np.ndarray]] = []
    for start in range(0, len(x), batch or 1):
        part = x[start : start + (batch or 1)]
        missing = (batch or 1) - len(part)
        if missing:
            part = np.concatenate([part] + [part[-1:]] * missing)
        outputs = [output.copy() for output in run(part)]
        if missing and any(len(output) != batch for output in outputs):
            raise _mismatch(card, outputs[0], "as many as there are images, {}".format(batch))
        each.append([output[: len(output) - missing] for output in outputs])
    return to_prediction([np.concatenate(outputs) for outputs in zip(*each)], card, confidence)


def to_prediction(outputs: Sequence[np.ndarray], card: ModelCard, confidence: bool = False) -> Prediction:
    """Turn a graph's outputs into a Prediction of ``card.size``.

    The first: labels (N, H, W), (N, 1, H, W), (N, H, W, 1) or (H, W) of any number type; or logits or probabilities
    (N, classes, h, w), (N, h, w, classes) or without N, and for two classes (N, 1, h, w), the second class's. Those
    are brought to the card's size first, bilinear, and then compared. The second, if any: confidence, 0..255 (N, H, W).
    Raises CardError where an output is not what the card says.
    """
    output, sure = outputs[0], outputs[1] if len(outputs) > 1 else None
    if card.output != "labels":
        return _decide(_scores(output, card), card, confidence)
    labels = _squeezed(output, card)
    if labels.dtype != np.uint8:
        if labels.dtype.kind == "f":
            labels = labels.astype(np.int32)
        # seen as unsigned, -1 and -100, which are common for unlabelled, are large as well, and become 255
        labels = np.minimum(labels.view("u{}".format(labels.itemsize)), 255).astype(np.uint8)
    return Prediction(
        _stretch(labels, card), None if sure is None else _stretch(sure.astype(np.uint8, copy=False), card)
    )


def _squeezed(output: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return labels as (N, H, W)."""
    if output.ndim == 4 and 1 in (output.shape[1], output.shape[3]):
        output = output[:, 0] if output.shape[1] == 1 else output[..., 0]
    elif output.ndim == 2:
        output = output[np.newaxis]
    if output.ndim != 3 or output.dtype.kind not in "iufb":
        raise _mismatch(card, output, _meaning(card))
    return output


def _scores(output: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return logits or probabilities as float32 (N, classes or 1, h, w)."""
    if output.ndim == 3:
        output = output[np.newaxis]
    if output.ndim != 4 or output.dtype.kind != "f":
        raise _mismatch(card, output, _meaning(card))
    if output.shape[1] != card.classes:
        if output.shape[3] == card.classes:
            output = output.transpose(0, 3, 1, 2)
        elif card.classes != 2 or 1 not in (output.shape[1], output.shape[3]):
            raise _mismatch(card, output, _meaning(card))
        elif output.shape[1] != 1:
            output = output.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(output, dtype=np.float32)


def _decide(scores: np.ndarray, card: ModelCard, confidence: bool) -> Prediction:
    """Label float32 (N, C, h, w); plane by plane: faster than an argmax over all, and never more than three planes."""
    height, width = card.size
    labels = np.zeros((len(scores), height, width), np.uint8)
    sure = np.empty_like(labels) if confidence else None
    for index, planes in enumerate(scores):
        best = _second_alone(planes, card) if len(planes) == 1 else _plane(planes, 0, card).copy()
        if len(planes) == 1:
            labels[index] = best > 0.5
            np.maximum(best, 1.0 - best, out=best)
        for number in range(1, len(planes)):
            plane = _plane(planes, number, card)
            np.copyto(labels[index], np.uint8(number), where=plane > best)
            np.maximum(best, plane, out=best)
        if sure is not None:
            if card.output == "logits" and len(planes) > 1:
                total = sum(np.exp(_plane(planes, number, card) - best) for number in range(len(planes)))
                best = 1.0 / total  # the label's share of the softmax
            sure[index] = np.clip(255.0 * best + 0.5, 0, 255)
    return Prediction(labels, sure)


def _second_alone(planes: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return the second class's probability, float32 (H, W): of two classes, some networks give that alone."""
    plane = _plane(planes, 0, card)
    if card.output == "probabilities":
        return plane.copy()
    share: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(plane, -80, 80)))
    return share


def _plane(planes: np.ndarray, number: int, card: ModelCard) -> np.ndarray:
    """Return class ``number``'s plane in the card's size, float32 (H, W)."""
    plane: np.ndarray = planes[number]
    height, width = card.size
    if plane.shape != (height, width):
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    return plane


def _stretch(labels: np.ndarray, card: ModelCard) -> np.ndarray:
    height, width = card.size
    if labels.shape[1:] == (height, width):
        return labels
    rows = (np.arange(height) * labels.shape[1]) // height
    columns = (np.arange(width) * labels.shape[2]) // width
    return labels[:, rows[:, None], columns]


def _mismatch(card: ModelCard, output: np.ndarray, wanted: str) -> CardError:
    tensor = Tensor("it", str(output.dtype), output.shape)
    return CardError(
        "{}: output.kind '{}' means {}, but the graph gives {} {}{}".format(
            card.folder / CARD_NAME, card.output, wanted, output.dtype, output.shape, _hint([tensor], card)
        )
    )
