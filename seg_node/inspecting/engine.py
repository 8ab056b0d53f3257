"""A TensorRT engine: its version stands in its first bytes; its tensors only TensorRT and a GPU can tell."""

import importlib.util
from pathlib import Path

from seg_node.inspecting import Feeding, Found
from seg_node.inspecting.graph import Graph
from seg_node.inspecting.reading import describe_graph
from seg_node.runtimes import _engine_cache

_TAG = b"ftrt"
_VERSION_AT = 24  # major, minor, patch, build: a byte each, since TensorRT 8.6


def read(path: Path) -> Found:
    """Raises ValueError where the file is no engine, or not one of the installed TensorRT and this GPU."""
    plan = _engine_cache.unwrapped(path.read_bytes())
    start = plan[: _VERSION_AT + 4]
    if start[:4] != _TAG or len(start) < _VERSION_AT + 4:
        raise ValueError(f"{path}: no TensorRT engine: it does not begin as one does (a damaged file?)")
    version = ".".join(map(str, start[_VERSION_AT:])) if start[4:8] == bytes(4) else "unknown"
    found = Found(path, "tensorrt", path.stat().st_size, f"TensorRT engine, made by TensorRT {version}")
    found.notes.append("an engine runs on the GPU model and TensorRT that it was made for; keep the ONNX that it is of")
    missing = _missing()
    if missing:
        found.notes.append(f"its tensors are not shown: {missing}")
        return found
    from seg_node.runtimes import _cuda
    from seg_node.runtimes._engine import EngineError, Library

    try:
        engine = Library(_cuda.open_device()).load(plan)
    except (EngineError, _cuda.CudaError) as error:
        raise ValueError(f"{path}: {error}") from error
    found.inputs, found.outputs = engine.tensors.inputs, engine.tensors.outputs
    engine.close()
    describe_graph(found, Graph([], lambda name: None), "")
    if found.dtype == "uint8":
        found.feeding = Feeding(about="takes pixels as they are", scale=1.0, known=True)
    return found


def _missing() -> str:
    """Return what is missing to load an engine, or nothing."""
    if importlib.util.find_spec("tensorrt") is None:
        return "that needs tensorrt of that version and the GPU that it was made for (pip install tensorrt)"
    from seg_node.runtimes import _cuda

    try:
        _cuda.open_device()
    except _cuda.CudaError as error:
        return f"that needs the GPU that it was made for ({error})"
    return ""
