"""The numbers behind the labels: a graph's logits, where it can be made to show them.

Our graphs give labels. Here the input of their argmax is made an output too, in memory; no file is changed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from seg_node.runtimes import Runtime
from seg_node.runtimes._adapt import to_input

_ON_THE_WAY = ("Cast", "Squeeze", "Unsqueeze", "Reshape", "Transpose", "Identity", "Convert")


class Shower:
    """Shows the logits of one runtime's network."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ask = {"torch": _torch, "onnx": _onnx, "openvino": _openvino}.get(runtime.name, _nothing)(runtime)

    def logits(self, image: np.ndarray) -> np.ndarray | None:
        """Return float32 (1, classes, h, w) for uint8 (1, H, W, 3), or None where they are not to be had."""
        logits = self._ask(image)
        if logits is None:
            return None
        logits = np.asarray(logits, np.float32)
        classes = self._runtime.card.classes
        if logits.ndim == 3:  # an argmax of planes sees (1, classes, h w)
            logits = logits.reshape(*logits.shape[:2], *self._runtime.card.size)
        if logits.ndim == 4 and logits.shape[1] != classes == logits.shape[3]:
            logits = logits.transpose(0, 3, 1, 2)
        return logits if logits.ndim == 4 and logits.shape[1] == classes else None


def _nothing(runtime: Runtime) -> Any:
    return lambda image: None


def _torch(runtime: Any) -> Any:
    return runtime.logits


def _onnx(runtime: Runtime) -> Any:
    import onnx
    import onnxruntime

    kind = runtime.kind
    card = runtime.card.for_file(kind)
    model = onnx.load(str(card.files[kind].path))
    name = before_argmax(model.graph)
    if name is None:
        return lambda image: None
    if name not in [output.name for output in model.graph.output]:
        model.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    batch = given.shape[0] if isinstance(given.shape[0], int) else 1

    def ask(image: np.ndarray) -> Any:
        return session.run([name], {given.name: np.repeat(to_input(image, card), batch, 0)})[0][:1]

    return ask


def before_argmax(graph: Any) -> str | None:
    """Return the tensor of which an ONNX graph's first output is the argmax, that output itself, or None."""
    makers = {output: node for node in graph.node for output in node.output}
    name: str = graph.output[0].name
    while name in makers and makers[name].op_type in _ON_THE_WAY:
        name = makers[name].input[0]
    if name in makers and makers[name].op_type in ("ArgMax", "TopK"):
        return str(makers[name].input[0])
    return name if graph.output[0].type.tensor_type.elem_type in (1, 10) else None  # float32, float16


def _openvino(runtime: Runtime) -> Any:
    import openvino

    kind = runtime.kind
    card = runtime.card.for_file(kind)
    model = openvino.Core().read_model(str(Path(card.files[kind].path)))
    port = model.output(0).get_node().input_value(0)
    while port.get_node().get_type_name() in _ON_THE_WAY:
        port = port.get_node().input_value(0)
    if port.get_node().get_type_name() in ("TopK", "ArgMax"):
        port = port.get_node().input_value(0)
    elif not port.get_element_type().is_real():
        return lambda image: None
    model.add_outputs([port])
    hints = {"INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp16": "f16"}.get(runtime.precision, "f32")}
    compiled = openvino.Core().compile_model(model, "CPU", hints)
    side = compiled.input(0).partial_shape[0]
    batch = side.get_length() if side.is_static else 1

    def ask(image: np.ndarray) -> Any:
        results = compiled([np.repeat(to_input(image, card), batch, 0)])
        return results[len(compiled.outputs) - 1][:1]

    return ask
