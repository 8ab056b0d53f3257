"""The demo as a person runs it: real processes, real DDS, files on disk, nothing left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")
pytest.importorskip("av", reason="PyAV is not installed here")

ROOT = Path(__file__).resolve().parents[2]
CARD = {
    "name": "pretend",
    "network": {"name": "external", "classes": 11, "options": {"delay": 0.005}},
    "label_set": "camvid11",
    "input": {"size": [60, 80], "channels": "bgr"},
    "output": {"kind": "labels"},
    "files": {},
}


class Demo:
    """One run in a process of its own; ``mark`` in its environment finds every process that comes of it."""

    def __init__(self, folder, *words, duration=2.5, taken=None, **network):
        (folder / "model").mkdir()
        card = {**CARD, "network": {**CARD["network"], "options": network}} if network else CARD
        (folder / "model" / "card.yaml").write_text(yaml.safe_dump(card))
        self.out, self.mark = folder / "out", uuid.uuid4().hex
        if taken:
            self.out.mkdir()
            (self.out / taken).touch()
        ours = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")  # this test's own: a person's shell has none
        environment = {k: v for k, v in os.environ.items() if k not in ours}
        environment.update(SEG_NODE_TEST_MARK=self.mark, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "seg_node",
                "demo",
                *words,
                "--model",
                str(folder / "model"),
                "--runtime",
                "fake",
                "--duration",
                str(duration),
                "--out",
                str(self.out),
            ],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""

    def children(self):
        """Return {pid: command line} of the processes that the demo has started and that still run."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (path / "environ").read_bytes() and int(path.name) != self.process.pid:
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def child(self, name):
        return next((pid for pid, line in self.children().items() if name in line), None)

    def until(self, words, seconds=30):
        """Read on until a line holds ``words``, a regular expression."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            line = self.process.stdout.readline()
            self.text += line
            if re.search(words, line):
                return
            assert line, f"ended without {words!r}:\n{self.text}"
        raise AssertionError(f"no {words!r} in {seconds} s:\n{self.text}")

    def end(self, seconds=45):
        """Wait for the exit code; the rest of the output is added to ``text``."""
        try:
            self.text += self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode

    def nothing_left(self, seconds=3.0):
        deadline = time.monotonic() + seconds
        while self.children() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.children()


@pytest.fixture
def demo(tmp_path):
    running = []

    def start(*words, **options):
        running.append(Demo(tmp_path, *words, **options))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
        for pid in one.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_the_street_is_labelled_shown_scored_and_written(demo):
    run = demo("--size", "120x160")
    assert run.end() == 0, run.text
    report = json.loads((run.out / "latency.json").read_text())
    sent = report["frames"]["sent"]
    assert 15 <= sent <= 80 and report["frames"]["in"] + report["frames"]["dropped"]["transport"] == sent
    assert report["frames"]["out"] >= 0.8 * sent and report["fps"]["out"] > 15
    assert report["model"] == "pretend" and report["runtime"] == "fake"
    assert 0 <= report["miou"] <= 1 and report["scored"] > 20
    for stage in ("decode", "infer", "total", "end_to_end"):
        assert 0 < report["latency_ms"][stage]["p50"] <= report["latency_ms"][stage]["p99"]

    labels = sorted((run.out / "label").glob("*.png"))
    assert 5 <= len(labels) <= 15
    label = cv2.imread(str(labels[0]), cv2.IMREAD_UNCHANGED)
    assert label.shape == (120, 160) and label.max() <= 10
    assert cv2.imread(str(run.out / "sheet.png")).shape[1] > 1000  # three columns
    video = cv2.VideoCapture(str(run.out / "overlay.mp4"))
    assert video.read()[1].shape == (120, 160, 3) and video.get(cv2.CAP_PROP_FRAME_COUNT) > 30
    for words in ("s left", "written:", str(run.out / "overlay.mp4"), "mIoU", "camera to label"):
        assert words in run.text
    assert run.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything_and_keeps_what_there_is(demo, number):
    run = demo("--size", "96x128", duration=60)
    run.until("5[0-8] s left")  # a line a second, rounded: one may be left out
    run.process.send_signal(number)
    assert run.end(20) == 130, run.text
    assert run.nothing_left()
    assert json.loads((run.out / "latency.json").read_text())["frames"]["out"] > 10
    assert (run.out / "sheet.png").exists() and cv2.VideoCapture(str(run.out / "overlay.mp4")).read()[0]


def test_an_interrupt_while_starting_leaves_nothing(demo):
    run = demo("--size", "96x128", duration=60)
    run.until("frames per second")
    deadline = time.monotonic() + 10
    while len(run.children()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.process.send_signal(signal.SIGINT)
    assert run.end(20) == 130, run.text
    assert "nothing was recorded yet" in run.text and "Traceback" not in run.text
    assert run.nothing_left()


def test_a_killed_demo_leaves_no_process(demo):
    run = demo("--size", "96x128", duration=60)
    run.until("s left")
    assert len(run.children()) == 3
    run.process.kill()
    run.end()
    assert run.nothing_left()


@pytest.mark.parametrize(("module", "name"), [("segmentation_node", "node"), ("seg_node.ros.camera", "camera")])
def test_a_process_that_dies_is_named(demo, module, name):
    run = demo("--size", "96x128", duration=60)
    run.until("s left")
    os.kill(run.child(module), signal.SIGKILL)
    assert run.end(20) == 1
    assert f"the {name} ended by itself, killed by SIGKILL" in run.text
    assert run.nothing_left()


def jpeg_bag(folder, data):
    """A bag of one second at 20 Hz, each message a CompressedImage of ``data``."""
    writer = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    kind = types.types["sensor_msgs/msg/CompressedImage"]
    header = types.types["std_msgs/msg/Header"](types.types["builtin_interfaces/msg/Time"](1, 2), "front")
    message = types.serialize_cdr(kind(header, "jpeg", data), kind.__msgtype__)
    with writer.Writer(folder / "bag", version=9) as out:
        connection = out.add_connection("/front/compressed", kind.__msgtype__, typestore=types)
        for index in range(20):
            out.write(connection, 10**9 + index * 5 * 10**7, message)
    return str(folder / "bag")


def test_jpegs_of_a_bag_reach_the_node_as_they_are(demo, tmp_path):
    bag = jpeg_bag(tmp_path, cv2.imencode(".jpg", np.full((46, 62, 3), 90, np.uint8))[1].ravel())
    run = demo(bag, duration=2)
    assert run.end() == 0, run.text
    assert "20 frames last 1.0 s: shown again and again for 2 s" in run.text
    report = json.loads((run.out / "latency.json").read_text())
    assert report["frames"]["out"] > 25 and report["miou"] is None
    label = cv2.imread(str(run.out / "label" / "00.png"), cv2.IMREAD_UNCHANGED)
    assert label.shape == (46, 62) and abs(int(label.mean()) - 90 % 11) <= 1
    assert cv2.imread(str(run.out / "sheet.png")).shape[1] < 1000  # two columns: no ground truth


def test_no_labelled_frame_is_a_failure_that_says_why(demo, tmp_path):
    run = demo(jpeg_bag(tmp_path, np.zeros(99, np.uint8)), duration=1.5)
    assert run.end() == 1
    assert "no labelled frame came" in run.text and "reached the node, and it labelled none" in run.text
    assert "bad_image: cannot decode 99 bytes" in run.text
    assert run.nothing_left() and not (run.out / "latency.json").exists()


def test_a_model_that_cannot_be_loaded_ends_it_soon(demo):
    run = demo("--size", "96x128", duration=60, fail_every=1)
    assert run.end(20) == 1
    assert "the node says: cannot load model" in run.text and "fails every 1" in run.text
    assert run.nothing_left()


def test_files_that_cannot_be_written_are_named(demo):
    """Stands for a full disk, which a test cannot make: a file lies where the folder should be."""
    run = demo("--size", "96x128", duration=60, taken="label")
    assert run.end(20) == 1
    assert "cannot write the recording" in run.text and "label" in run.text
    assert "Traceback" not in run.text and "'s log" not in run.text
    assert run.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_camera_ends_well_even_if_told_twice(number):
    """As launch does: no traceback, and the exit code is no signal's."""
    words = [sys.executable, "-m", "seg_node.ros.camera", "--size", "96x128"]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH")
    }
    environment["PYTHONPATH"] = str(ROOT)
    camera = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in camera.stdout:
        if "Hz" in line:
            break
    for _ in range(3):
        camera.send_signal(number)
        time.sleep(0.03)
    printed = camera.communicate(timeout=20)[0]
    assert (camera.returncode, "Traceback" in printed) == (0, False), printed
