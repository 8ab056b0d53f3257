"""Score labels against a data set: a model's, through the Segmenter and Runtime that the robot runs, or PNG files'."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.datasets import Sample, Split
from seg_node.evaluation.confusion import Confusion, Scores, runs
from seg_node.evaluation.in_order import in_order
from seg_node.evaluation.instances import InstanceScores, InstanceWeights
from seg_node.evaluation.label_files import instance_reader
from seg_node.label_set import LabelSet
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter

Progress = Callable[[int, int], None]  # (images done, of how many)


class Item(NamedTuple):
    """What one image amounted to."""

    position: int  # in the split
    name: str
    matrix: np.ndarray  # int64 (classes + 1, classes + 1), as Confusion's
    weighed: np.ndarray | None  # float (classes + 1, 3), as InstanceWeights'
    milliseconds: float | None  # resize, inference and restoring; None: the labels came from a file


class Ground(NamedTuple):
    """What labels are scored against, and how."""

    split: Split
    label_set: LabelSet
    indices: Sequence[int] | None = None  # of the split; None: all
    scale: int = 1  # every scale-th row and column of the ground truth; Gradual Grouping's scores are at 2
    workers: int = 0  # threads that read, count and write beside the network

    def chosen(self) -> Sequence[int]:
        return range(len(self.split)) if self.indices is None else self.indices


class Report(NamedTuple):
    label_set: LabelSet
    items: list[Item]
    scale: int = 1

    @property
    def images(self) -> int:
        return len(self.items)

    @property
    def confusion(self) -> Confusion:
        total = Confusion(self.label_set.class_count)
        for item in self.items:
            total.matrix += item.matrix
        return total

    @property
    def ignored(self) -> Scores:
        """With void ground truth left out."""
        return self.confusion.scores("ignored")

    @property
    def counted(self) -> Scores:
        """With void ground truth counted."""
        return self.confusion.scores("counted")

    @property
    def instances(self) -> InstanceScores | None:
        """The instance-level scores; None where an image's objects are not told apart."""
        weighed = [item.weighed for item in self.items if item.weighed is not None]
        if not weighed or len(weighed) < len(self.items):
            return None
        return InstanceWeights(self.label_set, self.scale).scores(np.sum(weighed, axis=0), self.confusion)

    def of_image(self, item: Item, void: str) -> Scores:
        return Confusion(self.label_set.class_count, item.matrix).scores(void)

    def as_dict(self, void: str) -> dict[str, Any]:
        """Return what ``--json`` prints, shares as 0 to 1, NaN as None; ``void``: "ignored" or "counted"."""
        scores, names = self.confusion.scores(void), self.label_set.names
        categories = [name for name, _ in self.label_set.categories]
        groups = self.confusion.group_iou([members for _, members in self.label_set.categories], void)
        objects = self.instances
        return {
            "void": void,
            "images": self.images,
            "gt_scale": self.scale,
            "miou": number(scores.miou),
            "iou": _named(names, scores.iou),
            "pixel_accuracy": number(scores.pixel_accuracy),
            "class_accuracy": number(scores.class_accuracy),
            "frequency_weighted_iou": number(scores.frequency_weighted_iou),
            "category_miou": _mean(groups),
            "category_iou": _named(categories, groups),
            "instance_miou": _mean(objects.iou) if objects else None,
            "instance_iou": _named(names, objects.iou, known=True) if objects else {},
            "category_instance_miou": _mean(objects.category_iou) if objects else None,
            "category_instance_iou": _named(categories, objects.category_iou, known=True) if objects else {},
            "ms_per_image": self.times(),
        }

    def times(self) -> dict[str, float] | None:
        """Return the median and the 95th percentile of an image's time in ms; None where no network ran."""
        values = [item.milliseconds for item in self.items if item.milliseconds is not None]
        if not values:
            return None
        p50, p95 = np.percentile(values, (50, 95))
        return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}


def evaluate(
    segmenter: Segmenter,
    split: Split,
    label_set: LabelSet,
    save: Path | None = None,
    progress: Progress = lambda done, total: None,
    indices: Sequence[int] | None = None,
    scale: int = 1,
    workers: int = 0,
) -> Report:
    """Label the images of ``split`` and compare with its ground truth, at the ground truth's size.

    ``label_set``: of the ground truth; the model's may have void as a class besides. ``save``: a folder for label
    PNGs. The last three: see ``Ground``. Raises ValueError where the two label sets name different classes or a label
    is none of them, DatasetError for bad data.
    """
    return evaluate_on(Ground(split, label_set, indices, scale, workers), segmenter, save, progress)


def evaluate_on(
    ground: Ground, segmenter: Segmenter, save: Path | None = None, progress: Progress = lambda done, total: None
) -> Report:
    """As ``evaluate``."""
    label = labeller(segmenter, ground)
    read = in_order(lambda index: (index, Sample(*ground.split[index])), ground.chosen(), ground.workers)
    return _score(((index, sample, *label(sample)) for index, sample in read), ground, save, progress)


def labeller(segmenter: Segmenter, ground: Ground) -> Callable[[Sample], tuple[np.ndarray, float]]:
    """Return what labels a sample: uint8 (H, W) in the ground truth's label set and size, and its time in ms."""
    to_truth = segmenter.label_set.to(ground.label_set)

    def label(sample: Sample) -> tuple[np.ndarray, float]:
        if ground.scale != 1:
            size = sample.label[:: ground.scale, :: ground.scale].shape
            segmenter.view = segmenter.view._replace(output_size=size)
        segmentation = segmenter.segment(Frame(sample.image, "bgr"))
        return cv2.LUT(segmentation.labels, to_truth), 1e3 * sum(segmentation.timings.values())

    return label


def evaluate_files(
    read_labels: Callable[[str], np.ndarray],
    ground: Ground,
    progress: Progress = lambda done, total: None,
    instances: bool = True,
) -> Report:
    """Score labels that are there already.

    ``read_labels``: a sample's name to uint8 (H, W), class ids of the ground truth's label set. ``instances``: score
    the instance level, too, where the ground truth tells objects apart. Raises as ``evaluate``.
    """
    without_image = getattr(ground.split, "label", None) or ground.split.__getitem__

    def read(index: int) -> tuple[int, Sample, np.ndarray, None]:
        sample = Sample(*without_image(index))
        labels = read_labels(sample.name)
        if ground.scale != 1 and labels.shape == sample.label.shape:
            labels = labels[:: ground.scale, :: ground.scale]
        return index, sample, labels, None

    # reading and counting in one thread: what was read is still in its cache
    count = _counter(ground, None, instances)
    return _collect(in_order(lambda index: count(*read(index)), ground.chosen(), ground.workers), ground, progress)


def _score(
    labelled: Iterable[tuple[int, Sample, np.ndarray, float]], ground: Ground, save: Path | None, progress: Progress
) -> Report:
    count = _counter(ground, save)
    return _collect(in_order(lambda parts: count(*parts), labelled, ground.workers), ground, progress)


def _collect(items: Iterator[Item], ground: Ground, progress: Progress) -> Report:
    done = []
    for item in items:
        done.append(item)
        progress(len(done), len(ground.chosen()))
    return Report(ground.label_set, done, ground.scale)


_WHAT = ("ground truth", "prediction", "objects")
Count = Callable[[int, Sample, np.ndarray, float | None], Item]  # index, sample, labels, ms


def _counter(ground: Ground, save: Path | None, instances: bool = True) -> Count:
    """Return what counts an image, and saves its labels."""
    step, label_set = ground.scale, ground.label_set
    weights = InstanceWeights(label_set, step)
    instances_of = instance_reader(ground.split) if instances and weights.possible else None

    def count(index: int, sample: Sample, labels: np.ndarray, milliseconds: float | None) -> Item:
        truth, weighed = sample.label[::step, ::step], None
        objects = instances_of(index) if instances_of else None
        images = [truth, labels] if objects is None else [truth, labels, objects[::step, ::step]]
        sizes = [image.shape for image in images]
        if len(set(sizes)) > 1:
            shown = ", ".join(f"{what} {size}" for what, size in zip(_WHAT, sizes, strict=False))
            raise ValueError(f"{sample.name}: sizes must be equal, these are not: {shown}")
        values, lengths = runs(*images)
        label_set.check(values[0], sample.name)
        confusion = Confusion(label_set.class_count)
        confusion.add_runs(values[0], values[1], lengths)
        if objects is not None:
            weighed = weights.weigh(values[2], values[1], values[0], lengths)
        if save is not None:
            _save(save / f"{sample.name}.png", labels)
        return Item(index, sample.name, confusion.matrix, weighed, milliseconds)

    return count


def _save(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), labels):
        raise OSError(f"{path}: cannot be written")


def number(value: float) -> float | None:
    """Return a share as it is printed: five digits, None for NaN."""
    return None if np.isnan(value) else round(float(value), 5)


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return number(float(known.mean())) if len(known) else None


def _named(names: Sequence[str], values: np.ndarray, known: bool = False) -> dict[str, float | None]:
    """Return name -> share; ``known``: only those that have one."""
    table = dict(zip(names, map(number, values), strict=True))
    return {name: value for name, value in table.items() if value is not None} if known else table
