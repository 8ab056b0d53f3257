"""A FAKE libcuda.so.1: the driver's functions that we call, on the host's own memory. No GPU is involved.

It counts what is taken and given back, and refuses what a real one would.
"""

import ctypes
import threading


class _Recording(threading.local):
    """Of each thread its own, as the mode is in which we record: another's work would be done with freed memory."""

    def __init__(self):
        self.work = None  # while a stream is recorded: what the fake TensorRT was given to do


recording = _Recording()
_taken = {}  # address: bytes, of every fake GPU


def reach(address, size):
    """What lies there; a real GPU, too, refuses what nobody took."""
    assert size <= _taken.get(address, 0), f"{size} bytes at {address:#x}, where {_taken.get(address, 0)} are taken"
    return (ctypes.c_uint8 * size).from_address(address)


class FakeCuda:
    def __init__(self, name="Fake Orin", capability=(8, 7), graphs=True, count=1):
        self.name, self.capability, self.graphs, self.count = name.encode(), capability, graphs, count
        self.memory, self.streams, self.calls = {}, 0, []

    def __getattr__(self, name):
        function = getattr(type(self), "do_" + name, None) if name.startswith("cu") else None
        if function is None:
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append(name)
            # what is not of ctypes would go to C as an int of 32 bits
            assert all(
                type(a).__module__ == "ctypes" or "CArg" in type(a).__name__ or hasattr(a, "raw") for a in arguments
            )
            return function(self, *arguments) or 0

        return call

    def do_cuInit(self, flags):
        return 0 if self.count else 100

    def do_cuGetErrorString(self, code, text):
        text._obj.value = {100: b"no CUDA-capable device is detected", 2: b"out of memory"}.get(
            code.value, b"not allowed"
        )

    def do_cuDeviceGetCount(self, count):
        count._obj.value = self.count

    def do_cuDeviceGet(self, handle, number):
        handle._obj.value = number.value

    def do_cuDeviceGetName(self, text, size, device):
        text.value = self.name

    def do_cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = self.capability[attribute.value - 75]

    def do_cuDevicePrimaryCtxRetain(self, context, device):
        context._obj.value = 1

    def do_cuCtxSetCurrent(self, context):
        return 0 if context.value == 1 else 201

    def _take(self, pointer, size):
        memory = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(memory)
        self.memory[pointer._obj.value] = memory
        _taken[pointer._obj.value] = size.value

    def do_cuMemAlloc_v2(self, pointer, size):
        self._take(pointer, size)

    def do_cuMemHostAlloc(self, pointer, size, flags):
        self._take(pointer, size)

    def do_cuMemFree_v2(self, pointer):
        if pointer.value not in self.memory:
            return 1
        del _taken[pointer.value], self.memory[pointer.value]
        return 0

    do_cuMemFreeHost = do_cuMemFree_v2

    def _copy(self, to, source, size, stream):
        assert to.value in self.memory and source.value in self.memory and stream.value
        ctypes.memmove(reach(to.value, size.value), reach(source.value, size.value), size.value)

    do_cuMemcpyHtoDAsync_v2 = do_cuMemcpyDtoHAsync_v2 = _copy

    def do_cuStreamCreate(self, stream, flags):
        self.streams += 1
        stream._obj.value = 7

    def do_cuStreamDestroy_v2(self, stream):
        self.streams -= 1

    def do_cuStreamSynchronize(self, stream):
        pass

    def do_cuStreamBeginCapture_v2(self, stream, mode):
        if not self.graphs:
            return 900
        recording.work = []

    def do_cuStreamEndCapture(self, stream, graph):
        self.graph, recording.work = recording.work, None
        graph._obj.value = 8

    def do_cuGraphInstantiateWithFlags(self, ready, graph, flags):
        ready._obj.value = 9

    def do_cuGraphDestroy(self, graph):
        assert graph.value == 8

    def do_cuGraphLaunch(self, graph, stream):
        assert graph.value == 9 and stream.value
        for work in self.graph:
            work()

    def do_cuGraphExecDestroy(self, graph):
        assert graph.value == 9
