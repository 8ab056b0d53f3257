"""One demo from start to end: three processes, one report, an exit code."""

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
from typing import Any, NamedTuple

from seg_node.demo.processes import Child, child_environment, end
from seg_node.demo.view import View
from seg_node.evaluation.recording import check_place
from seg_node.model_card import ModelCard
from seg_node.sources import Source, open_source
from seg_node.sources.arguments import source_words

INTERRUPTED = 130
_UNWRITTEN = 2  # the recorder's exit code where it could not write
_ASK_AGAIN = 1.0  # seconds between two interrupts of a recorder that does not end
_STARTING, _FINISHING = 120.0, 60.0  # seconds allowed beside the duration; a node may be building an engine
_NEEDED = {  # module -> how to get it
    "rclpy": "ROS 2: 'source /opt/ros/<distribution>/setup.bash', or pip install ros-jazzy-rclpy "
    "ros-jazzy-rmw-fastrtps-cpp ros-jazzy-sensor-msgs ros-jazzy-diagnostic-msgs",
    "sensor_msgs": "ROS 2's sensor_msgs: pip install ros-jazzy-sensor-msgs",
    "diagnostic_msgs": "ROS 2's diagnostic_msgs: pip install ros-jazzy-diagnostic-msgs",
    "av": "PyAV for the video: pip install av",
}


class Plan(NamedTuple):
    """What to show."""

    card: ModelCard
    model: str  # as the person named it
    runtime: str
    source: str | None
    topic: str | None
    size: tuple[int, int] | None  # of the street, (height, width)
    duration: float  # seconds
    out: Path


def run(plan: Plan) -> int:
    """Run a demo; returns 0, 1 where something failed (it says what), or 130 where it was interrupted.

    Raises ImportError where something is not installed, SourceError for a source that gives no frames, FileExistsError
    where files that are no demo's would be replaced.
    """
    for module, how in _NEEDED.items():
        if find_spec(module) is None:
            raise ImportError(f"the demo needs {how}")
    check_place(plan.out, Path(plan.source) if plan.source and Path(plan.source).exists() else None)
    source = open_source(plan.source, plan.topic, plan.size)
    source.close()  # the camera opens it again, in its own process
    with View(_title(plan, source), plan.duration) as view:
        view.say(f"{source.title}, {source.rate:g} frames per second")
        for note in source.notes:
            view.say(note)
        if source.length and source.length / source.rate < plan.duration:
            frames = "one frame lasts" if source.length == 1 else f"{source.length} frames last"
            view.say(f"{frames} {source.length / source.rate:.1f} s: shown again and again for {plan.duration:g} s")
        plan.out.mkdir(parents=True, exist_ok=True)
        logs = Path(tempfile.mkdtemp(prefix="seg_node_demo_"))
        try:
            return _Session(plan, source, logs, view).run()
        finally:
            shutil.rmtree(logs, ignore_errors=True)


class _Session:
    def __init__(self, plan: Plan, source: Source, logs: Path, view: View) -> None:
        self._plan, self._source, self._logs, self._view = plan, source, logs, view
        self._signals: list[int] = []
        self._answer: dict[str, Any] = {}  # the recorder's last word
        self._deadline = time.monotonic() + _STARTING + plan.duration + _FINISHING

    def run(self) -> int:
        # Background jobs of a shell start with SIGINT ignored; a demo must end by it all the same.
        before = {
            number: signal.signal(number, lambda received, _: self._signals.append(received))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        children: list[Child] = []
        try:
            for child in self._start():
                children.append(child)
            return self._supervise(*children)
        finally:
            end(children)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> Iterator[Child]:
        plan, source, environment = self._plan, self._source, child_environment(self._logs)
        recorder = [
            "--out",
            str(plan.out),
            "--duration",
            str(plan.duration),
            "--label-set",
            plan.card.label_set,
            "--title",
            _title(plan, source),
            "--patience",
            str(_STARTING),
        ]
        recorder += ["--compressed"] * source.compressed + ["--truth"] * (source.label_set == plan.card.label_set)
        yield Child("recorder", "seg_node.ros.demo_recorder", recorder, environment, self._logs, piped=True)
        # A YAML string: a folder named 1 would be read as a number.
        node = {
            "model": json.dumps(_model_path(plan.model)),
            "runtime": json.dumps(plan.runtime),
            "transport": "compressed" if source.compressed else "raw",
        }
        words = [word for name, value in node.items() for word in ("-p", f"{name}:={value}")]
        yield Child("node", "seg_node.ros.segmentation_node", ["--ros-args", *words], environment, self._logs)
        camera = ["--duration", str(plan.duration), "--wait-for", "2"]
        camera += source_words(plan.source, plan.topic, plan.size)
        yield Child("camera", "seg_node.ros.camera", camera, environment, self._logs)

    def _supervise(self, recorder: Child, node: Child, camera: Child) -> int:
        """Show reports until the recorder is done, or something goes wrong."""
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read, args=(recorder.process.stdout, lines), daemon=True).start()
        while recorder.code is None:
            self._take(lines)
            if self._signals:
                self._view.say("interrupted: ending everything and writing what was recorded so far")
                return self._stop_early(recorder, [camera, node], lines, INTERRUPTED)
            for child in (node, camera):
                if child.code is not None and (child is node or child.code != 0):
                    self._view.say(
                        f"the {child.name} ended by itself, {_how(child.code)}. The end of its log:\n"
                        f"{child.end_of_log()}"
                    )
                    return self._stop_early(recorder, [camera, node], lines, 1)
            if time.monotonic() > self._deadline:
                self._view.say("the demo did not end in time; the recorder's log ends:\n" + recorder.end_of_log())
                return 1
        return self._conclude(recorder, [node], lines)

    def _stop_early(self, recorder: Child, others: Sequence[Child], lines: "queue.Queue[bytes]", code: int) -> int:
        """Have the recorder write what there is; a second signal ends even that."""
        self._signals.clear()
        recorder.send(signal.SIGINT)
        end(others, patience=3.0)
        deadline = time.monotonic() + _FINISHING
        asked = time.monotonic()
        while recorder.code is None and time.monotonic() < deadline and not self._signals:
            self._take(lines)
            # A Python that is still importing may lose a signal: where a library catches everything, and in exec.
            if not self._answer and time.monotonic() - asked >= _ASK_AGAIN:
                recorder.send(signal.SIGINT)
                asked = time.monotonic()
        if recorder.code is None:
            self._view.say("stopped before everything was written")
        elif code == INTERRUPTED and recorder.code not in (0, _UNWRITTEN):
            self._view.say("nothing was recorded yet")
        else:
            self._conclude(recorder, [], lines)
        return code

    def _conclude(self, recorder: Child, others: Sequence[Child], lines: "queue.Queue[bytes]") -> int:
        """Say what the recorder made of it."""
        deadline = time.monotonic() + 2.0  # its last line may still be in the pipe
        while not self._answer and time.monotonic() < deadline:
            self._take(lines)
        if "result" in self._answer:
            self._view.finish(self._answer["result"])
            self._view.say("\nwritten:")
            for path in _shorten(self._answer["files"]):
                self._view.say(f"  {path}")
            return 0
        if "failure" in self._answer:
            self._view.say(self._answer["failure"])
            for child in others if recorder.code != _UNWRITTEN else []:  # whose fault it is not
                self._view.say(f"The end of the {child.name}'s log:\n{child.end_of_log()}")
        else:
            self._view.say(f"the recorder ended, {_how(recorder.code)}. The end of its log:\n{recorder.end_of_log()}")
        return 1

    def _take(self, lines: "queue.Queue[bytes]") -> None:
        """Handle one line of the recorder, if there is one."""
        try:
            said = json.loads(lines.get(timeout=0.1))
        except (queue.Empty, ValueError):
            return
        if "report" in said:
            self._view.show(said["report"], said["elapsed"])
        else:
            self._answer = said


def _title(plan: Plan, source: Source) -> str:
    return f"{plan.card.name} on {source.title}"


def _read(pipe: Any, lines: "queue.Queue[bytes]") -> None:
    for text in pipe:
        lines.put(text)


def _model_path(model: str) -> str:
    return os.path.abspath(model) if Path(model).exists() else model


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"with exit code {code}"


def _shorten(files: Sequence[str]) -> list[str]:
    """Name a folder of many files once."""
    labels = [path for path in files if Path(path).parent.name == "label"]
    others = [path for path in files if path not in labels]
    return others + ([f"{Path(labels[0]).parent}/*.png (label images: {len(labels)})"] if labels else [])
