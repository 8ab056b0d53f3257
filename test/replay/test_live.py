"""A bag played in its own time to the real node, in processes of their own, over real DDS."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import street_bags
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed here")

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 120


def card(folder, **options):
    """A model of the fake backend: labels from brightness, after ``delay`` seconds."""
    folder.mkdir()
    table = {
        "name": "pretend",
        "network": {"name": "external", "classes": 11, "options": options},
        "label_set": "camvid11",
        "input": {"size": [60, 80], "channels": "bgr"},
        "output": {"kind": "labels"},
        "files": {},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return folder


class Replay:
    """``seg-node replay`` in a process; ``mark`` in its environment finds every process that comes of it."""

    def __init__(self, *words, **environment):
        self.mark = uuid.uuid4().hex
        ours = ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")  # this test's own: a person's shell has none
        kept = {k: v for k, v in os.environ.items() if k not in ours}
        kept.update(SEG_NODE_TEST_MARK=self.mark, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", **environment)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seg_node", "replay", *map(str, words)],
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""

    def children(self):
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (path / "environ").read_bytes() and int(path.name) != self.process.pid:
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def wait_for(self, *names, seconds=60.0):
        """Wait until processes of these names run; return their ids."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            children = self.children()
            found = [next((pid for pid, line in children.items() if name in line), None) for name in names]
            if None not in found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no {names}: {self.end(1)} {self.text}")

    def end(self, seconds=90):
        try:
            self.text += self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.text += self.process.communicate()[0]
        return self.process.returncode

    def nothing_left(self, seconds=5.0):
        deadline = time.monotonic() + seconds
        while self.children() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.children()


@pytest.fixture
def replay():
    running = []

    def start(*words, **environment):
        running.append(Replay(*words, "--no-video", "--no-bag", "--no-rerun", **environment))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
        for pid in one.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return street_bags.write_street(tmp_path_factory.mktemp("bags") / "street", FRAMES)


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_shipped_model_is_scored_live_as_offline(replay, street, tmp_path):
    """30 frames a second: what came back has the offline labels, and every frame is accounted for."""
    pytest.importorskip("onnxruntime")
    words = (street, "--model", "rdsnet_camvid", "--runtime", "onnx", "--label", street_bags.LABEL, "--out")
    live = replay(*words, tmp_path / "live", "--live")
    assert live.end() == 0, live.text
    offline = replay(*words, tmp_path / "offline")
    assert offline.end() == 0, offline.text
    mine, other = report_of(tmp_path / "live"), report_of(tmp_path / "offline")

    assert mine["mode"] == "live" and set(other) <= set(mine)
    frames = mine["frames"]
    assert frames["in"] == FRAMES and frames["in"] == frames["out"] + sum(frames["dropped"].values())
    assert frames["out"] == mine["images"] == len(mine["moments"]) > 10
    assert frames["dropped"]["unfinished"] == frames["dropped"]["bad_image"] == 0
    assert 28 < frames["fps"]["sent"] < 32 and 0 < frames["fps"]["out"] < 32

    infer, end_to_end = mine["latency_ms"]["infer"], mine["latency_ms"]["end_to_end"]
    assert infer["p50"] < end_to_end["p50"] <= end_to_end["p95"] <= end_to_end["p99"] <= end_to_end["max"] < 20000
    assert all(moment["ms"]["end_to_end"] > 0 for moment in mine["moments"])

    exact = {moment["index"]: moment for moment in other["moments"]}
    for moment in mine["moments"]:  # stamps are the bag's again, and labels those of the same frame
        assert moment["stamp"] == exact[moment["index"]]["stamp"]
        assert moment["miou"] == pytest.approx(exact[moment["index"]]["miou"], abs=1e-4)
    assert mine["miou"] == pytest.approx(other["miou"], abs=0.05) and mine["miou"] > 0.5
    assert live.nothing_left()


def test_the_bag_keeps_its_own_gaps(street, tmp_path):
    """A slow start, a pause and a burst, twice as fast as recorded; the network has time for all of them."""
    from seg_node.replay import live
    from seg_node.replay.drive import Drive

    gaps = [0.4] * 4 + [1.6] + [0.2] * 5
    bag = street_bags.write_street(tmp_path / "uneven", len(gaps) + 1, gaps, size=(96, 128))
    with Drive(bag) as drive, live.play(drive, str(card(tmp_path / "model")), runtime="fake", rate=2.0) as played:
        stamps = np.array(sorted(played.sent)) / 1e9
        assert np.diff(stamps) == pytest.approx(np.array(gaps) / 2, abs=0.05)
        assert played.frames()["out"] == len(stamps) == len(gaps) + 1
        assert not played.path.with_name("none").exists() and played.path.exists()
    assert not played.path.exists()


def test_drops_are_told_by_their_cause(replay, tmp_path):
    """A network of 0.2 s and a camera of 30 Hz; of two broken messages, DDS itself refuses one."""
    bag = street_bags.write_street(tmp_path / "bag", 60, size=(96, 128), cut=(3,), short=(59,))
    run = replay(bag, "--model", card(tmp_path / "model", delay=0.2), "--runtime", "fake", "--live", "--out", tmp_path)
    assert run.end() == 0, run.text
    frames = report_of(tmp_path)["frames"]
    assert frames["in"] == 60 == frames["out"] + sum(frames["dropped"].values())
    dropped = frames["dropped"]
    assert dropped["bad_image"] == 2 and dropped["newer_frame"] > 10
    # on a busy machine DDS, too, replaces a message that nobody took
    assert dropped["newer_frame"] + dropped["transport"] > 30
    assert len(report_of(tmp_path)["broken"]) == 2
    assert report_of(tmp_path)["latency_ms"]["end_to_end"]["p50"] > 200


def test_a_model_that_cannot_be_loaded_is_told(replay, street, tmp_path):
    model = card(tmp_path / "model", fail_every=1)
    run = replay(street, "--model", model, "--runtime", "fake", "--live", "--out", tmp_path / "out")
    assert run.end(60) == 1
    assert "the node cannot work: cannot load model" in run.text and "Traceback" not in run.text
    assert run.nothing_left() and not (tmp_path / "out" / "report.json").exists()


@pytest.mark.parametrize(("module", "name"), [("segmentation_node", "node"), ("replay_camera", "camera")])
def test_a_process_that_dies_is_named(replay, street, tmp_path, module, name):
    run = replay(street, "--model", card(tmp_path / "model"), "--runtime", "fake", "--live", "--out", tmp_path / "out")
    victim, _ = run.wait_for(module, "replay_camera")
    os.kill(victim, signal.SIGKILL)
    assert run.end(60) == 1
    assert f"the {name} ended by itself (killed by SIGKILL)" in run.text and "Traceback" not in run.text
    assert run.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process(replay, street, tmp_path, number):
    run = replay(
        *(street, "--model", card(tmp_path / "model"), "--runtime", "fake", "--live", "--rate", "0.1"),
        *("--out", tmp_path / "out"),
    )
    run.wait_for("replay_camera")
    time.sleep(1.0)
    run.process.send_signal(number)
    assert run.end(30) == 130, run.text
    assert "Traceback" not in run.text
    assert run.nothing_left()


def test_a_bag_without_images_is_refused_before_anything_starts(replay, tmp_path):
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = "std_msgs/msg/String"
        topic = writer.add_connection("/chatter", kind, typestore=street_bags.types())
        writer.write(topic, 1, street_bags.types().serialize_cdr(street_bags.types().types[kind]("hello"), kind))
    run = replay(tmp_path / "bag", "--model", "rdsnet_camvid", "--live", "--out", tmp_path / "out")
    assert run.end(60) == 1
    assert "no topic in it holds images" in run.text and "/chatter" in run.text and "Traceback" not in run.text


def test_a_rate_that_is_none_is_refused(street, tmp_path):
    from seg_node.replay import live
    from seg_node.replay.drive import Drive

    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with Drive(street) as drive, pytest.raises(ValueError, match="rate"), live.play(drive, "x", rate=rate):
            pass
