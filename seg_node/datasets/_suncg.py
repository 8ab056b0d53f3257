"""SUNCG (Song et al. 2017), rendered: what suncg, suncg_nyu40 and suncg_nyu13 share. They differ in the classes.

    DIR/SCENE/[train|val|test/]NAMEcolor.png  beside NAMEid_image.png   rendered by MINOS, as for RDS-Net
    DIR/SCENE/[train|val|test/]NAME_color.png (.jpg)  beside NAME_category.png    by the SUNCG toolbox's scn2img
    DIR/ModelCategoryMapping.csv (or in DIR/metadata/)    SUNCG's category map, for *_category.png
    DIR/{train,val,test}.txt                              the scenes of a split, one a line, where wanted

Pixels of ``*id_image.png`` are MINOS' objectTypes, 0 (empty) to 90 (ATM): one channel, or RGB with the id in blue.
Those of ``*_category.png`` are a model's ``index`` in the category map, 16 bits; its row says the category and
NYUv2's class.

A split is what lies in the scenes' folders of its name; where there are none, the scenes that its .txt file lists;
where there is none, a share of the scenes: they are put in the order of their names' SHA-1, the first 70 % (rounded)
are train, the next 10 % val, the rest test. No scene is in two splits then. (The RDS-Net paper has 14,000 pairs of 51
scenes, and does not say which are which: 36, 5 and 10 scenes here.)
"""

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np

from seg_node.datasets import DatasetError, read_file, to_classes
from seg_node.datasets._pairs import Pair, PairSplit, choose
from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.share import share_path
from seg_node.yaml_table import read_table

SPLITS = ("train", "val", "test")
MAP = "ModelCategoryMapping.csv"
_CATEGORIES = "suncg90"
_IDS, _MODELS = "id_image.png", "_category.png"
_OWN = ("Wall", "Ceiling", "Floor", "Ground", "Box")  # models that are categories of their own


def open_split(
    split: str, data: Path | None = None, size: tuple[int, int] | None = None, *, label_set: str
) -> PairSplit:
    """Open ``train``, ``val`` or ``test``. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError where a folder or a label is missing.
    """
    del size
    return find(split, data, label_set=label_set).complete()


def find(split: str, data: Path | None, *, label_set: str) -> PairSplit:
    """Return a split before it is known to be whole; ``label_set``: suncg90, nyu40 or nyu13."""
    data = choose(split, SPLITS, "SUNCG", data, "a folder for each scene")
    scenes = sorted(path for path in data.iterdir() if path.is_dir() and path.name != "metadata")
    if any((scene / name).is_dir() for scene in scenes for name in SPLITS):
        folders = [scene / split for scene in scenes]
    else:
        folders = [data / name for name in _scenes_of(split, data, [scene.name for scene in scenes])]
    strays = [
        DatasetError(f"{data / split}.txt: lists scene {folder.name}, which is not in {data}", "missing")
        for folder in folders
        if folder.parent == data and not folder.is_dir()
    ]
    pairs = [pair for folder in folders for pair in _pairs_in(folder, data)]
    layout = f"{data}: holds no images of split {split}; SUNCG's layout is SCENE/*color.png beside SCENE/*id_image.png"
    return PairSplit(pairs, _Labels(data, label_set), layout, strays)


def _scenes_of(split: str, data: Path, scenes: list[str]) -> list[str]:
    """Return the names of a split's scenes; one that is listed may not be there."""
    listed = data / f"{split}.txt"
    if listed.is_file():
        return listed.read_text(encoding="utf-8").split()
    if any((data / f"{name}.txt").is_file() for name in SPLITS):
        raise DatasetError(f"{listed}: is missing, while another split's scenes are listed", "missing")
    order = sorted(scenes, key=lambda name: hashlib.sha1(name.encode()).hexdigest())
    first, second = round(0.7 * len(order)), round(0.8 * len(order))
    return sorted({"train": order[:first], "val": order[first:second], "test": order[second:]}[split])


def _pairs_in(folder: Path, data: Path) -> list[Pair]:
    files = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    label_of = {}  # image: label
    for file in files:
        if file.endswith(_IDS):
            label_of[file[: -len(_IDS)] + "color.png"] = file
        elif file.endswith(_MODELS):
            start = file[: -len(_MODELS)] + "_color"
            label_of[start + (".jpg" if start + ".jpg" in files else ".png")] = file
    for file in files:
        if file.endswith(("color.png", "_color.jpg")):
            label_of.setdefault(file, file[: -len("color.png")] + _IDS)
    place = "_".join(folder.relative_to(data).parts)
    return [
        Pair(f"{place}_{Path(image).stem[: -len('color')].rstrip('_')}", folder / image, folder / label)
        for image, label in sorted(label_of.items())
    ]


class _Labels:
    """Reads both kinds of label files, as ids of ``label_set``."""

    def __init__(self, data: Path, label_set: str) -> None:
        self._data, self._label_set = data, label_set
        self._names = load_label_set(label_set).names
        self._from_category = _category_table(label_set)
        self._from_model: np.ndarray | None = None  # of the category map, once a file needs it

    def __call__(self, path: Path, image: np.ndarray) -> np.ndarray:
        raw = _one_channel(path)
        if raw.shape != image.shape[:2]:
            raise DatasetError(f"{path}: is {raw.shape}, its image {image.shape[:2]}", "size")
        if path.name.endswith(_MODELS):
            if self._from_model is None:
                self._from_model = self._model_table()
            known = f"the models' ids in {MAP} are 0 to {len(self._from_model) - 1}"
            return to_classes(raw, self._from_model, path, known)
        return to_classes(raw, self._from_category, path, "MINOS' category ids are 0 to 90")

    def _model_table(self) -> np.ndarray:
        """Return int16 (models,): index in the category map -> class id, 255, or -1 where the map has no such index."""
        path = next((p for p in (self._data / MAP, self._data / "metadata" / MAP) if p.is_file()), None)
        if path is None:
            raise DatasetError(
                f"{self._data / MAP}: is missing; *{_MODELS} hold models' ids, which SUNCG's category map explains",
                "missing",
            )
        classes = {}
        with path.open(encoding="utf-8", newline="") as file:
            try:
                for row in csv.DictReader(file):
                    classes[int(row["index"])] = self._class_of_model(row)
            except (KeyError, ValueError, TypeError, csv.Error) as error:
                raise DatasetError(f"{path}: row {len(classes) + 1}: {error}; is this SUNCG's category map?") from error
        if not classes or not 0 <= min(classes) <= max(classes) < 1 << 16:
            raise DatasetError(f"{path}: holds no models with an index from 0 to 65535; is this SUNCG's category map?")
        table = np.full(max(max(classes) + 1, 256), -1, np.int16)
        table[list(classes)] = list(classes.values())
        return table

    def _class_of_model(self, row: dict[str, str]) -> int:
        own, coarse, nyu40 = row["model_id"], row["coarse_grained_class"], row["nyuv2_40class"]
        name = {"nyu40": nyu40, "nyu13": _tables()["nyu13"].get(nyu40, nyu40)}.get(
            self._label_set, own if own in _OWN else coarse
        )
        if name in ("void", "empty", "unknown"):
            return UNLABELLED
        if name not in self._names:
            raise ValueError(f"model {own} is a '{name}', which {self._label_set} does not have")
        return self._names.index(name)


def _category_table(label_set: str) -> np.ndarray:
    """Return int16 (256,): MINOS' category id -> class id of ``label_set``, 255, or -1 for what is no category."""
    table = np.full(256, -1, np.int16)
    table[0] = UNLABELLED
    names, how = load_label_set(label_set).names, _tables()
    for number, category in enumerate(load_label_set(_CATEGORIES).names, 1):
        name = category
        if label_set != _CATEGORIES:
            name = how["categories"][category]
        if label_set == "nyu13":
            name = how["nyu13"].get(name, name)
        table[number] = UNLABELLED if name == "void" else names.index(name)
    return table


def _tables() -> dict[str, dict[str, str]]:
    return read_table(share_path("config/suncg.yaml"))


def _one_channel(path: Path) -> np.ndarray:
    """Return a label file's ids, uint8 or uint16 (H, W); of RGB, as MINOS writes, the blue channel."""
    raw = read_file(path, cv2.IMREAD_UNCHANGED)
    if raw.ndim == 3 and raw.dtype == np.uint8:
        if cv2.countNonZero(raw[..., 1:3].reshape(-1)):
            raise DatasetError(f"{path}: its pixels are colours, not ids: red and green of an id are 0", "ids")
        return np.ascontiguousarray(raw[..., 0])
    if raw.ndim != 2 or raw.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{path}: is {raw.dtype} {raw.shape}; ids are one channel of 8 or 16 bits, or RGB", "size")
    return raw
