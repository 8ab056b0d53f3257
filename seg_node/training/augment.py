"""Augmentation of an image and its label: one affine warp, then light.

All geometry is one warp, so a pixel is interpolated once; what comes from outside the image is unlabelled.
"""

import math

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED
from seg_node.pipeline.network_input import resize
from seg_node.training.recipe import Augment


def fit(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image (H, W, 3) and its label (H, W) to ``size`` (height, width); no copy if they fit."""
    if image.shape[:2] == tuple(size):
        return image, label
    to = (size[1], size[0])
    return (
        resize(image, size),
        np.asarray(cv2.resize(label, to, interpolation=cv2.INTER_NEAREST)),
    )


def augment(
    image: np.ndarray, label: np.ndarray, how: Augment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a changed copy of an image, uint8 (H, W, 3) BGR, and its label, uint8 (H, W)."""
    h, w = label.shape
    matrix = _geometry(how, (h, w), rng)
    image = np.asarray(cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_LINEAR))
    label = np.asarray(cv2.warpAffine(label, matrix, (w, h), flags=cv2.INTER_NEAREST, borderValue=UNLABELLED))
    return _light(image, how, rng), label


def _geometry(how: Augment, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a 2x3 matrix: flip, scale and rotate about the middle, then shift."""
    h, w = size
    scale = math.exp(rng.uniform(*np.log(how.scale)))
    angle = math.radians(rng.uniform(-how.rotate, how.rotate))
    mirror = -1.0 if how.flip and rng.random() < 0.5 else 1.0
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    middle = np.array([(w - 1) / 2, (h - 1) / 2])
    # a larger image is cropped anywhere; a smaller one is placed anywhere
    room = abs(scale - 1) * np.array([w, h]) / 2
    shift = rng.uniform(-room, room) + rng.integers(-how.translate, how.translate + 1, 2)
    return np.column_stack([linear, middle + shift - linear @ middle])


def _light(image: np.ndarray, how: Augment, rng: np.random.Generator) -> np.ndarray:
    """Change saturation, contrast and brightness; now and then blur."""
    if how.brightness or how.contrast or how.saturation:
        gain = 1 + rng.uniform(-how.contrast, how.contrast)
        offset = 255 * rng.uniform(-how.brightness, how.brightness) + 128 * (1 - gain)
        colour = 1 + rng.uniform(-how.saturation, how.saturation)
        grey = np.outer(np.ones(3), (0.114, 0.587, 0.299)) * (1 - colour)
        matrix = np.column_stack([gain * (np.eye(3) * colour + grey), np.full(3, offset)])
        image = np.asarray(cv2.transform(image, matrix))
    if how.blur and rng.random() < how.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)))
    return image
