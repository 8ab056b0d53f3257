from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts import POLYGONS, cityscapes

from seg_node.datasets import DatasetError, open_split
from seg_node.label_set import load_label_set

NAME = "aachen_000000_000019"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images, labels = tmp_path / "leftImg8bit/val/aachen", tmp_path / "gtFine/val/aachen"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    cv2.imwrite(str(images / f"{NAME}_leftImg8bit.png"), np.full((4, 6, 3), (1, 2, 3), np.uint8))
    ids = np.array([[7, 8, 33, 0, 4, 255]] * 4, np.uint8)
    cv2.imwrite(str(labels / f"{NAME}_gtFine_labelIds.png"), ids)
    return tmp_path


def test_label_ids_become_train_ids(data: Path) -> None:
    split = open_split("cityscapes", "val", data)
    assert len(split) == 1
    sample = split[0]
    assert sample.name == NAME and sample.image[0, 0].tolist() == [1, 2, 3]
    assert sample.label[0].tolist() == [0, 1, 18, 255, 255, 255]


def test_train_ids_are_taken_where_they_are(data: Path) -> None:
    ids = np.array([[0, 1, 18, 19, 255, 255]] * 4, np.uint8)
    cv2.imwrite(str(data / f"gtFine/val/aachen/{NAME}_gtFine_labelTrainIds.png"), ids)
    assert open_split("cityscapes", "val", data)[0].label[0].tolist() == [0, 1, 18, 255, 255, 255]


def test_a_missing_label_is_named(data: Path) -> None:
    (data / f"gtFine/val/aachen/{NAME}_gtFine_labelIds.png").unlink()
    with pytest.raises(DatasetError, match=f"{NAME}_gtFine_labelIds.png: is missing"):
        open_split("cityscapes", "val", data)


def test_a_label_of_another_size_is_named(data: Path) -> None:
    path = data / f"gtFine/val/aachen/{NAME}_gtFine_labelIds.png"
    cv2.imwrite(str(path), np.zeros((2, 2), np.uint8))
    with pytest.raises(DatasetError, match=path.name):
        open_split("cityscapes", "val", data)[0]


@pytest.mark.parametrize("split, where", [("train", "here"), ("trainval", "here"), ("val", None)])
def test_what_is_not_there_is_said(data: Path, split: str, where: str | None) -> None:
    with pytest.raises(ValueError, match=r"leftImg8bit|no split"):
        open_split("cityscapes", split, data if where else None)


@pytest.mark.parametrize("kind, wrong", [("labelIds", 34), ("labelTrainIds", 20)])
def test_an_id_that_is_none_is_named_with_its_file(data: Path, kind: str, wrong: int) -> None:
    path = data / f"gtFine/val/aachen/{NAME}_gtFine_{kind}.png"
    cv2.imwrite(str(path), np.full((4, 6), wrong, np.uint8))
    with pytest.raises(DatasetError, match=rf"{path.name}: holds ids \[{wrong}\]"):
        open_split("cityscapes", "val", data)[0]


def test_a_label_without_image_is_left_out(data: Path) -> None:
    path = data / "gtFine/val/aachen/aachen_000001_000019_gtFine_labelIds.png"
    cv2.imwrite(str(path), np.zeros((4, 6), np.uint8))
    assert len(open_split("cityscapes", "val", data)) == 1


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_what_the_official_preparation_writes_is_read(tmp_path: Path, kind: str) -> None:
    from cityscapesscripts.helpers.labels import name2label

    folder = cityscapes(tmp_path, {"train": {"aachen": 2, "zurich": 1}})
    for path in folder.rglob("*_label*Ids.png"):
        if not path.name.endswith(f"{kind}.png"):
            path.unlink()
    split = open_split("cityscapes", "train", folder)
    assert [sample.name for sample in split] == [
        f"{c}_000019" for c in ("aachen_000000", "aachen_000001", "zurich_000000")
    ]
    wanted = [name2label[name].trainId % 256 if name != "license plate" else 255 for name in POLYGONS]
    assert split[2].label[5, 4 : 10 * len(POLYGONS) : 10].tolist() == wanted
    assert set(split[2].label[-1]) == {255}  # no polygon


def test_ids_names_and_colours_are_the_official_ones() -> None:
    from cityscapesscripts.helpers.labels import labels

    with_void, plain = load_label_set("cityscapes20"), load_label_set("cityscapes19")
    for label in labels:
        void = label.trainId in (-1, 255)
        if label.id >= 0:
            assert plain.raw_ids[label.id] == (255 if void else label.trainId)
            assert with_void.raw_ids[label.id] == (19 if void else label.trainId)
        if not void:
            assert plain.names[label.trainId] == with_void.names[label.trainId] == label.name
            assert tuple(plain.palette[label.trainId][::-1]) == label.color
    assert plain.class_count == 19 and with_void.void == 19
