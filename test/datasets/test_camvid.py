from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts import camvid_original

from seg_node import datasets
from seg_node.datasets import DatasetError, open_split
from seg_node.datasets.camvid import GROUPS, split_of
from seg_node.label_set import load_label_set


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
        (lambda f: _cut(f / "train" / "1.png"), "train/1.png: is cut short"),
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


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


VOID, LANE, CHILD, BUS, WALL = (0, 0, 0), (128, 0, 192), (192, 128, 64), (192, 128, 192), (64, 192, 0)


def test_the_original_colours_become_the_eleven_classes(tmp_path: Path) -> None:
    names = ("0016E5_00390", "0016E5_07959", "0016E5_08159", "0016E5_08161", "0006R0_f00930", "Seq05VD_f00000")
    colours = np.array([VOID, LANE, CHILD, BUS, WALL], np.uint8)
    folder = camvid_original(tmp_path, (*names, "0001TP_008520", "0001TP_008550"), colours)
    found = {split: [s.name for s in open_split("camvid", split, folder)] for split in ("train", "val", "test")}
    assert found == {
        "train": ["0001TP_008520", "0006R0_f00930", "0016E5_00390", "0016E5_08161"],
        "val": ["0016E5_07959", "0016E5_08159"],
        "test": ["0001TP_008550", "Seq05VD_f00000"],
    }
    assert open_split("camvid", "val", folder)[0].label[0, ::4].tolist() == [255, 3, 9, 8, 1]


def test_the_original_has_32_colours_that_differ() -> None:
    colours = {colour for members in GROUPS.values() for colour in members.values()}
    assert len(colours) == 31 and (0, 0, 0) not in colours  # and Void
    assert list(GROUPS) == list(load_label_set("camvid11").names)


@pytest.mark.parametrize("colour", [(128, 0, 191), (64, 64, 64)])
def test_a_colour_that_the_original_does_not_have_is_named(tmp_path: Path, colour: tuple[int, ...]) -> None:
    camvid_original(tmp_path, ("0016E5_00390",), np.array([LANE, colour], np.uint8))
    with pytest.raises(DatasetError, match=r"0016E5_00390_L\.png: holds"):
        open_split("camvid", "train", tmp_path)[0]


def test_a_frame_of_nowhere_in_the_original_is_named(tmp_path: Path) -> None:
    camvid_original(tmp_path, ("0016E9_00390",), np.array([LANE], np.uint8))
    with pytest.raises(DatasetError, match=r"0016E9_00390\.png: is no sample"):
        open_split("camvid", "train", tmp_path)


def test_the_originals_splits_are_those_of_the_other_layout(camvid: Path) -> None:
    for split in ("train", "val"):
        assert {split_of(path.stem) for path in (camvid / split).glob("*.png")} == {split}


def test_unknown_names_list_the_choices(folder: Path) -> None:
    with pytest.raises(ValueError, match="train, val, test"):
        open_split("camvid", "trian", folder)
    with pytest.raises(ValueError, match="bag, camvid, cityscapes, imagenet, street, suncg"):
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
