"""The official Cityscapes evaluation (cityscapesScripts), and data in its layout to run it on."""

import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from seg_node.datasets import open_split
from seg_node.label_set import load_label_set

_FROM_STREET = {  # the rendered street's classes -> Cityscapes' labelIds
    "Sky": 23,
    "Building": 11,
    "Pole": 17,
    "Road": 7,
    "Pavement": 8,
    "Tree": 21,
    "SignSymbol": 20,
    "Fence": 13,
    "Car": 26,
    "Pedestrian": 24,
    "Bicyclist": 25,
}
_MORE = (5, 9, 12, 16, 19, 22, 27, 28, 29, 31, 32, 33)  # labelIds that no street has, ignored ones too: patches
_OBJECTS = (24, 25, 26, 27, 28, 29, 31, 32, 33)  # labelIds whose objects are told apart


def official() -> ModuleType:
    """Return the official module, on any NumPy: 2.4 has no ``in1d``, which it calls."""
    if not hasattr(np, "in1d"):
        np.in1d = np.isin  # type: ignore[attr-defined]
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as module

    module.args.quiet, module.args.JSONOutput = True, False
    return module


def score_officially(pairs: list[tuple[Path, Path]], instances: bool = True) -> dict:
    """Return the official result for (prediction, labelIds) files."""
    module = official()
    module.args.evalInstLevelScore = instances
    return module.evaluateImgLists([str(p) for p, _ in pairs], [str(t) for _, t in pairs], module.args)


def write_dataset(folder: Path, count: int, size: tuple[int, int]) -> list[tuple[Path, Path]]:
    """Write ``count`` validation images of the street as Cityscapes has them, with instanceIds and predictions.

    Patches add the classes that the street lacks, and objects: about 19 an image, as Cityscapes has. Predictions are
    the truth seen coarsely, with whole patches wrong, and hold ids that the evaluation ignores. Returns (prediction,
    labelIds) files.
    """
    street, rng = open_split("street", "val", size=size), np.random.default_rng(0)
    names = load_label_set("camvid11").names
    table = np.zeros(256, np.uint8)
    table[: len(names)] = [_FROM_STREET[name] for name in names]
    pairs = []
    for index in range(count):
        name = f"street_{index:06d}_000019"
        label = table[street[index].label]
        _patches(label, rng, 20)
        predicted = cv2.resize(label, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_NEAREST)
        _patches(predicted, rng, 20)
        predicted = cv2.resize(predicted, label.shape[::-1], interpolation=cv2.INTER_NEAREST)
        truth = folder / "gtFine/val/street"
        files = {
            folder / "leftImg8bit/val/street" / f"{name}_leftImg8bit.png": np.zeros((*label.shape, 3), np.uint8),
            truth / f"{name}_gtFine_labelIds.png": label,
            truth / f"{name}_gtFine_instanceIds.png": _instances(label),
            folder / "results" / f"{name}_pred.png": predicted,
        }
        for path, pixels in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
        pairs.append((folder / "results" / f"{name}_pred.png", truth / f"{name}_gtFine_labelIds.png"))
    return pairs


def _patches(label: np.ndarray, rng: np.random.Generator, count: int) -> None:
    height, width = label.shape
    for label_id in rng.choice(_MORE, count):
        y, x = rng.integers(0, height * 3 // 4), rng.integers(0, width * 3 // 4)
        tall, wide = rng.integers(height // 32, height // 8, 2)
        label[y : y + tall, x : x + wide] = label_id


def _instances(label: np.ndarray) -> np.ndarray:
    """Return uint16 (H, W): each connected part of an object's class is one of its objects."""
    instances = label.astype(np.uint16)
    for label_id in _OBJECTS:
        _, parts = cv2.connectedComponents((label == label_id).astype(np.uint8))
        here = parts > 0
        instances[here] = label_id * 1000 + np.minimum(parts[here], 999) - 1
    return instances


if __name__ == "__main__":
    sys.exit("this is a part of the tests and of bench/official_score.py")
