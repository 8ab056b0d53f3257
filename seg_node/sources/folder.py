"""A folder of images, in the order of their names; sizes may differ.

Where a folder ``<name>annot`` with labels of the same names lies beside it (CamVid's layout), it is ground truth.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from seg_node.datasets import DatasetError, read_file
from seg_node.label_set import load_label_set
from seg_node.sources import IMAGES, Shot, Source, SourceError, by_number

_LABEL_SET = "camvid11"


class FolderSource(Source):
    rate = 10.0

    def __init__(self, path: Path) -> None:
        """``path``: a folder, or one image. Raises SourceError where there is no image."""
        super().__init__()
        self._images = [path] if path.is_file() else images_in(path)
        if not self._images:
            raise SourceError("{}: holds no images ({}), no ROS 2 bag either".format(path, " ".join(IMAGES)))
        self.length = len(self._images)
        self.title = f"folder {path.name}, {self.length} images"
        self.unread: list[str] = []  # of the last pass: images that cannot be read, and why
        self.unlabelled: list[str] = []  # and those whose ground truth is missing or does not fit
        first = next(filter(lambda image: image is not None, map(self._read, self._images)), None)
        self.frame_bytes = 0 if first is None else first.size // 3 * 4  # with ground truth
        self._labels = path.parent / (path.name + "annot")
        if self._labels.is_dir():
            self.label_set = _LABEL_SET
            self._raw_ids = load_label_set(_LABEL_SET).raw_ids
            self.notes.append(f"ground truth from {self._labels}")

    def shots(self) -> Iterator[Shot]:
        self.unread.clear()
        self.unlabelled.clear()
        for path in self._images:
            image = self._read(path)
            if image is not None:  # one damaged file is no reason to stop a camera
                yield Shot(image, self._truth(path, image.shape[:2]))

    def _truth(self, path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
        if self.label_set is None:
            return None
        of_same_name = self._labels / path.name
        file = of_same_name if of_same_name.is_file() else of_same_name.with_suffix(".png")
        try:
            label = read_file(file, cv2.IMREAD_UNCHANGED)
        except DatasetError as error:
            self.unlabelled.append(str(error))
            return None
        if label.shape != shape or label.dtype != np.uint8:
            size = "{1}x{0}".format(*label.shape)
            self.unlabelled.append(
                f"{file}: is {size}, {label.dtype}, of {label.ndim} axes; its image is {shape[1]}x{shape[0]}"
            )
            return None
        return self._raw_ids[label]

    def _read(self, path: Path) -> np.ndarray | None:
        try:
            return read_file(path, cv2.IMREAD_COLOR)
        except DatasetError as error:
            self.unread.append(str(error))
            return None


def images_in(folder: Path) -> list[Path]:
    """Return a folder's images; frame10 comes after frame9."""
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGES), key=by_number)
