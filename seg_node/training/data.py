"""Samples for the loop: drawn, augmented and handed over as tensors.

What is drawn and how it is augmented follows from (seed, epoch, place) alone, so a resumed training sees what an
uninterrupted one would have seen.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from seg_node.datasets import Sample, Split, label_set_of, open_split
from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.training.augment import augment, fit
from seg_node.training.recipe import Augment, Recipe, Source

Place = tuple[int, int, int]  # epoch, source, index


class Cached:
    """A split whose samples are kept in memory once read; decoding costs more than the network's step otherwise.

    ``ids``: uint8 (256,), the class id to train on for each id of the split.
    """

    def __init__(self, split: Split, ids: np.ndarray) -> None:
        self._split, self._ids = split, ids
        self._samples: list[Sample | None] = [None] * len(split)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._samples[index]
        if sample is None:
            image, label, name = self._split[index]
            sample = self._samples[index] = Sample(image, self._ids[label], name)
        return sample


def open_source(source: Source, recipe: Recipe, data: Path | None) -> Cached:
    """Open a split, its labels as class ids of the recipe's label set.

    Where that set has void as a class of its own, unlabelled pixels are that class. Raises ValueError where the two
    sets do not name the same classes, and what ``open_split`` raises.
    """
    theirs, ours = load_label_set(label_set_of(source.dataset)), load_label_set(recipe.label_set)
    try:
        ids = theirs.to(ours)
    except ValueError as error:
        raise ValueError(
            f"recipe {recipe.name} labels {ours.name}, but {source.dataset} has {theirs.name}: {error}"
        ) from error
    if ours.void is not None:
        ids[ids == UNLABELLED] = ours.void
    return Cached(open_split(source.dataset, source.split, data, recipe.input.size), ids)


class TrainingSamples(Dataset):  # type: ignore[type-arg]
    """Augmented samples by place: image uint8 (H, W, 3) BGR and label int64 (H, W)."""

    def __init__(self, splits: Sequence[Cached], size: tuple[int, int], how: Augment | None, seed: int) -> None:
        self._splits, self._size, self._how, self._seed = splits, size, how, seed

    def __getitem__(self, place: Place) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, source, index = place
        image, label, _ = self._splits[source][index]
        image, label = fit(image, label, self._size)
        if self._how is not None:
            rng = np.random.default_rng((self._seed, epoch, source, index))
            image, label = augment(image, label, self._how, rng)
        return torch.from_numpy(image), torch.from_numpy(label.astype(np.int64))


class EpochSampler(Sampler):  # type: ignore[type-arg]
    """Places of one epoch, shuffled; the last short batch is dropped.

    Asks for the epoch when iterated, and has no ``set_epoch``: Lightning calls that too late when it resumes.
    """

    def __init__(
        self, splits: Sequence[Cached], sources: Sequence[Source], batch: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self._splits, self._sources, self._batch, self._seed, self._epoch = splits, sources, batch, seed, epoch

    def __len__(self) -> int:
        drawn = sum(s.per_epoch or len(split) for s, split in zip(self._sources, self._splits, strict=True))
        return max(drawn // self._batch, 1) * self._batch

    def __iter__(self) -> Iterator[Place]:
        epoch = self._epoch()
        rng = np.random.default_rng((self._seed, epoch))
        places: list[Place] = []
        for number, (source, split) in enumerate(zip(self._sources, self._splits, strict=True)):
            count = source.per_epoch or len(split)
            order = np.concatenate([rng.permutation(len(split)) for _ in range(-(-count // len(split)))])[:count]
            places += [(epoch, number, int(index)) for index in order]
        order = np.resize(rng.permutation(len(places)), len(self))
        return iter([places[i] for i in order])
