"""To ONNX: one fused graph with a static shape, pixels in, class ids out.

Two borders. By default uint8 NHWC in and uint8 out, for current libraries; with the target tx2, float32 NHWC (0..255)
in and int32 out, in an opset that TensorRT 8.2's parser and ONNX Runtime 1.10 take. fp16 is the inside only: weights
and activations are half, what goes in and out is not. int8 is a graph with Q/DQ nodes (``_qdq``).
"""

import copy
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from seg_node.exporters import Artefact, Source, Wanted
from seg_node.networks._deployed import Deployed

PRECISIONS = ("fp32", "fp16", "int8")
OPSET, IR_VERSION = 18, 8  # ONNX 1.13: ONNX Runtime 1.14 reads it
INPUT, OUTPUTS = "image", ["label", "confidence"]


def write(source: Source, folder: Path, say: Callable[[str], None]) -> list[Artefact]:
    """Write the graph, and where confidence is wanted a second one that gives it beside the labels.

    Raises ValueError for what the target cannot be.
    """
    wanted = source.wanted
    if wanted.target == "tx2" and wanted.precision == "int8":
        raise ValueError(
            "no INT8 for a TX2: its GPU has no 8-bit integer arithmetic for TensorRT; it has fp16: export --target tx2 "
            "alone, and on the TX2 choose precision fp16"
        )
    if wanted.target == "tx2" and wanted.precision != "fp32":
        raise ValueError(
            "the graph for a TX2 is fp32: TensorRT 8 makes its fp16 engine of that by itself, on the TX2: "
            "--to tensorrt --precision fp16"
        )
    if wanted.precision == "int8":
        from seg_node.exporters import _qdq

        path = folder / f"{source.card.name}.int8.onnx"
        about = {"precision": "int8", "batch": wanted.batch, **_qdq.write(source, path, say)}
        return [Artefact("onnx_int8", path, about, {})]
    artefacts = []
    for confidence in [False, True][: 1 + wanted.confidence]:
        words = [wanted.target, wanted.precision.replace("fp32", ""), "confidence" * confidence]
        words = [word for word in words if word]
        path = folder / ".".join([source.card.name, *words, "onnx"])
        say(f"{source.card.name}: tracing {path.name}")
        opset = write_graph(source, path, confidence)
        about = {"precision": wanted.precision, "opset": opset, "batch": wanted.batch, **border(wanted.target)}
        about |= strided(wanted)
        artefacts.append(Artefact("_".join(["onnx", *words]), path, about, {}))
    return artefacts


def border(target: str) -> dict[str, Any]:
    """Return what the card says of the graph's input and output."""
    dtype = "float32" if target == "tx2" else "uint8"
    return {"layout": "nhwc", "dtype": dtype, "output": "labels", "fused": True}


def strided(wanted: Wanted) -> dict[str, Any]:
    """Return what the card says of labels that are not every pixel's own."""
    return {"label_stride": wanted.label_stride} if wanted.label_stride > 1 else {}


def write_graph(source: Source, path: Path, confidence: bool = False) -> int:
    """Write the network with its normalisation and argmax to ``path``, checked, and return the opset."""
    import onnx

    from seg_node.exporters._lean import label_every, lean

    wanted = source.wanted
    deployed = copy.deepcopy(source.deployed)
    deployed.confidence = confidence
    if wanted.precision == "fp16":
        deployed.half_inside()
    if wanted.target == "tx2":
        deployed.out = torch.int32
    dtype = torch.float32 if wanted.target == "tx2" else torch.uint8
    model = trace(deployed, torch.zeros((wanted.batch, *source.card.size, 3), dtype=dtype))
    if wanted.label_stride > 1:
        label_every(model, wanted.label_stride)
    lean(model, upsampling=wanted.target != "tx2")
    if wanted.target == "tx2":
        from seg_node.exporters import _older_opset

        model = _older_opset.convert(model)
    made_from = source.card.files.get("torch")
    notes = {"seg_node.model": source.card.name, "seg_node.weights": (made_from and made_from.sha256) or ""}
    onnx.helper.set_model_props(model, notes)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    opset: int = model.opset_import[0].version
    return opset


def trace(deployed: Deployed, example: torch.Tensor) -> Any:
    """Return ``deployed`` as an onnx.ModelProto with a static shape, ``example``'s; nothing of this machine in it."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of its own internals, and of torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployed.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=[INPUT],
            output_names=OUTPUTS if deployed.confidence else OUTPUTS[:1],
        )
    assert program is not None  # dynamo=True returns the program
    program.optimize()
    model = program.model_proto
    # the exporter notes where each node stood in our sources: paths of the exporting machine, of no use to a robot
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.ir_version = IR_VERSION  # the exporter's own is its onnx package's; what it notes for that is deleted above
    _count_no_padding_where_there_is_none(model)
    return model


def _count_no_padding_where_there_is_none(model: Any) -> None:
    """Make unpadded average pools average over what is there, in so many words.

    With ceil_mode the last window may reach over the edge. PyTorch counts the pixels inside; older libraries (ONNX
    Runtime 1.10) count those outside too where count_include_pad is set, as PyTorch's exporter does by default.
    """
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        padded = any(attributes["pads"].ints) if "pads" in attributes else False
        if node.op_type == "AveragePool" and "count_include_pad" in attributes and not padded:
            attributes["count_include_pad"].i = 0
