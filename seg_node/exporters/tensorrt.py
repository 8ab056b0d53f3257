"""To a TensorRT engine, on the machine and for the GPU that this runs on; its ONNX graph lies beside it.

A robot needs no such export: its runtime builds an engine from the card's ONNX files by itself and keeps it. An
exported one is proven against PyTorch, and starts at once. Where the model then comes to another GPU or TensorRT, the
graph beside the engine is what a new one is built from.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seg_node.exporters import Artefact, Source, _qdq
from seg_node.exporters.onnx import border, write_graph
from seg_node.runtimes import tensorrt as runtime
from seg_node.runtimes._engine import Library
from seg_node.runtimes._engine_builder import Abilities, Order, build

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def write(source: Source, folder: Path, say: Callable[[str], None]) -> list[Artefact]:
    """Write the engine and its graph.

    Raises ValueError for what cannot be here (no GPU, int8 on a TX2), BuildError, ImportError (what to install).
    """
    card, wanted = source.card, source.wanted
    if wanted.target:
        raise ValueError(f"--target {wanted.target} is for --to onnx; an engine is for the machine it is built on")
    place = _place(wanted.device, wanted.dla)
    library = Library(place.device, place.dla)
    able = Abilities.of(library.trt)
    runtime.check_possible(place, wanted.precision, able)
    kind = runtime.kinds(wanted.precision, able)[0]
    name = f"{card.name}.{wanted.precision}"
    graph, engine = folder / f"{name}.onnx", folder / f"{name}.engine"
    about = {**_write_graph(source, kind, graph, say), "batch": wanted.batch, "precision": wanted.precision}
    order = Order(str(graph), wanted.precision, (wanted.batch, *card.size, 3), place.device.number, place.dla)
    what = f"{card.name}: building a TensorRT {wanted.precision} engine for {place.device.gpu.name}"
    say(what)
    engine.write_bytes(build(order, lambda how: say(f"{what}, {how}")))
    about |= {"tensorrt": library.trt.__version__, "gpu": place.device.gpu.name}
    if place.dla is not None:
        about["target"] = str(place)
    return [Artefact("tensorrt", engine, about, {})]


def _place(device: str, dla: bool) -> runtime.Place:
    if dla and device == "auto":
        device = "dla"
    try:
        return runtime.find_place(device)
    except ValueError as error:
        raise ValueError(
            f"{error}. An engine is built where it runs. Export --to onnx here (for a TX2 with --target tx2): the "
            "robot builds its engine from that"
        ) from error


def _write_graph(source: Source, kind: str, path: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the graph that a card calls ``kind`` and return what the card says of it."""
    if kind == "onnx_int8":
        return _qdq.write(source, path, say)
    target = "tx2" if kind == "onnx_tx2" else ""
    inside = dataclasses.replace(source.wanted, precision="fp16" if kind == "onnx_fp16" else "fp32", target=target)
    opset = write_graph(source._replace(wanted=inside), path, source.wanted.confidence)
    return {"opset": opset, **border(target)}
