"""Samples for the loop: drawn, augmented and handed over as tensors.

What is drawn and how it is augmented follows from (seed, epoch, place) alone, so a resumed training sees what an
uninterrupted one would have seen, and several processes together see what one would.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from seg_node.datasets import Sample, Split, fingerprint, label_set_of, open_split
from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.preparation.cache import CachedSplit, bytes_needed, open_cache
from seg_node.training.augment import cut_out, fit, light, middle, paste, warp
from seg_node.training.recipe import Recipe, Source

Place = tuple[int, int, int]  # epoch, source, index
IN_MEMORY = 1 << 30  # bytes of a split, decoded, that each loading process may keep


class Mapped:
    """A split whose labels are class ids of a recipe's label set; if ``keep``, its samples stay in memory, resized.

    ``ids``: uint8 (256,), the class id to train on for each id of the split. ``size``: (height, width).
    """

    def __init__(self, split: Split, ids: np.ndarray, size: tuple[int, int], keep: bool) -> None:
        self._split, self._ids, self._size, self._keep = split, ids, size, keep
        self._samples: list[Sample | None] = [None] * len(split)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self._samples[index]
        if sample is None:
            image, label, name = self._split[index]
            sample = Sample(image, self._ids[label], name)
            if self._keep:
                sample = self._samples[index] = Sample(*fit(sample.image, sample.label, self._size), name)
        return sample

    @property
    def kept(self) -> bool:
        """Whether a sample that was read once need not be read again."""
        return self._keep or isinstance(self._split, CachedSplit)

    def fingerprint(self, times: bool = False) -> str:
        return fingerprint(self._split, times)


def open_source(source: Source, recipe: Recipe, data: Path | None, cache: Path | None = None) -> Split:
    """Open a split, its labels as class ids of the recipe's label set; of a classifier's, as they are.

    Where that set has void as a class of its own, unlabelled pixels are that class. Decoding costs more than a
    network's step, so samples are kept: in memory, or those of a large split in the folder ``cache``. Raises ValueError
    where the two sets do not name the same classes, and what ``open_split`` raises.
    """
    if recipe.task == "classification":
        return open_split(source.dataset, source.split, data)
    theirs, ours = load_label_set(label_set_of(source.dataset, data)), load_label_set(recipe.label_set)
    try:
        ids = theirs.to(ours)
    except ValueError as error:
        raise ValueError(
            f"recipe {recipe.name} labels {ours.name}, but {source.dataset} has {theirs.name}: {error}"
        ) from error
    if ours.void is not None:
        ids[ids == UNLABELLED] = ours.void
    size = recipe.input.size
    split = open_split(source.dataset, source.split, data, size)
    if cache is None or data is None or bytes_needed(split, size) <= IN_MEMORY:
        return Mapped(split, ids, size, keep=True)
    name = f"{source.dataset} {source.split} {data.resolve()}"
    try:
        return Mapped(open_cache(split, name, fingerprint(split, times=True), cache, size, fit), ids, size, keep=False)
    except OSError as error:
        logging.getLogger("seg_node").warning("every epoch decodes every image anew: %s", error)
        return Mapped(split, ids, size, keep=False)


class TrainingSamples(Dataset):  # type: ignore[type-arg]
    """Augmented samples by place: image uint8 (H, W, 3) BGR, label int64 (H, W)."""

    def __init__(self, splits: Sequence[Split], recipe: Recipe, train: bool) -> None:
        self._splits, self._input, self._seed = splits, recipe.input, recipe.seed
        self._how = recipe.augment if train else None
        self._pasted: tuple[int, ...] = ()
        if recipe.augment.paste:
            names, wanted = load_label_set(recipe.label_set).names, recipe.augment.paste.classes
            if not set(wanted) <= set(names):
                raise ValueError(
                    f"augment.paste.classes: {', '.join(wanted)}; {recipe.label_set} has {', '.join(names)}"
                )
            self._pasted = tuple(names.index(name) for name in wanted)

    def __getitem__(self, place: Place) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, source, index = place
        rng = np.random.default_rng((self._seed, epoch, source, index))
        image, label = self._sample(source, index, rng)
        if self._how is not None:
            if self._how.paste and rng.random() < self._how.paste.probability:
                other = self._sample(source, int(rng.integers(len(self._splits[source]))), rng)
                image, label = paste(image, label, *other, self._pasted)
            image = light(image, self._how, rng)  # one light for what was pasted too
        return torch.from_numpy(image), torch.from_numpy(label.astype(np.int64))

    def _sample(self, source: int, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, label, _ = self._splits[source][index]
        image, label = fit(image, label, self._input.size)
        return (image, label) if self._how is None else warp(image, label, self._how, rng)


class ClassifiedSamples(TrainingSamples):
    """Augmented samples of one class each: image uint8 (H, W, 3) BGR, label int64 ()."""

    def _sample(self, source: int, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, label, _ = self._splits[source][index]
        size = self._input.size
        if self._how is None:
            return middle(image, self._input.shorter_side or min(size), size), label
        return cut_out(image, self._how, size, rng), label


def steps_per_epoch(splits: Sequence[Split], recipe: Recipe) -> int:
    """Return how many batches an epoch has: the last short one is dropped, but one there is."""
    drawn = sum(source.per_epoch or len(split) for source, split in zip(recipe.train, splits, strict=True))
    return max(drawn // recipe.batch_size, 1)


def check_shares(recipe: Recipe, world: int) -> None:
    """Raises ValueError where so many processes cannot have equal shares of a batch."""
    if recipe.batch_size % world:
        raise ValueError(f"batch_size {recipe.batch_size} cannot be shared by {world} processes: choose a multiple")


class EpochSampler(Sampler):  # type: ignore[type-arg]
    """One process's places of one epoch, shuffled; the last short batch is dropped.

    Of every batch, process ``rank`` of ``world`` takes each ``world``-th. Which epoch it is follows from the steps
    done, asked for when iterated: loader processes draw before Lightning, when it resumes, has counted its epochs.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        recipe: Recipe,
        steps_done: Callable[[], int],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_shares(recipe, world)
        self._splits, self._recipe, self._steps_done = splits, recipe, steps_done
        self._steps, self._rank, self._world = steps_per_epoch(splits, recipe), rank, world

    def __len__(self) -> int:
        return self._steps * self._recipe.batch_size // self._world

    def __iter__(self) -> Iterator[Place]:
        epoch = self._steps_done() // self._steps
        rng = np.random.default_rng((self._recipe.seed, epoch))
        places: list[Place] = []
        for number, (source, split) in enumerate(zip(self._recipe.train, self._splits, strict=True)):
            count = source.per_epoch or len(split)
            order = np.concatenate([rng.permutation(len(split)) for _ in range(-(-count // len(split)))])[:count]
            places += [(epoch, number, int(index)) for index in order]
        order = np.resize(rng.permutation(len(places)), self._steps * self._recipe.batch_size)
        return iter([places[i] for i in order[self._rank :: self._world]])


class Data(pl.LightningDataModule):
    """A recipe's data in a folder. Opening it reads no sample. Raises what ``open_source`` raises."""

    def __init__(self, recipe: Recipe, folder: Path | None, workers: int, cache: Path | None = None) -> None:
        super().__init__()
        self.recipe, self.folder, self.workers = recipe, folder, workers
        self.splits = [open_source(source, recipe, folder, cache) for source in recipe.train]
        self.validation = open_source(recipe.validate, recipe, folder, cache)
        self._samples = ClassifiedSamples if recipe.task == "classification" else TrainingSamples

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of the files that are trained on and validated on."""
        known = hashlib.sha256()
        for source, split in zip(
            (*self.recipe.train, self.recipe.validate), (*self.splits, self.validation), strict=True
        ):
            known.update(f"{source.dataset} {source.split} {fingerprint(split)}\n".encode())
        return known.hexdigest()

    def look_through(self, say: Callable[[str], None]) -> None:
        """Read what is kept and what an epoch takes all of. Raises DatasetError: a bad file is named before training.

        Loading processes that are started later need not read it again.
        """
        sources = zip((*self.recipe.train, self.recipe.validate), (*self.splits, self.validation), strict=True)
        whole = [
            split
            for source, split in sources
            if (source.per_epoch or len(split)) >= len(split) and getattr(split, "kept", False)
        ]
        if whole:
            say(f"looking through {sum(map(len, whole))} samples")
        for split in whole:
            for index in range(len(split)):
                split[index]

    @property
    def steps(self) -> int:
        """How many steps the whole training has."""
        of_epochs = self.recipe.epochs * steps_per_epoch(self.splits, self.recipe)
        return min(of_epochs, self.recipe.steps or of_epochs)

    @property
    def classes(self) -> int:
        return len(self.class_names) or load_label_set(self.recipe.label_set).class_count

    @property
    def class_names(self) -> list[str]:
        """The names of a classifier's outputs; a network that labels pixels has a label set, and none here."""
        return list(self.splits[0].classes) if self.recipe.task == "classification" else []  # type: ignore[attr-defined]

    def training(self) -> TrainingSamples:
        """Return the samples that an epoch draws from. Raises ValueError for an augmentation of what there is not."""
        return self._samples(self.splits, self.recipe, train=True)

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        world = trainer.world_size
        sampler = EpochSampler(self.splits, self.recipe, lambda: trainer.global_step, trainer.global_rank, world)
        return self._loader(self.training(), self.recipe.batch_size // world, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        count = min(self.recipe.validate.per_epoch or len(self.validation), len(self.validation))
        if count < self.trainer.world_size:
            raise ValueError(f"{count} validation samples cannot be shared by {self.trainer.world_size} processes")
        places = [(0, 0, index) for index in range(count)][self.trainer.global_rank :: self.trainer.world_size]
        samples = self._samples([self.validation], self.recipe, train=False)
        return self._loader(samples, min(self.recipe.batch_size, 4), places)

    def _loader(self, samples: Any, batch: int, sampler: Any, drop_last: bool = False) -> DataLoader[Any]:
        return DataLoader(
            samples,
            batch,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
