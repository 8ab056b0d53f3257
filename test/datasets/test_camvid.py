from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node import datasets
from seg_node.datasets import DatasetError, open_split


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs in CamVid's layout."""
    for part in ("train", "trainannot"):
        (tmp_path / part).mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / "train" / f"{number}.png"), np.full((6, 8, 3), number, np.uint8))
        cv2.imwrite(str(tmp_path / "trainannot" / f"{number}.png"), np.full((6, 8), 11 * number, np.uint8))
    return tmp_path


def test_pairs_and_void(folder: Path) -> None:
    split = open_split("camvid", "train", folder)
    assert len(split) == 2
    image, label, name = split[1]
    assert image.shape == (6, 8, 3) and label.shape == (6, 8) and name == "1"
    assert set(np.unique(split[0].label)) == {0} and set(np.unique(label)) == {255}


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda f: (f / "trainannot" / "1.png").unlink(), "1.png: is missing"),
        (lambda f: (f / "train" / "1.png").write_bytes(b"x"), "train/1.png.*no image"),
        (
            lambda f: cv2.imwrite(str(f / "trainannot" / "1.png"), np.zeros((6, 9), np.uint8)),
            r"trainannot/1.png.*\(6, 9\)",
        ),
        (
            lambda f: cv2.imwrite(str(f / "trainannot" / "1.png"), np.full((6, 8), 300, np.uint16)),
            r"trainannot/1.png: is uint16.*8 bits",
        ),
        (
            lambda f: cv2.imwrite(str(f / "trainannot" / "1.png"), np.full((6, 8), 31, np.uint8)),
            r"trainannot/1.png.*\[31\]",
        ),
        (lambda f: [p.unlink() for p in (f / "train").iterdir()], "train: holds no images"),
    ],
)
def test_bad_data_names_the_file(folder: Path, damage, says: str) -> None:
    damage(folder)
    with pytest.raises(DatasetError, match=says):
        open_split("camvid", "train", folder)[1]


def test_unknown_names_list_the_choices(folder: Path) -> None:
    with pytest.raises(ValueError, match="train, val, test"):
        open_split("camvid", "trian", folder)
    with pytest.raises(ValueError, match="camvid, cityscapes, street"):
        open_split("camvit", "train", folder)
    with pytest.raises(ValueError, match="--data"):
        open_split("camvid", "train")
    assert datasets.label_set_of("camvid") == "camvid11"


def test_the_real_one(camvid: Path) -> None:
    for split, count in (("train", 367), ("val", 101)):
        opened = open_split("camvid", split, camvid)
        assert len(opened) == count
        image, label, _ = opened[count - 1]
        assert image.shape == (360, 480, 3) and label.shape == (360, 480)
        assert set(np.unique(label)) <= {*range(11), 255}
