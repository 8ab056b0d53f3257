"""Augmentation of an image and its label: one affine warp, then light.

All geometry is one warp, so a pixel is interpolated once; what comes from outside the image is unlabelled.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED
from seg_node.pipeline.network_input import resize
from seg_node.training.recipe import Augment

_LUMA = (0.114, 0.587, 0.299)  # of blue, green and red


def fit(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image (H, W, 3) and its label (H, W) to ``size`` (height, width); no copy if they fit."""
    if image.shape[:2] == tuple(size):
        return image, label
    to = (size[1], size[0])
    return (
        resize(image, size),
        np.asarray(cv2.resize(label, to, interpolation=cv2.INTER_NEAREST)),
    )


def warp(image: np.ndarray, label: np.ndarray, how: Augment, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its label flipped, scaled, rotated and moved.

    Both are of the size of ``how.crop`` where it has one: a window of the scaled image.
    """
    size = how.crop or label.shape
    matrix, to = _geometry(how, label.shape, size, rng), (size[1], size[0])
    image = np.asarray(cv2.warpAffine(image, matrix, to, flags=cv2.INTER_LINEAR))
    label = np.asarray(cv2.warpAffine(label, matrix, to, flags=cv2.INTER_NEAREST, borderValue=UNLABELLED))
    return image, label


def paste(
    image: np.ndarray, label: np.ndarray, other: np.ndarray, other_label: np.ndarray, classes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of a sample with the pixels of the given classes of another one, of equal size, over it."""
    over = np.isin(other_label, classes)
    return np.where(over[..., None], other, image), np.where(over, other_label, label)


def cut_out(image: np.ndarray, how: Augment, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a part of an image, uint8 (H, W, 3), of random area, aspect and place, flipped or not, at ``size``.

    After ten parts that do not fit into the image it is the middle one (as in Inception's training and torchvision).
    """
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(*how.area)
        aspect = math.exp(rng.uniform(*np.log(how.aspect)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            break
    else:
        h, w = min(height, width), min(height, width)
        top, left = (height - h) // 2, (width - w) // 2
    part = resize(np.ascontiguousarray(image[top : top + h, left : left + w]), size)
    if how.flip and rng.random() < 0.5:
        part = np.ascontiguousarray(part[:, ::-1])
    return part


def middle(image: np.ndarray, shorter_side: int, size: tuple[int, int]) -> np.ndarray:
    """Return the middle of an image, uint8 (H, W, 3), at ``size``, after it was resized to its shorter side."""
    h, w = image.shape[:2]
    scale = shorter_side / min(h, w)
    image = resize(image, (max(round(h * scale), size[0]), max(round(w * scale), size[1])))
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return np.ascontiguousarray(image[top : top + size[0], left : left + size[1]])


def whole(image: np.ndarray, shorter_side: int) -> np.ndarray:
    """Return all of an image, uint8 (H, W, 3), resized to its shorter side; both sides are multiples of 16."""
    scale = shorter_side / min(image.shape[:2])
    height, width = (16 * max(1, round(scale * side / 16)) for side in image.shape[:2])
    return resize(image, (height, width))


def _geometry(how: Augment, size: tuple[int, int], to: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a 2x3 matrix from an image of ``size`` to one of ``to``: flip, scale and rotate about the middle, shift."""
    scale = float(rng.choice(how.scales)) if how.scales else math.exp(rng.uniform(*np.log(how.scale)))
    angle = math.radians(rng.uniform(-how.rotate, how.rotate))
    mirror = -1.0 if how.flip and rng.random() < 0.5 else 1.0
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    h, w = size
    middle_from, middle_to = np.array([(w - 1) / 2, (h - 1) / 2]), np.array([(to[1] - 1) / 2, (to[0] - 1) / 2])
    # a larger image is cropped anywhere; a smaller one is placed anywhere
    room = np.abs(scale * np.array([w, h]) - np.array([to[1], to[0]])) / 2
    shift = rng.uniform(-room, room) + rng.integers(-how.translate, how.translate + 1, 2)
    return np.column_stack([linear, middle_to + shift - linear @ middle_from])


def light(image: np.ndarray, how: Augment, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 (H, W, 3) with other saturation, hue, contrast, brightness and gamma; now and then blur; noise."""
    if how.brightness or how.contrast or how.saturation or how.hue:
        gain = 1 + rng.uniform(-how.contrast, how.contrast)
        offset = 255 * rng.uniform(-how.brightness, how.brightness) + 128 * (1 - gain)
        colour = 1 + rng.uniform(-how.saturation, how.saturation)
        grey = np.outer(np.ones(3), _LUMA) * (1 - colour)
        mixed = gain * (np.eye(3) * colour + grey)
        if how.hue:
            mixed = mixed @ _hue(math.radians(rng.uniform(-how.hue, how.hue)))
        image = np.asarray(cv2.transform(image, np.column_stack([mixed, np.full(3, offset)])))
    if how.gamma > 1:
        exponent = how.gamma ** rng.uniform(-1, 1)
        image = np.asarray(cv2.LUT(image, np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)))
    if how.blur and rng.random() < how.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2)))
    if how.noise:
        grain = rng.standard_normal(image.shape, np.float32) * (255 * rng.uniform(0, how.noise))
        image = np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)
    return image


def _hue(angle: float) -> np.ndarray:
    """Return the 3x3 matrix that turns BGR colours about the axis of greys."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * np.eye(3) + (1 - cos) / 3 + sin * turned
