"""A camera, a listener and nodes between them, each a process of its own, over real DDS."""

import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.plan import Size
from bench.workers import Worker, WorkerError, cpu_seconds, memory_mb
from seg_node.demo.processes import Child, child_environment, end

_START = 180.0  # seconds in which a node must give its first labels; it may be building an engine
_REST = 0.5  # seconds without news after which nothing more is awaited; at least four times what a frame takes
OURS, TUTORIAL = "seg_node.ros.segmentation_node", "bench.tutorial_node"


class Node:
    """A node under test in a namespace of its own: ``<name>/image`` in, ``<name>/seg_node/label`` out."""

    def __init__(self, name: str, process: Child, cameras: Sequence[str]) -> None:
        self.name, self.process = name, process
        self.pid = process.process.pid
        self.images = [f"/{name}/{camera}image" for camera in cameras]
        self._prefixes = [f"/{name}/seg_node/{camera}" for camera in cameras]
        self.outputs: tuple[str, ...] = ()
        self.takes = 0.0  # about how many seconds a frame takes

    def topics(self, output: str) -> list[str]:
        return [prefix + output for prefix in self._prefixes]


class Drive(NamedTuple):
    """What became of some frames. Times in ms, arrays of shape (labels,)."""

    rate: float  # Hz that was asked for
    sent: int
    seconds: float  # that sending took
    latency: dict[str, np.ndarray]  # output -> camera's stamp to arrival at the listener
    gaps: np.ndarray  # between two labels
    cpu_ms: float  # that the node's process used
    rss_mb: float  # of the node, at the end
    shares: tuple[float, ...]  # of each camera's frames, how many came out

    @property
    def real_rate(self) -> float:
        """Return the frames a second, of one camera, that were really sent."""
        return self.sent / len(self.shares) / self.seconds


class Field:
    """A context manager; closing it ends all processes."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._logs = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="seg_node_bench_")))
        self.environment = child_environment(self._logs)
        self._nodes: list[Node] = []

    def __enter__(self) -> "Field":
        try:
            self._stack.callback(lambda: end([node.process for node in self._nodes]))
            self._camera = self.worker("bench.camera")
            self._listener = self.worker("bench.listener")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def worker(self, module: str, *words: str) -> Worker:
        """Start a worker that ends with the field."""
        return self._stack.enter_context(Worker(module, self.environment, self._logs, *words))

    def start(self, name: str, module: str, cameras: Sequence[str] = (), **parameters: Any) -> Node:
        """Start a node and wait until it labels images."""
        node = self._spawn(name, module, cameras, parameters)
        self.listen(node, ("label",))
        return node

    def first_label(self, name: str, module: str, size: Size, **parameters: Any) -> float:
        """Return the seconds from a node's start to its first label, while a camera sends 30 images a second."""
        begun = time.time_ns()
        node = self._spawn(name, module, (), parameters)
        node.outputs = ("label",)
        self._subscribe()
        self._camera.ask("find", topics=node.images)  # and begins to publish
        (topic,), came, limit = node.topics("label"), list[Any](), time.monotonic() + _START
        while not came:
            if node.process.code is not None or time.monotonic() > limit:
                raise WorkerError(f"{node.name} gives no label; {_log_of(node)}")
            self._camera.ask("play", topics=node.images, size=size, rate=30.0, frames=3)
            came = self._listener.ask("collect", topics=[topic])["came"][topic]
        self.stop(node)
        return float(came[0][1] - begun) / 1e9

    def _spawn(self, name: str, module: str, cameras: Sequence[str], parameters: dict[str, Any]) -> Node:
        words = ["--ros-args", "--log-level", "warn", "-r", f"__ns:=/{name}"]
        if cameras:
            parameters["cameras"] = list(cameras)
        for key, value in parameters.items():
            words += ["-p", f"{key}:={json.dumps(value)}"]
        process = Child(name, module, words, self.environment, self._logs)
        node = Node(name, process, [camera + "/" for camera in cameras] or [""])
        self._nodes.append(node)
        return node

    def stop(self, node: Node) -> None:
        node.outputs = ()
        self._subscribe()
        self._nodes.remove(node)
        end([node.process])

    def listen(self, node: Node, outputs: tuple[str, ...]) -> None:
        """Listen to these of a node's outputs, once each has come: nothing is lost for being sent too early."""
        if outputs == node.outputs:
            return
        node.outputs = outputs
        self._subscribe()
        missing = {topic for output in outputs for topic in node.topics(output)}
        limit = time.monotonic() + _START
        while missing:
            if node.process.code is not None or time.monotonic() > limit:
                raise WorkerError(f"{node.name} gives no {', '.join(sorted(missing))}; {_log_of(node)}")
            if not self._camera.ask("find", topics=node.images)["found"]:
                time.sleep(0.1)
                continue
            self._camera.ask("play", topics=node.images, size=[48, 64], rate=20.0, frames=2)
            came = self._listener.ask("collect", topics=sorted(missing))["came"]
            missing -= {topic for topic, pairs in came.items() if pairs}
        time.sleep(_REST)

    def _subscribe(self) -> None:
        topics = [t for node in self._nodes for output in node.outputs for t in node.topics(output)]
        self._listener.ask("listen", topics=topics)

    def takes(self, node: Node, size: Size, times: int = 5) -> float:
        """Return the ms from camera to label where each frame waits for the one before: the median of a few."""
        node.takes = max(node.takes, 5.0)  # nothing is known yet: be patient
        took = [self.drive(node, size, 100.0, 1).latency["label"] for _ in range(times)]
        came = np.concatenate(took)
        if not len(came):
            raise WorkerError(f"{node.name} has labelled none of {times} images of {size}; {_log_of(node)}")
        node.takes = float(np.median(came)) / 1e3
        return float(np.median(came))

    def drive(self, node: Node, size: Size, rate: float, frames: int) -> Drive:
        """Send ``frames`` images of ``size`` to each of a node's cameras at ``rate`` Hz. Other nodes have a rest."""
        if frames > 1:  # the first ones of a size find no memory of that size
            self._play(node, size, min(rate, 10.0), 2)
        used = cpu_seconds(node.pid)
        played, came = self._play(node, size, rate, frames)
        used = cpu_seconds(node.pid) - used
        if node.process.code is not None:
            raise WorkerError(f"{node.name} has ended by itself; {_log_of(node)}")
        latency = {}
        for output in node.outputs:
            both = [pair for topic in node.topics(output) for pair in came[topic]]
            latency[output] = np.array([(arrival - stamp) / 1e6 for stamp, arrival in both])
        arrivals = sorted(arrival for topic in node.topics("label") for _, arrival in came[topic])
        sent = played["sent"]
        return Drive(
            rate=rate,
            sent=sum(len(stamps) for stamps in sent.values()),
            seconds=played["seconds"],
            latency=latency,
            gaps=np.diff(arrivals) / 1e6,
            cpu_ms=1e3 * used,
            rss_mb=memory_mb(node.pid),
            shares=tuple(
                len(came[label]) / len(sent[image])
                for label, image in zip(node.topics("label"), node.images, strict=True)
            ),
        )

    def _play(self, node: Node, size: Size, rate: float, frames: int) -> tuple[dict[str, Any], dict[str, list]]:
        """Send frames; return what the camera says, and all that came, once the last frame's results have come."""
        topics = {
            topic: image for out in node.outputs for topic, image in zip(node.topics(out), node.images, strict=True)
        }
        self._listener.ask("collect", topics=list(topics))
        played = self._camera.ask(
            "play", 120.0 + frames / rate, topics=node.images, size=size, rate=rate, frames=frames
        )
        came: dict[str, list] = {topic: [] for topic in topics}
        news = time.monotonic()
        while time.monotonic() - news < max(_REST, 4 * node.takes):
            for topic, pairs in self._listener.ask("collect", topics=list(topics))["came"].items():
                came[topic] += pairs
                news = time.monotonic() if pairs else news
            # the newest frame wins, so the last one is labelled whatever became of those before it
            if all(came[topic] and came[topic][-1][0] == played["sent"][image][-1] for topic, image in topics.items()):
                break
            time.sleep(0.02)
        return played, came


def cpu_a_frame(drives: Sequence[Drive]) -> float | None:
    """Return the ms of a core that the node used for each frame that came out; None where none did."""
    frames = sum(len(drive.latency["label"]) for drive in drives)
    return sum(drive.cpu_ms for drive in drives) / frames if frames else None


def delivered(drives: Sequence[Drive]) -> float:
    """Return the share of the frames that came out."""
    return sum(len(drive.latency["label"]) for drive in drives) / sum(drive.sent for drive in drives)


def _log_of(node: Node) -> str:
    return f"its log ends:\n{node.process.end_of_log()}"
