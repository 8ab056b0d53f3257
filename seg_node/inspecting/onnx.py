"""An ONNX file: its graph is read, not run."""

from pathlib import Path
from typing import Any

import numpy as np

from seg_node.inspecting import Found
from seg_node.inspecting.graph import Graph, Node
from seg_node.inspecting.reading import describe_graph
from seg_node.runtimes._adapt import Tensor

TX2_OPSET = 13  # the newest that TensorRT 8.2 reads
_NAMES = {"float": "float32", "double": "float64"}
_OPTIONS = ("epsilon", "group", "axis")


def read(path: Path) -> Found:
    """Raises ValueError where the file is no ONNX graph, ImportError where the package onnx is missing."""
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own classes
        raise ValueError(f"{path}: no ONNX file, or a damaged one: {error}") from error
    if not model.graph.output:
        raise ValueError(f"{path}: no ONNX network: its graph has no outputs (a damaged file?)")
    beside = _external(path, model)
    if beside and all(part.is_file() for part in beside):
        model = onnx.load(str(path))
    stored = {tensor.name for tensor in model.graph.initializer}
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    maker = f"{model.producer_name} {model.producer_version}".strip()
    found = Found(
        path,
        "onnx",
        path.stat().st_size + sum(part.stat().st_size for part in beside if part.is_file()),
        f"ONNX, opset {opsets.get('', '?')}, IR {model.ir_version}" + (f", by {maker}" if maker else ""),
        [_tensor(value) for value in model.graph.input if value.name not in stored],
        [_tensor(value) for value in model.graph.output],
        opsets.get(""),
        _precision(model),
        sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer),
        beside=beside,
    )
    missing = [part.name for part in beside if not part.is_file()]
    if missing:
        found.notes.append(f"its weights are in {', '.join(missing)}, which must lie beside it and does not")
    foreign = sorted(domain for domain in opsets if domain not in ("", "ai.onnx", "ai.onnx.ml"))
    used = {node.domain for node in model.graph.node} & set(foreign)
    if used:
        found.notes.append(f"uses operators of {', '.join(sorted(used))}, which other runtimes than its own may lack")
    if (found.opset or 0) > TX2_OPSET:
        found.notes.append(f"TensorRT 8.2 (Jetson TX2) reads opset {TX2_OPSET} at most: for that, export it with that")
    describe_graph(found, _graph(model), maker)
    return found


def _external(path: Path, model: Any) -> list[Path]:
    """Return the files beside ``path`` that hold weights of large graphs."""
    names = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if tensor.data_location == 1 and entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]


def _tensor(value: Any) -> Tensor:
    from onnx import helper

    kind = value.type.tensor_type
    dtype = "unknown"
    if kind.elem_type:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    sides = [side.dim_value if side.HasField("dim_value") else side.dim_param or None for side in kind.shape.dim]
    return Tensor(value.name, dtype, tuple(sides))


def _precision(model: Any) -> str | None:
    """Return what most of the weights are, int8 where anything is quantised."""
    from onnx import TensorProto

    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in model.graph.node):
        return "int8"
    names = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.DOUBLE: "fp64",
    }
    sizes: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type in names:
            name = names[tensor.data_type]
            sizes[name] = sizes.get(name, 0) + int(np.prod(tensor.dims))
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def _graph(model: Any) -> Graph:
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in _OPTIONS}
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    stored[node.output[0]] = attribute.t
                elif attribute.name in ("value_float", "value_int"):
                    number = np.array(helper.get_attribute_value(attribute))
                    stored[node.output[0]] = numpy_helper.from_array(number, node.output[0])
            continue
        nodes.append(Node(node.op_type, tuple(node.input), tuple(node.output), options))

    def constant(name: str) -> np.ndarray | None:
        tensor = stored.get(name)
        if tensor is None:
            return None
        if tensor.data_location == 1 and not tensor.raw_data:  # weights that are missing: their shape is known
            return np.zeros(tuple(tensor.dims), np.float32)
        return np.asarray(numpy_helper.to_array(tensor))

    return Graph(nodes, constant)
