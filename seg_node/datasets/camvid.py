"""CamVid (Brostow et al. 2008) in the layout of SegNet's tutorial, 480x360:

    DIR/train/*.png  DIR/trainannot/*.png   367 images and labels of the same names
    DIR/val/*.png    DIR/valannot/*.png     101
    DIR/test/*.png   DIR/testannot/*.png    233

Labels are 0 to 10 as in ``config/labels/camvid11.yaml``, and 11 for unlabelled.
"""

from pathlib import Path

import numpy as np

from seg_node.datasets import DatasetError, Sample, read_image, read_label
from seg_node.label_set import UNLABELLED, load_label_set

LABEL_SET = "camvid11"
SPLITS = ("train", "val", "test")


class CamVid:
    """One split; images as they are on disk."""

    def __init__(self, images: list[Path], labels: Path) -> None:
        self._images, self._labels = images, labels
        self._raw_ids = load_label_set(LABEL_SET).raw_ids

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        path = self._images[index]
        image = read_image(path)
        raw = read_label(self._labels / path.name, image)
        label = self._raw_ids[raw]
        if np.any((label == UNLABELLED) & (raw != 11)):
            wrong = np.setdiff1d(raw, range(12)).tolist()
            raise DatasetError(f"{self._labels / path.name}: holds ids {wrong}; CamVid's are 0 to 11")
        return Sample(image, label, path.stem)


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> CamVid:
    """Open ``train``, ``val`` or ``test``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError where a folder or a label is missing.
    """
    del size
    if split not in SPLITS:
        raise ValueError(f"CamVid has no split '{split}': choose from {', '.join(SPLITS)}")
    if data is None:
        raise ValueError("CamVid needs its folder: --data DIR, with train/ and trainannot/ in it")
    folder, labels = Path(data) / split, Path(data) / f"{split}annot"
    images = sorted(folder.glob("*.png"))
    if not images:
        raise DatasetError(f"{folder}: holds no images; CamVid's layout is {split}/*.png beside {split}annot/*.png")
    for path in images:
        if not (labels / path.name).is_file():
            raise DatasetError(f"{labels / path.name}: is missing; every image needs its label")
    return CamVid(images, labels)
