import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts import cityscapes, write

from seg_node import commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return cityscapes(tmp_path, {"train": {"aachen": 2}, "val": {"ulm": 1}})


def words(folder: Path, *more: str) -> list[str]:
    return ["check-data", str(folder), "--dataset", "cityscapes", "--workers", "1", *more]


def test_whole_data_exits_with_0_and_shows_frequencies(folder: Path, tmp_path: Path, capsys) -> None:
    assert commands.main(words(folder, "--picture", str(tmp_path / "classes.png"))) == 0
    out = capsys.readouterr().out
    assert "train: 2 samples where 2975 are published (2 of 32x70), nothing wrong" in out and "bicycle" in out
    assert cv2.imread(str(tmp_path / "classes.png")).shape[1] == 960


def test_a_picture_is_refused_before_the_data_is_read(folder: Path, capsys) -> None:
    assert commands.main(words(folder, "--picture", "classes")) == 2
    assert "--picture classes: must end in .png" in capsys.readouterr().err


def test_bad_data_exits_with_1_and_names_the_first_files(folder: Path, capsys) -> None:
    labels = sorted(folder.rglob("*_labelTrainIds.png"))
    for path in labels[:2]:
        write(path, np.full((32, 70), 99, np.uint8))
    assert commands.main(words(folder, "--show", "1")) == 1
    out = capsys.readouterr().out
    assert f"ids        {labels[0]}: holds ids [99]" in out and str(labels[1]) not in out and "and 1 more" in out


def test_json_is_one_object_a_split_and_nothing_else(folder: Path) -> None:
    bad = next((folder / "leftImg8bit/val").rglob("*.png"))
    bad.unlink()
    command = [sys.executable, "-m", "seg_node", *words(folder, "--json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    train, val = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1 and (train["split"], train["samples"], train["bad"]) == ("train", 2, 0)
    assert val["problems"][0]["file"] == str(bad) and val["problems"][0]["kind"] == "missing"
    assert set(train["classes"]["car"]) == {"share", "images"}


def test_a_split_that_is_not_there_is_a_problem_unless_it_is_the_test_split(folder: Path, capsys) -> None:
    assert commands.main(words(folder, "--split", "test")) == 1
    assert "empty" in capsys.readouterr().out
    for path in (folder / "leftImg8bit/val").rglob("*.png"):
        path.unlink()
    for path in (folder / "gtFine/val").rglob("*.png"):
        path.unlink()
    assert commands.main(words(folder)) == 1
    assert "leftImg8bit/val: holds no images" in capsys.readouterr().out


def test_the_street_is_checked_like_the_rest(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from seg_node.datasets import street

    monkeypatch.setitem(street.SPLITS, "val", (2, 3))
    assert commands.main(["check-data", "--dataset", "street", "--split", "val", "--workers", "1"]) == 0
    assert "3 samples (3 of 360x480), nothing wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more, code, says", [(("--workers", "-1"), 2, "--workers -1"), (("--split", "trian"), 1, "train, val")]
)
def test_wrong_words_are_said(folder: Path, capsys, more: tuple[str, ...], code: int, says: str) -> None:
    assert commands.main(words(folder, *more)) == code
    assert says in capsys.readouterr().err


def test_no_folder_is_said(tmp_path: Path, capsys) -> None:
    assert commands.main(words(tmp_path / "nowhere")) == 1
    assert "nowhere: is no folder" in capsys.readouterr().err
