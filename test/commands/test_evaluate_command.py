"""evaluate, compare and explain as people run them, on real frames with the shipped model."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node.commands import main

SCORES = {"miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou"}


@pytest.fixture
def frames(camvid: Path, tmp_path: Path) -> Path:
    """Four frames of CamVid's val."""
    data = tmp_path / "camvid"
    for folder in ("val", "valannot"):
        (data / folder).mkdir(parents=True)
        for path in sorted((camvid / folder).glob("*.png"))[::26][:4]:
            (data / folder / path.name).symlink_to(path)
    return data


def words(data: Path, *more: str) -> list[str]:
    return ["--dataset", "camvid", "--data", str(data), *more]


def printed(capsys: pytest.CaptureFixture) -> dict:
    out = capsys.readouterr().out
    assert out.count("\n") == 1  # one object and nothing else
    return json.loads(out)


def test_out_holds_what_was_scored(frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--out", str(out), "--worst", "2", "--json")]) == 0
    result = printed(capsys)
    whole = json.loads((out / "evaluation.json").read_text())
    assert {key: whole[key] for key in result} == result and whole["hardware"]["cores"] >= 1
    assert set(result) >= SCORES and result["images"] == 4 and result["ms_per_image"]["p50"] > 0
    names = sorted(path.stem for path in (frames / "val").iterdir())
    assert sorted(path.stem for path in (out / "labels").iterdir()) == names
    assert [row["name"] for row in whole["per_image"]] == names
    # the matrix is that of the labels that were saved
    matrix = np.zeros((12, 12), int)
    for name in names:
        pair = [cv2.imread(str(path), -1) for path in (frames / f"valannot/{name}.png", out / f"labels/{name}.png")]
        np.add.at(matrix, tuple(np.minimum(ids, 11) for ids in pair), 1)
    rows = list(csv.reader((out / "confusion.csv").open()))
    assert [list(map(int, row[1:])) for row in rows[1:]] == matrix.tolist() == whole["confusion"]
    assert rows[0][1] == "Sky" and rows[12][0] == "void"
    # the two worst, worst first, with pictures
    lowest = sorted(whole["per_image"], key=lambda row: row["miou"])[:2]
    assert [(row["name"], row["miou"]) for row in whole["worst"]] == [(row["name"], row["miou"]) for row in lowest]
    for picture in [*(row["picture"] for row in whole["worst"]), "worst.jpg", "confusion.png"]:
        assert min(cv2.imread(str(out / picture)).shape[:2]) > 300
    assert "mIoU" in (out / "evaluation.txt").read_text()


def test_labels_written_by_out_score_the_same(frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--out", str(out), "--workers", "2", "--json")]) == 0
    first = printed(capsys)
    again = ["evaluate", "--predictions", str(out / "labels"), "--prediction-ids", "classes"]
    assert main([*again, *words(frames, "--json")]) == 0
    second = printed(capsys)
    assert second["iou"] == first["iou"] and second["ms_per_image"] is None


def test_what_is_read_or_is_somebodys_stays(frames, exported, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    scored = ["evaluate", "rdsnet_camvid", *words(frames, "--limit", "1", "--out", str(out))]
    assert main(scored) == 0
    (out / "notes.txt").write_text("mine")
    (out / "labels" / "old.png").write_bytes(b"of an earlier run")
    assert main(scored) == 0
    assert (out / "notes.txt").read_text() == "mine" and not (out / "labels" / "old.png").exists()
    capsys.readouterr()
    again = ["evaluate", "--predictions", str(out / "labels"), "--prediction-ids", "classes"]
    assert main([*again, *words(frames, "--limit", "1", "--out", str(out))]) == 1
    assert "choose another folder for the results" in capsys.readouterr().err and list((out / "labels").iterdir())


def test_a_run_that_fails_leaves_the_earlier_results(frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--limit", "1", "--out", str(out))]) == 0
    before = (out / "evaluation.json").read_bytes()
    broken = sorted((frames / "valannot").iterdir())[2]
    broken.unlink()
    cv2.imwrite(str(broken), np.full((360, 480), 77, np.uint8))
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--out", str(out))]) == 1
    assert broken.name in capsys.readouterr().err and (out / "evaluation.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_a_folder_of_something_else_is_not_replaced(frames, tmp_path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--out", str(tmp_path / "mine"))]) == 1
    assert "holds no evaluation.json" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_half_the_ground_truth_is_scored_at_half_the_size(frames, tmp_path, capsys) -> None:
    """--gt-scale 2 against doing it by hand: every second row and column, labels at that size."""
    out = tmp_path / "out"
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--gt-scale", "2", "--out", str(out), "--json")]) == 0
    result = printed(capsys)
    matrix = np.zeros((12, 12), int)
    for path in sorted((out / "labels").iterdir()):
        labels = cv2.imread(str(path), -1)
        assert labels.shape == (180, 240)
        truth = cv2.imread(str(frames / "valannot" / path.name), -1)[::2, ::2]
        np.add.at(matrix, (truth, np.minimum(labels, 11)), 1)
    hit = np.diag(matrix)[:11]
    iou = hit / (matrix[:11].sum(1) + matrix[:11, :11].sum(0) - hit)
    assert list(result["iou"].values()) == pytest.approx(iou.tolist(), abs=1e-5) and result["gt_scale"] == 2


def test_limit_spreads_over_the_split(frames, capsys) -> None:
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--limit", "2", "--json")]) == 0
    assert printed(capsys)["images"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ["rdsnet_camvid", "--predictions", "x"],
        [],
        ["rdsnet_camvid", "--gt-scale", "0"],
        ["rdsnet_camvid", "--limit", "-1"],
        ["rdsnet_camvid", "--workers", "two"],
    ],
)
def test_wrong_words_end_with_2(frames, wrong) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *words(frames), *wrong])
    assert stopped.value.code == 2


def test_compare_shows_two_models_on_the_same_images(frames, exported, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(exported), "rdsnet_camvid", *words(frames, "--out", str(out), "--json")]) == 0
    result = printed(capsys)
    assert result["b"]["model"] == "rdsnet_camvid" and result["totals"]["miou"]["change"] > 0.3
    assert result["won"] == 4 and len(result["largest_gains"]) == 4 and result["largest_losses"] == []
    assert main(["evaluate", "rdsnet_camvid", *words(frames, "--json")]) == 0
    alone = printed(capsys)
    assert {name: pair["b"] for name, pair in result["iou"].items()} == alone["iou"]
    assert len(list((out / "gains").iterdir())) == 4 and not (out / "losses").exists()
    assert min(cv2.imread(str(out / "differ.jpg")).shape[:2]) > 300
    assert len(json.loads((out / "comparison.json").read_text())["per_image"]) == 4
    mixed = result["a"]["precision"] != result["b"]["precision"]  # the second is INT8 where the machine is fast at it
    assert ("They differ in precision" in (out / "comparison.txt").read_text()) is mixed


def test_explain_finds_the_car(frames, exported, tmp_path, capsys) -> None:
    """The shipped model's Grad-CAM of Car lies mostly where a car is; a second model stands beside."""
    pytest.importorskip("torch")
    image, out = sorted((frames / "val").iterdir())[0], tmp_path / "why"
    line = ["explain", "rdsnet_camvid", str(exported), str(image), "--class", "car", "--out", str(out), "--json"]
    assert main(line) == 0
    result = printed(capsys)
    shipped, other = result["models"]
    truth = cv2.imread(str(frames / "valannot" / image.name), -1) == 8
    about = shipped["classes"][0]
    assert about["class"] == "Car" and about["share"] == pytest.approx(truth.mean(), rel=0.5)
    assert about["cam_inside"] > 5 * truth.mean()
    assert shipped["layer"] == "encoder" and shipped["layer_size"] == [45, 60] and other["model"] == "small"
    for name in ("explanation.jpg", "classes_rdsnet_camvid.jpg", "rdsnet_camvid/Car_grad_cam.jpg"):
        assert min(cv2.imread(str(out / name)).shape[:2]) > 200


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--class", "dragon"], "no class 'dragon': choose from Sky, Building"),
        (["--layer", "nose"], "no layer 'nose'"),
        (["--at", "900,1"], "outside"),
    ],
)
def test_explain_says_what_is_wrong(frames, tmp_path, capsys, more, message) -> None:
    pytest.importorskip("torch")
    image = next((frames / "val").iterdir())
    assert main(["explain", "rdsnet_camvid", str(image), "--out", str(tmp_path / "why"), *more]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "why").exists()


def test_explain_lists_the_layers(frames, capsys) -> None:
    pytest.importorskip("torch")
    assert main(["explain", "rdsnet_camvid", str(next((frames / "val").iterdir())), "--layers", "--json"]) == 0
    known = printed(capsys)["rdsnet_camvid"]
    assert known["default"] == "encoder" and "encoder.10.conv" in [layer["name"] for layer in known["layers"]]
