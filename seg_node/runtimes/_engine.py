"""A TensorRT engine that is loaded: what tensors it has, and how an image goes through it.

TensorRT 8.0 to 8.4 number their tensors (bindings), 8.5 to 9 know both ways, 10 and newer only names. Which one is
taken is asked of the engine itself.
"""

import statistics
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from seg_node.runtimes import _cuda
from seg_node.runtimes._adapt import Tensor

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
_TRIALS = 7


class EngineError(RuntimeError):
    """An engine that TensorRT does not take, or that cannot be used here."""


class Tensors(NamedTuple):
    inputs: List[Tensor]  # None for a free side
    outputs: List[Tensor]

    def __str__(self) -> str:
        return "inputs: {}; outputs: {}".format(
            ", ".join(map(str, self.inputs)) or "none", ", ".join(map(str, self.outputs)) or "none"
        )


class Library:
    """An installed TensorRT on one GPU, and what it last complained of."""

    def __init__(self, device: _cuda.Device, dla: Optional[int] = None) -> None:
        import tensorrt as trt

        complaints: List[str] = []

        class Log(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in (trt.Logger.INTERNAL_ERROR, trt.Logger.ERROR):
                    complaints[:] = complaints[-2:] + [msg]

        self.trt, self.device, self._dla = trt, device, dla
        self._complaints = complaints
        self._log = Log()  # TensorRT holds no reference
        trt.init_libnvinfer_plugins(self._log, "")

    def why(self) -> str:
        """Return the last complaints, and forget them."""
        text, self._complaints[:] = "; ".join(self._complaints), []
        return text or "no reason is given"

    def load(self, plan: bytes) -> "Engine":
        """Raises EngineError for what is no engine of this TensorRT and GPU."""
        self.device.use()
        runtime = self.trt.Runtime(self._log)
        if self._dla is not None:
            runtime.DLA_core = self._dla
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError("TensorRT {} does not take it: {}".format(self.trt.__version__, self.why()))
        return Engine(self, runtime, engine)


class Engine:
    """One engine, not yet ready to run: ``prepare`` takes its memory, once."""

    def __init__(self, library: Library, runtime: Any, engine: Any) -> None:
        self._library, self._runtime, self._engine = library, runtime, engine
        self._named = hasattr(engine, "num_io_tensors")
        if not self._named and engine.has_implicit_batch_dimension:
            raise EngineError("it has an implicit batch dimension; build it again from ONNX, which has an explicit one")
        self._names: List[str] = []
        inputs, outputs, packed = [], [], []  # type: Tuple[List[Tensor], List[Tensor], List[str]]
        for index in range(self._count()):
            tensor, is_input, linear = self._tensor(index)
            self._names.append(tensor.name)
            (inputs if is_input else outputs).append(tensor)
            if not linear:
                packed.append(tensor.name)
        self.tensors = Tensors(inputs, outputs)
        if packed:
            raise EngineError(
                "{} in a packed format ({}); build it again with linear inputs and outputs".format(
                    ", ".join(packed), self.tensors
                )
            )
        self._context: Any = None
        self._buffers: Dict[str, _cuda.Buffer] = {}
        self._stream: Optional[_cuda.Stream] = None
        self._graph: Any = None

    def _count(self) -> int:
        if self._named:
            return int(self._engine.num_io_tensors)
        return int(self._engine.num_bindings) // max(1, int(self._engine.num_optimization_profiles))

    def _tensor(self, index: int) -> Tuple[Tensor, bool, bool]:
        """Return tensor ``index``, whether it is an input, and whether it lies in memory as its shape says."""
        trt, engine = self._library.trt, self._engine
        if self._named:
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            kind, shape, form = (
                engine.get_tensor_dtype(name),
                engine.get_tensor_shape(name),
                engine.get_tensor_format(name),
            )
        else:
            name, is_input = engine.get_binding_name(index), engine.binding_is_input(index)
            kind, shape, form = (
                engine.get_binding_dtype(index),
                engine.get_binding_shape(index),
                engine.get_binding_format(index),
            )
        dtype = _DTYPES.get(kind.name, kind.name.lower())
        return (
            Tensor(name, dtype, tuple(side if side >= 0 else None for side in shape)),
            is_input,
            form == trt.TensorFormat.LINEAR,
        )

    def prepare(self, shape: Sequence[int]) -> None:
        """Take memory for an input of ``shape`` and all outputs, run once, and record a graph where that is faster.

        Raises EngineError, or CudaError where memory is short.
        """
        self._library.device.use()
        context = self._context = self._engine.create_execution_context()
        if context is None:
            raise EngineError("no execution context: {}".format(self._library.why()))
        image = self.tensors.inputs[0]
        if None in image.shape:
            done = (
                context.set_input_shape(image.name, tuple(shape))
                if self._named
                else context.set_binding_shape(self._names.index(image.name), tuple(shape))
            )
            if not done:
                raise EngineError("it takes no input of shape {} ({})".format(tuple(shape), self.tensors))
        self._stream = self._library.device.stream()
        for tensor in self.tensors.inputs + self.tensors.outputs:
            self._buffers[tensor.name] = self._library.device.buffer(self._shape(tensor), tensor.dtype)
        if hasattr(context, "execute_async_v3"):
            for name, buffer in self._buffers.items():
                context.set_tensor_address(name, buffer.address)
        self._buffers[image.name].host[...] = 0
        self.run(None)
        self._record()

    def _shape(self, tensor: Tensor) -> Tuple[int, ...]:
        if self._named:
            shape = self._context.get_tensor_shape(tensor.name)
        else:
            shape = self._context.get_binding_shape(self._names.index(tensor.name))
        sides = tuple(int(side) for side in shape)
        if min(sides, default=1) < 0:
            raise EngineError("the shape of '{}' is not known before it runs ({})".format(tensor.name, self.tensors))
        return sides

    def run(self, x: Optional[np.ndarray], outputs: Optional[Sequence[str]] = None) -> List[np.ndarray]:
        """Put ``x`` through (None: what was there) and return the outputs of these names, None for all.

        The arrays are valid until the next run. Raises RuntimeError where TensorRT or CUDA fails.
        """
        assert self._stream is not None, "prepare comes first"
        self._library.device.use()
        image = self._buffers[self.tensors.inputs[0].name]
        if x is not None:
            np.copyto(image.host, x)
        names = [tensor.name for tensor in self.tensors.outputs] if outputs is None else outputs
        wanted = [self._buffers[name] for name in names]
        image.upload(self._stream)
        if self._graph is None:
            self._enqueue()
        else:
            self._stream.launch(self._graph)
        for buffer in wanted:
            buffer.download(self._stream)
        self._stream.wait()
        return [buffer.host for buffer in wanted]

    def _enqueue(self) -> None:
        assert self._stream is not None
        if hasattr(self._context, "execute_async_v3"):
            done = self._context.execute_async_v3(self._stream.address)
        else:
            addresses = [self._buffers[name].address for name in self._names]
            done = self._context.execute_async_v2(addresses, self._stream.address)
        if not done:
            raise EngineError("TensorRT could not run: {}".format(self._library.why()))

    def _record(self) -> None:
        """Keep a CUDA graph if it can be had and is faster: it saves a launch a layer, and some have few."""
        assert self._stream is not None
        plain = self._time()
        try:
            self._graph = self._stream.record(self._enqueue)
            if self._time() >= plain:
                self._graph = None
        except (_cuda.CudaError, EngineError):  # layers that cannot be recorded, such as those that wait for the host
            self._graph = None
            self.run(None)

    @property
    def uses_graph(self) -> bool:
        return self._graph is not None

    def _time(self) -> float:
        """Return the median of some runs, in seconds."""
        seconds = []
        for _ in range(_TRIALS):
            start = time.perf_counter()
            self.run(None, [])
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def close(self) -> None:
        """Free all it holds; may be called twice."""
        self._library.device.use()
        self._graph = None
        if self._stream is not None:
            self._stream.wait()
            self._stream.free()
            self._stream = None
        self._context = self._engine = self._runtime = None  # in this order
        for buffer in self._buffers.values():
            buffer.free()
        self._buffers = {}
