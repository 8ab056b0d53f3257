from pathlib import Path

import pytest
from layouts import imagenet

from seg_node import datasets
from seg_node.datasets import DatasetError, open_split
from seg_node.datasets.imagenet import ImageFolders


def test_classes_are_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    imagenet(tmp_path, ("n01443537", "n01440764", "n02102040"))
    for name in ("train", "val"):
        split = open_split("imagenet", name, tmp_path)
        assert isinstance(split, ImageFolders) and split.classes == ["n01440764", "n01443537", "n02102040"]
        assert [int(sample.label) for sample in split] == [0, 0, 1, 1, 2, 2]
        assert split[1].image.shape == (21, 30, 3) and split[1].label.shape == ()
    assert open_split("imagenet", "train", tmp_path)[3].name == "n01443537/n01443537_1"


def test_a_class_that_train_does_not_have_is_named(tmp_path: Path) -> None:
    imagenet(tmp_path, ("cat", "dog"))
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "fish")
    with pytest.raises(DatasetError, match="fish: is a class that"):
        open_split("imagenet", "val", tmp_path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="train: holds no images"):
        open_split("imagenet", "train", tmp_path)
    imagenet(tmp_path, ("cat",))
    with pytest.raises(ValueError, match="train, val"):
        open_split("imagenet", "test", tmp_path)


def test_it_is_no_data_set_of_label_images() -> None:
    assert "imagenet" not in datasets.names() and datasets.classifiers() == ["imagenet"]
    with pytest.raises(ValueError, match="no label images"):
        datasets.label_set_of("imagenet")
