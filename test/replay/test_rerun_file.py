"""The Rerun recording, read back with Rerun's own reader."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need rosbags")
from seg_node.evaluation.confusion import Confusion
from seg_node.label_set import load_label_set
from seg_node.replay.drive import Drive
from seg_node.replay.make_bag import START, record_street
from seg_node.replay.offline import Result
from seg_node.replay.rerun_file import RerunFile

LABELS = load_label_set("camvid11")
SIZE = (60, 80)


@pytest.fixture
def rerun():
    return pytest.importorskip("rerun", reason="a Rerun recording needs rerun-sdk: pip install rerun-sdk")


@pytest.fixture
def drive(tmp_path):
    record_street(tmp_path / "street.mcap", 0.6, 10, SIZE, codec="png")
    with Drive(tmp_path / "street.mcap", label="/camera/ground_truth", label_set=LABELS) as opened:
        yield opened


def guess(picture) -> Result:
    """Nearly right: the upper half is sky."""
    labels = picture.truth.copy()
    labels[: 20 + picture.index] = 0
    return Result(picture, labels, None, {"infer": 10.0 + picture.index, "total": 20.0})


def columns(path, entity: str) -> dict[str, list]:
    """Return an entity's columns, in the order of the frames; static ones have no frame."""
    from rerun.chunk import RrdReader

    rows = []
    for chunk in RrdReader(str(path)).stream():
        if str(chunk.entity_path) == entity:
            rows += chunk.to_record_batch().to_pylist()
    rows.sort(key=lambda row: row.get("frame") if row.get("frame") is not None else -1)
    return {key: [row.get(key) for row in rows] for key in (rows[-1] if rows else ())}


def test_it_holds_images_classes_latencies_and_scores_along_the_drives_time(rerun, drive, tmp_path):
    path = tmp_path / "out" / "replay.rrd"
    recording = RerunFile(path, drive, LABELS)
    results, images = [], []
    for picture in drive.pictures():
        recording.see(guess(picture))
        results.append(guess(picture))
        images.append(picture.frame.image.copy())
    assert not path.exists()
    recording.close()
    assert os.listdir(path.parent) == ["replay.rrd"] and len(results) == 6

    found = columns(path, "/camera/labels")
    assert found["frame"] == list(range(6))
    stamps = [np.datetime64(stamp, "ns").astype(np.int64) for stamp in found["stamp"]]
    assert stamps == [START + index * 10**8 for index in range(6)]
    for (buffer,), result in zip(found["SegmentationImage:buffer"], results, strict=True):
        assert np.array_equal(np.array(buffer, np.uint8).reshape(SIZE), result.labels)
    truth = columns(path, "/camera/truth")
    assert np.array_equal(np.array(truth["SegmentationImage:buffer"][3][0]).reshape(SIZE), results[3].picture.truth)
    pictures = columns(path, "/camera")
    for (blob,), image in zip(pictures["EncodedImage:blob"], images, strict=True):
        shown = cv2.imdecode(np.array(blob, np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(shown.astype(int) - image).mean() < 15

    infer = columns(path, "/latency/infer")["Scalars:scalars"]
    assert [v for row in infer if row for v in row] == [10.0 + index for index in range(6)]
    whole = Confusion(11)
    wanted = []
    for result in results:
        one = Confusion(11)
        one.add(result.picture.truth, result.labels)
        whole.matrix += one.matrix
        wanted.append((one.scores().miou, whole.scores().miou))
    for name, place in (("frame", 0), ("so_far", 1)):
        scores = columns(path, f"/score/{name}")["Scalars:scalars"]
        assert [v for row in scores if row for v in row] == pytest.approx([pair[place] for pair in wanted])


def test_classes_have_names_and_colours(rerun, drive, tmp_path):
    recording = RerunFile(tmp_path / "a.rrd", drive, LABELS)
    recording.see(guess(next(drive.pictures())))
    recording.close()
    ((context,),) = columns(tmp_path / "a.rrd", "/")["AnnotationContext:context"]
    entries = {entry["class_id"]: entry["class_description"]["info"] for entry in context}
    assert {i: info["label"] for i, info in entries.items()} == {**dict(enumerate(LABELS.names)), 255: "unlabelled"}
    blue, green, red = (int(value) for value in LABELS.palette[3])
    assert entries[3]["color"] == (red << 24) + (green << 16) + (blue << 8) + 255


def test_rerun_itself_finds_it_whole(rerun, drive, tmp_path):
    recording = RerunFile(tmp_path / "a.rrd", drive, LABELS)
    for picture in drive.pictures():
        recording.see(guess(picture))
    recording.close()
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "verify", str(tmp_path / "a.rrd")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    from rerun.chunk import RrdReader

    (entry,) = RrdReader(str(tmp_path / "a.rrd")).recordings()
    assert entry.recording_id == "street.mcap /camera/image_raw/compressed"


def test_before_the_disk_is_full_it_says_so(rerun, drive, tmp_path, monkeypatch):
    recording = RerunFile(tmp_path / "a.rrd", drive, LABELS)
    picture = next(iter(drive.pictures()))
    recording.see(guess(picture))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 << 20))
    with pytest.raises(OSError, match=r"a\.rrd: cannot be written; is there room\? \(3 MB are left"):
        recording.see(guess(picture))


def test_without_the_library_it_says_what_to_install(drive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ImportError, match="pip install rerun-sdk"):
        RerunFile(tmp_path / "a.rrd", drive, LABELS)
    assert os.listdir(tmp_path) == ["street.mcap"]
