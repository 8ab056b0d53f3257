"""Losses over logits (N, C, H, W) and labels (N, H, W), 255 ignored; and class weights."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from seg_node.label_set import UNLABELLED
from seg_node.training.recipe import Loss


def enet_weights(frequency: np.ndarray, c: float) -> np.ndarray:
    """Return 1 / log(c + frequency), float (C,) (ENet; RDS-Net's equation 11).

    ``frequency``: share of each class among labelled pixels, float (C,), sums to 1.
    """
    weights: np.ndarray = 1.0 / np.log(c + frequency)
    return weights


def class_frequency(labels: Iterable[np.ndarray], classes: int) -> np.ndarray:
    """Return the share of each class among the labelled pixels of uint8 label images, float (C,)."""
    counts = sum((np.bincount(label.ravel(), minlength=256)[:classes] for label in labels), np.zeros(classes))
    return np.asarray(counts / max(counts.sum(), 1))


def build_loss(how: Loss, frequency: np.ndarray) -> nn.Module:
    """Build the recipe's loss. Raises ValueError for a loss or weighting that there is not."""
    if how.name != "cross_entropy":
        raise ValueError(f"loss.name is {how.name!r}; choose from cross_entropy")
    if how.class_weights not in (None, "enet"):
        raise ValueError(f"loss.class_weights is {how.class_weights!r}; choose enet or leave it out")
    weight = None
    if how.class_weights == "enet":
        weight = torch.tensor(enet_weights(frequency, how.c), dtype=torch.float32)
    return nn.CrossEntropyLoss(weight=weight, ignore_index=UNLABELLED, label_smoothing=how.label_smoothing)
