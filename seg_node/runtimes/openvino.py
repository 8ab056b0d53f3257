"""OpenVINO: IR (``.xml``) or an ``.onnx`` graph, on Intel, AMD and Arm CPUs and Intel GPUs."""

from typing import Any, Callable, List

import numpy as np

from seg_node.model_card import CardError, ModelCard
from seg_node.runtimes import Prediction, Runtime, check_precision, file_kind
from seg_node.runtimes._adapt import Tensor, infer_in_batches, pick_input, pick_output

REQUIRES = "openvino"
READS = ("openvino", "onnx")
RANK = 20
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_DTYPES = {"u8": "uint8", "f32": "float32", "f16": "float16", "f64": "float64", "i32": "int32", "i64": "int64"}


class OpenVinoRuntime(Runtime):
    name = "openvino"

    def __init__(self, card: ModelCard, compile_file: Callable[[str], Any], device: str, precision: str) -> None:
        super().__init__(card)
        self.device, self.precision = device, precision
        self._compile = compile_file
        compiled = compile_file(str(file_kind(card, "openvino") or "onnx"))
        shape = pick_input(card, [_tensor(port) for port in compiled.inputs]).shape
        self._output = pick_output(card, [_tensor(port) for port in compiled.outputs])
        self.batch = shape[0]
        self._request = compiled.create_infer_request()
        self._confident: Any = None  # compiled when first wanted

    def _infer(self, images: np.ndarray) -> Prediction:
        request, wanted = self._request, [self._output]
        if self.wants_confidence and "onnx_confidence" in self.card.files:
            if self._confident is None:
                self._confident = self._compile("onnx_confidence").create_infer_request()
            request, wanted = self._confident, [0, 1]

        def run(x: np.ndarray) -> List[np.ndarray]:
            # shared memory both ways: the request reads x where it lies, and the results are views of its outputs
            results = request.infer([x], share_inputs=True, share_outputs=True)
            return [results[index] for index in wanted]

        return infer_in_batches(run, images, self.card, self.batch, self.wants_confidence)

    def close(self) -> None:
        self._request = self._confident = None


def _tensor(port: Any) -> Tensor:
    rank, names = port.partial_shape.rank, port.get_names()
    sides = port.partial_shape if rank.is_static else ()
    shape = tuple(side.get_length() if side.is_static else None for side in sides)
    kind = port.element_type.get_type_name()
    return Tensor(min(names) if names else "", _DTYPES.get(kind, kind), shape)


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> OpenVinoRuntime:
    """Load the card's OpenVINO or ONNX file.

    ``device``: auto or cpu (the CPU), or OpenVINO's own names. ``precision``: auto (fp32), fp32, bf16, fp16, where the
    device has it. Raises ValueError for what is not there, CardError where the file is no graph or not as the card
    says.
    """
    import openvino

    check_precision(precision, *_HINTS)
    # bf16, OpenVINO's own default where the CPU has it, changes labels: only who asks for it gets it
    wanted = "fp32" if precision == "auto" else precision
    core = openvino.Core()
    target = "CPU" if device in ("auto", "cpu") else device.upper()
    if target.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
        raise ValueError(
            "device '{}' is not available to OpenVINO here; choose auto or one of {}".format(
                device, ", ".join(name.lower() for name in core.available_devices)
            )
        )
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[wanted]}

    def compile_file(kind: str) -> Any:
        path = card.file(kind)
        try:
            compiled = core.compile_model(core.read_model(str(path)), target, hints)
        except RuntimeError as error:
            raise CardError("{}: OpenVINO cannot load it: {}".format(path, error)) from error
        real = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()  # it falls back without a word
        if real != _HINTS[wanted]:
            raise ValueError("device '{}' does not compute in {}, only in {}".format(target.lower(), wanted, real))
        return compiled

    return OpenVinoRuntime(card, compile_file, target.lower(), wanted)
