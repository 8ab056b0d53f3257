"""To OpenVINO IR: the ONNX exporter's graph as ``.xml`` and ``.bin``, and from it an INT8 one (``quantise``).

The IR is the same for fp32 and bf16: bf16 is how a CPU computes, and the card's ``precision`` asks for it. fp16 halves
the weights; what computes in fp16 is an Intel GPU, or a CPU that has it, and others compute in fp32. Where confidence
is wanted it is a second output of the same file, and its runtime cuts that branch off until somebody asks.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seg_node.exporters import Artefact, Source
from seg_node.exporters.onnx import strided, write_graph

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
_KERNELS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul")


def write(source: Source, folder: Path, say: Callable[[str], None]) -> list[Artefact]:
    """Write the IR that is wanted.

    Raises ValueError for what cannot be (bf16 on a CPU without it, int8 without images), ImportError that says what to
    install, ParityError where int8 costs too much.
    """
    card, wanted = source.card, source.wanted
    if wanted.target:
        raise ValueError(f"--target {wanted.target} is for --to onnx: no OpenVINO runs there")
    try:
        import openvino
    except ImportError as error:
        raise ImportError("--to openvino needs OpenVINO: pip install openvino") from error
    core = openvino.Core()
    if wanted.precision == "bf16":
        _check_bf16(core, wanted.device)
    if wanted.precision == "int8":
        from seg_node.exporters import quantise

        images = quantise.check(source)

    graph = folder / f"{card.name}.partial.onnx"
    plain = source._replace(wanted=dataclasses.replace(wanted, precision="fp32"))
    opset = write_graph(plain, graph, wanted.confidence)
    model = core.read_model(graph)  # not convert_model: that one sends statistics of its use
    graph.unlink()
    keys = {"precision": wanted.precision, "opset": opset, "batch": wanted.batch}
    keys |= {"layout": "nhwc", "dtype": "uint8", "output": "labels", "fused": True, **strided(wanted)}
    keys |= {"confidence": True} if wanted.confidence else {}
    if wanted.precision == "int8":
        path = folder / f"{card.name}.int8.xml"
        model, calibration = quantise.quantise(source, model, images, say)
        openvino.save_model(model, path, compress_to_fp16=False)
        lost = {"openvino_int8_miou_lost": calibration["miou_lost"]}
        return [Artefact("openvino_int8", path, {**keys, "calibration": calibration}, lost)]
    path = folder / f"{card.name}.xml"
    if wanted.precision == "fp16":
        _halve_kernels(model)
    openvino.save_model(model, path, compress_to_fp16=False)
    return [Artefact("openvino", path, keys, {})]


def _halve_kernels(model: Any) -> None:
    """Keep the kernels, nearly all of the weights, as float16.

    Not the rest, as OpenVINO's own compression does: normalisations such as ESPNet's, 1 / 18392, are too small for
    float16, and a whole percent of the labels changed.
    """
    import openvino
    from openvino import opset13

    for constant in model.get_ordered_ops():
        if constant.get_type_name() != "Constant" or constant.get_output_element_type(0) != openvino.Type.f32:
            continue
        users = [user for user in constant.output(0).get_target_inputs() if user.get_node().get_type_name() in _KERNELS]
        if users:
            half = opset13.convert(opset13.constant(constant.data.astype(np.float16)), "f32")
            for user in users:
                user.replace_source_output(half.output(0))


def _check_bf16(core: Any, device: str) -> None:
    """Raise ValueError where bf16 cannot be tried."""
    target = "CPU" if device in ("auto", "cpu") else device.upper()
    if "BF16" not in core.get_property(target, "OPTIMIZATION_CAPABILITIES"):
        raise ValueError(
            f"{target} does not compute in bf16, so that its labels cannot be checked here; export on a machine that "
            "does, or --precision fp32: the same file, computed in bf16 where a node's parameter precision says so"
        )
