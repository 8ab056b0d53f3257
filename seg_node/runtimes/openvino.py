"""OpenVINO: IR (``.xml`` and ``.bin``) or an ``.onnx`` graph, on Intel, AMD and Arm CPUs and Intel GPUs.

An IR that gives confidence gives it beside the labels in one file; the branch is cut off until somebody wants it.
A graph is compiled in less than a second on a CPU, so nothing compiled is kept on disk, where it could go stale.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from seg_node.model_card import ModelCard
from seg_node.runtimes import CannotCompute, CannotLoad, Prediction, Runtime, check_precision, is_harmless
from seg_node.runtimes._adapt import Tensor, infer_in_batches, pick_input, pick_output
from seg_node.runtimes._threads import inference_threads

REQUIRES = "openvino"
_FLOATS = ("fp32", "bf16", "fp16")
READS = {"openvino_int8": ("int8",), "openvino": _FLOATS, "onnx": _FLOATS}
RANK = 10
CONFIDENCE = "confidence"  # the name of our graphs' second output
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}  # what int8 leaves over is computed in fp32
_WIDEST = 13  # columns of a depth-wise kernel, in bf16
_DTYPES = {"u8": "uint8", "f32": "float32", "f16": "float16", "f64": "float64", "i32": "int32", "i64": "int64"}


class Opened(NamedTuple):
    """A compiled file, ready to infer."""

    request: Any  # openvino.InferRequest
    outputs: List[int]  # labels or logits, and confidence if it is there
    batch: Optional[int]
    card: ModelCard  # as it is for this file


class OpenVinoRuntime(Runtime):
    name = "openvino"

    def __init__(
        self, card: ModelCard, compile_file: Callable[[str, bool], Any], kind: str, device: str, precision: str
    ) -> None:
        """``compile_file``: from a kind of the card's files, and whether with confidence, to a CompiledModel."""
        super().__init__(card)
        self.device, self.precision = device, precision
        self._compile, self.kind = compile_file, kind
        self._plain: Optional[Opened] = _open(compile_file(kind, False), card.for_file(kind))
        self._confident: Optional[Opened] = None
        self._knows_confidence = False  # opened, if there is any, when first wanted
        self.batch = self._plain.batch

    def _infer(self, images: np.ndarray) -> Prediction:
        if self.wants_confidence and not self._knows_confidence:
            self._confident, self._knows_confidence = self._open_sure(self._open_confident), True
        opened: Any = (self._confident if self.wants_confidence else None) or self._plain

        def run(x: np.ndarray) -> List[np.ndarray]:
            # shared memory both ways: the request reads x where it lies, and the results are views of its outputs
            results = opened.request.infer([x], share_inputs=True, share_outputs=True)
            return [results[index] for index in opened.outputs]

        return infer_in_batches(run, images, opened.card, opened.batch, self.wants_confidence)

    def _open_confident(self) -> Optional[Opened]:
        """Open the graph that gives confidence: the IR itself, or an ONNX file beside it; None where there is none."""
        kinds = [] if self.kind == "onnx" else [self.kind]
        if self.precision != "int8":  # labels must not change with a wish for confidence
            kinds.append("onnx_confidence")
        for kind in kinds:
            if kind in self.card.files:
                opened = _open(self._compile(kind, True), self.card.for_file(kind))
                if len(opened.outputs) == 2:
                    return opened
        return None

    def close(self) -> None:
        self._plain = self._confident = None


def _open(compiled: Any, card: ModelCard) -> Opened:
    """Raises CardError where the graph is not as the card says."""
    outputs = [_tensor(port) for port in compiled.outputs]
    wanted = [pick_output(card, outputs)]
    if card.output == "labels":
        wanted += [index for index, output in enumerate(outputs) if output.name == CONFIDENCE and index not in wanted]
    batch = pick_input(card, [_tensor(port) for port in compiled.inputs]).shape[0]
    return Opened(compiled.create_infer_request(), wanted, batch, card)


def _tensor(port: Any) -> Tensor:
    rank, names = port.partial_shape.rank, port.get_names()
    sides = port.partial_shape if rank.is_static else ()
    shape = tuple(side.get_length() if side.is_static else None for side in sides)
    kind = port.element_type.get_type_name()
    return Tensor(min(names) if names else "", _DTYPES.get(kind, kind), shape)


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> OpenVinoRuntime:
    """Load the card's OpenVINO or ONNX file.

    ``device``: auto or cpu (the CPU), or OpenVINO's own names. ``precision``: fp32, bf16, fp16, where the device
    computes in it; int8, where the card has that file; auto: int8 on a CPU that is made for it, where the file is
    harmless, else what the first of the other files was exported for, or fp32 where the device does not compute in it.
    Raises ValueError for what is not there, CardError where the file is no graph or not as the card says.
    """
    import openvino

    core = openvino.Core()
    target = "CPU" if device in ("auto", "cpu") else device.upper()
    if target.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
        raise ValueError(
            "device '{}' is not available to OpenVINO here; choose auto or one of {}".format(
                device, ", ".join(name.lower() for name in core.available_devices)
            )
        )
    capabilities = core.get_property(target, "OPTIMIZATION_CAPABILITIES")
    if target != "CPU" or not _has_vnni():  # "INT8" without it saturates: not what the card measured
        capabilities = [name for name in capabilities if name != "INT8"]
    kind, wanted = _choose(card, precision, capabilities)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[wanted]}
    if target == "CPU":
        hints["INFERENCE_NUM_THREADS"] = str(inference_threads())

    def compile_file(kind: str, confidence: bool) -> Any:
        path = card.file(kind)
        try:
            model = core.read_model(str(path))
            if not confidence and kind != "onnx":
                _cut_confidence(model)
            if wanted == "bf16" and target == "CPU" and _hangs_in_bf16(model):
                raise CannotCompute(
                    "precision 'bf16' is not possible for {}: OpenVINO never ends compiling depth-wise kernels that "
                    "wide in it; choose fp32 or int8".format(path)
                )
            compiled = core.compile_model(model, target, hints)
        except RuntimeError as error:
            raise CannotLoad("{}: OpenVINO cannot load it: {}".format(path, error), kind) from error
        real = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()  # it falls back without a word
        if real != _HINTS[wanted]:
            raise CannotCompute("device '{}' does not compute in {}, only in {}".format(target.lower(), wanted, real))
        return compiled

    return OpenVinoRuntime(card, compile_file, kind, target.lower(), wanted)


def _choose(card: ModelCard, precision: str, capabilities: List[str]) -> Tuple[str, str]:
    """Return the kind of file and what to compute in; ``capabilities``: the device's, as OpenVINO calls them."""
    floats = ["fp32"] + [name for name in ("bf16", "fp16") if name.upper() in capabilities]
    kinds = [kind for kind in ("openvino", "onnx") if kind in card.files]
    has_int8 = "openvino_int8" in card.files
    possible = (floats if kinds or not has_int8 else []) + (["int8"] if has_int8 else [])
    if precision == "int8" and "int8" not in possible:
        raise ValueError(
            "precision 'int8' is not possible here; choose auto, {}, or make the file for it: seg-node export {} "
            "--to openvino --precision int8 --calibrate IMAGES".format(", ".join(possible), card.folder)
        )
    check_precision(precision, *possible)
    if precision == "auto":
        if has_int8 and (not kinds or ("INT8" in capabilities and is_harmless(card, "openvino_int8"))):
            precision = "int8"
        else:  # bf16, OpenVINO's own default where the CPU has it, changes labels: only who asked for it gets it
            held = _held(card, kinds[0]) if kinds else "fp32"
            precision = held if held in possible else "fp32"
    if precision == "int8":
        return "openvino_int8", precision
    return (kinds or ["openvino"])[0], precision  # whose absence the card explains


def _hangs_in_bf16(model: Any) -> bool:
    """Whether it has depth-wise kernels as wide as C3Net2's: 25 columns hang on a CPU (2026.4), 13 do not."""
    kernels = [op.input(1).get_partial_shape() for op in model.get_ops() if op.get_type_name() == "GroupConvolution"]
    flat = [kernel for kernel in kernels if kernel.rank.is_static and kernel.rank.get_length() == 5]
    return any(kernel[4].get_max_length() > _WIDEST for kernel in flat)


def _has_vnni() -> bool:
    """Whether this CPU multiplies and adds bytes without a loss (x86's VNNI)."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:  # not Linux
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def _held(card: ModelCard, kind: str) -> str:
    """Return the precision that a file was exported for."""
    return str(card.files[kind].notes.get("precision", "fp32")) if kind in card.files else "fp32"


def _cut_confidence(model: Any) -> None:
    """Take the confidence, and all that only it needs, out of a model that gives labels as well."""
    for output in list(model.outputs):
        if len(model.outputs) > 1 and CONFIDENCE in output.get_names():
            model.remove_result(output.node)
