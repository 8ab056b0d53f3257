"""Our scores of Cityscapes' files equal the official evaluation's to the fourth decimal."""

import json
from pathlib import Path

import pytest
from cityscapes_official import score_officially, write_dataset

from seg_node.commands import main
from seg_node.label_set import load_label_set

SAME = {"classScores": "iou", "categoryScores": "category_iou"}
SAME_OBJECTS = {"classInstScores": "instance_iou", "categoryInstScores": "category_instance_iou"}
MEANS = {
    "averageScoreClasses": "miou",
    "averageScoreCategories": "category_miou",
    "averageScoreInstClasses": "instance_miou",
    "averageScoreInstCategories": "category_instance_miou",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    data = tmp_path_factory.mktemp("cityscapes")
    return data, write_dataset(data, 5, (256, 512))


def evaluated(capsys: pytest.CaptureFixture, *words: str) -> dict:
    assert main(["evaluate", "--dataset", "cityscapes", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("workers", ["0", "3"])
def test_every_score_equals_the_official_evaluation(files, capsys, workers) -> None:
    data, pairs = files
    words = ["--predictions", str(data / "results"), "--data", str(data), "--workers", workers]
    ours, theirs = evaluated(capsys, *words), score_officially(pairs)
    assert len(ours["instance_iou"]) == 8 and len(ours["category_instance_iou"]) == 2
    compared = 0
    for their_key, our_key in {**SAME, **SAME_OBJECTS}.items():
        for name, value in ours[our_key].items():
            assert value == pytest.approx(theirs[their_key][name], abs=5e-5), (our_key, name)
            compared += 1
    assert compared == 19 + 7 + 8 + 2
    for their_key, our_key in MEANS.items():
        assert ours[our_key] == pytest.approx(theirs[their_key], abs=5e-5), our_key
    assert 0.1 < ours["miou"] < 0.95 and ours["images"] == 5


def test_what_out_writes_scores_the_same_when_it_is_read_again(files, capsys, tmp_path) -> None:
    """Labels by hand as --out names them: class ids instead of labelIds, NAME.png."""
    import cv2

    data, pairs = files
    label_set = load_label_set("cityscapes19")
    for prediction, _ in pairs:
        ids = cv2.LUT(cv2.imread(str(prediction), cv2.IMREAD_UNCHANGED), label_set.raw_ids)
        cv2.imwrite(str(tmp_path / prediction.name.replace("_pred", "")), ids)
    raw = evaluated(capsys, "--predictions", str(data / "results"), "--data", str(data))
    classes = evaluated(capsys, "--predictions", str(tmp_path), "--prediction-ids", "classes", "--data", str(data))
    assert classes["iou"] == raw["iou"] and classes["miou"] == raw["miou"]


def test_without_instance_files_there_is_no_instance_level(files, capsys) -> None:
    data, _ = files
    hidden = sorted((data / "gtFine/val/street").glob("*_instanceIds.png"))[0]
    hidden.rename(hidden.with_suffix(".away"))
    try:
        result = evaluated(capsys, "--predictions", str(data / "results"), "--data", str(data))
    finally:
        hidden.with_suffix(".away").rename(hidden)
    assert result["instance_iou"] == {} and result["instance_miou"] is None and result["miou"] is not None


def test_a_prediction_that_is_missing_or_there_twice_is_named(files, capsys, tmp_path) -> None:
    data, pairs = files
    words = ["evaluate", "--dataset", "cityscapes", "--data", str(data), "--predictions", str(tmp_path)]
    assert main(words) == 1
    assert "holds no PNG" in capsys.readouterr().err
    for prediction, _ in pairs[1:]:
        (tmp_path / prediction.name).symlink_to(prediction)
    assert main(words) == 1
    assert "street_000000_000019 has no prediction" in capsys.readouterr().err
    for name in ("street_000000_000019_a.png", "street_000000_000019_b.png"):
        (tmp_path / name).symlink_to(pairs[0][0])
    assert main(words) == 1
    assert "street_000000_000019 has 2 predictions" in capsys.readouterr().err
