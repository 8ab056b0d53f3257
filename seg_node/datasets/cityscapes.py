"""Cityscapes (Cordts et al. 2016), fine annotations, in the official layout:

    DIR/leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png              2975, 500 and 1525 images, 2048x1024
    DIR/gtFine/{train,val,test}/CITY/NAME_gtFine_labelTrainIds.png          where it is there, otherwise
    DIR/gtFine/{train,val,test}/CITY/NAME_gtFine_labelIds.png
    DIR/gtFine/{train,val,test}/CITY/NAME_gtFine_instanceIds.png            for the instance-level score; may be missing

Labels are the 19 trainIds of ``config/labels/cityscapes19.yaml``; everything else is unlabelled. (The test split's
labels that are published hold no classes.)
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from seg_node.datasets import DatasetError, Sample, read_ids, read_image, read_label
from seg_node.label_set import UNLABELLED, load_label_set

LABEL_SET = "cityscapes19"
SPLITS = ("train", "val", "test")
_IMAGE, _TRAIN_IDS, _IDS = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
_INSTANCES = "_gtFine_instanceIds.png"


class _Pair(NamedTuple):
    image: Path
    label: Path


class Cityscapes:
    """One split; images as they are on disk."""

    def __init__(self, pairs: list[_Pair]) -> None:
        self._pairs = pairs
        label_set = load_label_set(LABEL_SET)
        self._from_ids = label_set.raw_ids
        self._from_train_ids = np.full(256, UNLABELLED, np.uint8)
        self._from_train_ids[: label_set.class_count] = range(label_set.class_count)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self._pairs[index]
        image = read_image(pair.image)
        return self._sample(pair, image, read_label(pair.label, image))

    def label(self, index: int) -> Sample:
        """Return the sample without its image."""
        pair = self._pairs[index]
        return self._sample(pair, np.empty((0, 0, 3), np.uint8), read_ids(pair.label, np.uint8))

    def instances(self, index: int) -> np.ndarray | None:
        """Return uint16 (H, W): labelId * 1000 + number for each object; None where the file is not there."""
        label = self._pairs[index].label
        path = label.with_name(label.name.rpartition("_gtFine_")[0] + _INSTANCES)
        return read_ids(path, np.uint16) if path.is_file() else None

    def _sample(self, pair: _Pair, image: np.ndarray, raw: np.ndarray) -> Sample:
        table = self._from_train_ids if pair.label.name.endswith(_TRAIN_IDS) else self._from_ids
        return Sample(image, cv2.LUT(raw, table), pair.image.name[: -len(_IMAGE)])


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> Cityscapes:
    """Open ``train``, ``val`` or ``test``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError where a folder or a label is missing.
    """
    del size
    if split not in SPLITS:
        raise ValueError(f"Cityscapes has no split '{split}': choose from {', '.join(SPLITS)}")
    if data is None:
        raise ValueError("Cityscapes needs its folder: --data DIR, with leftImg8bit/ and gtFine/ in it")
    folder = Path(data) / "leftImg8bit" / split
    images = sorted(folder.glob("*/*" + _IMAGE))
    if not images:
        raise DatasetError(f"{folder}: holds no images; Cityscapes' layout is leftImg8bit/{split}/CITY/NAME{_IMAGE}")
    return Cityscapes([_Pair(image, _label_of(image, Path(data), split)) for image in images])


def _label_of(image: Path, data: Path, split: str) -> Path:
    start = data / "gtFine" / split / image.parent.name / image.name[: -len(_IMAGE)]
    for end in (_TRAIN_IDS, _IDS):
        path = start.with_name(start.name + end)
        if path.is_file():
            return path
    raise DatasetError(f"{start}{_IDS}: is missing; every image needs its label")
