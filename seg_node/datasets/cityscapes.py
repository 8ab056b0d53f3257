"""Cityscapes (Cordts et al. 2016), fine annotations, in the official layout:

    DIR/leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png              2975, 500 and 1525 images, 2048x1024
    DIR/gtFine/{train,val,test}/CITY/NAME_gtFine_labelTrainIds.png          where it is there, otherwise
    DIR/gtFine/{train,val,test}/CITY/NAME_gtFine_labelIds.png

Labels are the 19 trainIds of ``config/labels/cityscapes19.yaml``; everything else is unlabelled (a recipe whose label
set is ``cityscapes20`` learns it as a class). The files are what the official preparation writes: labelIds 0 to 33,
trainIds 0 to 18 and 255, or 19 for void, as ESPNet's and C3's preparation writes. The test split's labels that are
published hold no classes; what is sent to the test server instead is written by ``preparation/submission.py``.
"""

from pathlib import Path

import numpy as np

from seg_node.datasets import read_label, to_classes
from seg_node.datasets._pairs import Pair, PairSplit, choose, other_images
from seg_node.label_set import UNLABELLED, load_label_set

LABEL_SET = "cityscapes19"
SPLITS = ("train", "val", "test")
COUNTS = {"train": 2975, "val": 500, "test": 1525}
IMAGE = "_leftImg8bit.png"
_TRAIN_IDS, _IDS = "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> PairSplit:
    """Open ``train``, ``val`` or ``test``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError where a folder or a label is missing.
    """
    del size
    return find(split, data).complete()


def find(split: str, data: Path | None) -> PairSplit:
    """As ``open_split``, before anything is known to be whole."""
    data = choose(split, SPLITS, "Cityscapes", data, "leftImg8bit/ and gtFine/")
    images, labels = data / "leftImg8bit" / split, data / "gtFine" / split
    names = {(path.parent.name, path.name[: -len(IMAGE)]) for path in images.glob("*/*" + IMAGE)}
    train_ids, ids = (
        {(path.parent.name, path.name[: -len(end)]) for path in labels.glob("*/*" + end)} for end in (_TRAIN_IDS, _IDS)
    )
    pairs = [
        Pair(name, images / city / (name + IMAGE), labels / city / (name + (_TRAIN_IDS if here else _IDS)))
        for city, name in sorted(names | train_ids | ids)
        for here in [(city, name) in train_ids]
    ]
    layout = f"{images}: holds no images; Cityscapes' layout is leftImg8bit/{split}/CITY/NAME{IMAGE}"
    return PairSplit(pairs, _Labels(), layout, other_images(images, "*/*", lambda name: name.endswith(IMAGE)))


class _Labels:
    """Reads both kinds of label files."""

    def __init__(self) -> None:
        label_set = load_label_set(LABEL_SET)
        self._ids = np.full(256, -1, np.int16)
        self._ids[:34] = label_set.raw_ids[:34]
        self._train_ids = np.full(256, -1, np.int16)
        self._train_ids[: label_set.class_count] = range(label_set.class_count)
        self._train_ids[label_set.class_count] = UNLABELLED
        self._ids[255] = self._train_ids[255] = UNLABELLED

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        raw = read_label(path, image)
        if path.name.endswith(_TRAIN_IDS):
            return to_classes(raw, self._train_ids, path, "trainIds are 0 to 18, and 255 or 19 for void")
        return to_classes(raw, self._ids, path, "labelIds are 0 to 33, and 255 for a licence plate")
