"""The few calls of the CUDA driver that an engine needs, through ctypes: nothing to install, on any Python and board.

The driver's library, unlike the runtime's (libcudart.so.10.2, .12, .13, ...), has one name and lies on the loader's
path wherever there is a GPU. cuda-python knows neither Python 3.6 nor CUDA 10; Polygraphy's wrapper has no pinned
memory, no graphs and no name of the GPU. TensorRT itself uses the same (primary) context through the runtime.
"""

import ctypes
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
_devices: Dict[int, "Device"] = {}


class CudaError(RuntimeError):
    """A call of the driver that failed; the message has its name and the driver's reason."""


class Gpu(NamedTuple):
    name: str  # as the driver calls it: "Orin", "NVIDIA H200"
    capability: Tuple[int, int]


class Driver:
    """The driver's library; every call raises CudaError where it fails."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name: str, *arguments: Any) -> None:
        """``arguments``: of ctypes, so that each has its C type."""
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
            raise CudaError("{}: {} ({})".format(name, (text.value or b"unknown error").decode(), code))

    def has(self, name: str) -> bool:
        return hasattr(self._library, name)

    def count(self) -> int:
        number = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(number))
        return number.value


def open_driver() -> Driver:
    """Raises CudaError where there is no driver or no GPU."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise CudaError("no NVIDIA driver: {}".format(error)) from error
    return Driver(library)


def open_device(number: int = 0) -> "Device":
    """Return GPU ``number``; the same object each time. Raises CudaError where there is none."""
    if number not in _devices:
        driver = open_driver()
        if number >= driver.count():
            raise CudaError("the driver has {} GPUs".format(driver.count()))
        _devices[number] = Device(driver, number)
    return _devices[number]


class Device:
    """A GPU and its primary context, which lives as long as the process: other libraries use it too."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver, self.number = driver, number
        handle, context = ctypes.c_int(), ctypes.c_void_p()
        driver.call("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(number))
        name = ctypes.create_string_buffer(256)
        driver.call("cuDeviceGetName", name, ctypes.c_int(len(name)), handle)
        capability = []
        for attribute in (_MAJOR, _MINOR):
            value = ctypes.c_int()
            driver.call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), handle)
            capability.append(value.value)
        self.gpu = Gpu(name.value.decode(), (capability[0], capability[1]))
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
        self._context = context
        self.use()

    def use(self) -> None:
        """Make it the calling thread's; before anything else in each thread."""
        self._driver.call("cuCtxSetCurrent", self._context)

    def stream(self) -> "Stream":
        return Stream(self._driver)

    def buffer(self, shape: Tuple[int, ...], dtype: str) -> "Buffer":
        return Buffer(self._driver, shape, dtype)


class Buffer:
    """Memory for one tensor: on the GPU, and pinned on the host as the array ``host``."""

    def __init__(self, driver: Driver, shape: Tuple[int, ...], dtype: str) -> None:
        self._driver = driver
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        self.bytes = max(1, count * kind.itemsize)
        self._device, self._pinned = ctypes.c_void_p(), ctypes.c_void_p()
        driver.call("cuMemAlloc_v2", ctypes.byref(self._device), ctypes.c_size_t(self.bytes))
        try:
            driver.call("cuMemHostAlloc", ctypes.byref(self._pinned), ctypes.c_size_t(self.bytes), ctypes.c_uint(0))
        except CudaError:
            self.free()
            raise
        memory: Any = (ctypes.c_uint8 * self.bytes).from_address(self._pinned.value or 0)
        self.host = np.frombuffer(memory, kind, count).reshape(shape)

    @property
    def address(self) -> int:
        """Of the memory on the GPU."""
        return self._device.value or 0

    def upload(self, stream: "Stream") -> None:
        self._driver.call(
            "cuMemcpyHtoDAsync_v2", self._device, self._pinned, ctypes.c_size_t(self.bytes), stream.handle
        )

    def download(self, stream: "Stream") -> None:
        self._driver.call(
            "cuMemcpyDtoHAsync_v2", self._pinned, self._device, ctypes.c_size_t(self.bytes), stream.handle
        )

    def free(self) -> None:
        """``host`` is not to be touched afterwards."""
        for name, memory in (("cuMemFree_v2", self._device), ("cuMemFreeHost", self._pinned)):
            if memory.value:
                self._driver.call(name, memory)
                memory.value = None


class Stream:
    """What runs one after another; can record what it is given as a graph, which starts with one call."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.handle = ctypes.c_void_p()
        self._graphs: List[ctypes.c_void_p] = []
        driver.call("cuStreamCreate", ctypes.byref(self.handle), ctypes.c_uint(_NON_BLOCKING))

    @property
    def address(self) -> int:
        return self.handle.value or 0

    def wait(self) -> None:
        self._driver.call("cuStreamSynchronize", self.handle)

    def record(self, work: Any) -> ctypes.c_void_p:
        """Return what ``work()`` gives to this stream as a graph for ``launch``. Raises CudaError where it cannot."""
        call, graph, ready = self._driver.call, ctypes.c_void_p(), ctypes.c_void_p()
        call("cuStreamBeginCapture_v2", self.handle, ctypes.c_int(_THREAD_LOCAL))
        try:
            work()
        finally:
            call("cuStreamEndCapture", self.handle, ctypes.byref(graph))
        try:
            if self._driver.has("cuGraphInstantiateWithFlags"):  # CUDA 11.4 and newer
                call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
            else:
                nowhere = ctypes.c_void_p()
                call("cuGraphInstantiate", ctypes.byref(ready), graph, nowhere, nowhere, ctypes.c_size_t(0))
        finally:
            call("cuGraphDestroy", graph)
        self._graphs.append(ready)
        return ready

    def launch(self, graph: ctypes.c_void_p) -> None:
        self._driver.call("cuGraphLaunch", graph, self.handle)

    def free(self) -> None:
        while self._graphs:
            self._driver.call("cuGraphExecDestroy", self._graphs.pop())
        if self.handle.value:
            self._driver.call("cuStreamDestroy_v2", self.handle)
            self.handle.value = None
