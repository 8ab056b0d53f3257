"""An ONNX graph of opset 18 said in opset 13, which TensorRT 8.2's parser and ONNX Runtime 1.10 take.

Only operators whose form changed between the two are rewritten; onnx.checker refuses what is not opset 13 after all.
The graph is static: what was an attribute in 13 and is an input in 18 is a constant here.
"""

from collections.abc import Callable

import onnx
from onnx import NodeProto, helper, numpy_helper

OPSET, IR_VERSION = 13, 7  # ONNX 1.8, which TensorRT 8.2 was built with
# attributes that 13 does not know, with the value at which they say nothing
_SAY_NOTHING: dict[str, dict[str, object]] = {
    "Resize": {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"},
    "BatchNormalization": {"training_mode": 0},
    "ScatterElements": {"reduction": b"none"},
    "ScatterND": {"reduction": b"none"},
}
_REDUCTIONS = ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2")


def convert(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite ``model`` in place and return it. Raises ValueError for what opset 13 cannot say."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants.update(
        {
            node.output[0]: node.attribute[0].t
            for node in model.graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
    )

    def constant(name: str) -> list[int]:
        if name not in constants:
            raise ValueError(f"opset {OPSET} wants '{name}' fixed, and it is computed")
        return [int(value) for value in numpy_helper.to_array(constants[name]).ravel()]

    nodes: list[NodeProto] = []
    for node in model.graph.node:
        _drop_attributes(node)
        nodes += _rewrite(node, constant)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)  # axes that are attributes now
    del model.functions[:]
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.ir_version = IR_VERSION
    return model


def _drop_attributes(node: NodeProto) -> None:
    known = _SAY_NOTHING.get(node.op_type, {})
    for attribute in list(node.attribute):
        if attribute.name in known:
            if helper.get_attribute_value(attribute) != known[attribute.name]:
                raise ValueError(f"opset {OPSET} has no {node.op_type} with {attribute.name}")
            node.attribute.remove(attribute)


def _rewrite(node: NodeProto, constant: Callable[[str], list[int]]) -> list[NodeProto]:
    """Return the nodes of opset 13 that do what ``node`` does."""
    if node.op_type in _REDUCTIONS and len(node.input) > 1:  # axes were an attribute
        if node.input[1]:
            node.attribute.append(helper.make_attribute("axes", constant(node.input[1])))
        del node.input[1:]
        _remove(node, "noop_with_empty_axes")
    elif node.op_type == "Reshape":
        if 0 in constant(node.input[1]):
            raise ValueError(f"opset {OPSET} takes a 0 in Reshape for a side that stays")
        _remove(node, "allowzero")
    elif node.op_type == "Split":
        _remove(node, "num_outputs")  # with as many outputs, 13 splits evenly too
    elif node.op_type == "Pad" and len(node.input) > 3:
        raise ValueError(f"opset {OPSET} has no Pad with axes")
    elif node.op_type == "Resize":
        _remove(node, "axes")
    elif node.op_type == "HardSwish":  # x * HardSigmoid(x)
        gate = node.output[0] + ".gate"
        return [
            helper.make_node("HardSigmoid", [node.input[0]], [gate], alpha=1 / 6, beta=0.5),
            helper.make_node("Mul", [node.input[0], gate], [node.output[0]]),
        ]
    return [node]


def _remove(node: NodeProto, name: str) -> None:
    for attribute in [attribute for attribute in node.attribute if attribute.name == name]:
        if name == "axes":
            raise ValueError(f"opset {OPSET} has no {node.op_type} with axes")
        node.attribute.remove(attribute)
