"""Comparing reports: what is won and lost is counted by hand, and a gate that misses a threshold stays shut."""

import copy
import json

import pytest
from bags import at, fake_model, street_bag

from seg_node.commands import main
from seg_node.replay import report as reports
from seg_node.replay.compare import Limits, compare
from seg_node.replay.report import ReportError
from seg_node.replay.session import Plan, Replayer


def made_up(mious, *, iou=(0.5, 0.7), p95=10.0, miou=0.6, title="drive.mcap", **changes) -> dict:
    """A report of a drive with these scores a frame."""
    moments = [
        {"index": i, "stamp": at(i), "elapsed": 0.05 * i, "ms": {}, "miou": m, "accuracy": m, "agreement": None}
        for i, m in enumerate(mious)
    ]
    return {
        "kind": reports.KIND,
        "version": 1,
        "mode": "offline",
        "model": "m",
        "label_set": "two",
        "classes": ["Sky", "Road"],
        "bag": {"title": title, "path": "x"},
        "runtime": "onnx",
        "device": "cpu",
        "precision": "fp32",
        "images": len(mious),
        "frames": {"in": len(mious), "out": len(mious), "dropped": {}},
        "miou": miou,
        "pixel_accuracy": 0.8,
        "class_accuracy": 0.7,
        "frequency_weighted_iou": 0.6,
        "iou": {"Sky": iou[0], "Road": iou[1]},
        "agreement": {"consecutive": 0.9},
        "ms_per_image": {"p50": p95 / 2, "p95": p95},
        "moments": moments,
        "hardware": {"cpu": "one", "cores": 2},
        "date": "now",
        **changes,
    }


A = made_up([0.5, 0.6, 0.7, None])


def missed(b, a=A, **limits) -> list:
    return compare(a, b, Limits(**limits))["missed"]


def test_what_is_won_and_lost_frame_by_frame_and_class_by_class():
    result = compare(A, made_up([0.6, 0.6, 0.4, 0.9], iou=(0.6, 0.65), miou=0.625, p95=12.0))
    frames = result["frames"]
    assert (frames["matched"], frames["scored"], frames["won"], frames["lost"]) == (4, 3, 1, 1)
    assert [(row["index"], row["change"]) for row in frames["largest_losses"]] == [(2, -0.3)]
    assert [(row["index"], row["change"]) for row in frames["largest_gains"]] == [(0, 0.1)]
    assert result["iou"] == {
        "Sky": {"a": 0.5, "b": 0.6, "change": 0.1},
        "Road": {"a": 0.7, "b": 0.65, "change": -0.05},
    }
    assert result["totals"]["miou"]["change"] == 0.025 and result["ms_per_image"]["p95"]["ratio"] == 1.2
    assert result["missed"] == [] and result["warnings"] == []


@pytest.mark.parametrize(
    ("limits", "held"),
    [
        ({"min_miou_gain": 0.025}, True),
        ({"min_miou_gain": 0.026}, False),
        ({"min_miou_gain": -0.1}, True),
        ({"max_class_loss": 0.05}, True),
        ({"max_class_loss": 0.049}, False),
        ({"max_p95_ratio": 1.2}, True),
        ({"max_p95_ratio": 1.19}, False),
        ({"max_frame_loss": 0.3}, True),
        ({"max_frame_loss": 0.29}, False),
    ],
)
def test_a_threshold_is_held_up_to_its_value_and_not_beyond(limits, held):
    b = made_up([0.6, 0.6, 0.4, 0.9], iou=(0.6, 0.65), miou=0.625, p95=12.0)
    assert (missed(b, **limits) == []) is held


def test_a_better_model_loses_nothing():
    b = made_up([0.6, 0.7, 0.8], iou=(0.6, 0.8), miou=0.7, p95=5.0)
    assert missed(b, min_miou_gain=0.1, max_class_loss=0.0, max_p95_ratio=1.0, max_frame_loss=0.0) == []


def test_what_cannot_be_checked_is_missed():
    blind = made_up([None] * 4, iou=(None, None), miou=None)
    blind["ms_per_image"] = {}
    found = missed(blind, min_miou_gain=0.0, max_class_loss=1.0, max_p95_ratio=9.0, max_frame_loss=1.0)
    assert len(found) == 4 and all("cannot be checked" in text for text in found)


def test_other_drives_do_not_open_a_gate():
    other = made_up([0.9, 0.9], miou=0.9, title="other.mcap")
    for moment in other["moments"]:
        moment["stamp"] += 7
    assert "share no frame" in " ".join(compare(A, other)["warnings"])
    assert "cannot be checked" in missed(other, min_miou_gain=0.0)[0]


def test_frames_match_by_stamp_though_some_are_missing():
    b = made_up([0.5, 0.6, 0.7, 0.7])
    del b["moments"][1]
    result = compare(A, b)
    assert (result["frames"]["matched"], result["frames"]["only_a"], result["frames"]["only_b"]) == (3, 1, 0)
    assert "1 frames are in A alone" in result["warnings"][0]


def test_frames_without_stamps_match_in_order_and_those_of_several_bags_by_bag():
    unset = copy.deepcopy(A)
    for moment in unset["moments"]:
        moment["stamp"] = 0
    assert compare(unset, unset)["frames"]["matched"] == 4
    several = copy.deepcopy(A)
    several["bags"] = []
    several["moments"] = [{"bag": bag, **m} for bag in ("drive", "night") for m in A["moments"]]
    assert compare(several, several)["frames"]["matched"] == 8
    assert compare(A, several)["frames"]["matched"] == 4  # drive.mcap alone was one of them
    dotted, alone = copy.deepcopy(several), made_up([0.5, 0.6, 0.7, 0.8], title="drive_1.5")
    for moment in dotted["moments"]:
        moment["bag"] = moment["bag"].replace("drive", "drive_1.5")
    assert compare(alone, dotted)["frames"]["matched"] == 4


def test_warnings_of_what_does_not_compare():
    b = made_up([0.5], mode="live", interrupted=True)
    b["hardware"] = {"cpu": "another", "cores": 2}
    b["classes"] = ["Sky", "Street"]
    b["iou"] = {"Sky": 0.5, "Street": 0.5}
    text = " ".join(compare(A, b)["warnings"])
    for part in ("classes differ", "A is offline, B is live", "different hardware", "B was interrupted"):
        assert part in text
    b["classes"] = ["Street"]
    with pytest.raises(ReportError, match="no class in common"):
        compare(A, b)


def test_the_command_on_real_reports(tmp_path, capsys):
    bag = street_bag(tmp_path / "drive", count=4)
    for name, options in (("old", {}), ("new", {"shift": 1})):
        plan = Plan(str(fake_model(tmp_path / name, **options)), runtime="fake", label="/front/label", outputs=())
        with Replayer(plan) as replayer:
            replayer.replay(bag, tmp_path / f"{name}_out")
    old, new = str(tmp_path / "old_out"), str(tmp_path / "new_out" / "report.json")
    assert main(["compare-reports", old, new]) == 0
    assert "4 frames in both, 4 with ground truth" in capsys.readouterr().out
    assert main(["compare-reports", old, old, "--json", "--min-miou-gain", "0", "--max-frame-loss", "0"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert same["totals"]["miou"]["change"] == 0 and same["missed"] == []
    gain = reports.read(tmp_path / "new_out")["miou"] - reports.read(tmp_path / "old_out")["miou"]
    assert gain != 0
    forth, back = (main(["compare-reports", *pair, "--min-miou-gain", "0.00001"]) for pair in ((old, new), (new, old)))
    assert {forth, back} == {0, 1} and (forth == 0) == (gain > 0)
    assert "MISSED --min-miou-gain" in capsys.readouterr().out
    assert main(["compare-reports", old, str(tmp_path / "nothing")]) == 1
    assert "is no report that can be read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["compare-reports", old, new, "--max-class-loss", "nan"])
    assert caught.value.code == 2
