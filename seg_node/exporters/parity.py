"""Does an exported file say what the network said that was trained? Asked with golden images: rendered streets."""

from typing import NamedTuple

import cv2
import numpy as np

from seg_node.datasets import open_split
from seg_node.model_card import ModelCard
from seg_node.runtimes import Runtime, load_runtime

IMAGES = 8
LEAST_EQUAL = 0.995


class Parity(NamedTuple):
    equal: float  # share of pixels with the same label, the lowest over the images
    images: int


class ParityError(RuntimeError):
    """The exported file does not say what the trained network says."""


def golden_images(card: ModelCard) -> np.ndarray:
    """Return uint8 (IMAGES, H, W, 3) of ``card.size`` in ``card.channels`` order."""
    split = open_split("street", "test", size=card.size)
    images = [split[index][0] for index in range(IMAGES)]
    if card.channels == "rgb":
        images = [np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) for image in images]
    return np.stack(images)


def compare(reference: Runtime, exported: Runtime, images: np.ndarray) -> Parity:
    """Run both on each image and return the lowest share of equal labels."""
    shares = []
    for image in images[:, None]:
        truth = reference.infer(image).labels.copy()
        shares.append(float(np.mean(truth == exported.infer(image).labels)))
    return Parity(min(shares), len(shares))


def gate(card: ModelCard, runtime: str) -> Parity:
    """Compare ``runtime``'s file of the card with its PyTorch weights. Raises ParityError below LEAST_EQUAL."""
    reference, exported = load_runtime(card, "torch", "cpu"), load_runtime(card, runtime)
    parity = compare(reference, exported, golden_images(card))
    if parity.equal < LEAST_EQUAL:
        raise ParityError(
            f"{card.folder}: {runtime} agrees with PyTorch on only {parity.equal:.2%} of the pixels of "
            f"its worst image ({LEAST_EQUAL:.1%} wanted); the file is not used"
        )
    return parity
