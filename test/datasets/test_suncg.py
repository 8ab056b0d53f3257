from pathlib import Path

import numpy as np
import pytest
from layouts import noise, suncg, write

from seg_node.datasets import DatasetError, label_set_of, open_split
from seg_node.datasets._suncg import _category_table, _tables
from seg_node.label_set import load_label_set

SETS = {"suncg": "suncg90", "suncg_nyu40": "nyu40", "suncg_nyu13": "nyu13"}


def only(folder: Path, name: str) -> list[object]:
    """The classes' names in the stripes of the one image, None for unlabelled."""
    names = load_label_set(SETS[name]).names
    label = open_split(name, "train", folder)[0].label
    return [None if i == 255 else names[i] for i in label[0, ::4]]


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("suncg", [None, "Wall", "Ground", "Box", "shelving", "ATM"]),
        ("suncg_nyu40", [None, "wall", "floor", None, "shelves", "otherprop"]),
        ("suncg_nyu13", [None, "wall", "floor", None, "furniture", "objects"]),
    ],
)
def test_categories_of_minos(tmp_path: Path, name: str, wanted: list) -> None:
    suncg(tmp_path, ("scene",), np.array([0, 1, 4, 5, 12, 90], np.uint8))
    assert label_set_of(name) == SETS[name]
    assert only(tmp_path, name) == wanted


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("suncg", [None, "Wall", "Ceiling", "Box", "shelving", "shelving", "stand"]),
        ("suncg_nyu40", [None, "wall", "ceiling", None, "bookshelf", "shelves", "night_stand"]),
        ("suncg_nyu13", [None, "wall", "ceiling", None, "furniture", "furniture", "furniture"]),
    ],
)
def test_models_by_the_category_map(tmp_path: Path, name: str, wanted: list) -> None:
    suncg(tmp_path, ("scene",), np.array([0, 1, 2, 4, 5, 6, 600]), "scn2img")
    assert only(tmp_path, name) == wanted


def test_scenes_are_split_and_none_is_in_two(tmp_path: Path) -> None:
    suncg(tmp_path, tuple(f"{i:032x}" for i in range(51)), np.array([1], np.uint8))
    found = [
        {sample.name.split("_")[0] for sample in open_split("suncg", s, tmp_path)} for s in ("train", "val", "test")
    ]
    assert [len(scenes) for scenes in found] == [36, 5, 10]
    assert len(set.union(*found)) == 51


def test_listed_scenes_are_taken(tmp_path: Path) -> None:
    suncg(tmp_path, ("a", "b", "c"), np.array([1], np.uint8))
    (tmp_path / "train.txt").write_text("c\na\n")
    assert [sample.name for sample in open_split("suncg", "train", tmp_path)] == ["c_0001", "a_0001"]
    with pytest.raises(DatasetError, match=r"val.txt: is missing"):
        open_split("suncg", "val", tmp_path)
    (tmp_path / "val.txt").write_text("d")
    with pytest.raises(DatasetError, match=r"val.txt: lists scene d"):
        open_split("suncg", "val", tmp_path)


def test_splits_in_the_scenes_folders_are_taken(tmp_path: Path) -> None:
    suncg(tmp_path, ("a/train", "a/val", "b/train"), np.array([1], np.uint8))
    assert [sample.name for sample in open_split("suncg", "train", tmp_path)] == ["a_train_0001", "b_train_0001"]
    assert len(open_split("suncg", "val", tmp_path)) == 1


@pytest.mark.parametrize(
    "ids, tool, says",
    [
        ([91], "minos", r"0001_id_image.png: holds ids \[91\]; MINOS"),
        ([7], "scn2img", r"000000_category.png: holds ids \[7\]; the models"),
        ([700], "scn2img", r"000000_category.png: holds ids \[700\]"),
    ],
)
def test_an_id_that_is_none_is_named_with_its_file(tmp_path: Path, ids: list, tool: str, says: str) -> None:
    suncg(tmp_path, ("scene",), np.array(ids), tool)
    with pytest.raises(DatasetError, match=says):
        open_split("suncg", "train", tmp_path)[0]


def test_colours_instead_of_ids_are_refused(tmp_path: Path) -> None:
    suncg(tmp_path, ("scene",), np.array([1], np.uint8))
    write(tmp_path / "scene" / "0001_id_image.png", noise(0, (12, 4)))
    with pytest.raises(DatasetError, match=r"id_image\.png: its pixels are colours"):
        open_split("suncg", "train", tmp_path)[0]


def test_a_missing_label_and_a_missing_map_are_named(tmp_path: Path) -> None:
    suncg(tmp_path, ("scene",), np.array([1]), "scn2img")
    (tmp_path / "ModelCategoryMapping.csv").unlink()
    with pytest.raises(DatasetError, match=r"ModelCategoryMapping.csv: is missing"):
        open_split("suncg", "train", tmp_path)[0]
    (tmp_path / "scene" / "000000_category.png").unlink()
    with pytest.raises(DatasetError, match=r"000000_id_image.png: is missing"):
        open_split("suncg", "train", tmp_path)


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "index,model_id,coarse_grained_class,nyuv2_40class\n1,x,throne,chair\n"]
)
def test_another_csv_is_refused(tmp_path: Path, text: str) -> None:
    suncg(tmp_path, ("scene",), np.array([1]), "scn2img")
    (tmp_path / "ModelCategoryMapping.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"ModelCategoryMapping.csv: row 1.*category map"):
        open_split("suncg", "train", tmp_path)[0]


def test_every_category_has_a_class_in_each_set() -> None:
    categories = load_label_set("suncg90").names
    assert len(categories) == 90 and list(_tables()["categories"]) == list(categories)
    assert list(_tables()["nyu13"]) == list(load_label_set("nyu40").names)
    for name in SETS.values():
        table = _category_table(name)
        assert (table[:91] >= 0).all() and (table[91:] == -1).all()
    with_void = load_label_set("suncg91")
    assert with_void.names == (*categories, "empty") and with_void.void == 90
