"""Offline: every frame through what the robot runs; the same bag, the same labels; the same mIoU as ``evaluate``."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from bags import IMAGE, JPEG, at, compressed, fake_model, image, street, street_bag, write_bag

from seg_node.commands import main
from seg_node.evaluation.score import evaluate
from seg_node.label_set import load_label_set
from seg_node.model_card import load_card
from seg_node.pipeline.segmenter import Segmenter
from seg_node.replay import offline
from seg_node.replay.drive import Drive
from seg_node.replay.session import Plan, Replayer
from seg_node.runtimes import load_runtime

TIMES = ("date", "ms_per_image", "latency_ms")


def segmenter(model, runtime="auto") -> Segmenter:
    card = load_card(model)
    return Segmenter(card, load_runtime(card, runtime))


class Keep:
    """A watcher that keeps the labels."""

    def __init__(self) -> None:
        self.labels, self.indices, self.stages = [], [], []

    def see(self, result: offline.Result) -> None:
        self.labels.append(hashlib.sha256(result.labels.tobytes()).hexdigest())
        self.indices.append(result.picture.index)
        self.stages.append(list(result.milliseconds))

    def close(self) -> None:
        pass


def without_times(report: dict) -> dict:
    report = json.loads(json.dumps({key: value for key, value in report.items() if key not in TIMES}))
    for moment in report["moments"]:
        assert all(value >= 0 for value in moment.pop("ms").values())
    return report


def test_the_same_bag_gives_the_same_labels_and_report(tmp_path):
    bag = street_bag(tmp_path / "drive", count=8)
    runs, reports = [], []
    for _ in range(2):
        keep = Keep()
        with Drive(bag) as drive:
            offline.run(segmenter("rdsnet_camvid"), drive, [keep], lambda done, total: None)
        runs.append(keep)
        with Replayer(Plan("rdsnet_camvid", label="/front/label", outputs=())) as replayer:
            reports.append(replayer.replay(bag, tmp_path / "out"))
    assert runs[0].labels == runs[1].labels and len(set(runs[0].labels)) == 8
    assert runs[0].stages == [list(offline.STAGES)] * 8
    assert without_times(reports[0]) == without_times(reports[1]) and reports[0]["miou"] is not None


@pytest.mark.parametrize("kind", ["raw", "png"])
def test_miou_is_that_of_evaluate_on_the_same_frames(tmp_path, kind):
    frames = street(6)
    make = image if kind == "raw" else compressed
    topics = {
        "/image": (IMAGE if kind == "raw" else JPEG, [(at(i), make(f, at(i))) for i, (f, _) in enumerate(frames)]),
        "/label": (IMAGE, [(at(i), image(t, at(i), "mono8")) for i, (_, t) in enumerate(frames)]),
    }
    bag = write_bag(tmp_path / "drive", topics)
    split = [(pixels, truth, str(i)) for i, (pixels, truth) in enumerate(frames)]
    expected = evaluate(segmenter("rdsnet_camvid"), split, load_label_set("camvid11")).as_dict("ignored")
    with Replayer(Plan("rdsnet_camvid", image="/image", label="/label", outputs=())) as replayer:
        report = replayer.replay(bag, tmp_path / "out")
    same = ("miou", "iou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "images", "void")
    assert {key: report[key] for key in same} == {key: expected[key] for key in same}
    assert 0 < report["miou"] < 1


def test_camvids_drive_as_a_bag_scores_as_the_evaluate_command_does(tmp_path, camvid, capsys):
    """Both commands, the shipped model, real frames; ground truth in CamVid's own files, and as a topic with its 11."""
    import cv2

    data = tmp_path / "camvid"
    for folder in ("val", "valannot"):
        (data / folder).mkdir(parents=True)
        for path in sorted((camvid / folder).glob("*.png"))[20:30]:
            (data / folder / path.name).symlink_to(path)
    names = sorted((data / "val").glob("*.png"))
    frames = [cv2.imread(str(path)) for path in names]
    truth = [cv2.imread(str(data / "valannot" / path.name), cv2.IMREAD_UNCHANGED) for path in names]
    assert any((one == 11).any() for one in truth)
    topics = {
        "/image": (IMAGE, [(at(i), image(one, at(i))) for i, one in enumerate(frames)]),
        "/label": (IMAGE, [(at(i), image(one, at(i), "mono8")) for i, one in enumerate(truth)]),
    }
    bag = str(write_bag(tmp_path / "drive", topics))

    def say(*words: object) -> dict:
        assert main([str(word) for word in words]) == 0
        return json.loads(capsys.readouterr().out)

    expected = say("evaluate", "rdsnet_camvid", "--dataset", "camvid", "--data", data, "--json")
    only = ["--no-video", "--no-bag", "--no-rerun", "--no-page", "--json", "--out", tmp_path / "out"]
    for where in (["--label", "/label"], ["--truth", data / "valannot"]):
        report = say("replay", bag, "--model", "rdsnet_camvid", *where, *only)
        for key in ("miou", "iou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "images"):
            assert report[key] == expected[key], key


def test_a_frame_on_which_inference_fails_is_counted(tmp_path):
    model = fake_model(tmp_path / "model", fail_every=3)
    bag = street_bag(tmp_path / "drive", count=7)
    with Replayer(Plan(str(model), runtime="fake", outputs=())) as replayer:
        report = replayer.replay(bag, tmp_path / "out")
    assert report["frames"] == {"in": 7, "out": 5, "dropped": {"bad_image": 0, "inference_failed": 2}}
    assert [moment["index"] for moment in report["moments"]] == [0, 1, 3, 4, 6]
    assert "message 2 of /front/image: inference failed" in report["broken"][0]


def test_a_network_that_always_fails_is_no_report(tmp_path):
    model = fake_model(tmp_path / "model", fail_every=1)
    bag = street_bag(tmp_path / "drive", count=12)
    plan = Plan(str(model), runtime="fake", outputs=())
    with Replayer(plan) as replayer, pytest.raises(RuntimeError, match="fake backend fails"):
        replayer.replay(bag, tmp_path / "out")
    assert not Path(tmp_path / "out" / "report.json").exists()


def test_every_watcher_sees_every_frame_in_order_and_progress_counts_messages(tmp_path):
    frames = [image(np.full((20, 30, 3), i, np.uint8), at(i)) for i in range(5)]
    frames[2] = frames[2][:50]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, [(at(i), one) for i, one in enumerate(frames)])})
    keeps, told = [Keep(), Keep()], []
    with Drive(bag) as drive:
        model = segmenter(fake_model(tmp_path / "model"), "fake")
        failed = offline.run(model, drive, keeps, lambda done, total: told.append((done, total)))
    assert keeps[0].indices == keeps[1].indices == [0, 1, 3, 4] and not failed
    assert told == [(1, 5), (2, 5), (4, 5), (5, 5)]
