"""Reports: what is in them, that they are written whole, that merging is exact; and the command that makes them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from bags import IMAGE, at, fake_model, image, street, street_bag, write_bag

from seg_node.commands import main
from seg_node.replay import report as reports
from seg_node.replay.report import ReportError
from seg_node.replay.session import Plan, Replayer
from seg_node.runtimes import load_runtime
from seg_node.sources import SourceError

KEYS = {
    *("kind", "version", "mode", "model", "label_set", "classes", "palette", "bag", "runtime", "device", "precision"),
    *("input_size", "void", "images", "frames", "broken", "notes", "miou", "iou", "pixel_accuracy", "class_accuracy"),
    *("frequency_weighted_iou", "confusion", "ms_per_image", "latency_ms", "agreement", "shares", "flicker"),
    *("moments", "worst", "settings", "hardware", "versions", "date", "interrupted", "problems"),
}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fake_model(tmp_path_factory.mktemp("model"))


def replay(bag, out, model, **changes) -> dict:
    with Replayer(Plan(str(model), runtime="fake", **{"outputs": (), **changes})) as replayer:
        return replayer.replay(bag, out)


def part(path, frames, first=0):
    """A bag of labelled frames that are those from ``first`` on of a longer drive."""
    moments = [(at(first + i), *frame) for i, frame in enumerate(frames)]
    return write_bag(
        path,
        {
            "/image": (IMAGE, [(t, image(pixels, t)) for t, pixels, _ in moments]),
            "/label": (IMAGE, [(t, image(truth, t, "mono8")) for t, _, truth in moments]),
        },
    )


# --- one report -----------------------------------------------------------------------------------------------


def test_a_report_has_every_key_and_is_strict_json(tmp_path, model):
    made = replay(street_bag(tmp_path / "drive"), tmp_path / "out", model, label="/front/label")

    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    written = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=refuse)
    assert written == json.loads(json.dumps(made)) == reports.read(tmp_path / "out") and set(made) == KEYS
    assert made["bag"] == {
        "path": str(tmp_path / "drive"),
        "title": "drive",
        "topic": "/front/image",
        "messages": 6,
    }
    assert made["classes"][:2] == ["Sky", "Building"] and made["palette"][1] == [128, 0, 0]
    assert made["input_size"] == [48, 64] and np.sum(made["confusion"]) == 6 * 96 * 128
    assert set(made["latency_ms"]) == {"decode", "resize", "infer", "restore", "total"}
    assert list(made["latency_ms"]["total"]) == ["p50", "p95", "p99", "max"]
    assert sum(made["shares"].values()) == pytest.approx(1, abs=1e-4) and made["settings"]["label"] == "/front/label"
    for name in ("image", "overlay", "truth"):
        assert cv2.imread(str(tmp_path / "out" / made["worst"][0][name])).shape == (96, 128, 3)


def test_without_ground_truth_scores_are_null_and_agreement_is_not(tmp_path, model):
    made = replay(street_bag(tmp_path / "drive"), tmp_path / "out", model, against=str(model))
    for key in ("miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "confusion"):
        assert made[key] is None
    assert set(made["iou"].values()) == {None}
    assert 0 < made["agreement"]["consecutive"] < 1 and made["agreement"]["against"] == 1.0
    assert made["agreement"]["against_model"] == "small" and made["worst"][0]["why"] == "against"
    assert not any("precision" in note for note in made["notes"])


def test_models_of_two_precisions_are_not_compared_in_silence(tmp_path, model, monkeypatch):
    def load(*words):
        runtime = load_runtime(*words)
        runtime.precision = next(precisions)
        return runtime

    precisions = iter(["int8", "fp32"])
    monkeypatch.setattr("seg_node.replay.session.load_runtime", load)
    made = replay(street_bag(tmp_path / "drive"), tmp_path / "out", model, against=str(model))
    note = "small ran in fp32, this model in int8; --precision fp32 compares the networks alone"
    assert note in made["notes"] and made["precision"] == "int8"


def test_shares_and_flicker_by_hand(tmp_path, model):
    pixels = []
    for width in (0, 32, 0):  # class 3 on no, half, no picture
        one = np.zeros((48, 64, 3), np.uint8)
        one[:, :width] = 3
        pixels.append(one)
    bag = write_bag(
        tmp_path / "drive", {"/image": (IMAGE, [(at(i), image(one, at(i))) for i, one in enumerate(pixels)])}
    )
    made = replay(bag, tmp_path / "out", model)
    assert made["shares"]["Road"] == pytest.approx(1 / 6, abs=1e-6) and made["shares"]["Sky"] == pytest.approx(
        5 / 6, abs=1e-6
    )
    assert made["flicker"]["Road"] == made["flicker"]["Sky"] == 0.5 and made["flicker"]["Car"] == 0


def test_broken_messages_are_counted(tmp_path, model):
    messages = [(at(i), image(np.zeros((9, 9, 3), np.uint8), at(i))) for i in range(4)]
    messages[1] = (at(1), b"broken")
    made = replay(write_bag(tmp_path / "drive", {"/image": (IMAGE, messages)}), tmp_path / "out", model)
    assert made["frames"] == {"in": 4, "out": 3, "dropped": {"bad_image": 1, "inference_failed": 0}}
    assert len(made["broken"]) == 1 and made["images"] == 3


def test_nothing_but_broken_messages_is_a_report_too(tmp_path, model):
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, [(at(i), b"broken") for i in range(3)])})
    made = replay(bag, tmp_path / "out", model, outputs=("page", "video", "bag"))
    assert made["images"] == 0 and made["frames"]["dropped"]["bad_image"] == 3 and made["ms_per_image"] == {}
    assert (tmp_path / "out" / "report.html").exists()


def test_ground_truth_that_fits_no_frame_is_a_problem(tmp_path, model):
    topics = {"/image": (IMAGE, [(at(0), image(np.zeros((9, 9, 3), np.uint8), at(0)))])}
    topics["/label"] = (IMAGE, [(at(0), image(np.zeros((9, 9), np.uint8), at(90), "mono8"))])
    made = replay(write_bag(tmp_path / "drive", topics), tmp_path / "out", model, label="/label")
    assert made["miou"] is None and "no frame has ground truth" in made["problems"][0]


def test_a_report_is_replaced_in_one_step(tmp_path, model, monkeypatch):
    made = replay(street_bag(tmp_path / "drive", count=2), tmp_path / "out", model)
    before = (tmp_path / "out" / "report.json").read_bytes()

    def fail(source, target):
        raise OSError("no room")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no room"):
        reports.write(tmp_path / "out", {**made, "images": 7}, {})
    assert (tmp_path / "out" / "report.json").read_bytes() == before
    assert [p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(".")] == []


def test_an_output_that_fails_costs_itself_alone(tmp_path, model, monkeypatch):
    from seg_node.replay import outputs

    def fail(self, result):
        if result.picture.index == 2:
            raise OSError("no room left")

    monkeypatch.setattr(outputs._Video, "see", fail)
    made = replay(street_bag(tmp_path / "drive"), tmp_path / "out", model, outputs=("video", "bag"))
    assert made["images"] == 6 and made["problems"] == ["overlay.mp4 ends at frame 2: no room left"]
    assert (tmp_path / "out" / "annotated.mcap").exists()


def test_every_frame_is_in_the_video(tmp_path, model):
    av = pytest.importorskip("av")
    replay(street_bag(tmp_path / "drive", count=9), tmp_path / "out", model, outputs=("video",))
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as video:
        times = [float(frame.time) for frame in video.decode(video=0)]
    assert times == pytest.approx([i * 0.05 for i in range(9)], abs=0.002)


def test_what_an_earlier_replay_left_is_removed(tmp_path, model):
    out, bag = tmp_path / "out", street_bag(tmp_path / "drive", count=3)
    replay(bag, out, model, label="/front/label", outputs=("video", "page"))
    (out / "mine.txt").write_text("stays")
    assert len(list((out / "worst").iterdir())) == 9
    replay(bag, out, model)
    assert sorted(p.name for p in out.iterdir()) == ["mine.txt", "report.json", "worst"]
    assert len(list((out / "worst").iterdir())) == 4  # two frames that have one before them, image and overlay


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "other"}', '{"kind": "seg_node replay report", "version": 9}'])
def test_what_is_no_report_is_named(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ReportError, match=r"report\.json: is "):
        reports.read(tmp_path)


def test_classes_that_do_not_fit_are_said_before_the_work(tmp_path, model):
    with pytest.raises(ValueError, match="name different classes"):
        Replayer(Plan(str(model), runtime="fake", label="/label", label_set="cityscapes19"))


# --- merging --------------------------------------------------------------------------------------------------


def test_merged_reports_are_those_of_one_long_drive(tmp_path, model):
    frames = street(7)
    folders = [tmp_path / "out" / name for name in ("one", "two")]
    replay(part(tmp_path / "one", frames[:3]), folders[0], model, label="/label", against=str(model))
    replay(part(tmp_path / "two", frames[3:], 3), folders[1], model, label="/label", against=str(model))
    whole = replay(part(tmp_path / "all", frames), tmp_path / "whole", model, label="/label", against=str(model))
    merged = reports.merge(folders, tmp_path / "out", ["three is missing"])
    assert merged == json.loads((tmp_path / "out" / "report.json").read_text())
    for key in ("miou", "iou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "confusion", "images"):
        assert merged[key] == whole[key], key
    assert merged["shares"] == whole["shares"] and merged["frames"] == whole["frames"]
    assert merged["agreement"]["confusion"] == whole["agreement"]["confusion"]
    assert [(m["bag"], m["stamp"]) for m in merged["moments"]] == [("one" if i < 3 else "two", at(i)) for i in range(7)]
    assert [m["miou"] for m in merged["moments"]] == [m["miou"] for m in whole["moments"]]
    assert [m["stamp"] for m in merged["worst"]] == [m["stamp"] for m in whole["worst"]]
    for entry in merged["worst"]:
        assert (tmp_path / "out" / entry["image"]).is_file() and entry["image"].startswith(entry["bag"] + "/worst/")
    assert merged["notes"][0] == "three is missing" and [b["name"] for b in merged["bags"]] == ["one", "two"]
    times = [m["ms"]["total"] for m in merged["moments"]]
    assert merged["latency_ms"]["total"]["p95"] == pytest.approx(np.percentile(times, 95), abs=1e-3)


def test_reports_of_different_models_are_not_merged(tmp_path, model):
    bag = street_bag(tmp_path / "drive", count=2)
    other = fake_model(tmp_path / "model")
    (other / "card.yaml").write_text((other / "card.yaml").read_text().replace("name: small", "name: large"))
    for name, one in (("a", model), ("b", other)):
        replay(bag, tmp_path / name, one)
    with pytest.raises(ReportError, match="model is 'large' and 'small'"):
        reports.merge([tmp_path / "a", tmp_path / "b"], tmp_path)


# --- the command ----------------------------------------------------------------------------------------------


def command(*words) -> int:
    return main(["replay", *(str(word) for word in words)])


def test_one_bag_with_everything(tmp_path, model, capsys):
    bag, out = street_bag(tmp_path / "drive"), tmp_path / "out"
    options = ["--runtime", "fake", "--label", "/front/label", "--out", out]
    assert command(bag, "--model", model, *options) == 0
    text = capsys.readouterr().out
    assert "6 of 6 labelled, none lost" in text and "mIoU" in text and str(out / "report.html") in text
    assert {"report.html", "report.json", "annotated.mcap", "overlay.mp4", "worst"} <= {p.name for p in out.iterdir()}


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_replay_costs_nobody_a_file(tmp_path, model, capsys):
    """Neither the bag that is read nor what lies in OUT and is no replay's."""
    options = ["--model", model, "--runtime", "fake", "--no-rerun"]
    bag, out = street_bag(tmp_path / "drives" / "drive", count=3), tmp_path / "out"
    before = files_of(bag)
    for more in (
        [bag, "--out", bag],
        [bag, "--out", bag.parent, "--ray"],
        [bag, street_bag(tmp_path / "b"), "--out", bag.parent],
    ):
        assert command(*more, *options) == 1
        assert "its results would be written over it" in capsys.readouterr().err and files_of(bag) == before

    out.mkdir()
    (out / "overlay.mp4").write_bytes(b"a holiday")
    assert command(bag, *options, "--no-video", "--out", out) == 1
    assert "overlay.mp4: is there already, and no replay's report beside it" in capsys.readouterr().err
    assert files_of(out) == {Path("overlay.mp4"): b"a holiday"}
    (out / "overlay.mp4").rename(out / "holiday.mp4")
    for _ in range(2):  # one's own results are replaced
        assert command(bag, *options, "--out", out) == 0
    assert (out / "holiday.mp4").read_bytes() == b"a holiday"

    (out / "report.json").unlink()
    (out / ".replay-begun").touch()  # as a kill leaves it
    assert command(bag, *options, "--out", out) == 0 and not (out / ".replay-begun").exists()
    capsys.readouterr()
    annotated, before = out / "annotated.mcap", (out / "annotated.mcap").read_bytes()
    assert command(annotated, *options, "--image", "/front/image", "--no-bag", "--out", out) == 1
    assert "its results would be written over it" in capsys.readouterr().err and annotated.read_bytes() == before


def test_several_bags_one_of_which_cannot_be_read(tmp_path, model, capsys):
    for name in ("b_one", "b_two"):
        street_bag(tmp_path / name, count=3)
    (tmp_path / "b_zero.mcap").write_bytes(b"junk")
    out = tmp_path / "out"
    options = ["--model", model, "--runtime", "fake", "--no-video", "--no-bag", "--no-rerun", "--out", out, "--json"]
    assert command(f"{tmp_path}/b_*", *options) == 1
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["bag"]["title"] for line in lines] == ["b_one", "b_two", "2 bags"] and lines[2]["images"] == 6
    assert "b_zero.mcap: is no ROS 2 bag that can be read" in captured.err
    assert "b_zero.mcap is not in this report" in reports.read(out)["notes"][0]
    assert (out / "report.html").is_file() and (out / "b_two" / "report.html").is_file()


def test_a_bag_without_images_fails_and_lists_its_topics(tmp_path, model, capsys):
    bag = write_bag(tmp_path / "drive", {"/imu": ("sensor_msgs/msg/Imu", [(at(0), b"x" * 40)])})
    assert command(bag, "--model", model, "--runtime", "fake", "--out", tmp_path / "out") == 1
    assert "/imu (sensor_msgs/msg/Imu, 1 messages)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--rate", "2"], 2, "--rate is for --live"),
        (["--label-set", "camvid11"], 2, "give --label TOPIC or --truth DIR too"),
        (["--truth", "nowhere"], 1, "nowhere: no such folder"),
        (["--ray", "--live"], 2, "leave --ray out"),
    ],
)
def test_options_that_make_no_sense_together(tmp_path, model, capsys, words, code, says):
    assert command(tmp_path, "--model", model, *words) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--rate", "0"], ["--rate", "nan"], ["--label", "/a", "--truth", "b"], ["--void"]])
def test_wrong_arguments(tmp_path, model, words):
    with pytest.raises(SystemExit) as caught:
        command(tmp_path, "--model", model, *words)
    assert caught.value.code == 2


def test_a_pattern_that_fits_nothing(tmp_path, model):
    from seg_node.replay.bag_names import expand

    with pytest.raises(SourceError, match="no bag fits"):
        expand([str(tmp_path / "*.mcap")])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_what_there_is_and_says_so(tmp_path, number):
    slow = fake_model(tmp_path / "model", delay=0.2)
    bag = street_bag(tmp_path / "drive", count=60, size=(48, 64))
    out = tmp_path / "out"
    words = [
        "-m",
        "seg_node",
        "replay",
        str(bag),
        "--model",
        str(slow),
        "--runtime",
        "fake",
        "--out",
        str(out),
        "--no-rerun",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *words], cwd=tmp_path, env=environment, text=True, stdout=-1, stderr=-1, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("annotated.mcap*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(number)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    made = reports.read(out)
    assert 0 < made["images"] < 60 and made["interrupted"] is True
    assert (
        f"interrupted after {made['images']} of 60 messages" in made["notes"][0] and "writing what there is" in errors
    )
    assert f"{made['images']} of {made['images']} labelled" in said
    assert (out / "report.html").exists() and (out / "annotated.mcap").exists() and (out / "overlay.mp4").exists()
