"""Label PNGs that somebody wrote, found by the samples' names."""

import bisect
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from seg_node.datasets import DatasetError, Split, read_file
from seg_node.evaluation.instances import raw_table
from seg_node.label_set import UNLABELLED, LabelSet

IDS = ("raw", "classes")


def label_reader(folder: Path, label_set: LabelSet, ids: str) -> Callable[[str], np.ndarray]:
    """Return a function: a sample's name to the class ids of its PNG, uint8 (H, W); ids that are no class are 255.

    A sample's file is ``NAME.png`` or ``NAME_anything.png`` anywhere under ``folder`` (Cityscapes' own rule). ``ids``:
    "raw", as in the data set's files (Cityscapes: labelIds), or "classes", as ``evaluate --out`` writes them. Raises
    DatasetError where there is none, or more than one.
    """
    files = sorted((path.stem, path) for path in folder.rglob("*.png"))
    if not files:
        raise DatasetError(f"{folder}: holds no PNG; predictions are one label PNG for each image")
    stems = [stem for stem, _ in files]
    table = raw_table(label_set)
    if ids == "classes":
        table = np.full(256, UNLABELLED, np.uint8)
        table[: label_set.class_count] = range(label_set.class_count)

    def read(name: str) -> np.ndarray:
        wanted = Path(name).name
        found = []
        for place in range(bisect.bisect_left(stems, wanted), len(stems)):
            if not stems[place].startswith(wanted):
                break
            if stems[place] == wanted or stems[place][len(wanted)] == "_":
                found.append(files[place][1])
        exact = [path for path in found if path.stem == wanted]
        if len(exact or found) != 1:
            problem = f"has {len(found)} predictions, {found[0]} and {found[1]}" if found else "has no prediction"
            raise DatasetError(f"{folder}: {name} {problem}; it needs one {wanted}.png or {wanted}_anything.png")
        return cv2.LUT(read_ids((exact or found)[0], np.uint8), table)

    return read


def read_ids(path: Path, dtype: type[np.generic]) -> np.ndarray:
    """Return a file of ids, one channel of ``dtype`` (H, W), as in the file. Raises DatasetError that names it."""
    raw = read_file(path, cv2.IMREAD_UNCHANGED)
    if raw.ndim != 2 or raw.dtype != dtype:
        raise DatasetError(f"{path}: is {raw.dtype} {raw.shape}; must be one channel of {np.dtype(dtype)}")
    return raw


def instance_reader(split: Split) -> Callable[[int], np.ndarray | None] | None:
    """Return a function: a sample's index to what tells its objects apart, uint16 (H, W), raw label id * 1000 + number.

    A split may have a method ``instances`` that is it; Cityscapes has gtFine_instanceIds.png beside its labels. The
    result is None where the file is missing. There is no function for a split that tells no objects apart.
    """
    if hasattr(split, "instances"):
        own: Callable[[int], np.ndarray | None] = split.instances
        return own
    pairs = getattr(split, "pairs", None)
    if not pairs or "_gtFine_label" not in pairs[0].label.name:
        return None

    def read(index: int) -> np.ndarray | None:
        label = pairs[index].label
        path = label.with_name(label.name.rpartition("_gtFine_")[0] + "_gtFine_instanceIds.png")
        return read_ids(path, np.uint16) if path.is_file() else None

    return read
