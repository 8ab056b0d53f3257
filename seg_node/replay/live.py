"""Play a drive in its own time to the real node, over real DDS, and keep what came back.

Three processes: a camera with the bag, the node, a recorder of its labels. Nothing is scored while the node works: what
it is given is its own. ``run`` then shows every frame that came back to the watchers, as ``offline.run`` does.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seg_node.demo.processes import Child, child_environment, end
from seg_node.replay.drive import Drive
from seg_node.replay.offline import Progress, Result, Watcher
from seg_node.replay.played import Played

_STARTING = 180.0  # seconds in which the node must be ready; it may be building an engine
_LAST_FRAMES = 30.0  # seconds in which the node must be done with what it has
_NEEDED = {  # module -> how to get it
    "rclpy": "ROS 2: 'source /opt/ros/<distribution>/setup.bash', or pip install ros-jazzy-rclpy "
    "ros-jazzy-rmw-fastrtps-cpp ros-jazzy-sensor-msgs ros-jazzy-diagnostic-msgs",
    "sensor_msgs": "ROS 2's sensor_msgs: pip install ros-jazzy-sensor-msgs",
    "diagnostic_msgs": "ROS 2's diagnostic_msgs: pip install ros-jazzy-diagnostic-msgs",
}


class LiveError(RuntimeError):
    """A live replay that came to nothing; the message says which process failed, and how."""


@contextlib.contextmanager
def play(
    drive: Drive,
    model: str,
    *,
    rate: float = 1.0,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    progress: Progress = lambda done, total: None,
) -> Iterator[Played]:
    """Play the drive's images ``rate`` times as fast as they were recorded; gives what came back.

    ``progress``: messages sent, of how many. What came back lies in a temporary folder until the context ends.
    Raises ImportError where ROS 2 is not installed, LiveError, KeyboardInterrupt after SIGINT, SIGTERM or SIGHUP. No
    process outlives this.
    """
    for module, how in _NEEDED.items():
        if find_spec(module) is None:
            raise ImportError(f"a live replay needs {how}")
    if not 0 < rate < float("inf"):
        raise ValueError(f"rate is {rate}; must be a positive number, 1.0 for the drive's own time")
    folder = Path(tempfile.mkdtemp(prefix="seg_node_replay_"))
    try:
        node = {"model": os.path.abspath(model) if Path(model).exists() else model, "runtime": runtime}
        node.update(device=device, precision=precision, transport="compressed" if drive.compressed else "raw")
        played = Played(folder / "labels.bin")
        with _interruptible() as signals:
            _Session(drive, node, rate, folder, played, signals, progress).run()
        yield played
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(played: Played, drive: Drive, watchers: Sequence[Watcher], progress: Progress) -> list[str]:
    """Show every frame that came back, in order, to every watcher; closes none of them.

    Returns a text a frame whose labels could not be used. Frames that were dropped are shown to nobody.
    """
    failed, readable = [], set()
    for picture in drive.pictures():
        readable.add(picture.index)
        label = played.of(picture.index)
        if label is not None:
            shape = picture.frame.image.shape[:2]
            if label.pixels.shape == shape:
                result = Result(picture, label.pixels, None, {"end_to_end": label.milliseconds})
                for watcher in watchers:
                    watcher.see(result)
            else:
                failed.append(f"message {picture.index} of {drive.topic}: labels {label.pixels.shape}, image {shape}")
        progress(drive.seen, drive.length)
    played.unreadable = sum(sent.place not in readable for sent in played.sent.values())
    return failed


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect signals instead of dying of them: children are to be ended in order.

    Background jobs of a shell start with SIGINT ignored; a replay must end by it all the same.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Python has signals in the main one only
        yield received
        return
    before = {
        number: signal.signal(number, lambda which, _: received.append(which))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Session:
    """One playing, from the first process to the last."""

    def __init__(
        self,
        drive: Drive,
        node: dict[str, str],
        rate: float,
        folder: Path,
        played: Played,
        signals: list[int],
        progress: Progress,
    ) -> None:
        self._drive, self._node, self._rate, self._folder = drive, node, rate, folder
        self._played, self._signals, self._progress = played, signals, progress
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._children: list[Child] = []
        self._environment = child_environment(folder)
        # a domain that the person has chosen may hold a robot: our topics have names of their own
        self._namespace = ["--ros-args", "-r", f"__ns:=/seg_node_replay_{os.getpid()}"]

    def run(self) -> None:
        try:
            self._begin()
            camera = self._start_camera()
            self._follow(camera)
            self._wait_for_the_last()
            self._finish_recording()
        finally:
            end(self._children)

    def _begin(self) -> None:
        """Start recorder and node, and wait until they have found each other."""
        words = ["--labels", str(self._played.path), *self._namespace]
        self._start("recorder", "seg_node.ros.replay_recorder", words, piped=True)
        # YAML strings: a folder named 1 would be read as a number
        values = {**{name: json.dumps(value) for name, value in self._node.items()}, "diagnostics_period": "0.5"}
        words = [*self._namespace, *(word for k, v in values.items() for word in ("-p", f"{k}:={v}"))]
        self._start("node", "seg_node.ros.segmentation_node", words)
        deadline = time.monotonic() + _STARTING
        while not self._played.ready:
            self._attend()
            if self._played.broken:
                raise LiveError(f"the node cannot work: {self._played.broken}")
            if time.monotonic() > deadline:
                raise LiveError(f"the node was not ready in {_STARTING:.0f} s. {self._log('node')}")

    def _start_camera(self) -> Child:
        words = [os.path.abspath(self._drive.path), "--topic", self._drive.topic, "--rate", repr(self._rate)]
        words += self._namespace
        return self._start("camera", "seg_node.ros.replay_camera", words, piped=True)

    def _start(self, name: str, module: str, words: list[str], piped: bool = False) -> Child:
        child = Child(name, module, words, self._environment, self._folder, piped=piped)
        self._children.append(child)
        if piped:
            threading.Thread(target=self._listen, args=(child.process.stdout,), daemon=True).start()
        return child

    def _listen(self, pipe: Any) -> None:
        for text in pipe:
            self._lines.put(text)

    def _follow(self, camera: Child) -> None:
        """Take what is said until the camera has sent everything."""
        shown = -1
        while camera.code is None:
            self._attend()
            if len(self._played.sent) != shown:
                shown = len(self._played.sent)
                self._progress(shown, self._drive.length)

    def _wait_for_the_last(self) -> None:
        """Wait until the node has accounted for every frame that it was sent."""
        deadline, reports = time.monotonic() + _LAST_FRAMES, self._played.reports
        while time.monotonic() < deadline:
            self._attend()
            if self._played.reports >= reports + 2 and self._played.settled():
                return

    def _finish_recording(self) -> None:
        """Have the recorder write what it still holds."""
        recorder = self._children[0]
        recorder.send(signal.SIGINT)
        deadline = time.monotonic() + _LAST_FRAMES
        while time.monotonic() < deadline and not self._played.complete:
            self._take()
            if self._signals:
                raise KeyboardInterrupt
            if recorder.code is not None and self._lines.empty():
                break
        if recorder.code not in (None, 0):
            raise LiveError(f"the recorder failed. {self._log('recorder')}")
        if not self._played.sent:
            raise LiveError(f"the camera sent nothing. {self._log('camera')}")

    def _attend(self) -> None:
        """Take one line; raise where something has ended that should not have."""
        self._take()
        if self._signals:
            raise KeyboardInterrupt
        for child in self._children:
            if child.code is not None and (child.name != "camera" or child.code != 0):
                how = f"killed by {signal.Signals(-child.code).name}" if child.code < 0 else f"exit code {child.code}"
                raise LiveError(f"the {child.name} ended by itself ({how}). {self._log(child.name)}")

    def _take(self) -> None:
        with contextlib.suppress(queue.Empty):
            text = self._lines.get(timeout=0.1)
            with contextlib.suppress(ValueError):  # a library's own words
                self._played.take(json.loads(text))

    def _log(self, name: str) -> str:
        child = next(child for child in self._children if child.name == name)
        return f"The end of its log:\n{child.end_of_log()}"
