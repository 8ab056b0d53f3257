"""A trained classifier: what its training left, and its score, the shares of images whose class is the network's first,
or among its first five.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from seg_node import networks
from seg_node.datasets.imagenet import ImageFolders
from seg_node.networks._deployed import Deployed
from seg_node.runtimes.torch import read_weights
from seg_node.training.checkpoint import CLASSES, WEIGHTS
from seg_node.training.data import ClassifiedSamples
from seg_node.training.recipe import Recipe, load_recipe

_BATCH = 8


class Classifier(NamedTuple):
    """What ``seg-node train`` left in a folder."""

    name: str
    recipe: Recipe
    network: Any  # nn.Module in eval mode on the CPU: normalised float (N, 3, H, W) to logits (N, classes)
    classes: list[str]  # an output's name at its place; its number, where a training of an earlier version kept none

    @property
    def flips(self) -> bool:
        """Whether it takes RGB, and not BGR."""
        return self.recipe.input.channels == "rgb"


class Score(NamedTuple):
    """Shares from 0 to 1."""

    top1: float
    top5: float
    of_class: dict[str, float | None]  # top 1 by class; None: none of its images was scored
    ms: float  # an image, of the network in batches


def load_classifier(folder: Path) -> Classifier:
    """Load a training's folder. Raises ValueError or FileNotFoundError that names what is wrong with it."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: holds no recipe.yaml; give the folder of a classifier's training")
    whole = load_recipe(path)
    recipe = whole.stages[-1] if whole.stages else whole
    if recipe.task != "classification":
        raise ValueError(f"{path}: is of a network that labels pixels, not of a classifier")
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder}: holds no {WEIGHTS}: its training has not ended yet")
    weights = read_weights(folder / WEIGHTS)
    count = len(weights["fc.weight"]) if "fc.weight" in weights else 0
    try:
        network = networks.build(recipe.network.name, count, **recipe.network.options).eval()
        network.load_state_dict(weights)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{folder / WEIGHTS}: is not of {recipe.network.name}: {error}") from error
    known = folder / CLASSES
    names = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    return Classifier(folder.resolve().name, recipe, network, names or [str(number) for number in range(count)])


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
    classifier = load_classifier(folder)
    _check_classes(folder, classifier.classes, split.classes)
    network = Deployed(classifier.network, classifier.recipe.input.mean, classifier.recipe.input.std, 255).to(device)
    counts, names = len(split.classes), split.classes
    top1, top5 = (MulticlassAccuracy(counts, top_k=top, average="micro") for top in (1, min(5, counts)))
    by_class, seen, seconds = MulticlassAccuracy(counts, average="none"), np.zeros(counts, np.int64), 0.0
    samples = ClassifiedSamples([split], classifier.recipe, train=False)
    places = [(0, 0, index) for index in chosen]
    for images, labels in DataLoader(samples, _BATCH, sampler=places, num_workers=workers):
        begun = time.perf_counter()
        logits = network.logits((images.flip(-1) if classifier.flips else images).to(device)).float().cpu()
        seconds += time.perf_counter() - begun
        for metric in (top1, top5, by_class):
            metric.update(logits, labels)
        seen += np.bincount(labels.numpy(), minlength=counts)
        progress(int(seen.sum()), len(places))
    shares = zip(names, by_class.compute().tolist(), seen, strict=True)
    of_class = {name: share if count else None for name, share, count in shares}
    return Score(float(top1.compute()), float(top5.compute()), of_class, 1e3 * seconds / len(places))


def _check_classes(folder: Path, trained: list[str], found: list[str]) -> None:
    """Raises ValueError where the data's classes are not the classifier's."""
    advice = "which are train's folders; give --data what it was trained on"
    if len(trained) != len(found):
        raise ValueError(f"{folder}: knows {len(trained)} classes, and the data have {len(found)}, {advice}")
    other = next((pair for pair in zip(trained, found, strict=True) if pair[0] != pair[1]), None)
    if other and not all(name == str(place) for place, name in enumerate(trained)):
        raise ValueError(
            f"{folder}: its classes are not the data's ('{other[0]}' where they have '{other[1]}'), {advice}"
        )
