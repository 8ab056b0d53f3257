"""A FAKE TensorRT, for tests of what we do around the real one. Nothing here runs on a GPU or is NVIDIA's.

FAKE_TENSORRT chooses whose names it has: 8.2, 8.6, 10.13 or 11.4, as the real bindings of these versions have them.
An "engine" is the ONNX graph itself with a line of JSON before it, and ONNX Runtime runs it on the CPU, on "device"
memory which is the host's. FAKE_TENSORRT_BREAK=build or crash makes a build fail, run an
inference, and "3 s" makes a build take that long.
"""

import json
import os
import signal
import time

import fake_cuda
import numpy as np

__version__ = {"8.2": "8.2.1.8", "8.6": "8.6.0", "10.13": "10.13.3.9", "11.4": "11.4.0.106"}[
    os.environ.get("FAKE_TENSORRT", "8.6")
]
_MAJOR = tuple(int(part) for part in __version__.split(".")[:2])
_NAMED, _NUMBERED = _MAJOR >= (8, 5), _MAJOR < (10, 0)


class _Member(int):
    """A member of an enumeration, as pybind11 makes them."""

    name = ""


def _enum(title, *names):
    members = {}
    for number, name in enumerate(names):
        members[name] = _Member(number)
        members[name].name = name
    return type(title, (), {**members, "__members__": members})


_newer = [name for name, since in (("UINT8", (8, 5)), ("INT64", (10, 0))) if since <= _MAJOR]
DataType = _enum("DataType", "FLOAT", "HALF", "INT8", "INT32", "BOOL", *_newer)
_weak = ["FP16", "INT8"] if _MAJOR < (11, 0) else []
BuilderFlag = _enum("BuilderFlag", "TF32", "GPU_FALLBACK", *_weak, *(["BF16"] if _weak and _MAJOR >= (10, 0) else []))
_creation = (["EXPLICIT_BATCH"] if _MAJOR < (11, 0) else []) + (["STRONGLY_TYPED"] if _MAJOR >= (10, 0) else [])
NetworkDefinitionCreationFlag = _enum("NetworkDefinitionCreationFlag", *_creation)
TensorFormat = _enum("TensorFormat", "LINEAR", "CHW32")
DeviceType = _enum("DeviceType", "GPU", "DLA")
OnnxParserFlag = _enum("OnnxParserFlag", "NATIVE_INSTANCENORM")
if _NAMED:
    TensorIOMode = _enum("TensorIOMode", "NONE", "INPUT", "OUTPUT")
    MemoryPoolType = _enum("MemoryPoolType", "WORKSPACE")
if _MAJOR >= (10, 0):

    class IProgressMonitor:
        pass


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity, msg):
        pass


class Logger(ILogger):
    pass


def init_libnvinfer_plugins(logger, namespace):
    return True


def _without(old, new):
    """A decorator that leaves methods of the other generation away, so that asking for them is an error."""

    def strip(cls):
        for name in ("" if _NUMBERED else old).split() + ("" if _NAMED else new).split():
            delattr(cls, name)
        return cls

    return strip


def _types(value):
    return {1: "FLOAT", 2: "UINT8", 6: "INT32", 7: "INT64", 10: "HALF"}[value.type.tensor_type.elem_type]


class _Tensor:
    def __init__(self, value, is_input):
        self.name, self.is_input, self.kind = value.name, is_input, _types(value)
        sides = value.type.tensor_type.shape.dim
        self.shape = tuple(side.dim_value or -1 for side in sides)
        self.is_shape_tensor = False
        self.dtype = getattr(DataType, self.kind, None)


def _graph_tensors(content):
    import onnx

    graph = onnx.load_from_string(content).graph
    return [_Tensor(value, True) for value in graph.input] + [_Tensor(value, False) for value in graph.output]


class _Network:
    def __init__(self, flags):
        self.flags, self.content, self.tensors = flags, b"", []

    num_inputs = property(lambda self: sum(tensor.is_input for tensor in self.tensors))
    num_outputs = property(lambda self: len(self.tensors) - self.num_inputs)

    def get_input(self, index):
        return [tensor for tensor in self.tensors if tensor.is_input][index]

    def get_flag(self, flag):
        return bool(self.flags & (1 << int(flag)))

    def __iter__(self):
        return iter(())


class OnnxParser:
    flags = 0

    def __init__(self, network, logger):
        self._network, self._errors = network, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def clear_flag(self, flag):
        pass

    def parse_from_file(self, path):
        with open(path, "rb") as file:
            self._network.content = file.read()
        try:
            self._network.tensors = _graph_tensors(self._network.content)
        except Exception as error:
            self._errors.append(f"no ONNX: {error}")
            return False
        for tensor in self._network.tensors:
            if tensor.dtype is None:
                self._errors.append(f"{tensor.name}: type {tensor.kind} is not supported")
            elif tensor.kind == "UINT8" and not tensor.is_input and _MAJOR < (10, 0):
                self._errors.append(f"{tensor.name}: no cast to UINT8")
        return not self._errors


class _Profile:
    def set_shape(self, name, low, best, high):
        self.shape = tuple(best)

    def __bool__(self):
        return True


class _Config:
    DLA_core, default_device_type, num_optimization_profiles = -1, DeviceType.GPU, 1
    max_workspace_size, profile, progress_monitor, int8_calibrator = 0, None, None, None

    def __init__(self):
        self.flags = {BuilderFlag.TF32}

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def get_flag(self, flag):
        return flag in self.flags

    def add_optimization_profile(self, profile):
        self.profile = profile
        return 0

    def set_calibration_profile(self, profile):
        return True

    def set_memory_pool_limit(self, pool, size):
        pass


if not _NAMED:
    del _Config.set_memory_pool_limit
else:
    del _Config.max_workspace_size
if _MAJOR < (10, 0):
    del _Config.progress_monitor
if _MAJOR >= (11, 0):
    del _Config.int8_calibrator


class Builder:
    num_DLA_cores = int(os.environ.get("FAKE_TENSORRT_DLA", "0"))

    def __init__(self, logger):
        pass

    def create_network(self, flags=0):
        return _Network(flags)

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        return _Profile()

    def build_serialized_network(self, network, config):
        how = os.environ.get("FAKE_TENSORRT_BREAK", "")
        if how == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if how.endswith(" s"):
            time.sleep(float(how[:-2]))
        if how == "build":
            return None
        monitor = getattr(config, "progress_monitor", None)
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 4)
            for step in range(4):
                monitor.step_complete("Building Engine", step)
            monitor.phase_finish("Building Engine")
        flags = [name for name, member in BuilderFlag.__members__.items() if member in config.flags]
        about = {
            "fake": __version__,
            "flags": sorted(flags),
            "typed": network.get_flag(NetworkDefinitionCreationFlag.STRONGLY_TYPED) if _MAJOR >= (10, 0) else False,
            "dla": int(config.DLA_core),
            "profile": getattr(config.profile, "shape", None),
        }
        return json.dumps(about).encode() + b"\n" + network.content


class Runtime:
    DLA_core = -1

    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, plan):
        head, _, content = bytes(plan).partition(b"\n")
        try:
            about = json.loads(head.decode())
            if about["fake"] != __version__:
                raise ValueError("built by version {}".format(about["fake"]))
            return ICudaEngine(about, content)
        except (ValueError, KeyError) as error:
            self._logger.log(Logger.ERROR, f"deserialization: {error}")
            return None


@_without(
    old="num_bindings has_implicit_batch_dimension get_binding_name binding_is_input get_binding_dtype "
    "get_binding_shape get_binding_format",
    new="num_io_tensors get_tensor_name get_tensor_mode get_tensor_dtype get_tensor_shape get_tensor_format",
)
class ICudaEngine:
    num_optimization_profiles, has_implicit_batch_dimension = 1, False

    def __init__(self, about, content):
        self.about, self.content = about, content
        self.tensors = _graph_tensors(content)

    num_bindings = property(lambda self: len(self.tensors))
    num_io_tensors = property(lambda self: len(self.tensors))

    def _named(self, name):
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def get_binding_name(self, index):
        return self.tensors[index].name

    def binding_is_input(self, index):
        return self.tensors[index].is_input

    def get_binding_dtype(self, index):
        return self.tensors[index].dtype

    def get_binding_shape(self, index):
        return self.tensors[index].shape

    def get_binding_format(self, index):
        return TensorFormat.LINEAR

    def get_tensor_name(self, index):
        return self.tensors[index].name

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if self._named(name).is_input else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._named(name).dtype

    def get_tensor_shape(self, name):
        return self._named(name).shape

    def get_tensor_format(self, name):
        return getattr(TensorFormat, self.about.get("format", "LINEAR"))

    def create_execution_context(self):
        return IExecutionContext(self)


@_without(
    old="execute_async_v2 set_binding_shape get_binding_shape",
    new="execute_async_v3 set_tensor_address set_input_shape get_tensor_shape",
)
class IExecutionContext:
    def __init__(self, engine):
        import onnxruntime

        self._engine, self._addresses, self._shape = engine, {}, None
        self._session = onnxruntime.InferenceSession(engine.content, providers=["CPUExecutionProvider"])

    def _shape_of(self, tensor):
        if tensor.is_input:
            return self._shape or tensor.shape
        batch = (self._shape or self._engine.tensors[0].shape)[0]
        return tuple(batch if side == -1 else side for side in tensor.shape)

    def set_binding_shape(self, index, shape):
        return self.set_input_shape_(shape)

    def set_input_shape(self, name, shape):
        return self.set_input_shape_(shape)

    def set_input_shape_(self, shape):
        self._shape = tuple(shape)
        return True

    def get_binding_shape(self, index):
        return self._shape_of(self._engine.tensors[index])

    def get_tensor_shape(self, name):
        return self._shape_of(self._engine._named(name))

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v2(self, bindings, stream_handle):
        return self._enqueue(dict(zip([tensor.name for tensor in self._engine.tensors], bindings, strict=True)))

    def execute_async_v3(self, stream_handle):
        return self._enqueue(self._addresses)

    def _enqueue(self, addresses):
        if os.environ.get("FAKE_TENSORRT_BREAK") == "run":
            return False
        if fake_cuda.recording.work is not None:
            fake_cuda.recording.work.append(lambda: self._run(addresses))
        else:
            self._run(addresses)
        return True

    def _run(self, addresses):
        arrays = {}
        for tensor in self._engine.tensors:
            kind = {"FLOAT": "float32", "HALF": "float16"}.get(tensor.kind, tensor.kind.lower())
            shape = self._shape_of(tensor)
            count = int(np.prod(shape))
            memory = fake_cuda.reach(addresses[tensor.name], count * np.dtype(kind).itemsize)
            arrays[tensor.name] = np.frombuffer(memory, kind, count).reshape(shape)
        inputs = {tensor.name: arrays[tensor.name] for tensor in self._engine.tensors if tensor.is_input}
        names = [tensor.name for tensor in self._engine.tensors if not tensor.is_input]
        for name, result in zip(names, self._session.run(names, inputs), strict=True):
            arrays[name][...] = result
