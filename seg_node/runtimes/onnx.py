"""ONNX Runtime: an ``.onnx`` graph on the CPU, or on a GPU where the installed build has one."""

from typing import Any, Callable, List

import numpy as np

from seg_node.model_card import CardError, ModelCard
from seg_node.runtimes import Prediction, Runtime, check_precision
from seg_node.runtimes._adapt import Tensor, infer_in_batches, pick_input, pick_output

REQUIRES = "onnxruntime"
READS = ("onnx",)
RANK = 10
_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


class OnnxRuntime(Runtime):
    name = "onnx"

    def __init__(self, card: ModelCard, open_session: Callable[[str], Any]) -> None:
        super().__init__(card)
        self._open = open_session
        self._session = session = open_session("onnx")
        self._confident: Any = None  # opened when first wanted
        graph_input = pick_input(card, [_tensor(node) for node in session.get_inputs()])
        self.device = "gpu" if _PROVIDERS["gpu"] in session.get_providers() else "cpu"
        self._input = graph_input.name
        outputs = [_tensor(node) for node in session.get_outputs()]
        self._output = outputs[pick_output(card, outputs)].name
        self.batch = graph_input.shape[0] if isinstance(graph_input.shape[0], int) else None

    def _infer(self, images: np.ndarray) -> Prediction:
        run = self._run
        if self.wants_confidence and "onnx_confidence" in self.card.files:
            run = self._run_with_confidence
        return infer_in_batches(run, images, self.card, self.batch, self.wants_confidence)

    def _run(self, x: np.ndarray) -> List[np.ndarray]:
        outputs: List[np.ndarray] = self._session.run([self._output], {self._input: x})
        return outputs

    def _run_with_confidence(self, x: np.ndarray) -> List[np.ndarray]:
        if self._confident is None:
            self._confident = self._open("onnx_confidence")
        outputs: List[np.ndarray] = self._confident.run(None, {self._confident.get_inputs()[0].name: x})
        return outputs

    def close(self) -> None:
        self._session = self._confident = None


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> OnnxRuntime:
    """Load the card's ONNX file.

    ``device``: auto (the GPU if this build has it), cpu or gpu. ``precision``: auto or fp32: it computes in what the
    file holds. Raises ValueError for others, CardError where the file is no ONNX graph or not as the card says.
    """
    import onnxruntime

    check_precision(precision, "fp32")

    providers = _providers(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    # threads that wait busily take the cores from the camera's driver and from our own executor
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def open_session(kind: str) -> Any:
        path = card.file(kind)
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime raises its own classes, which differ between versions
            raise CardError("{}: ONNX Runtime cannot load it: {}".format(path, error)) from error

    return OnnxRuntime(card, open_session)


def _tensor(node: Any) -> Tensor:
    kind = node.type[len("tensor(") : -1]
    return Tensor(node.name, {"float": "float32", "double": "float64"}.get(kind, kind), tuple(node.shape))


def _providers(device: str, available: List[str]) -> List[str]:
    if device == "auto":
        return [name for name in (_PROVIDERS["gpu"], _PROVIDERS["cpu"]) if name in available]
    if device not in _PROVIDERS or _PROVIDERS[device] not in available:
        raise ValueError(
            "device '{}' is not available to ONNX Runtime here; choose auto or one of {}".format(
                device, ", ".join(name for name, provider in _PROVIDERS.items() if provider in available)
            )
        )
    return [_PROVIDERS[device]]
