"""CamVid (Brostow et al. 2008), in one of two layouts.

SegNet's tutorial, 480x360; labels are 0 to 10 as in ``config/labels/camvid11.yaml``, and 11 for unlabelled:

    DIR/train/*.png  DIR/trainannot/*.png   367 images and labels of the same names
    DIR/val/*.png    DIR/valannot/*.png     101
    DIR/test/*.png   DIR/testannot/*.png    233

The original, 960x720; labels are in 32 colours, which SegNet's grouping makes 11 classes and unlabelled:

    DIR/701_StillsRaw_full/NAME.png  DIR/LabeledApproved_full/NAME_L.png

Its splits are SegNet's, by drive: val is a stretch of drive 0016E5, test all of Seq05VD and the second half of 0001TP.
"""

from pathlib import Path

import cv2
import numpy as np

from seg_node.datasets import DatasetError, read_image, read_label, to_classes
from seg_node.datasets._pairs import Pair, PairSplit, choose, other_images
from seg_node.label_set import load_label_set

LABEL_SET = "camvid11"
SPLITS = ("train", "val", "test")
COUNTS = {"train": 367, "val": 101, "test": 233}
_STILLS, _COLOURS = "701_StillsRaw_full", "LabeledApproved_full"

# class of camvid11: the original classes in it, with their colours (RGB); Void is in none
GROUPS = {
    "Sky": {"Sky": (128, 128, 128)},
    "Building": {
        "Bridge": (0, 128, 64),
        "Building": (128, 0, 0),
        "Wall": (64, 192, 0),
        "Tunnel": (64, 0, 64),
        "Archway": (192, 0, 128),
    },
    "Pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "Road": {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    "Pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    "Tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "SignSymbol": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "Fence": {"Fence": (64, 64, 128)},
    "Car": {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "Pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    "Bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> PairSplit:
    """Open ``train``, ``val`` or ``test``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError where a folder or a label is missing.
    """
    del size
    return find(split, data).complete()


def find(split: str, data: Path | None) -> PairSplit:
    """As ``open_split``, before anything is known to be whole."""
    data = choose(split, SPLITS, "CamVid", data, f"train/ and trainannot/, or {_STILLS}/ and {_COLOURS}/,")
    if (data / _STILLS).is_dir() or (data / _COLOURS).is_dir():
        stills, colours = data / _STILLS, data / _COLOURS
        names = {path.stem for path in stills.glob("*.png")} | {path.stem[:-2] for path in colours.glob("*_L.png")}
        pairs = [
            Pair(name, stills / f"{name}.png", colours / f"{name}_L.png")
            for name in sorted(names)
            if split_of(name) == split
        ]
        strays = other_images(stills, "*", lambda name: name.endswith(".png") and split_of(name[: -len(".png")]))
        strays += other_images(colours, "*", lambda name: name.endswith("_L.png") and split_of(name[: -len("_L.png")]))
        empty = f"{stills}: holds no image of split {split}; CamVid's has 701 NAME.png, as 0016E5_07959.png"
        return PairSplit(pairs, _Colours(), empty, strays)
    images, labels = data / split, data / f"{split}annot"
    found = {path.name for folder in (images, labels) for path in folder.glob("*.png")}
    pairs = [Pair(name[: -len(".png")], images / name, labels / name) for name in sorted(found)]
    layout = f"{images}: holds no images; CamVid's layout is {split}/*.png beside {split}annot/*.png"
    strays = [stray for folder in (images, labels) for stray in other_images(folder, "*", found.__contains__)]
    return PairSplit(pairs, _Ids(), layout, strays)


def split_of(name: str) -> str | None:
    """Return the split of SegNet's tutorial that a frame of the original CamVid is in, by its name.

    None for what is no frame of CamVid.
    """
    drive, _, number = name.rpartition("_")
    if drive in ("0006R0", "Seq05VD"):
        return "train" if drive == "0006R0" else "test"
    if drive == "0016E5" and number.isdecimal():
        return "val" if 7959 <= int(number) <= 8159 else "train"
    if drive == "0001TP" and number.isdecimal():
        return "train" if int(number) <= 8520 else "test"
    return None


class _Ids:
    """Reads labels of SegNet's layout."""

    def __init__(self) -> None:
        self._table = np.full(256, -1, np.int16)
        self._table[:12] = load_label_set(LABEL_SET).raw_ids[:12]

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        return to_classes(read_label(path, image), self._table, path, "CamVid's are 0 to 11")


class _Colours:
    """Reads labels in the 32 colours."""

    def __init__(self) -> None:
        names = load_label_set(LABEL_SET).names
        self._table = np.full(256, -1, np.int16)
        self._table[0] = 255  # Void is black
        for group, members in GROUPS.items():
            for colour in members.values():
                self._table[_code(np.array(colour[::-1], np.uint8))] = names.index(group)

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        colours = read_image(path)
        if colours.shape != image.shape:
            raise DatasetError(f"{path}: is {colours.shape[:2]}, its image {image.shape[:2]}", "size")
        codes = _code(colours)
        known = "its colours are not CamVid's 32 (the ids here are their codes)"
        if cv2.countNonZero((colours & 63).reshape(-1)):
            raise DatasetError(f"{path}: holds colours that are not CamVid's 32; was it resized or made a JPEG?", "ids")
        return to_classes(codes, self._table, path, known)


def _code(colours: np.ndarray) -> np.ndarray:
    """Return uint8 (...): a number for each colour, uint8 (..., 3) BGR; the 32 differ in their upper two bits."""
    high = colours >> 6
    return np.asarray(high[..., 0] | high[..., 1] << 2 | high[..., 2] << 4)
