"""The golden images: what every exported file and its reference label, to be compared. See ``config/golden``."""

from typing import NamedTuple

import cv2
import numpy as np

from seg_node.datasets import read_image, read_label
from seg_node.label_set import load_label_set
from seg_node.model_card import ModelCard
from seg_node.share import shipped

LABEL_SET = "camvid11"


class Golden(NamedTuple):
    images: np.ndarray  # uint8 (N, H, W, 3), in a card's size and channel order
    truth: np.ndarray | None  # uint8 (N, H, W), the card's class ids; None where its classes are others


def golden_images(card: ModelCard) -> Golden:
    """Return the shipped images as ``card``'s network takes them. Raises FileNotFoundError, DatasetError."""
    paths = [path for path in shipped("config/golden", "*.png") if not path.name.endswith(".label.png")]
    if not paths:
        raise FileNotFoundError("no config/golden in this installation: its images are needed to compare exports")
    size = (card.size[1], card.size[0])
    table, images, truth = _to_classes(card), [], []
    for path in paths:
        image = read_image(path)
        label = read_label(path.with_suffix(".label.png"), image)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
        images.append(image if card.channels == "bgr" else image[..., ::-1])
        if table is not None:
            truth.append(table[cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)])
    return Golden(np.stack(images), np.stack(truth) if truth else None)


def _to_classes(card: ModelCard) -> np.ndarray | None:
    """Return uint8 (256,): class id of the golden labels -> the card's; None where it names other classes."""
    try:
        return load_label_set(LABEL_SET).to(load_label_set(card.label_set))
    except (ValueError, OSError):
        return None
