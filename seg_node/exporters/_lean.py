"""The same function with fewer passes over memory: what a traced graph can say shorter, and no label changes.

Four things that take a small network a fifth of its time on a CPU, in INT8 more than a third:

- a channel shuffle behind a convolution is that convolution with its kernels in another order;
- a normalisation of a convolution beside a pooling (the downsampling of ENet, ERFNet and RDS-Net) is two: the
  convolution's is a part of its kernels;
- a bilinear upsampling by a whole number is a small matrix product along W and a weighted sum of three rows along H.
  Libraries compute it for any ratio, and OpenVINO takes five times as long for that;
- an argmax over planes of all pixels in a row: behind a transposed convolution, whose channels lie together, OpenVINO
  takes ten times as long for it.
"""

from collections import Counter
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, shape_inference

UPSAMPLING = "upsampling/"  # what the names of the nodes begin with that stand for one; INT8 leaves them as they are


def lean(model: Any, upsampling: bool = True) -> Any:
    """Rewrite ``model`` (onnx.ModelProto with a static shape) in place and return it.

    ``upsampling``: that before the argmax, and the argmax, too, for what runs on CPUs; a GPU has kernels for them.
    """
    graph = Graph(model)
    rules = {"Transpose": _fold_shuffle, "BatchNormalization": _split_norm}
    if upsampling:
        rules.update(Resize=_upsample, ArgMax=_flatten)
    for kind, rule in rules.items():
        for node in [node for node in model.graph.node if node.op_type == kind]:
            rule(graph, node)
    graph.tidy()
    return model


class Graph:
    """A graph, and what its nodes do not tell by themselves: who makes a tensor, who uses it, what is constant."""

    def __init__(self, model: Any) -> None:
        self.proto = model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.proto.initializer}
        for node in self.proto.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        values = (*self.proto.input, *self.proto.value_info, *self.proto.output)
        self.tensors = {value.name: value.type.tensor_type for value in values}
        self._look()

    def _look(self) -> None:
        nodes = self.proto.node
        self.makers = {output: node for node in nodes for output in node.output}
        self.uses = Counter(name for node in nodes for name in node.input)
        self.uses.update(output.name for output in self.proto.output)

    def shape(self, name: str) -> list[int]:
        """Return the sides of a tensor, or [] where they are not known."""
        return [side.dim_value for side in self.tensors[name].shape.dim] if name in self.tensors else []

    def maker(self, name: str, *kinds: str) -> NodeProto | None:
        """Return the node of one of these kinds that makes ``name`` for one user alone."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in kinds and self.uses[name] == 1 else None

    def users(self, name: str) -> list[NodeProto]:
        return [node for node in self.proto.node if name in node.input]

    def user(self, name: str, kind: str) -> NodeProto | None:
        """Return the one user of ``name`` if it is of that kind."""
        users = self.users(name)
        return users[0] if self.uses[name] == 1 and users and users[0].op_type == kind else None

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant and return its name."""
        self.proto.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self.constants[name] = value
        return name

    def kernels(self, conv: NodeProto) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Return a convolution's weight and bias, or None where they are not constants."""
        parts = [self.constants.get(name) for name in conv.input[1:]]
        if parts[0] is None or (len(parts) > 1 and parts[1] is None):
            return None
        return parts[0], parts[1] if len(parts) > 1 else None

    def set_kernels(self, conv: NodeProto, weight: np.ndarray, bias: np.ndarray | None) -> None:
        name = conv.output[0]
        both = [self.constant(f"{name}.weight", weight)]
        both += [] if bias is None else [self.constant(f"{name}.bias", bias)]
        del conv.input[1:]
        conv.input.extend(both)

    def replace(self, old: list[NodeProto], new: list[NodeProto]) -> None:
        """Put ``new`` where the last of ``old`` stands."""
        at = list(self.proto.node).index(old[-1]) + 1
        for number, node in enumerate(new):
            self.proto.node.insert(at + number, node)
        for node in old:
            self.proto.node.remove(node)
        self._look()

    def tidy(self) -> None:
        """Remove constants and notes of tensors that nothing uses any more."""
        for node in [node for node in self.proto.node if node.op_type == "Constant" and not self.uses[node.output[0]]]:
            self.proto.node.remove(node)
        for tensor in [tensor for tensor in self.proto.initializer if not self.uses[tensor.name]]:
            self.proto.initializer.remove(tensor)
        made = {output for node in self.proto.node for output in node.output}
        for value in [value for value in self.proto.value_info if value.name not in made]:
            self.proto.value_info.remove(value)


def attributes(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def label_every(model: Any, stride: int) -> Any:
    """Rewrite ``model`` in place and return it: labels of every ``stride``-th pixel, each repeated over its square.

    What is upsampled before the argmax becomes that much smaller. Raises ValueError where it cannot be, or where the
    network does not end with a bilinear upsampling.
    """
    graph = Graph(model)
    ends = [node for node in model.graph.node if node.op_type == "Resize" and _is_bilinear(node)]
    ends = [node for node in ends if any(user.op_type == "ArgMax" for user in graph.users(node.output[0]))]
    if len(ends) != 1:
        raise ValueError(f"--label-stride {stride}: this network does not end with a bilinear upsampling of its scores")
    small, large = graph.shape(ends[0].input[0]), graph.shape(ends[0].output[0])
    size = [side // stride for side in large[2:]]
    if any(side % stride for side in large[2:]) or any(got < had for got, had in zip(size, small[2:], strict=True)):
        most = min(side // had for side, had in zip(large[2:], small[2:], strict=True))
        raise ValueError(
            f"--label-stride {stride}: must divide the input's {large[2]}x{large[3]}, and be at most {most}, the "
            "network's own stride"
        )
    sizes = graph.constant("stride.size", np.array([*large[:2], *size], np.int64))
    del ends[0].input[1:]
    ends[0].input.extend(["", "", sizes])
    for output in model.graph.output:
        _repeat(graph, output.name, large[0], size, stride)
    del model.graph.value_info[:]
    model.CopyFrom(shape_inference.infer_shapes(model, data_prop=True))
    return model


def _repeat(graph: Graph, name: str, count: int, size: list[int], stride: int) -> None:
    """Make the output ``name``, labels (N, h, w), stride times as large, each repeated over its square."""
    made = graph.makers[name]
    made.output[0] = f"{name}.each"
    apart = graph.constant(f"{name}.apart", np.array([count, *size, 1], np.int64))
    wide = graph.constant(f"{name}.wide", np.array([count, *size, stride], np.int64))
    rows = graph.constant(f"{name}.rows", np.array([count, size[0], size[1] * stride], np.int64))
    each = graph.constant(f"{name}.times", np.arange(size[0] * stride, dtype=np.int64) // stride)
    graph.proto.node.extend(
        [
            helper.make_node("Reshape", [f"{name}.each", apart], [f"{name}.point"], name=f"{name}.point"),
            helper.make_node("Expand", [f"{name}.point", wide], [f"{name}.wider"], name=f"{name}.wider"),
            helper.make_node("Reshape", [f"{name}.wider", rows], [f"{name}.row"], name=f"{name}.row"),
            helper.make_node("Gather", [f"{name}.row", each], [name], name=f"{name}.tall", axis=1),
        ]
    )


def _fold_shuffle(graph: Graph, transpose: NodeProto) -> None:
    """Conv, Reshape to (N, groups, each, H, W), Transpose, Reshape back: a Conv with its kernels in another order."""
    if list(attributes(transpose).get("perm", [])) != [0, 2, 1, 3, 4]:
        return
    apart, back = graph.maker(transpose.input[0], "Reshape"), graph.user(transpose.output[0], "Reshape")
    conv = graph.maker(apart.input[0], "Conv") if apart is not None else None
    if apart is None or back is None or conv is None:
        return
    kernels, before = graph.kernels(conv), graph.shape(conv.output[0])
    five = graph.shape(apart.output[0])
    same = len(five) == 5 and [five[0], five[1] * five[2], *five[3:]] == before == graph.shape(back.output[0])
    if kernels is None or not same or attributes(conv).get("group", 1) != 1:
        return
    weight, bias = kernels
    order = np.arange(len(weight)).reshape(five[1], five[2]).T.ravel()
    graph.set_kernels(conv, weight[order], None if bias is None else bias[order])
    conv.output[0] = back.output[0]
    graph.replace([apart, transpose, back], [])


def _split_norm(graph: Graph, norm: NodeProto) -> None:
    """Concat of Conv and MaxPool, BatchNormalization, Relu: the latter two of each for itself, then Concat."""
    concat, relu = graph.maker(norm.input[0], "Concat"), graph.user(norm.output[0], "Relu")
    if concat is None or relu is None or attributes(concat)["axis"] != 1:
        return
    parts = [graph.maker(name, "Conv", "MaxPool") for name in concat.input]
    found = [part for part in parts if part is not None]
    values = [graph.constants[name] for name in norm.input[1:5] if name in graph.constants]
    kernels = {part.output[0]: graph.kernels(part) for part in found if part.op_type == "Conv"}
    known = all(len(graph.shape(part.output[0])) == 4 for part in found)
    if len(found) < len(parts) or not known or len(values) < 4 or not kernels or None in kernels.values():
        return
    new: list[NodeProto] = []
    end = 0
    for part in found:
        name = part.output[0]
        start, end = end, end + graph.shape(name)[1]
        own = [value[start:end] for value in values]
        one = kernels.get(name)
        if one is not None:
            graph.set_kernels(part, *_normalised(*one, own, attributes(norm).get("epsilon", 1e-5)))
        else:
            inputs = [
                graph.constant(f"{name}.{of}", value) for of, value in zip(("s", "b", "m", "v"), own, strict=True)
            ]
            new.append(helper.make_node("BatchNormalization", [name, *inputs], [f"{name}.norm"], name=f"{name}.norm"))
            new[-1].attribute.extend(norm.attribute)
            name = f"{name}.norm"
        new.append(helper.make_node("Relu", [name], [f"{part.output[0]}.relu"], name=f"{part.output[0]}.relu"))
    names = [f"{part.output[0]}.relu" for part in found]
    new.append(helper.make_node("Concat", names, [relu.output[0]], name=concat.name, axis=1))
    graph.replace([concat, norm, relu], new)


def _normalised(
    weight: np.ndarray, bias: np.ndarray | None, norm: list[np.ndarray], epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a convolution's weight and bias with the normalisation behind it in them."""
    scale, shift, mean, variance = (value.astype(np.float64) for value in norm)
    gain = scale / np.sqrt(variance + epsilon)
    bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
    kernels = weight * gain.reshape(-1, 1, 1, 1)
    return kernels.astype(weight.dtype), ((bias - mean) * gain + shift).astype(weight.dtype)


def _upsample(graph: Graph, resize: NodeProto) -> None:
    """The Resize before an argmax, bilinear by whole numbers: W by a MatMul, H as a sum of three rows."""
    x, y = resize.input[0], resize.output[0]
    small, large = graph.shape(x), graph.shape(y)
    if not _is_bilinear(resize) or len(small) != 4 or small[:2] != large[:2] or min(small[2:]) < 2:
        return
    if graph.tensors[x].elem_type != TensorProto.FLOAT or not any(u.op_type == "ArgMax" for u in graph.users(y)):
        return
    if small == large or large[2] % small[2] or large[3] % small[3]:
        return
    n, classes, rows, _ = small
    times, wide = large[2] // rows, large[3]
    new: list[NodeProto] = []

    def add(kind: str, inputs: list[str], output: str, **how: int) -> str:
        name = y if output == y else f"{UPSAMPLING}{y}.{output}"
        new.append(helper.make_node(kind, inputs, [name], name=f"{UPSAMPLING}{y}.{output}", **how))
        return name

    def fixed(what: str, value: Any, dtype: Any = np.int64) -> str:
        return graph.constant(f"{UPSAMPLING}{y}.{what}", np.array(value, dtype))

    middle = add("MatMul", [x, fixed("columns", _columns(small[3], wide), np.float32)], "wide")
    at = np.arange(rows)
    above = add("Gather", [middle, fixed("one_up", np.maximum(at - 1, 0))], "above", axis=2)
    below = add("Gather", [middle, fixed("one_down", np.minimum(at + 1, rows - 1))], "below", axis=2)
    # each row of the small image becomes ``times`` rows, between those above and below it
    offset = (np.arange(times) + 0.5) / times - 0.5
    shares = {above: np.maximum(-offset, 0), middle: 1 - np.abs(offset), below: np.maximum(offset, 0)}
    apart, terms = fixed("apart", [n, classes, rows, 1, wide]), []
    for number, (tensor, share) in enumerate(shares.items()):
        row = add("Reshape", [tensor, apart], f"row{number}")
        terms.append(add("Mul", [row, fixed(f"share{number}", share.reshape(times, 1), np.float32)], f"term{number}"))
    tall = add("Add", [add("Add", terms[:2], "two"), terms[2]], "tall")
    add("Reshape", [tall, fixed("size", large)], y)
    graph.replace([resize], new)


def _flatten(graph: Graph, argmax: NodeProto) -> None:
    """ArgMax over the classes of (N, C, H, W): the same of (N, C, H W), which a library has to lay out in planes."""
    x, y = argmax.input[0], argmax.output[0]
    shape, about = graph.shape(x), attributes(argmax)
    if len(shape) != 4 or about.get("axis") != 1 or about.get("keepdims", 1):
        return
    n, classes, height, width = shape
    planes = graph.constant(f"{y}.planes", np.array([n, classes, height * width], np.int64))
    size = graph.constant(f"{y}.size", np.array([n, height, width], np.int64))
    flat = helper.make_node("ArgMax", [f"{y}.flat"], [f"{y}.best"], name=argmax.name)
    flat.attribute.extend(argmax.attribute)
    new = [
        helper.make_node("Reshape", [x, planes], [f"{y}.flat"], name=f"{y}.flat"),
        flat,
        helper.make_node("Reshape", [f"{y}.best", size], [y], name=f"{y}.size"),
    ]
    graph.replace([argmax], new)


def _is_bilinear(resize: NodeProto) -> bool:
    about = attributes(resize)
    half = about.get("coordinate_transformation_mode", b"half_pixel") in (b"half_pixel", b"pytorch_half_pixel")
    return half and about.get("mode") == b"linear" and not about.get("antialias")


def _columns(small: int, large: int) -> np.ndarray:
    """Return float64 (small, large): bilinear, between pixels' centres, nothing beyond the edges."""
    at = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    left = np.minimum(at.astype(int), small - 2)
    matrix = np.zeros((small, large))
    matrix[left, np.arange(large)] = 1 - (at - left)
    matrix[left + 1, np.arange(large)] = at - left
    return matrix
