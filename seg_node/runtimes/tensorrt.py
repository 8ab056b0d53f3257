"""TensorRT: an engine for this GPU, one's own or built from an ONNX graph and kept.

What is built, and from which of the card's graphs, depends on what the installed TensorRT can do
(``_engine_builder.Abilities``) and on the GPU; where it is kept, ``_engine_cache`` knows; how it runs, ``_engine``.
"""

import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from seg_node.model_card import CARD_NAME, CardError, ModelCard, ModelFile, sha256
from seg_node.runtimes import Prediction, Runtime, _cuda, _engine_builder, _engine_cache, _progress, check_precision
from seg_node.runtimes._adapt import Tensor, infer_in_batches, pick_input, pick_output
from seg_node.runtimes._engine import Engine, EngineError, Library
from seg_node.runtimes._engine_builder import Abilities, BuildError, Order

REQUIRES = "tensorrt"
_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
# an engine first; which graph one is built from, see kinds()
READS = {
    "tensorrt": _PRECISIONS,
    "onnx": ("fp32", "fp16", "bf16"),
    "onnx_tx2": ("fp32", "fp16", "bf16"),
    "onnx_fp16": ("fp16",),
    "onnx_int8": ("int8",),
}
RANK = None  # only by name, as launch/jetson.launch.py does: the first start builds for a minute or more
_FORMAT = 1  # of what is built here; a change makes engines anew


class Place(NamedTuple):
    """Where an engine runs."""

    device: _cuda.Device
    dla: Optional[int]  # the core of the deep learning accelerator, or None

    def __str__(self) -> str:
        return "gpu:{}".format(self.device.number) if self.dla is None else "dla:{}".format(self.dla)


class Graph(NamedTuple):
    """A file that an engine can be built from, and the card as it is for it."""

    path: Path
    card: ModelCard
    digest: str


class TensorRtRuntime(Runtime):
    name = "tensorrt"

    def __init__(self, card: ModelCard, engine: Engine, place: Place, precision: str) -> None:
        """``card``: as it is for this engine. Raises CardError where the engine is not as it says."""
        super().__init__(card)
        self.device, self.precision = str(place), precision
        self._engine = engine
        self._card = card = _discovered(card, engine)
        image, outputs = pick_input(card, engine.tensors.inputs), engine.tensors.outputs
        self.batch = image.shape[0] or 1
        sides = (*card.size, 3) if card.layout == "nhwc" else (3, *card.size)
        names = [tensor.name for tensor in outputs]
        self._label = [names[pick_output(card, outputs)]]
        self._both = self._label + [name for name in names if name == "confidence"]
        engine.prepare((self.batch, *sides))

    def _infer(self, images: np.ndarray) -> Prediction:
        wanted = self._both if self.wants_confidence else self._label

        def run(x: np.ndarray) -> List[np.ndarray]:
            first, *others = self._engine.run(x, wanted)
            return [first] + [sure if sure.dtype == np.uint8 else sure.astype(np.uint8) for sure in others]

        return infer_in_batches(run, images, self._card, self.batch, self.wants_confidence)

    def close(self) -> None:
        self._engine.close()


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> TensorRtRuntime:
    """Load the card's engine, or one that is kept, or build one, which takes minutes and is told to ``_progress``.

    ``device``: auto or gpu, gpu:1, dla, dla:1. ``precision``: auto (what the card's engine is, else fp32), fp32, fp16,
    bf16, int8. Raises ValueError for a device or precision that is not there, CardError where no file can be used,
    ImportError where Polygraphy is needed to build, OSError where no engine can be kept.
    """
    check_precision(precision, *_PRECISIONS)
    own = card.files.get("tensorrt")
    if own and device == "auto" and str(own.notes.get("target", "")).startswith("dla"):
        device = own.notes["target"]
    place = find_place(device)  # before TensorRT is asked anything: some versions of it crash without a GPU
    library = Library(place.device, place.dla)
    noted = str(own.notes.get("precision", "")) if own else ""
    wanted = noted or "fp32" if precision == "auto" else precision
    problems: List[str] = []
    if own and (precision == "auto" or noted in ("", precision)):
        try:
            path = card.file("tensorrt")
            return _ready(card.for_file("tensorrt"), library.load(path.read_bytes()), place, noted or "as built")
        except EngineError as error:  # of another GPU or TensorRT; a graph may be there to build it anew
            problems.append("{}: {}".format(own.path, error))
    able = Abilities.of(library.trt)
    check_possible(place, wanted, able)
    for graph in _graphs(card, wanted, able, problems):
        try:
            return _ready(graph.card, _built(library, graph, place, wanted), place, wanted)
        except BuildError as error:
            problems.append("{}: TensorRT {} cannot build it: {}".format(graph.path, library.trt.__version__, error))
    raise CardError("; ".join(problems))


def check_possible(place: Place, precision: str, able: Abilities) -> None:
    """Raise ValueError where the hardware or TensorRT cannot compute in ``precision``, with the reason."""
    major, minor = capability = place.device.gpu.capability
    if precision == "int8" and (capability < (6, 1) or capability == (6, 2)):
        raise ValueError(
            "precision 'int8' is not possible here: {}, compute capability {}.{}, has no 8-bit integer arithmetic for "
            "TensorRT (a TX2 has none); choose fp16, which it has".format(place.device.gpu.name, major, minor)
        )
    if precision == "bf16" and "bf16" not in able.flags:
        raise ValueError("precision 'bf16' is not possible here: this TensorRT has no such flag; choose fp16")
    if place.dla is not None and precision not in ("fp16", "int8"):
        raise ValueError("precision '{}' is not possible on a DLA; choose fp16 or int8".format(precision))


def kinds(precision: str, able: Abilities) -> Tuple[str, ...]:
    """Return which of a card's graphs make an engine of ``precision``, best first."""
    if precision == "int8":
        return ("onnx_int8",)
    if precision == "fp16" and "fp16" not in able.flags:
        return ("onnx_fp16",)
    # int32 labels as uint8 need a cast that TensorRT before 10 lacks
    return ("onnx", "onnx_tx2") if able.any_cast else ("onnx_tx2", "onnx")


def find_place(device: str) -> Place:
    """Raises ValueError where there is no such device."""
    match = re.match(r"(auto|gpu|cuda|dla)(?::(\d+))?$", device)
    why = "it is none of auto, gpu, gpu:1, dla, dla:1"
    if match:
        number, dla = int(match.group(2) or 0), match.group(1) == "dla"
        try:
            return Place(_cuda.open_device(0 if dla else number), number if dla else None)
        except _cuda.CudaError as error:
            why = str(error)
    raise ValueError("device '{}' is not available to TensorRT here: {}".format(device, why))


def _graphs(card: ModelCard, precision: str, able: Abilities, problems: List[str]) -> Iterator[Graph]:
    """Yield what an engine of ``precision`` can be built from, best first. Raises CardError where there is nothing."""
    found = False
    own = card.files.get("tensorrt")
    stale = card.stale("tensorrt") if own else ""
    if own and stale:
        problems.append("{} {}".format(own.path, stale))
    # the graph that an exported engine came from lies beside it
    elif own and kinds(str(own.notes.get("precision") or precision), able) == kinds(precision, able):
        for name, digest in own.beside.items():
            path = own.path.parent / name
            if name.endswith(".onnx") and path.is_file() and sha256(path) == digest:
                found = True
                yield Graph(path, card.for_file("tensorrt"), digest)
    wanted = kinds(precision, able)
    for plain in wanted:
        sure = plain + "_confidence"
        kind = sure if sure in card.files else plain  # one engine for both: a second would double the wait for it
        if kind not in card.files or (card.for_file(kind).dtype == "uint8" and not able.uint8):
            continue
        found = True
        path = card.file(kind)
        yield Graph(path, card.for_file(kind), _digest(path, card.files[kind]))
    if not found:
        raise CardError(
            "; ".join(
                problems
                + [
                    "{}: a TensorRT {} engine is built here from {}, and the card names none of these (it has: {}); "
                    "export one: seg-node export {} {}".format(
                        card.folder / CARD_NAME,
                        precision,
                        " or ".join(kind for kind in wanted if able.uint8 or kind != "onnx"),
                        ", ".join(sorted(card.files)) or "nothing",
                        card.folder,
                        _EXPORTS[wanted[0]],
                    )
                ]
            )
        )


_EXPORTS = {
    "onnx": "--to onnx",
    "onnx_tx2": "--to onnx --target tx2",
    "onnx_fp16": "--to onnx --precision fp16",
    "onnx_int8": "--to onnx --precision int8 --calibrate IMAGES",
}


def _digest(path: Path, file: ModelFile) -> str:
    """Return the sha256 of a graph, with those of the files that hold its weights."""
    return "+".join([sha256(path)] + [file.beside[name] for name in sorted(file.beside)])


def _built(library: Library, graph: Graph, place: Place, precision: str) -> Engine:
    """Return the kept engine, or build and keep it. Raises BuildError."""
    card, gpu = graph.card, place.device.gpu
    sides = (*card.size, 3) if card.layout == "nhwc" else (3, *card.size)
    key: Dict[str, Any] = {
        "format": _FORMAT,
        "onnx": graph.digest,
        "tensorrt": library.trt.__version__,
        "gpu": gpu.name,
        "capability": list(gpu.capability),
        "precision": precision,
        "shape": [1, *sides],
        "dla": place.dla,
    }
    path = _engine_cache.path_for(card.name, key)
    what = "{}: TensorRT {} engine for {}".format(card.name, precision, gpu.name if place.dla is None else place)
    try:
        kept = _kept(library, path, key)
        if kept is not None:
            return kept
        with _engine_cache.lock(path, lambda: _progress.tell(what + ": another process builds it")):
            kept = _kept(library, path, key)  # by another process meanwhile
            if kept is not None:
                return kept
            order = Order(str(graph.path), precision, (1, *sides), place.device.number, place.dla)
            plan = _engine_builder.build(order, lambda how: _progress.tell("building {}, {}".format(what, how)))
            _engine_cache.write(path, key, plan)
    finally:
        _progress.tell("")
    try:
        return library.load(plan)
    except EngineError as error:
        raise BuildError("what it built does not load: {}".format(error)) from error


def _kept(library: Library, path: Path, key: Dict[str, Any]) -> Optional[Engine]:
    plan = _engine_cache.read(path, key)
    try:
        return None if plan is None else library.load(plan)
    except EngineError:  # a driver that changed, say
        return None


def _ready(card: ModelCard, engine: Engine, place: Place, precision: str) -> TensorRtRuntime:
    try:
        return TensorRtRuntime(card, engine, place, precision)
    except Exception as error:
        engine.close()
        if isinstance(error, CardError):  # of one tensor; whoever wrote the card wants to see them all
            raise CardError("{}. The engine has {}".format(error, engine.tensors)) from error
        raise


def _discovered(card: ModelCard, engine: Engine) -> ModelCard:
    """Return the card with what an engine tells by itself: layout and type of its input, and whether it gives logits.

    What it cannot tell, the order of the channels, mean, std, scale and the classes, remains the card's.
    """
    if len(engine.tensors.inputs) != 1:
        return card
    image, output = engine.tensors.inputs[0], engine.tensors.outputs[0]
    shape = image.shape
    layout = card.layout
    if len(shape) == 4 and (shape[1] == 3) != (shape[3] == 3):
        layout = "nchw" if shape[1] == 3 else "nhwc"
    kind = card.output
    if kind == "labels" and _scores(output, card.classes):
        kind = "logits"
    elif kind != "labels" and output.dtype in ("uint8", "int32", "int64"):
        kind = "labels"
    return card._replace(layout=layout, dtype=image.dtype, output=kind)


def _scores(output: Tensor, classes: int) -> bool:
    floats = output.dtype in ("float32", "float16")
    return floats and len(output.shape) == 4 and classes in (output.shape[1], output.shape[3]) and classes > 1
