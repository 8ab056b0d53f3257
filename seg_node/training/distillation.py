"""Distillation: a trained model's soft outputs, learnt beside the labels (Hinton et al., 2015)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from seg_node.label_set import UNLABELLED, LabelSet, load_label_set
from seg_node.model_card import CARD_NAME, CardError, ModelCard, load_card
from seg_node.runtimes.torch import load_network
from seg_node.training.recipe import Recipe
from seg_node.training.together import weight_of


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean over pixels of KL(teacher || student), both softened, times the temperature's square.

    ``student``, ``teacher``: logits (N, C, ...) of the same classes. ``counts``: bool (N, ...), the pixels that are
    meant; all of them by default. 0 where none is.
    """
    wanted = functional.log_softmax(teacher / temperature, 1)
    found = functional.log_softmax(student / temperature, 1)
    divergence = (wanted.exp() * (wanted - found)).sum(1)
    if counts is None:
        return divergence.mean() * temperature**2
    # multiplied rather than picked out: a gradient through picked pixels takes three times as long
    return (divergence * counts).sum() / counts.sum().clamp(min=1) * temperature**2


class Distillation(nn.Module):
    """The recipe's distillation loss, its weight included; the teacher reads the images as its own card says.

    The teacher goes where this module goes, but it is no part of its parameters or of its checkpoints, and it stays
    in eval mode. Raises FileNotFoundError, CardError or ValueError where the teacher cannot teach the recipe's classes.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        if recipe.teacher is None:
            raise ValueError(f"recipe {recipe.name} has no teacher")
        self.how = recipe.teacher
        card = load_card(self.how.model)
        theirs, ours = load_label_set(card.label_set), load_label_set(recipe.label_set)
        self.students, self.teachers = shared_classes(theirs, ours, f"{card.folder / CARD_NAME}")
        self._teacher = (_Teacher(card),)  # in a tuple: PyTorch does not take it for a part

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Distillation":
        self._teacher[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch. ``images``: uint8 (N, H, W, 3) BGR; ``logits``: the student's, float
        (N, C, H, W); ``labels``: int64 (N, H, W). Unlabelled pixels, which augmentation brings in, do not count.
        """
        with torch.no_grad():
            wanted = _chosen(self._teacher[0](images).to(logits.dtype), self.teachers)
        student, counts = _chosen(logits, self.students), labels != UNLABELLED
        weight = self.how.weight * weight_of(counts.sum().float())
        return weight * distillation_loss(student, wanted, self.how.temperature, counts)


def shared_classes(theirs: LabelSet, ours: LabelSet, where: str) -> tuple[list[int], list[int]]:
    """Return the ids of the classes that both sets name: ours, and theirs in the same order. Void is shared where
    both have it. Raises ValueError that names ``where`` if the teacher lacks one of ours.
    """
    missing = [name for i, name in enumerate(ours.names) if name not in theirs.names and i != ours.void]
    if missing:
        raise ValueError(f"{where}: cannot teach {ours.name}: it does not know {', '.join(missing)}")
    shared = [name for name in ours.names if name in theirs.names]
    return [ours.names.index(name) for name in shared], [theirs.names.index(name) for name in shared]


class _Teacher(nn.Module):
    """A card's network: uint8 (N, H, W, 3) BGR to logits (N, classes, H, W), without gradients."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        if card.network == "external":
            raise CardError(f"{card.folder / CARD_NAME}: is of no network of ours; a teacher's PyTorch weights must be")
        self.network = load_network(card).requires_grad_(False)
        self.flipped, self.scale = card.channels == "rgb", card.scale
        self.register_buffer("mean", _channels(card.mean))
        self.register_buffer("std", _channels(card.std))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.permute(0, 3, 1, 2).float()
        x = ((x.flip(1) if self.flipped else x) / self.scale - self.mean) / self.std
        return self.network(x.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]


def _chosen(logits: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """Return the channels of these classes, (N, len(classes), H, W)."""
    if classes == list(range(logits.shape[1])):
        return logits
    return logits.index_select(1, torch.tensor(classes, device=logits.device))


def _channels(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
