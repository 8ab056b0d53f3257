"""A submission is looked at with the official evaluation's own eyes."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from cards import card_table
from layouts import cityscapes

from seg_node import commands
from seg_node.datasets import open_split
from seg_node.preparation.submission import Submission


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return cityscapes(tmp_path / "data", {"val": {"ulm": 1, "bonn": 2}})


def test_ground_truth_submitted_scores_as_perfect(folder: Path, tmp_path: Path) -> None:
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

    split = open_split("cityscapes", "val", folder)
    with Submission(tmp_path / "val.zip") as submission:
        for sample in split:
            submission.add(sample.name, sample.label)
    with zipfile.ZipFile(tmp_path / "val.zip") as file:
        file.extractall(tmp_path / "unpacked")
    truth = sorted(str(path) for path in folder.rglob("*_gtFine_labelIds.png"))
    arguments = SimpleNamespace(predictionPath=str(tmp_path / "unpacked"), predictionWalk=None)
    found = [official.getPrediction(arguments, path) for path in truth]
    for predicted, path in zip(found, truth, strict=True):
        ids, wanted = (cv2.imread(file, cv2.IMREAD_UNCHANGED) for file in (predicted, path))
        scored = np.isin(wanted, _scored())
        assert np.array_equal(ids[scored], wanted[scored]) and (ids[~scored] == 0).all()


def _scored() -> list[int]:
    from cityscapesscripts.helpers.labels import labels

    return [label.id for label in labels if not label.ignoreInEval]


def test_an_unfinished_submission_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(b"an earlier one")
    with pytest.raises(KeyboardInterrupt), Submission(tmp_path / "out.zip") as submission:
        submission.add("aachen_000000_000019", np.zeros((4, 6), np.uint8))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]
    assert (tmp_path / "out.zip").read_bytes() == b"an earlier one"


def test_the_command_needs_no_labels_and_writes_the_images_size(folder: Path, tmp_path: Path, capsys) -> None:
    for path in folder.rglob("*_gtFine_*"):
        path.unlink()
    model = tmp_path / "model"
    model.mkdir()
    table = card_table(network={"name": "rdsnet", "classes": 20}, label_set="cityscapes20")
    (model / "card.yaml").write_text(yaml.safe_dump(table))
    words = ["submit", str(model), "--data", str(folder), "--split", "val", "--runtime", "fake"]
    assert commands.main([*words, "--out", str(tmp_path / "new" / "out.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "new" / "out.zip") as file:
        names = file.namelist()
        label = cv2.imdecode(np.frombuffer(file.read(names[0]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert names[0] == "bonn_000000_000019_labelIds.png" and len(names) == 3
    assert label.shape == (32, 70) and set(np.unique(label)) <= {0, *_scored()} and len(np.unique(label)) > 5
    assert "val has 500 images, and here are 3" in capsys.readouterr().err
    stray = folder / "leftImg8bit" / "val" / "bonn" / "bonn_000001_000019.png"
    stray.write_bytes(next(folder.rglob("*_leftImg8bit.png")).read_bytes())
    assert commands.main([*words, "--out", str(tmp_path / "stray.zip")]) == 1
    assert stray.name in capsys.readouterr().err and not (tmp_path / "stray.zip").exists()
    assert commands.main(["submit", str(model), "--data", str(folder), "--out", str(tmp_path / "x")]) == 2
    assert "must end in .zip" in capsys.readouterr().err
    assert commands.main(["submit", str(model), "--data", str(folder), "--out", str(tmp_path / "x.zip")]) == 1
    assert "leftImg8bit/test: holds no images" in capsys.readouterr().err
