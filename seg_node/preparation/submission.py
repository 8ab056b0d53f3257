"""What Cityscapes' test server takes: a zip of PNGs of labelIds at the images' size, named by the official names."""

import os
import zipfile
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, load_label_set

_END = "_labelIds.png"  # the server takes any end behind CITY_SEQUENCE_FRAME


class Submission:
    """A zip being written. A context manager; the file is there once it ends well, and not before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        label_set = load_label_set("cityscapes19")
        self._ids = np.zeros(256, np.uint8)  # 0, unlabeled, for what is no class
        for raw, class_id in enumerate(label_set.raw_ids):
            if class_id != UNLABELLED:
                self._ids[class_id] = raw

    def __enter__(self) -> "Submission":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # PNGs are compressed already
        self._zip = zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED)
        return self

    def add(self, name: str, labels: np.ndarray) -> None:
        """Add an image: ``name`` as aachen_000000_000019, ``labels`` uint8 (H, W), trainIds, 255 for no class."""
        done, png = cv2.imencode(".png", cv2.LUT(labels, self._ids))
        if not done:
            raise OSError(f"{name}: cannot be written as PNG")
        self._zip.writestr(name + _END, png.tobytes())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)
