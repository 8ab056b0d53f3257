"""ImageNet (Deng et al. 2009), or any folders with one class of images in each:

    DIR/train/CLASS/*.JPEG
    DIR/val/CLASS/*.JPEG

Class ids are the places of train's folders in the order of their names (of ImageNet's 1000 wnids: the usual order). A
sample's label is that id, int64 (). There are no label images, and so no label set.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from seg_node.datasets import IMAGES, DatasetError, Sample, read_image
from seg_node.datasets._pairs import choose

SPLITS = ("train", "val")


class ImageFolders:
    """One split; images as they are on disk. ``classes``: the folders' names, a class id's at its place."""

    def __init__(
        self, classes: list[str], files: list[tuple[Path, int]], empty: str, strays: Iterable[DatasetError] = ()
    ) -> None:
        """``empty``: what to say where there are no files; ``strays``: what is wrong with other folders."""
        self.classes, self.files, self.empty, self.strays = classes, files, empty, list(strays)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        path, number = self.files[index]
        return Sample(read_image(path), np.array(number, np.int64), f"{path.parent.name}/{path.stem}")

    def fingerprint(self, times: bool = False) -> str:
        """Return a hash of the files' names and sizes, and of the times of their last change if ``times``."""
        known = hashlib.sha256()
        for path, _ in self.files:
            stat = path.stat()
            known.update(
                f"{path.parent.name}/{path.name} {stat.st_size} {stat.st_mtime_ns if times else ''}\n".encode()
            )
        return known.hexdigest()


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> ImageFolders:
    """Open ``train`` or ``val``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError for no images, or a class that train does not have.
    """
    del size
    opened = find(split, data)
    if opened.strays:
        raise opened.strays[0]
    if not opened.files:
        raise DatasetError(opened.empty)
    return opened


def find(split: str, data: Path | None) -> ImageFolders:
    """As ``open_split``, of which there may be nothing."""
    data = choose(split, SPLITS, "ImageNet", data, "train/CLASS/*.JPEG and val/CLASS/*.JPEG")
    train = data / "train"
    classes = sorted(path.name for path in train.iterdir() if path.is_dir()) if train.is_dir() else []
    folders = sorted(path for path in (data / split).glob("*") if path.is_dir())
    number = {name: place for place, name in enumerate(classes)}
    files = [
        (path, number[folder.name])
        for folder in folders
        if folder.name in number
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGES
    ]
    strays = [
        DatasetError(f"{folder}: is a class that {train} does not have; its folders are the classes")
        for folder in folders
        if folder.name not in number
    ]
    layout = f"{data / split}: holds no images; the layout is {split}/CLASS/*.JPEG, a folder for each class"
    return ImageFolders(classes, files, layout, strays)
