"""What a graph tells of its network: how pixels are normalised inside, what comes out, and of how many classes."""

from typing import NamedTuple

import numpy as np

from seg_node.inspecting import IMAGENET, Feeding, Found
from seg_node.inspecting.graph import Graph, Node
from seg_node.runtimes._adapt import Tensor

_SAME_PIXELS = ("Cast", "Identity", "Transpose", "Resize", "Pad", "Squeeze", "Unsqueeze", "Clip")
_SAME_CLASSES = (
    *("Cast", "Identity", "Transpose", "Resize", "Upsample", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Pad", "Crop"),
    *("Gather", "Relu", "Clip", "BatchNormalization", "DequantizeLinear", "QuantizeLinear", "FakeQuantize"),
    *("AveragePool", "DepthToSpace", "ReverseSequence"),
)
_DECISIONS = ("Softmax", "Sigmoid", "LogSoftmax", "ArgMax", "TopK", "Greater", "GreaterOrEqual", "Round")
_SUMS = ("Add", "Sum", "Mul", "Sub", "Neg", "Div", "Max")
_MOST_CLASSES = 255


class Affine(NamedTuple):
    """What a graph does to its pixels first: x * gain + offset, a number a channel."""

    gain: np.ndarray  # float (3,)
    offset: np.ndarray  # float (3,)
    swapped: bool  # it turns rgb into bgr, or back, before that


def describe_graph(found: Found, graph: Graph, maker: str) -> None:
    """Fill in what a graph tells; ``found`` has inputs and outputs. ``maker``: the program that wrote it."""
    if len(found.inputs) == 1:
        _read_input(found, found.inputs[0])
        affine = first_affine(graph, found.inputs[0].name)
        found.feeding = feeding(affine, found.dtype or "", found.layout or "", maker)
    else:
        names = ", ".join(tensor.name for tensor in found.inputs)
        found.notes.append(f"has {len(found.inputs)} inputs ({names}): only networks of one image can be used here")
    _read_output(found, graph)


def _read_input(found: Found, tensor: Tensor) -> None:
    found.dtype = tensor.dtype
    sides = tensor.shape[1:]
    if len(tensor.shape) != 4:
        found.notes.append(f"input {tensor}: an image must be (N, 3, H, W) or (N, H, W, 3) here; export it anew so")
        return
    found.layout = "nchw" if sides[0] == 3 else "nhwc" if sides[2] == 3 else None
    if found.layout is None:
        found.layout = "nchw" if not isinstance(sides[0], int) else None
        channels = "a free number of" if found.layout else str(sides[0])
        found.notes.append(f"input {tensor}: {channels} channels; only colour images, 3 channels, can be used here")
    height, width = sides[:2] if found.layout == "nhwc" else sides[1:]
    if isinstance(height, int) and isinstance(width, int):
        found.size = (height, width)


def first_affine(graph: Graph, name: str) -> Affine | None:
    """Follow the pixels until something else than arithmetic with constants; None where there is none of that."""
    gain, offset, swapped, steps = np.ones(3), np.zeros(3), False, 0
    while True:
        takers = graph.takers(name)
        if len(takers) != 1:
            break
        node = takers[0]
        if node.op in _SAME_PIXELS and node.inputs[0] == name:
            name = node.outputs[0]
            continue
        if node.op == "Gather" and _is_swap(graph, node):
            swapped, name = not swapped, node.outputs[0]
            gain, offset = gain[::-1], offset[::-1]
            continue
        step = _arithmetic(graph, node, name)
        if step is None:
            break
        gain, offset, name, steps = gain * step[0], offset * step[0] + step[1], node.outputs[0], steps + 1
    if swapped:  # as the input has them
        gain, offset = gain[::-1], offset[::-1]
    right = np.isfinite(gain).all() and np.isfinite(offset).all() and (gain > 0).all()
    return Affine(gain, offset, swapped) if (steps or swapped) and right else None


def _is_swap(graph: Graph, node: Node) -> bool:
    indices = graph.constant(node.inputs[1])
    return indices is not None and indices.ravel().tolist() == [2, 1, 0]


def _arithmetic(graph: Graph, node: Node, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return gain and offset, float (3,), of one node, or None where it is nothing of the kind."""
    if node.op == "BatchNormalization":
        return _batch_norm(graph, node)
    if node.op == "Conv":
        return _channel_by_channel(graph, node)
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    first = node.inputs[0] == name
    number = _three(graph.constant(node.inputs[1] if first else node.inputs[0]))
    if number is None or (not first and node.op in ("Sub", "Div")):
        return None
    one, zero = np.ones(3), np.zeros(3)
    if node.op in ("Add", "Sub"):
        return one, number if node.op == "Add" else -number
    with np.errstate(divide="ignore"):
        return (number if node.op == "Mul" else one / number), zero


def _batch_norm(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    numbers = [_three(graph.constant(given)) for given in node.inputs[1:5]]
    if any(number is None for number in numbers):
        return None
    gamma, beta, mean, variance = (np.asarray(number) for number in numbers)
    gain = gamma / np.sqrt(variance + node.options.get("epsilon", 1e-5))
    return gain, beta - mean * gain


def _channel_by_channel(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """A convolution of one pixel that mixes no channels is arithmetic, too."""
    weights = graph.constant(node.inputs[1]) if node.options.get("group") == 3 else None
    bias = _three(graph.constant(node.inputs[2])) if len(node.inputs) > 2 else np.zeros(3)
    return None if weights is None or weights.size != 3 or bias is None else (weights.ravel(), bias)


def _three(value: np.ndarray | None) -> np.ndarray | None:
    """Return a constant of one or three numbers as float (3,)."""
    if value is None or value.size not in (1, 3):
        return None
    return np.broadcast_to(value.astype(np.float64).ravel(), (3,))


def feeding(affine: Affine | None, dtype: str, layout: str, maker: str) -> Feeding:
    """Say how to feed a network whose graph begins with ``affine``."""
    if affine is None:
        if dtype == "uint8":
            return Feeding(about="takes pixels as they are; how it normalises them was not found", known=True, scale=1)
        return _guess(layout, maker)
    mean, std = -affine.offset / affine.gain + 0.0, 1.0 / affine.gain  # + 0.0: no -0
    wide = _takes_0_to_255(mean, std) or dtype == "uint8"
    unit = 255.0 if wide else 1.0
    channels, order = _order(mean / unit, affine.swapped)
    shown = f"mean {_list(mean / unit)}, std {_list(std / unit)} of pixels / 255"
    if np.allclose(std, unit, rtol=1e-3) and np.abs(mean).max() > 0:
        shown += " (another std may have become part of the weights)"
    about = f"in the graph: {shown}; it takes {'0 to 255' if wide else '0 to 1'}; {order}"
    return Feeding(channels=channels, scale=1.0 if wide else 255.0, known=True, about=about)


def _takes_0_to_255(mean: np.ndarray, std: np.ndarray) -> bool:
    """Whether pixels so normalised are 0 to 255; else they are 0 to 1."""
    return bool(mean.max() > 1.5 or std.max() > 4)


def _order(mean: np.ndarray, swapped: bool) -> tuple[str, str]:
    """Tell rgb from bgr by ImageNet's mean, whose red is the brightest."""
    channels, why = "rgb", "rgb is a guess"
    for name, wanted in (("rgb", IMAGENET[0]), ("bgr", IMAGENET[0][::-1])):
        if np.abs(mean - wanted).max() < 0.012:
            channels, why = name, f"{name}, by the order of ImageNet's mean"
    if swapped and "guess" in why:
        channels, why = "bgr", "bgr is a guess, as it turns the channels round"
    return channels, why


def _guess(layout: str, maker: str) -> Feeding:
    if layout == "nhwc" or "tf2onnx" in maker.lower() or "keras" in maker.lower():
        return Feeding(
            mean=(1.0, 1.0, 1.0),
            scale=127.5,
            about="not in the graph. A guess: rgb from -1 to 1, as TensorFlow's networks are often fed",
        )
    return Feeding(
        mean=IMAGENET[0],
        std=IMAGENET[1],
        about="not in the graph. A guess: rgb with ImageNet's mean and std, as most of PyTorch's networks are fed",
    )


def _list(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"


def _read_output(found: Found, graph: Graph) -> None:
    """Find the output to use, what it is, and the number of classes."""
    readings = [(tensor, *_trace(graph, tensor)) for tensor in found.outputs]
    usable = [reading for reading in readings if reading[1] is not None]
    if not usable:
        found.notes.append(
            "no output looks like labels or logits: "
            + ", ".join(map(str, found.outputs))
            + "; a segmentation network gives (N, H, W), (N, 1, H, W), (N, classes, h, w) or (N, h, w, classes)"
        )
        return
    tensor, found.output, found.classes = usable[0]
    if len(found.outputs) > 1:
        found.output_name = tensor.name
        others = ", ".join(other.name for other in found.outputs if other.name != tensor.name)
        found.notes.append(f"'{tensor.name}' is taken; it also gives {others}")
    if found.classes is None:
        found.notes.append("the number of classes was not found: say --classes N")


def _trace(graph: Graph, tensor: Tensor) -> tuple[str | None, int | None]:
    """Return what an output is, one of model_card.OUTPUTS or None, and of how many classes."""
    name, last, decided = tensor.name, None, []
    while (node := graph.maker(name)) is not None:
        if node.op in _DECISIONS:
            decided.append(node.op)
        elif node.op not in _SAME_CLASSES:
            last = node
            break
        name = node.inputs[0]
    planes = _planes_of(graph, last)
    labels = bool(set(decided) & {"ArgMax", "TopK", "Greater", "GreaterOrEqual", "Round"})
    shape = tensor.shape
    if labels or tensor.dtype.startswith(("int", "uint", "bool")):
        flat = len(shape) in (0, 2, 3) or (len(shape) == 4 and 1 in (shape[1], shape[3]))
        return ("labels" if flat else None), _classes(planes)
    if not tensor.dtype.startswith(("float", "bfloat")) or len(shape) not in (0, 3, 4):
        return None, None
    kind = "probabilities" if set(decided) & {"Softmax", "Sigmoid"} else "logits"
    sides = [side for side in (shape[-3:-2] + shape[-1:]) if isinstance(side, int)]
    if planes not in sides and sides:
        planes = min(sides) if len(sides) == 2 else sides[0]
    return (kind, _classes(planes)) if planes is None or planes <= _MOST_CLASSES else (None, None)


def _classes(planes: int | None) -> int | None:
    """Return the number of classes of a network that gives so many planes: one is that of the second of two."""
    return 2 if planes == 1 else planes


def _planes_of(graph: Graph, node: Node | None) -> int | None:
    """Return how many planes a layer gives, by its weights."""
    if node is None:
        return None
    weights = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if weights is not None and node.op in ("Conv", "ConvTranspose") and weights.ndim >= 4:
        group = int(node.options.get("group", 1))
        if weights.ndim == 5:  # OpenVINO's grouped: (groups, out, in, h, w)
            return int(weights.shape[0] * weights.shape[1])
        return int(weights.shape[0] if node.op == "Conv" else weights.shape[1] * group)
    if weights is not None and node.op == "MatMul" and weights.ndim == 2:
        before = graph.maker(node.inputs[0])
        if before is not None and before.op in ("Conv", "ConvTranspose"):  # along its width: an upsampling
            return _planes_of(graph, before)
        return int(weights.shape[0 if node.options.get("transposed") else 1])
    return _planes_of_sum(graph, node) if node.op in _SUMS else None


def _planes_of_sum(graph: Graph, node: Node) -> int | None:
    """Return how many planes a sum has: of two heads, or of one and a bias."""
    for name in node.inputs:
        value = graph.constant(name)
        if value is not None and value.size > 1:
            return int(value.size)
        inner = graph.maker(name)
        while inner is not None and inner.op in _SAME_CLASSES:
            inner = graph.maker(inner.inputs[0])
        planes = None if value is not None else _planes_of(graph, inner)
        if planes:
            return planes
    return None
