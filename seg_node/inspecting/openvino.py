"""An OpenVINO network, an ``.xml`` with its ``.bin`` beside it: read, not run."""

import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import numpy as np

from seg_node.inspecting import Found
from seg_node.inspecting.graph import Graph, Node
from seg_node.inspecting.reading import describe_graph
from seg_node.runtimes._adapt import Tensor

_OPS = {
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "Convert": "Cast",
    "Interpolate": "Resize",
    "Convolution": "Conv",
    "GroupConvolution": "Conv",
    "ConvolutionBackpropData": "ConvTranspose",
    "SoftMax": "Softmax",
    "BatchNormInference": "BatchNormalization",
    "Clamp": "Clip",
}
_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "f64": "float64", "boolean": "bool"}
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "f64": "fp64"}
_WEIGHTS = (*_PRECISIONS, "i8", "u8", "i4", "u4")


def read(path: Path) -> Found:
    """Raises ValueError where the file is no IR, FileNotFoundError without its .bin, ImportError without openvino."""
    try:
        root = xml.parse(path).getroot()
    except xml.ParseError as error:
        raise ValueError(f"{path}: no OpenVINO network: {error}") from error
    if root.tag != "net":
        raise ValueError(f"{path}: no OpenVINO network: it begins with <{root.tag}>")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such file; an OpenVINO network needs it beside {path.name}")
    import openvino

    try:
        model = openvino.Core().read_model(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot read it: {str(error).splitlines()[-1]}") from error
    versions = {int(each[5:]) for layer in root.iter("layer") if (each := layer.get("version", ""))[5:].isdigit()}
    info = root.find("rt_info/Runtime_version")
    maker = "" if info is None else info.get("value", "").split("-")[0]
    constants = [node for node in model.get_ordered_ops() if node.get_type_name() == "Constant"]
    found = Found(
        path,
        "openvino",
        path.stat().st_size + weights.stat().st_size,
        f"OpenVINO IR {root.get('version', '?')}" + (f", by OpenVINO {maker}" if maker else ""),
        [_tensor(port) for port in model.inputs],
        [_tensor(port) for port in model.outputs],
        max(versions, default=None),
        _precision(model, constants),
        sum(int(np.prod(node.shape)) for node in constants if node.get_element_type().get_type_name() in _WEIGHTS),
        beside=[weights],
    )
    describe_graph(found, _graph(model, found), maker)
    return found


def _tensor(port: Any) -> Tensor:
    rank, names = port.partial_shape.rank, sorted(port.get_names())
    sides = port.partial_shape if rank.is_static else ()
    shape = tuple(side.get_length() if side.is_static else None for side in sides)
    kind = port.element_type.get_type_name()
    if kind[0] in "iu" and kind[1:].isdigit():
        kind = {"i": "int", "u": "uint"}[kind[0]] + kind[1:]
    return Tensor(names[0] if names else "", _DTYPES.get(kind, kind), shape)


def _precision(model: Any, constants: list[Any]) -> str | None:
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ordered_ops()):
        return "int8"
    sizes: dict[str, int] = {}
    for node in constants:
        kind = node.get_element_type().get_type_name()
        if kind in ("i8", "u8") and len(node.shape) == 4:
            return "int8"
        if kind in _PRECISIONS:
            name = _PRECISIONS[kind]
            sizes[name] = sizes.get(name, 0) + int(np.prod(node.shape))
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def _graph(model: Any, found: Found) -> Graph:
    """Return the graph; ``found`` has the names of its inputs and outputs, those inside are our own."""
    nodes, constants = [], {}
    for port, tensor in zip(model.inputs, found.inputs, strict=True):
        nodes.append(Node("Identity", (tensor.name,), (f"#{port.get_node().get_friendly_name()}:0",)))
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        outputs = tuple(f"#{op.get_friendly_name()}:{index}" for index in range(op.get_output_size()))
        if kind == "Constant":
            constants[outputs[0]] = op
        elif kind not in ("Parameter", "Result"):
            inputs = tuple(_name(value) for value in op.input_values())
            options = {"transposed": op.get_attributes().get("transpose_b", False)} if kind == "MatMul" else {}
            if kind == "GroupConvolution":
                options = {"group": int(op.input_value(1).shape[0])}
            nodes.append(Node(_OPS.get(kind, kind), inputs, outputs, options))
    for port, tensor in zip(model.outputs, found.outputs, strict=True):
        nodes.append(Node("Identity", (_name(port.get_node().input_value(0)),), (tensor.name,)))

    def constant(name: str) -> np.ndarray | None:
        op = constants.get(name)
        if op is None:
            return None
        data = np.asarray(op.data)
        return data.astype(np.float32) if data.dtype.kind == "f" else data

    return Graph(nodes, constant)


def _name(value: Any) -> str:
    return f"#{value.get_node().get_friendly_name()}:{value.get_index()}"
