"""The images for INT8: some to find value ranges on, others to tune on, and others again to measure the loss on."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seg_node import datasets
from seg_node.datasets import DatasetError, Sample, Split, read_image, read_label
from seg_node.label_set import UNLABELLED, LabelSet, load_label_set
from seg_node.model_card import ModelCard
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import NetworkInput
from seg_node.sources import IMAGES, by_number

CALIBRATE, TUNE, MEASURE = 128, 32, 200  # images at most
_FOLDER_LABELS = "camvid11"  # of a folder NAMEannot beside a folder of images


@dataclasses.dataclass(frozen=True)
class Part:
    """Some images of a split, evenly spread over it."""

    name: str  # for people
    split: Split
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return Sample(*self.split[self.indices[index]])


class Batches:
    """Calibration images as the graph takes them: uint8 (batch, H, W, 3), one after the other."""

    def __init__(self, card: ModelCard, batch: int, part: Part) -> None:
        self._card, self._batch, self._part = card, batch, part

    def __iter__(self) -> Iterator[np.ndarray]:
        fit = NetworkInput(self._card)
        for start in range(0, len(self._part), self._batch):
            # a batch that the images do not fill begins anew with the first
            which = [(start + at) % len(self._part) for at in range(self._batch)]
            yield np.concatenate([fit.fit(Frame(self._part[index].image, "bgr")).copy() for index in which])


class Images(NamedTuple):
    """No image is in two of the parts."""

    calibrate: Part
    tune: Part
    measure: Part
    label_set: LabelSet | None  # of the labels; None: there are none that the model could be scored with


def find(folder: Path | None, model: LabelSet) -> Images:
    """Sort the images of ``folder``: a data set's, or a folder of images.

    A data set: train to calibrate and to tune, val to measure. A folder of images: its first three fifths, the next
    fifth, and the last (in the order of names, so that frames of one moment of a drive stay together); where a folder
    with its name and ``annot`` lies beside it, as CamVid's do, the labels are there. Raises ValueError for
    None, FileNotFoundError or DatasetError.
    """
    if folder is None:
        raise ValueError(
            "--precision int8 needs --calibrate DIR: a data set's folder, or one with images of what the camera sees"
        )
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; --calibrate wants one with images of what the camera sees")
    paths = sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGES), key=by_number)
    if paths:
        return _of_folder(folder, paths, model)
    why = []
    for name in datasets.names():
        if name == "street":  # rendered, not real
            continue
        try:
            train, val = (datasets.open_split(name, split, folder) for split in ("train", "val"))
        except (DatasetError, ValueError) as error:
            why.append(f"{name}: {error}")
            continue
        some = _spread(range(len(train)), CALIBRATE + TUNE)
        tune = _spread(some, min(TUNE, len(some) // 4))
        calibrate = tuple(index for index in some if index not in tune)
        return Images(
            Part(f"{name} train", train, calibrate),
            Part(f"{name} train", train, tune),
            Part(f"{name} val", val, _spread(range(len(val)), MEASURE)),
            _fitting(load_label_set(datasets.label_set_of(name, folder)), model),
        )
    raise DatasetError(f"{folder}: holds no images and is no data set; " + "; ".join(why))


def _of_folder(folder: Path, paths: list[Path], model: LabelSet) -> Images:
    if len(paths) < 5:
        raise DatasetError(f"{folder}: holds {len(paths)} images; some to calibrate and others to measure: 5 at least")
    labels = folder.parent / f"{folder.name}annot"
    label_set = _fitting(load_label_set(_FOLDER_LABELS), model) if labels.is_dir() else None
    split = _Folder(paths, labels if label_set else None)
    first, second = 3 * len(paths) // 5, 4 * len(paths) // 5
    parts = (range(first), CALIBRATE), (range(first, second), TUNE), (range(second, len(paths)), MEASURE)
    calibrate, tune, measure = (
        Part(f"{folder.name} {part.start} to {part.stop - 1}", split, _spread(part, count)) for part, count in parts
    )
    return Images(calibrate, tune, measure, label_set)


class _Folder:
    """A folder of images as a split; all unlabelled where there are no labels."""

    def __init__(self, paths: list[Path], labels: Path | None) -> None:
        self._paths, self._labels = paths, labels
        self._raw_ids = load_label_set(_FOLDER_LABELS).raw_ids

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Sample:
        path = self._paths[index]
        image = read_image(path)
        if self._labels is None:
            return Sample(image, np.full(image.shape[:2], UNLABELLED, np.uint8), path.stem)
        return Sample(image, self._raw_ids[read_label(self._labels / f"{path.stem}.png", image)], path.stem)


def _fitting(label_set: LabelSet, model: LabelSet) -> LabelSet | None:
    """Return the label set if the model's classes are those."""
    try:
        model.to(label_set)
    except ValueError:
        return None
    return label_set


def _spread(indices: Sequence[int], count: int) -> tuple[int, ...]:
    """Return at most ``count`` of the indices, evenly spread."""
    if len(indices) <= count:
        return tuple(indices)
    return tuple(indices[int(at)] for at in np.linspace(0, len(indices) - 1, count))
