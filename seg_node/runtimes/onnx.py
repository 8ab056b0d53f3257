"""ONNX Runtime: an ``.onnx`` graph on the CPU, or on a GPU where the installed build has one."""

import logging
from pathlib import Path
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from seg_node.model_card import CardError, ModelCard
from seg_node.runtimes import CannotLoad, Prediction, Runtime, check_precision
from seg_node.runtimes._adapt import Tensor, infer_in_batches, pick_input, pick_output
from seg_node.runtimes._threads import inference_threads

REQUIRES = "onnxruntime"
READS = {"onnx": ("fp32",), "onnx_tx2": ("fp32",), "onnx_fp16": ("fp16",), "onnx_int8": ("int8",)}
RANK = 20
ON_GPU = "capi/libonnxruntime_providers_cuda.so"
_log = logging.getLogger(__name__)
_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


class _Opened(NamedTuple):
    """A file, ready to infer."""

    session: Any  # onnxruntime.InferenceSession
    path: Path
    input: str
    outputs: Optional[List[str]]  # labels or logits; None: all, where the second is the confidence
    batch: Optional[int]
    card: ModelCard  # as it is for this file

    def run(self, x: np.ndarray) -> List[np.ndarray]:
        try:
            outputs: List[np.ndarray] = self.session.run(self.outputs, {self.input: x})
        except Exception as error:  # ONNX Runtime raises its own classes, which are no RuntimeErrors
            raise RuntimeError("{}: ONNX Runtime cannot run it: {}".format(self.path, error)) from error
        return outputs


class OnnxRuntime(Runtime):
    name = "onnx"

    def __init__(self, card: ModelCard, kind: str, session: Any, open_session: Callable[[str], Any]) -> None:
        """``kind``: of the file that ``session`` runs; ``open_session`` opens another."""
        super().__init__(card)
        self.kind, self._open = kind, open_session
        self._plain: Optional[_Opened] = _open(card, kind, session)
        self._confident: Optional[_Opened] = None
        self._knows_confidence = False  # opened, if there is any, when first wanted
        self.precision = {"onnx_fp16": "fp16", "onnx_int8": "int8"}.get(kind, "fp32")
        self.device = "gpu" if _PROVIDERS["gpu"] in session.get_providers() else "cpu"
        self.batch = self._plain.batch

    def _infer(self, images: np.ndarray) -> Prediction:
        sure = self.kind + "_confidence"
        if self.wants_confidence and not self._knows_confidence:
            self._knows_confidence = True
            if sure in self.card.files:
                self._confident = self._open_sure(lambda: _open(self.card, sure, self._open(sure)))
        opened: Any = (self._confident if self.wants_confidence else None) or self._plain
        return infer_in_batches(opened.run, images, opened.card, opened.batch, self.wants_confidence)

    def close(self) -> None:
        self._plain = self._confident = None


def _open(card: ModelCard, kind: str, session: Any) -> _Opened:
    """Raises CardError where the graph is not as the card says."""
    path, card = card.files[kind].path, card.for_file(kind)
    graph_input = pick_input(card, [_tensor(node) for node in session.get_inputs()])
    outputs = [_tensor(node) for node in session.get_outputs()]
    chosen = None if kind.endswith("_confidence") else [outputs[pick_output(card, outputs)].name]
    batch = graph_input.shape[0] if isinstance(graph_input.shape[0], int) else None
    return _Opened(session, path, graph_input.name, chosen, batch, card)


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> OnnxRuntime:
    """Load the card's ONNX file: the plain one; where this version of ONNX Runtime is too old for it, the TX2's.

    ``device``: auto (the GPU if this build has it and it works), cpu or gpu. ``precision``: auto (fp32 where there is
    such a file), fp32, fp16 or int8: it computes in what the file holds. Raises ValueError for what is not there,
    CardError where the file is no ONNX graph or not as the card says.
    """
    import onnxruntime

    kinds = _kinds(card, precision)
    providers = _providers(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = inference_threads()
    # threads that wait busily take the cores from the camera's driver and from our own executor
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def open_session(kind: str) -> Any:
        path = card.file(kind)
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime raises its own classes, which differ between versions
            text = "{}: ONNX Runtime cannot load it: {}{}".format(path, error, _advice(card, error))
            raise CannotLoad(text, kind) from error
        _check_device(device, providers, session.get_providers())
        return session

    kind = kinds[0]
    try:
        session = open_session(kind)
    except CardError as error:
        card.file(kind)  # damaged, or made from other weights: no reason to take the other one
        if len(kinds) == 1:
            raise
        kind = kinds[1]
        _log.warning("%s; ONNX Runtime %s runs %s instead", error, onnxruntime.__version__, card.file(kind).name)
        session = open_session(kind)
    return OnnxRuntime(card, kind, session, open_session)


def _kinds(card: ModelCard, precision: str) -> Tuple[str, ...]:
    """Return the kinds of the card's files to try, in this order. Raises ValueError for a precision that none has."""
    kinds = {"fp32": ("onnx", "onnx_tx2"), "fp16": ("onnx_fp16",), "int8": ("onnx_int8",)}
    there = {name: tuple(kind for kind in kinds[name] if kind in card.files) for name in kinds}
    possible = [name for name in there if there[name]] or ["fp32"]
    if precision == "auto":
        precision = possible[0]
    if precision in ("fp16", "int8") and precision not in possible:
        raise ValueError(
            "precision '{0}' is not possible here; choose auto, {1}, or make the file for it: seg-node export {2} "
            "--to onnx --precision {0}{3}".format(
                precision, ", ".join(possible), card.folder, " --calibrate IMAGES" if precision == "int8" else ""
            )
        )
    check_precision(precision, *possible)
    return there[precision] or ("onnx",)  # whose absence the card explains


def _advice(card: ModelCard, error: Exception) -> str:
    """Return what to do about a file that is newer than this ONNX Runtime; "" for any other fault."""
    words = str(error).lower()
    if "ir version" not in words and "opset" not in words:
        return ""
    export = "seg-node export {} --to onnx --target tx2".format(card.folder)
    return "; this ONNX Runtime is too old for the file: update it, or write one that it can load: " + export


def _check_device(device: str, wanted: List[str], got: List[str]) -> None:
    """ONNX Runtime runs on the CPU where its GPU libraries do not load, without an error: raise one, or say it."""
    if _PROVIDERS["gpu"] not in wanted or _PROVIDERS["gpu"] in got:
        return
    why = "ONNX Runtime's CUDA provider does not load here: CUDA or cuDNN is missing, or of another version"
    if device == "gpu":
        raise ValueError("device 'gpu' is not available: {}; choose auto or cpu".format(why))
    _log.warning("%s; it runs on the CPU", why)


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
