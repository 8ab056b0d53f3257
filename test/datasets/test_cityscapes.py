from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node.datasets import DatasetError, open_split

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
    ids = np.array([[0, 1, 18, 19, 254, 255]] * 4, np.uint8)
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
