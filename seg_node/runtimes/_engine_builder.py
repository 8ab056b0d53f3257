"""Build a TensorRT engine, in a process of its own: ``python -m seg_node.runtimes._engine_builder``.

A build takes minutes and cannot be interrupted from within. In another process it can: by Ctrl-C, or a node's end; and
where the builder crashes or takes all memory, the node that asked for it lives. Polygraphy loads the graph and builds;
what it does not choose by what the installed TensorRT can do is chosen here, by asking for names (``Abilities``).
"""

import ctypes
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

_MARK = "seg_node progress: "  # begins a line about how far the child is
_WORKSPACE = 1 << 30  # bytes; TensorRT before 8.4 takes next to nothing by itself
_PR_SET_PDEATHSIG = 1


class BuildError(RuntimeError):
    """TensorRT cannot build this; the message has its reason."""


class Order(NamedTuple):
    """What to build."""

    onnx: str  # path
    precision: str  # fp32, fp16, bf16 or int8
    shape: Tuple[int, ...]  # of the input, for sides that the graph leaves free
    gpu: int = 0
    dla: Optional[int] = None  # the core; None: the GPU alone


class Abilities(NamedTuple):
    """What an installed TensorRT can do, told by the names that it has."""

    uint8: bool  # pixels and labels may cross the border as they are (8.5)
    any_cast: bool  # class ids may become uint8 (10)
    flags: Tuple[str, ...]  # of fp16, bf16, int8: those that a builder's flag turns on; from 11 on the graph's types do

    @classmethod
    def of(cls, trt: Any) -> "Abilities":
        flags = [name for name in ("fp16", "bf16", "int8") if hasattr(trt.BuilderFlag, name.upper())]
        return cls(hasattr(trt.DataType, "UINT8"), hasattr(trt.DataType, "INT64"), tuple(flags))


# Parent


def build(order: Order, say: Callable[[str], None]) -> bytes:
    """Return a serialized engine; ``say`` is told each second how far it is.

    Raises BuildError, or ImportError where Polygraphy is missing.
    """
    with tempfile.TemporaryDirectory(prefix="seg_node_engine_") as folder:
        plan = os.path.join(folder, "plan")
        # the child finds what this process finds, TensorRT and Polygraphy included
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), PYTHONUNBUFFERED="1")
        child = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(order._asdict()), plan],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            said = _follow(child, say)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        if child.returncode == 0 and os.path.isfile(plan):
            return Path(plan).read_bytes()
    raise _failure(child.returncode, said)


def _follow(child: Any, say: Callable[[str], None]) -> List[str]:
    """Tell how far the child is until it ends; return what else it printed."""
    lines: "queue.Queue[Optional[str]]" = queue.Queue()

    def read() -> None:
        for line in child.stdout:
            lines.put(re.sub(r"\x1b\[[0-9;]*m", "", line.decode("utf-8", "replace")).rstrip())
        lines.put(None)

    threading.Thread(target=read, name="engine build", daemon=True).start()
    started, said, step = time.monotonic(), [], ""  # type: Tuple[float, List[str], str]
    while True:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            line = ""
        if line is None:
            return said
        if line.startswith(_MARK):
            step = ", " + line[len(_MARK) :]
        elif line:
            said = said[-200:] + [line]
        say("{:.0f} s{}".format(time.monotonic() - started, step))


def _failure(code: int, said: List[str]) -> Exception:
    """Return what to raise for a child that ended with ``code``."""
    # a traceback's last line; the newest Polygraphy is no Python 3.6
    if any("polygraphy" in line for line in said) and said[-1].startswith(("ModuleNotFoundError", "SyntaxError")):
        which = "polygraphy" if sys.version_info >= (3, 8) else '"polygraphy==0.49.0"'
        return ImportError("building a TensorRT engine needs Polygraphy: pip install {}".format(which))
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", as the system does where memory is short" if name == "SIGKILL" else ""
        return BuildError("its process was ended by {}{}".format(name, hint))
    said = [line for line in said if "is installed, but version" not in line]  # Polygraphy warns of TensorRT before 8.5
    errors = [line for line in said if "[E]" in line or "[!]" in line or "Error: " in line]
    return BuildError("; ".join((errors or said)[-4:]) or "exit code {}".format(code))


# Child


def main() -> None:
    order, plan = Order(**json.loads(sys.argv[1])), sys.argv[2]
    # with the parent, the wish for the engine is gone
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if order.gpu:
        from seg_node.runtimes import _cuda

        _cuda.open_device(order.gpu)  # becomes this thread's, which TensorRT follows
    import tensorrt as trt
    from polygraphy.backend.trt import CreateConfig, EngineBytesFromNetwork, NetworkFromOnnxPath
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.WARNING
    typed = order.precision != "fp32" and order.precision not in Abilities.of(trt).flags
    load = NetworkFromOnnxPath(order.onnx, strongly_typed=typed and "STRONGLY_TYPED" in _flags_of_networks(trt))
    builder, network, parser = load()

    def configure(builder: Any, network: Any) -> Any:
        config = CreateConfig(profiles=[_profile(network, order.shape)])(builder, network)
        _configure(trt, builder, config, order)
        return config

    engine = EngineBytesFromNetwork((builder, network, parser), config=configure)()
    with open(plan, "wb") as file:
        file.write(engine)


def _flags_of_networks(trt: Any) -> Dict[str, Any]:
    flags: Dict[str, Any] = trt.NetworkDefinitionCreationFlag.__members__
    return flags


def _profile(network: Any, shape: Tuple[int, ...]) -> Any:
    """Fix what the graph leaves free: an engine for one shape is smaller, faster, and built sooner."""
    from polygraphy.backend.trt import Profile

    profile = Profile()
    graph_input = network.get_input(0)
    sides = tuple(graph_input.shape)
    if network.num_inputs == 1 and -1 in sides and len(sides) == len(shape):
        fixed = tuple(own if side == -1 else side for side, own in zip(sides, shape))
        profile.add(graph_input.name, min=fixed, opt=fixed, max=fixed)
    return profile


def _configure(trt: Any, builder: Any, config: Any, order: Order) -> None:
    """Set what ``order`` asks for with the means that this TensorRT has."""
    if not hasattr(config, "set_memory_pool_limit"):
        config.max_workspace_size = _WORKSPACE
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is fp32; who wants speed asks for fp16
    able = Abilities.of(trt).flags
    # int8 is the graph's quantised layers; the others may then be fp16, where int8 is to be had at all
    for name in {"int8": ("int8", "fp16")}.get(order.precision, (order.precision,)):
        if name in able:
            config.set_flag(getattr(trt.BuilderFlag, name.upper()))
    if order.dla is not None:
        if order.dla >= builder.num_DLA_cores:
            raise SystemExit("Error: this board has {} DLA cores".format(builder.num_DLA_cores))
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = order.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if hasattr(config, "progress_monitor"):
        config.progress_monitor = _monitor(trt)


def _monitor(trt: Any) -> Any:
    """Return what TensorRT 10 and newer tell how far they are."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._outer: Dict[str, int] = {}  # phase -> steps, of those that are in no other

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            if parent_phase is None:
                self._outer[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._outer:
                share = 100.0 * (step + 1) / max(1, self._outer[phase_name])
                print("{}{} {:.0f} %".format(_MARK, phase_name, min(share, 100.0)), flush=True)
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self._outer.pop(phase_name, None)

    return Monitor()


if __name__ == "__main__":
    main()
