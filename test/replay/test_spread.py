"""Many bags over a real Ray of two workers, one of which is killed at work; and what needs no Ray."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import street_bags

from seg_node.replay import bag_names
from seg_node.sources import SourceError

ROOT = Path(__file__).resolve().parents[2]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed here: pip install ray"
)
FRAMES = (40, 25, 30, 35)
DRIVER = """
import json, sys
import ray
from pathlib import Path
from seg_node.replay import many
from seg_node.replay.session import Plan
if __name__ == "__main__":
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
             runtime_env={{"env_vars": {{"PYTHONPATH": {root!r}}}}})
    plan = Plan("rdsnet_camvid", label={label!r}, runtime="onnx", outputs=())
    done = many.on_ray(plan, sys.argv[2:], Path(sys.argv[1]))
    print("DONE", json.dumps([[str(folder) for _, folder in done.reports], done.failed, done.interrupted]))
    ray.shutdown()
"""


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    return [
        str(street_bags.write_street(folder / f"drive{seed}", frames, size=(180, 240), seed=seed))
        for seed, frames in enumerate(FRAMES)
    ]


class Driver:
    """Replays bags on a Ray of two workers, in a process of its own; ``mark`` finds all that comes of it."""

    def __init__(self, folder, out, *bags):
        self.mark, self.text = uuid.uuid4().hex, ""
        script = folder / "driver.py"
        script.write_text(DRIVER.format(root=str(ROOT), label=street_bags.LABEL))
        # Ray keeps a key of its clusters in the home folder
        environment = {**os.environ, "SEG_NODE_TEST_MARK": self.mark, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(out), *bags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def workers(self):
        """Return the ids of the workers that hold a task now."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                name = (path / "cmdline").read_bytes()
                if name.startswith(b"ray::seg_node_replay") and self.mark.encode() in (path / "environ").read_bytes():
                    found.append(int(path.name))
        return found

    def end(self, seconds=180):
        try:
            self.text += self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.text += self.process.communicate()[0]
        assert self.process.returncode == 0 and "DONE " in self.text, self.text
        return json.loads(self.text.partition("DONE ")[2].splitlines()[0])


@pytest.fixture
def drive(tmp_path):
    running = []

    def start(out, *bags):
        running.append(Driver(tmp_path, out, *bags))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.terminate()  # Ray then ends its workers
            one.process.communicate(timeout=30)


def without_times(value):
    """Return a report without what differs from one run to the next."""
    if isinstance(value, dict):
        times = ("ms", "ms_per_image", "latency_ms", "date", "hardware")
        return {key: without_times(part) for key, part in value.items() if key not in times}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def report_of(folder):
    return json.loads((Path(folder) / "report.json").read_text())


@needs_ray
def test_a_killed_worker_costs_nothing_but_time(drive, bags, tmp_path):
    whole = drive(tmp_path / "whole", *bags)
    assert whole.end()[1:] == [{}, False]
    expected = report_of(tmp_path / "whole")
    assert expected["images"] == sum(FRAMES) and expected["miou"] > 0.3

    out = tmp_path / "killed"
    run = drive(out, *bags)
    deadline = time.monotonic() + 90
    while not (run.workers() and list(out.glob(".drive*.part-*"))):  # somebody is at work, and has begun to write
        assert time.monotonic() < deadline and run.process.poll() is None, run.process.communicate()[0]
        time.sleep(0.02)
    victim = run.workers()[0]
    os.kill(victim, signal.SIGSTOP)  # so that it cannot be done in the meantime
    time.sleep(0.2)
    assert victim in run.workers()
    done = sorted(path.parent.name for path in out.glob("*/finished.json"))
    os.kill(victim, signal.SIGKILL)
    reports, failed, interrupted = run.end()
    assert len(done) < len(bags) and (failed, interrupted) == ({}, False)
    assert len(reports) == len(bags) + 1
    assert without_times(report_of(out)) == without_times(expected)
    assert not list(out.glob(".*"))  # no half results, no mark


@needs_ray
def test_a_bag_that_always_kills_its_worker_is_told(tmp_path):
    script, counts = tmp_path / "driver.py", tmp_path / "counts"
    counts.mkdir()
    (tmp_path / "bad.mcap").touch()
    script.write_text(
        f"""
import os, sys, uuid
from pathlib import Path
from seg_node.replay import spread
def die(bag, folder):
    (Path({str(counts)!r}) / uuid.uuid4().hex).touch()
    os.kill(os.getpid(), 9)
done = spread.replay_on_ray([{str(tmp_path / "bad.mcap")!r}], die, Path({str(tmp_path / "out")!r}), key="", retries=1)
print("DONE", done.folders, done.failed)
"""
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert "DONE {} {" in run.stdout and "its worker was lost every time" in run.stdout, run.stdout + run.stderr
    assert len(list(counts.iterdir())) == 2
    assert not list((tmp_path / "out").iterdir())


@needs_ray
def test_a_second_run_does_what_is_left(drive, bags, tmp_path):
    out, missing = tmp_path / "out", str(tmp_path / "missing.mcap")
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(b"no bag")
    _, failed, _ = drive(out, bags[0], bags[1], missing, str(damaged)).end()
    assert sorted(failed) == sorted([missing, str(damaged)])
    assert "no such bag" in failed[missing] and "no ROS 2 bag that can be read" in failed[str(damaged)]
    assert any("missing.mcap" in note for note in report_of(out)["notes"])
    before = {path: path.stat().st_mtime_ns for path in out.glob("drive*/report.json")}
    assert len(before) == 2

    (out / "drive1" / "finished.json").unlink()  # as if this one had been cut off
    again = drive(out, *bags[:3])
    again.end()
    assert "1 of 3 bags were done by an earlier run" in again.text
    after = {path: path.stat().st_mtime_ns for path in out.glob("drive*/report.json")}
    assert len(after) == 3 and [path.parent.name for path in before if after[path] == before[path]] == ["drive0"]
    assert report_of(out)["images"] == sum(FRAMES[:3])


@needs_ray
def test_a_worker_that_sees_neither_bags_nor_results_is_served(drive, bags, tmp_path):
    """Bags come through fsspec, by a scheme; where the results' folder is out of sight, files come back by Ray."""
    _, failed, _ = drive(tmp_path / "out", "file://" + bags[1]).end()
    assert failed == {}
    report = report_of(tmp_path / "out" / "drive1")
    assert report["images"] == FRAMES[1] and report["bag"]["path"] == "file://" + bags[1]


def test_results_are_carried_where_the_folder_is_out_of_sight(bags, tmp_path):
    import io
    import tarfile

    from seg_node.replay import spread

    def replay_one(bag, folder):
        assert bag == Path(bags[0])
        (folder / "worst").mkdir()
        (folder / "worst" / "1.jpg").write_bytes(b"picture")
        (folder / "report.json").write_text("{}")

    known = bag_names.identity(bags[0], "key")
    folder = tmp_path / "elsewhere" / "drive0"
    archive = spread._replay(replay_one, bags[0], str(folder), str(tmp_path / "no mark"), known)
    assert not folder.parent.exists()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    assert (folder / "worst" / "1.jpg").read_bytes() == b"picture" and bag_names.is_finished(folder, known)

    (tmp_path / "mark").touch()
    assert spread._replay(replay_one, bags[0], str(folder), str(tmp_path / "mark"), known) is None
    assert bag_names.is_finished(folder, known) and not list(folder.parent.glob(".*"))
    (folder / "notes.txt").write_text("mine")
    (folder / "worst" / "1.jpg").unlink()
    assert spread._replay(replay_one, bags[0], str(folder), str(tmp_path / "mark"), known) is None
    assert (folder / "notes.txt").read_text() == "mine"  # what a user laid beside the results outlives the next ones
    assert (folder / "worst" / "1.jpg").exists() and not list(folder.parent.glob(".*"))
    with pytest.raises(FileNotFoundError, match="every worker sees them"):
        spread._replay(replay_one, str(tmp_path / "nowhere"), str(folder), str(tmp_path / "mark"), known)
    assert bag_names.is_finished(folder, known)  # a failed attempt leaves what was there


def test_patterns_name_bags(tmp_path):
    for name in ("b.mcap", "a.mcap", "notes.txt", "day1/c.mcap"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    here = str(tmp_path)
    assert bag_names.expand([here + "/*.mcap", here + "/a.mcap"]) == [here + "/a.mcap", here + "/b.mcap"]
    assert bag_names.expand([here + "/**/*.mcap"])[-1] == here + "/day1/c.mcap"
    assert bag_names.expand([here + "/none.mcap"]) == [here + "/none.mcap"]  # whoever opens it says that it is missing
    with pytest.raises(SourceError, match="no bag fits"):
        bag_names.expand([here + "/*.db3"])


def test_storage_goes_through_fsspec(tmp_path):
    pytest.importorskip("fsspec")
    for name in ("b.mcap", "a.mcap"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "metadata.yaml").write_text("text")
    found = bag_names.expand([f"file://{tmp_path}/*.mcap"])
    assert [name.rpartition("/")[2] for name in found] == ["a.mcap", "b.mcap"] and found[0].startswith("file://")
    with bag_names.local(found[0]) as path:
        assert path.read_text() == "a.mcap" and path.parent != tmp_path
    assert not path.exists()
    with bag_names.local(f"file://{tmp_path}/folder") as path:
        assert (path / "metadata.yaml").read_text() == "text"
    before = bag_names.identity(found[0], "key")
    (tmp_path / "a.mcap").write_text("another")
    assert bag_names.identity(found[0], "key") != before
    with pytest.raises(FileNotFoundError):
        bag_names.identity(f"file://{tmp_path}/none.mcap", "key")
    with pytest.raises((SourceError, ImportError), match="nonsense://"):
        bag_names.expand(["nonsense://bucket/*.mcap"])


def test_every_bag_has_a_folder_of_its_own(tmp_path):
    names = bag_names.folder_names(["/a/drive.mcap", "/b/drive.mcap", "/c/rosbag2_2024.01.02", "s3://bucket/x.db3"])
    assert len(set(names.values())) == 4
    assert names["/c/rosbag2_2024.01.02"] == "rosbag2_2024.01.02" and names["s3://bucket/x.db3"] == "x"
    assert names["/a/drive.mcap"].startswith("drive-")
    assert names == bag_names.folder_names(list(reversed(names)))


def test_the_key_tells_of_settings_model_and_ground_truth(tmp_path):
    model, truth = tmp_path / "model", tmp_path / "truth"
    shutil.copytree(ROOT / "models" / "rdsnet_camvid", model)
    truth.mkdir()

    def key(image="/a"):
        return bag_names.key_of({"image": image}, [str(model)], [str(truth)])

    first = key()
    assert first == key() and first != key("/b")
    (truth / "1.png").touch()
    second = key()
    assert first != second
    network = next(model.glob("*.onnx"))
    network.write_bytes(network.read_bytes() + b" ")
    assert second != key()


def test_half_a_report_is_not_finished(tmp_path):
    (tmp_path / "bag").touch()
    known = bag_names.identity(str(tmp_path / "bag"), "key")
    bag_names.finish(tmp_path, known)
    assert not bag_names.is_finished(tmp_path, known)
    (tmp_path / "report.json").write_text('{"kind": "seg')
    assert not bag_names.is_finished(tmp_path, known)
    (tmp_path / "report.json").write_text("{}")
    assert bag_names.is_finished(tmp_path, known)
    assert not bag_names.is_finished(tmp_path, {**known, "key": "other"})


@needs_ray
def test_an_interrupt_keeps_what_is_done(drive, bags, tmp_path):
    out = tmp_path / "out"
    run = drive(out, *bags)
    deadline = time.monotonic() + 90
    while not (list(out.glob("*/finished.json")) and run.workers()):
        assert time.monotonic() < deadline and run.process.poll() is None, run.process.communicate()[0]
        time.sleep(0.02)
    run.process.send_signal(signal.SIGINT)
    assert run.end(60)[2], run.text
    assert 1 <= len(list(out.glob("*/finished.json"))) < len(bags)
    deadline = time.monotonic() + 10
    while run.workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not run.workers() and not list(out.glob(".*"))
