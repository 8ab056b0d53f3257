"""Does an exported file say what the network said that was trained? Asked with golden images: rendered streets."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from seg_node.datasets import open_split
from seg_node.model_card import ModelCard
from seg_node.runtimes import Runtime

IMAGES = 8
LEAST_EQUAL = 0.995


class Verdict(NamedTuple):
    agreement: float  # share of pixels with the same label
    worst: float  # the same of the worst image
    nan: bool
    logit_difference: float | None  # the largest; None where the artefact gives none
    images: int
    passed: bool


class ParityError(RuntimeError):
    """The exported file does not say what the trained network says."""


def golden_images(card: ModelCard) -> np.ndarray:
    """Return uint8 (IMAGES, H, W, 3) of ``card.size`` in ``card.channels`` order."""
    split = open_split("street", "test", size=card.size)
    images = [split[index][0] for index in range(IMAGES)]
    if card.channels == "rgb":
        images = [np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) for image in images]
    return np.stack(images)


def gate(reference: Runtime, runtime: Runtime, precision: str, images: np.ndarray, picture: Path) -> Verdict:
    """Label ``images``, uint8 (N, H, W, 3), with both and say whether they agree as ``precision`` allows."""
    shares = []
    for image in images[:, None]:
        truth = reference.infer(image).labels.copy()
        shares.append(float(np.mean(truth == runtime.infer(image).labels)))
    worst = min(shares)
    return Verdict(float(np.mean(shares)), worst, False, None, len(shares), worst >= LEAST_EQUAL)
