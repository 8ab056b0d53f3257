"""What a recorded drive leaves: its numbers, its pictures, its video."""

import json
import threading

import cv2
import numpy as np
import pytest

from seg_node.evaluation.background import Background
from seg_node.evaluation.contact_sheet import Row, draw_sheet
from seg_node.evaluation.moments import Moments, Pairing
from seg_node.evaluation.recording import Drive, check_place, remove_old, write_recording
from seg_node.evaluation.tally import CAUSES, Tally
from seg_node.evaluation.video_writer import VideoWriter, fit
from seg_node.label_set import load_label_set

LABELS = load_label_set("camvid11")


def diagnostics(**changes):
    return {
        "model": "m",
        "runtime": "fake",
        "device": "cpu",
        "input_size": "4x8",
        "frames_in": "3",
        "frames_out": "2",
        "dropped_newer_frame": "1",
        "infer_p50_ms": "2.0",
        "infer_p95_ms": "3.0",
        "infer_p99_ms": "4.0",
        "infer_max_ms": "5.0",
        "decode_p50_ms": "nan",
        "decode_p95_ms": "nan",
        "decode_p99_ms": "nan",
        "decode_max_ms": "nan",
        **changes,
    }


# --- tally ----------------------------------------------------------------------------------------------------


def test_empty_tally_reports_what_it_does_not_know_as_none():
    report = Tally(LABELS).report()
    assert report["miou"] is None and report["fps"] == {"sent": None, "out": None} and report["latency_ms"] == {}
    json.dumps(report, allow_nan=False)


def test_tally_counts_rates_latency_and_drops():
    tally = Tally(LABELS)
    for index in range(11):
        tally.add_sent(index * 0.1)
    for index in range(5):
        tally.add_label(0.2 + index * 0.2, seconds=0.01 * (index + 1))
    tally.add_diagnostics(diagnostics(frames_in="8"))
    report = tally.report()
    assert report["frames"] == {
        "sent": 11,
        "in": 8,
        "out": 5,
        "dropped": {**dict.fromkeys(CAUSES, 0), "newer_frame": 1, "transport": 3},
    }
    assert report["fps"] == {"sent": 10.0, "out": 5.0}
    assert report["latency_ms"]["end_to_end"]["p50"] == pytest.approx(30) and report["latency_ms"]["infer"]["max"] == 5
    assert "decode" not in report["latency_ms"]  # the node had not measured it


def test_frames_on_their_way_are_not_called_lost():
    tally = Tally(LABELS)
    for sent, arrived in ((10, 8), (20, 20)):
        while tally.sent < sent:
            tally.add_sent(tally.sent / 10)
        tally.add_diagnostics(diagnostics(frames_in=str(arrived)))
    assert tally.report()["frames"]["dropped"]["transport"] == 0


def test_tally_scores_pairs():
    tally = Tally(LABELS)
    truth = np.zeros((4, 4), np.uint8)
    truth[2:] = 3
    tally.add_pair(1.0, truth, np.zeros((4, 4), np.uint8))
    tally.add_pair(2.0, truth, np.zeros((5, 4), np.uint8))  # another size: not this frame's
    tally.finish()
    report = tally.report()
    assert report["scored"] == 1 and report["iou"]["Sky"] == 0.5 and report["iou"]["Road"] == 0.0
    assert report["iou"]["Car"] is None and report["miou"] == 0.25


def test_scoring_large_frames_leaves_some_out():
    tally = Tally(LABELS)
    large = np.zeros((1080, 1920), np.uint8)
    taken = []
    tally._scorer.offer = lambda *pair: taken.append(1) or True
    for index in range(300):
        tally.add_pair(index / 30, large, large)
    assert 20 <= len(taken) <= 40  # 3 a second of 30


# --- pairing and moments --------------------------------------------------------------------------------------


def test_pairing_joins_parts_and_forgets_the_oldest():
    pairing = Pairing(budget=100)
    assert pairing.add(1, "image", b"a", 40) is pairing.add(1, "label", b"b", 40)
    pairing.add(2, "image", b"c", 40)  # over the budget: 1 goes
    assert set(pairing.add(1, "overlay", b"d", 1)) == {"stamp", "size", "overlay"}
    assert pairing.add(3, "image", b"e", 1000)["image"] == b"e"  # larger than all of it, yet kept


@pytest.mark.parametrize("seconds", [4, 20, 61, 3600])
@pytest.mark.parametrize("rate", [2, 30])
def test_moments_are_few_and_spread_however_long_it_takes(seconds, rate):
    moments = Moments(4)
    for index in range(seconds * rate):
        moments.consider({}, index / rate)
    times = [frame["elapsed"] for frame in moments.frames()]
    gaps = np.diff(times)
    assert 4 <= len(times) <= 7 and gaps.max() <= 1.6 * gaps.min()
    assert times[0] <= 2 * gaps.max() and times[-1] >= seconds - 2 * gaps.max()


def test_a_drive_that_ended_early_still_has_its_newest_frame():
    moments = Moments(4)
    moments.consider({"stamp": 1}, 0.1)
    moments.consider({"stamp": 2}, 0.15)
    assert [frame["stamp"] for frame in moments.frames()] == [2]


# --- background -----------------------------------------------------------------------------------------------


def test_background_skips_rather_than_waits_and_survives_errors():
    go, done = threading.Event(), []

    def work(item):
        go.wait(5)
        if item == 0:
            raise ValueError("first")
        done.append(item)

    worker = Background(work, depth=2)
    taken = [worker.offer(index) for index in range(10)]
    go.set()
    worker.finish()
    assert len(done) == sum(taken) - 1 and worker.skipped == 10 - sum(taken) >= 7
    assert str(worker.error) == "first"


# --- pictures -------------------------------------------------------------------------------------------------


def picture(shade, size=(48, 64)):
    return np.full((*size, 3), shade, np.uint8)


def test_sheet_shows_truth_only_where_there_is_some():
    without = draw_sheet([Row("1 s", picture(10), picture(20))], LABELS, "title")
    truth = np.full((48, 64), 3, np.uint8)
    sheet = draw_sheet([Row("1 s", None, picture(20), truth)], LABELS, "Ümlaut", ["a line"], {"Road": 0.5, "Car": None})
    assert sheet.shape[1] > without.shape[1]
    assert (sheet == LABELS.palette[3]).all(axis=2).sum() > 300 * 300  # ground truth in its colour, and the legend
    assert (without == 20).all(axis=2).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (37, 41)])
def test_sheet_takes_any_size(size):
    sheet = draw_sheet([Row("0 s", picture(10, size), picture(20, size))], LABELS, "odd")
    assert sheet.shape[0] < 700


def test_sheet_without_rows_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        draw_sheet([], LABELS, "empty")


# --- video ----------------------------------------------------------------------------------------------------


def test_video_keeps_time_and_fits_other_sizes(tmp_path):
    av = pytest.importorskip("av")
    video = VideoWriter(tmp_path / "v.mp4")
    for index, size in enumerate([(49, 65), (49, 65), (200, 20), (1, 1)]):
        assert video.offer(picture(200, size), index * 0.25)
    video.close()
    assert video.frames == 4 and video.skipped == 0
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        frames = list(container.decode(stream))
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.25, 0.5, 0.75], abs=0.01)
    assert (frames[0].height, frames[0].width) == (50, 66)


def test_video_without_frames_makes_no_file(tmp_path):
    VideoWriter(tmp_path / "v.mp4").close()
    assert not (tmp_path / "v.mp4").exists()


def test_fit_centres_on_black():
    fitted = fit(picture(9, (10, 10)), (10, 30))
    assert fitted.shape == (10, 30, 3) and fitted[5, 15, 0] == 9 and fitted[5, 2, 0] == 0


# --- files ----------------------------------------------------------------------------------------------------


def test_files_of_a_drive_and_old_ones_removed(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "label").mkdir()
    for name in ("label/07.png", "sheet.png", "mine.txt", "label/mine.png"):
        (tmp_path / name).write_text("old")
    with pytest.raises(FileExistsError, match=r"sheet\.png: is there already"):
        check_place(tmp_path)
    remove_old(tmp_path)
    assert not (tmp_path / "label/07.png").exists() and not (tmp_path / "sheet.png").exists()

    video = VideoWriter(tmp_path / "overlay.mp4")
    video.offer(picture(1), 0.0)
    video.close()
    tally = Tally(LABELS)
    tally.add_sent(0.0)
    tally.add_label(0.1, 0.02)
    tally.add_diagnostics(diagnostics(frames_in="1"))
    frames = [{"stamp": i, "elapsed": float(i), "label": np.full((4, 8), i, np.uint8), "image": b"x"} for i in range(3)]
    files = write_recording(Drive(tmp_path, "a drive", LABELS, video), tally.report(), frames, lambda _: picture(5))
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        "overlay.mp4",
        "label/00.png",
        "label/01.png",
        "label/02.png",
        "sheet.png",
        "latency.json",
    ]
    assert (cv2.imread(str(files[3]), cv2.IMREAD_UNCHANGED) == 2).all()
    table = json.loads((tmp_path / "latency.json").read_text())
    assert table["source"] == "a drive" and table["hardware"]["cores"] >= 1 and table["versions"]["numpy"]
    assert (tmp_path / "mine.txt").exists() and (tmp_path / "label/mine.png").exists()
