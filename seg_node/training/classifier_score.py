"""Scores a trained classifier: the shares of images whose class is the network's first, or among its first five."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from seg_node.datasets.imagenet import ImageFolders
from seg_node.training import start
from seg_node.training.checkpoint import WEIGHTS
from seg_node.training.data import ClassifiedSamples
from seg_node.training.recipe import Recipe, load_recipe
from seg_node.training.task import Classification

_BATCH = 8


class Score(NamedTuple):
    """Shares from 0 to 1."""

    top1: float
    top5: float
    of_class: dict[str, float | None]  # top 1 by class; None: none of its images was scored
    ms: float  # an image, of the network in batches


@torch.inference_mode()
def score_classifier(
    folder: Path,
    split: ImageFolders,
    chosen: Sequence[int],
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Score:
    """Score what ``seg-node train`` left in ``folder`` on the images at ``chosen`` places of a split.

    Each image as the training validated it: its middle, at one size. In fp32, on the GPU if there is one.
    Raises ValueError or FileNotFoundError that names what is wrong with the folder, DatasetError for a bad image.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task = _task(folder, split.classes).to(device).eval()
    counts, names = len(split.classes), split.classes
    top1, top5 = (MulticlassAccuracy(counts, top_k=top, average="micro") for top in (1, min(5, counts)))
    by_class, seen, seconds = MulticlassAccuracy(counts, average="none"), np.zeros(counts, np.int64), 0.0
    samples = ClassifiedSamples([split], task.recipe, train=False)
    places = [(0, 0, index) for index in chosen]
    for images, labels in DataLoader(samples, _BATCH, sampler=places, num_workers=workers):
        begun = time.perf_counter()
        logits = task(images.to(device)).float().cpu()
        seconds += time.perf_counter() - begun
        for metric in (top1, top5, by_class):
            metric.update(logits, labels)
        seen += np.bincount(labels.numpy(), minlength=counts)
        progress(int(seen.sum()), len(places))
    shares = zip(names, by_class.compute().tolist(), seen, strict=True)
    of_class = {name: share if count else None for name, share, count in shares}
    return Score(float(top1.compute()), float(top5.compute()), of_class, 1e3 * seconds / len(places))


def _task(folder: Path, classes: list[str]) -> Classification:
    """Return the folder's network under its recipe."""
    recipe = _recipe(folder)
    task = Classification(recipe, np.full(len(classes), 1 / len(classes)), folder)
    if start.begin(recipe, task.network):
        raise ValueError(
            f"{recipe.start}: does not fit {recipe.network.name} of {len(classes)} classes, which is how many folders "
            "train/ has; give --data what it was trained on"
        )
    return task


def _recipe(folder: Path) -> Recipe:
    """Return a folder's recipe, its last stage's where it has stages, to begin with what it has trained."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: holds no recipe.yaml; give the folder of a classifier's training")
    whole = load_recipe(path)
    recipe = whole.stages[-1] if whole.stages else whole
    if recipe.task != "classification":
        raise ValueError(f"{path}: is of a network that labels pixels; imagenet scores classifiers")
    return replace(recipe, teacher=None, start=str(folder / WEIGHTS))
