"""INT8 as a graph says it: ONNX with Q/DQ nodes, for TensorRT of every version and ONNX Runtime.

ONNX Runtime's own quantiser, as TensorRT wants it: symmetric, a scale for each output channel of a kernel, kernels kept
as floats with their Q/DQ pair beside them, biases left alone. OpenVINO has its own (``quantise``).
"""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from seg_node.evaluation.confusion import Confusion
from seg_node.exporters import Source, _calibration
from seg_node.exporters._calibration import Batches, Images
from seg_node.exporters.onnx import INPUT, border, write_graph
from seg_node.exporters.parity import MOST_LOST, ParityError
from seg_node.label_set import load_label_set
from seg_node.model_card import ModelCard, ModelFile
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import load_runtime
from seg_node.runtimes._adapt import to_input

_KERNELS = ["Conv", "ConvTranspose", "MatMul", "Gemm"]
_HOW = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "QuantizeBias": False,
}


def write(source: Source, path: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the card's network in INT8, with the border that every TensorRT takes, and return the card's entry of it.

    Raises ValueError without --calibrate, DatasetError, ParityError as ``quantise``.
    """
    wanted = source.wanted
    images = _calibration.find(wanted.calibrate, load_label_set(source.card.label_set))
    floats = path.with_name(f"floats.{path.name}")
    inside = dataclasses.replace(wanted, precision="fp32", target="tx2")
    opset = write_graph(source._replace(wanted=inside), floats, wanted.confidence)
    calibration = quantise(source, floats, path, border("tx2"), images, say)
    floats.unlink()
    return {"opset": opset, "calibration": calibration, **border("tx2")}


def quantise(
    source: Source, floats: Path, path: Path, border: dict[str, Any], images: Images, say: Callable[[str], None]
) -> dict[str, Any]:
    """Write the graph ``floats`` in INT8 to ``path`` and return what the card says of how it was made.

    ``border``: of both, as on a card's file entry. Raises ParityError where it loses more than MOST_LOST of the mIoU
    on images that were not calibrated on, unless forced; without labels there, only the golden images decide.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    card = source.card

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._card = _as(card, floats, border)
            self._batches = iter(Batches(self._card, source.wanted.batch, images.calibrate))

        def get_next(self) -> dict[str, Any] | None:
            pixels = next(self._batches, None)
            return None if pixels is None else {INPUT: to_input(pixels, self._card.for_file("onnx"))}

    say(f"{card.name}: calibrating on {len(images.calibrate)} images ({images.calibrate.name})")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to prepare graphs in ways that ours need not
    try:
        quantize_static(
            str(floats),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_KERNELS,
            extra_options=_HOW,
        )
    finally:
        root.setLevel(level)
    about: dict[str, Any] = {"calibrated_on": f"{images.calibrate.name}, {len(images.calibrate)} images"}
    if images.label_set is None:
        return about
    say(f"{card.name}: measuring on {len(images.measure)} other images ({images.measure.name})")
    before, after = (_miou(_as(card, graph, border), images) for graph in (floats, path))
    if before - after > MOST_LOST and not source.wanted.force:
        raise ParityError(
            f"{card.name}: INT8 loses {100 * (before - after):.2f} points of mIoU on {images.measure.name}; "
            f"{100 * MOST_LOST:.0f} is the limit. The file is not used. Calibrate on more images of what the camera "
            "sees, choose --precision fp16, or --force it"
        )
    about["measured_on"] = f"{images.measure.name}, {len(images.measure)} images"
    return {**about, "miou_fp32": round(before, 5), "miou_int8": round(after, 5), "miou_lost": round(before - after, 5)}


def _as(card: ModelCard, graph: Path, border: dict[str, Any]) -> ModelCard:
    """Return the card as that of one graph."""
    return card._replace(files={"onnx": ModelFile(graph, None, **border)}, output_name=None)


def _miou(card: ModelCard, images: Images) -> float:
    """Return the mIoU through the Segmenter and the runtime that a robot has."""
    assert images.label_set is not None
    segmenter = Segmenter(card, load_runtime(card, "onnx", "cpu"))
    to_truth = segmenter.label_set.to(images.label_set)
    confusion = Confusion(images.label_set.class_count)
    for index in range(len(images.measure)):
        sample = images.measure[index]
        labels = segmenter.segment(Frame(sample.image, "bgr")).labels
        confusion.add(sample.label, cv2.LUT(labels, to_truth))
    return confusion.scores().miou
