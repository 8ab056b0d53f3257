"""Losses over logits (N, C, H, W) and labels (N, H, W), 255 ignored; and class weights.

A classifier's are logits (N, C) and labels (N,), of which none is ignored, however many classes there are.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from seg_node.label_set import UNLABELLED
from seg_node.training.recipe import Loss, Ohem
from seg_node.training.together import weight_of

WEIGHTINGS = ("enet", "median")


def enet_weights(frequency: np.ndarray, c: float) -> np.ndarray:
    """Return 1 / log(c + frequency), float (C,) (ENet; RDS-Net's equation 11).

    ``frequency``: share of each class among labelled pixels, float (C,), sums to 1.
    """
    weights: np.ndarray = 1.0 / np.log(c + frequency)
    return weights


def median_weights(frequency: np.ndarray) -> np.ndarray:
    """Return the median of the frequencies over each, float (C,); 0 for a class that does not occur.

    ``frequency``: of each class among the labelled pixels of the images that it occurs in (SegNet; Eigen & Fergus).
    """
    present = frequency > 0
    return np.where(present, np.median(frequency[present]) / np.where(present, frequency, 1), 0)


def class_frequency(labels: Iterable[np.ndarray], classes: int, where_it_occurs: bool = False) -> np.ndarray:
    """Return the share of each class among the labelled pixels of uint8 label images, float (C,).

    ``where_it_occurs``: among those of the images that have the class, and not of all.
    """
    counts, room = np.zeros(classes), np.zeros(classes)
    for label in labels:
        here = np.bincount(label.ravel(), minlength=max(256, classes))[:classes]
        counts += here
        room += here.sum() * (here > 0) if where_it_occurs else here.sum()
    return np.asarray(counts / np.maximum(room, 1))


def class_weights(how: Loss, frequency: np.ndarray, void: int | None = None) -> np.ndarray | None:
    """Return the recipe's class weights, float (C,), or None for equal ones. Raises ValueError for an unknown kind."""
    if how.class_weights not in (None, *WEIGHTINGS):
        raise ValueError(
            f"loss.class_weights is {how.class_weights!r}; choose from {', '.join(WEIGHTINGS)}, or leave it out"
        )
    weights = None
    if how.class_weights == "enet":
        weights = enet_weights(frequency, how.c)
    elif how.class_weights == "median":
        weights = median_weights(frequency)
    if how.void_weight is not None and void is not None:
        weights = np.ones(len(frequency)) if weights is None else weights
        weights[void] = how.void_weight
    return weights


def ohem_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    how: Ohem,
    weight: torch.Tensor | None = None,
    smoothing: float = 0.0,
    ignored: int = UNLABELLED,
) -> torch.Tensor:
    """Cross entropy of the hard pixels alone, their weighted mean; 0 where nothing is labelled.

    A pixel is hard where its right class has less than ``how.threshold``. Where these are fewer than ``how.keep`` of
    the labelled ones, the hardest so many are taken.
    """
    labelled = labels != ignored
    count = int(labelled.sum())
    if count == 0:
        return logits.sum() * 0
    right = labels.masked_fill(~labelled, 0).unsqueeze(1)
    with torch.no_grad():
        sure = functional.log_softmax(logits, 1).gather(1, right).squeeze(1).exp()[labelled]
        least = sure.kthvalue(max(round(how.keep * count), 1)).values
        hard = labelled.clone()
        hard[labelled] = (sure < how.threshold) | (sure <= least)
    kept = labels.masked_fill(~hard, ignored)
    return functional.cross_entropy(logits, kept, weight, ignore_index=ignored, label_smoothing=smoothing)


def lovasz_softmax(logits: torch.Tensor, labels: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Lovasz-softmax loss (Berman et al., CVPR 2018) of the batch as one image: 1 - Jaccard index, made convex and
    averaged over the classes that occur; 0 where nothing is labelled.

    ``stride``: only every so many-th row and column counts; sorting all pixels of all classes is dear.
    """
    logits, labels = logits[..., ::stride, ::stride], labels[..., ::stride, ::stride]
    labelled = labels != UNLABELLED
    probabilities = logits.softmax(1).movedim(1, -1)[labelled]  # (pixels, C)
    wanted = labels[labelled]
    losses = []
    for c in wanted.unique().tolist():
        is_c = (wanted == c).to(probabilities.dtype)
        errors, order = (is_c - probabilities[:, c]).abs().sort(descending=True)
        losses.append(torch.dot(errors, _lovasz_gradient(is_c[order])))
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def _lovasz_gradient(is_class: torch.Tensor) -> torch.Tensor:
    """Return by how much each pixel raises 1 - Jaccard, the pixels being taken wrong one after another, (pixels,)."""
    total = is_class.sum()
    left = total - is_class.cumsum(0)  # of the class, and not yet wrong
    union = total + (1 - is_class).cumsum(0)
    loss = 1 - left / union
    return torch.diff(loss, prepend=loss.new_zeros(1))


class SegmentationLoss(nn.Module):
    """The recipe's loss: cross entropy, of hard pixels where it says so, and Lovasz-softmax beside it."""

    weight: torch.Tensor | None

    def __init__(self, how: Loss, weight: np.ndarray | None, ignored: int = UNLABELLED) -> None:
        """``ignored``: the label that costs nothing; every class is below it."""
        super().__init__()
        self.how, self.ignored = how, ignored
        tensor = None if weight is None else torch.tensor(weight, dtype=torch.float32)
        self.register_buffer("weight", tensor)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        how, counted = self.how, self._counted(labels)
        amount = self._amount(counted)
        if amount == 0:
            loss = logits.sum() * 0  # a mean over no pixel is not a number
        elif how.ohem:
            loss = ohem_cross_entropy(logits, counted, how.ohem, self.weight, how.label_smoothing, self.ignored)
        else:
            loss = functional.cross_entropy(
                logits, counted, self.weight, ignore_index=self.ignored, label_smoothing=how.label_smoothing
            )
        loss = loss * weight_of(amount)
        if how.lovasz:
            loss = loss + how.lovasz * lovasz_softmax(logits, labels, how.lovasz_stride)
        return loss

    def _counted(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the labels without those of classes that weigh nothing."""
        if self.weight is None or bool((self.weight > 0).all()):
            return labels
        nothing = torch.isin(labels, torch.nonzero(self.weight == 0))
        return labels.masked_fill(nothing, self.ignored)

    def _amount(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of the labelled pixels' weights, float (): what the cross entropy's mean divides by."""
        counts = torch.bincount(labels.flatten(), minlength=self.ignored + 1)[: self.ignored].float()
        return counts.sum() if self.weight is None else (counts[: len(self.weight)] * self.weight).sum()


def build_loss(
    how: Loss, frequency: np.ndarray, void: int | None = None, ignored: int = UNLABELLED
) -> SegmentationLoss:
    """Build the recipe's loss. ``void``: the class that means none of the others, where there is one; ``ignored``: the
    label of what is of no class, above all classes.

    Raises ValueError for a loss or weighting that there is not.
    """
    if how.name != "cross_entropy":
        raise ValueError(f"loss.name is {how.name!r}; choose from cross_entropy")
    if how.lovasz and ignored != UNLABELLED:
        raise ValueError("loss.lovasz is of images whose pixels are labelled; leave it out for a classifier")
    return SegmentationLoss(how, class_weights(how, frequency, void), ignored)
