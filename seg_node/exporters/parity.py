"""Does an exported file say what the network said that was trained? Asked with golden images: rendered streets."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.exporters._golden import Golden, golden_images
from seg_node.exporters._logits import Shower
from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.model_card import ModelCard
from seg_node.runtimes import Runtime

__all__ = ["Golden", "ParityError", "Verdict", "gate", "golden_images"]

LEAST_EQUAL = 0.995  # of the labels of the worst image
MOST_LOST = 0.01  # of the mIoU, where numbers are coarser by intent
LEAST_EQUAL_COARSE = 0.95  # in its place, where the golden images' classes are not the model's
STRIDED = "label stride"  # in a precision's place: coarser in space, not in numbers
_COARSE = ("int8", "bf16", STRIDED)
_PICTURED = 3


class ParityError(RuntimeError):
    """The exported file does not say what the trained network says."""


class Verdict(NamedTuple):
    """How an exported file did; shares are 0 to 1."""

    agreement: float  # share of pixels with the same label
    worst: float  # the same of the worst image
    nan: bool  # whether its logits hold NaN or infinity; False, too, where it does not show them
    logit_difference: float | None  # the largest; None where the file does not show its logits
    images: int
    passed: bool
    miou_lost: float | None = None  # against the golden images' truth; None where their classes are others
    limit: str = ""  # what was asked of it, in words

    def as_table(self) -> dict[str, Any]:
        """Return what a card says of it."""
        table: dict[str, Any] = {
            "agreement": round(self.agreement, 6),
            "worst": round(self.worst, 6),
            "nan": self.nan,
            "images": self.images,
            "passed": self.passed,
        }
        if self.logit_difference is not None:
            table["logit_difference"] = float(f"{self.logit_difference:.4g}")
        if self.miou_lost is not None:
            table["miou_lost"] = round(self.miou_lost, 5) + 0.0  # no -0.0
        return table

    def says(self, name: str, picture: Path) -> str:
        """Return the message for who exported ``name``; ``picture``: where they differ."""
        lost = "" if self.miou_lost is None else f", and loses {100 * self.miou_lost:.2f} points of mIoU"
        difference = "" if self.logit_difference is None else f"; logits differ by up to {self.logit_difference:.3g}"
        why = "gives NaN or infinity, and " if self.nan else ""
        return (
            f"{name}: {why}agrees with PyTorch on only {self.agreement:.2%} of the pixels of {self.images} golden "
            f"images ({self.worst:.2%} of the worst){lost}{difference}. Wanted: {self.limit}. The file is not used; "
            f"{picture} shows where they differ. Choose another --precision, or --force it"
        )


def gate(
    reference: Runtime,
    runtime: Runtime,
    precision: str,
    images: Golden | np.ndarray,
    picture: Path,
    measured: float | None = None,
) -> Verdict:
    """Label the images with both and say whether they agree as ``precision`` allows.

    ``images``: ``golden_images(card)``, or uint8 (N, H, W, 3) in the card's size and channel order. ``picture``: the
    PNG to write where they do not agree: image, both answers, and where they differ, of the worst images. ``measured``:
    the mIoU that was lost on real images, if the exporter knows; it decides where the golden ones' classes are others.
    Raises ParityError where the reference itself gives NaN.
    """
    golden = images if isinstance(images, Golden) else Golden(images, None)
    ours, theirs, nan, difference = _label(reference, runtime, golden.images)
    equal = (ours == theirs).mean(axis=(1, 2))
    lost = _miou_lost(golden.truth, ours, theirs, runtime.card.classes)
    passed, limit = _passes(float(equal.min()), measured if lost is None else lost, precision)
    verdict = Verdict(
        float(equal.mean()), float(equal.min()), nan, difference, len(ours), passed and not nan, lost, limit
    )
    if not verdict.passed:
        worst = np.argsort(equal)[:_PICTURED]
        draw(picture, reference.card, golden.images[worst], ours[worst], theirs[worst])
    return verdict


def _label(
    reference: Runtime, runtime: Runtime, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool, float | None]:
    """Return both labels, uint8 (N, H, W), whether the second gives NaN, and the largest difference of the logits."""
    ours, theirs = np.empty(images.shape[:3], np.uint8), np.empty(images.shape[:3], np.uint8)
    one, other = Shower(reference), Shower(runtime)
    nan, differences = False, []
    for index, image in enumerate(images[:, None]):
        theirs[index] = runtime.infer(image).labels[0]
        wanted, got = one.logits(image), other.logits(image)
        ours[index] = reference.infer(image).labels[0] if wanted is None else wanted[0].argmax(0)
        if wanted is not None and not np.isfinite(wanted).all():
            raise ParityError(
                f"{reference.card.folder}: PyTorch itself gives NaN or infinity on a golden image: a training that "
                "diverged, or a wrong mean, std or scale in the card"
            )
        if got is not None:
            nan = nan or not np.isfinite(got).all()
            if wanted is not None and wanted.shape == got.shape and not nan:
                differences.append(float(np.abs(wanted - got).max()))
    return ours, theirs, bool(nan), max(differences) if len(differences) == len(images) else None


def _passes(worst: float, lost: float | None, precision: str) -> tuple[bool, str]:
    """Return whether that is near enough for ``precision``, and the limit in words."""
    if precision not in _COARSE or worst >= LEAST_EQUAL:
        return worst >= LEAST_EQUAL, f"{LEAST_EQUAL:.1%} of each image"
    if lost is None:
        return worst >= LEAST_EQUAL_COARSE, f"{LEAST_EQUAL_COARSE:.0%} of each image for {precision}"
    return lost <= MOST_LOST, f"at most {100 * MOST_LOST:.0f} point of mIoU lost for {precision}"


def _miou_lost(truth: np.ndarray | None, ours: np.ndarray, theirs: np.ndarray, classes: int) -> float | None:
    """Return how much less the second's mIoU is than the first's, or None without truth."""
    return None if truth is None else _miou(truth, ours, classes) - _miou(truth, theirs, classes)


def _miou(truth: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Return the mean over the classes that occur in ``truth``, where it is not unlabelled, of all images together."""
    known = truth != UNLABELLED
    truth, labels = truth[known], labels[known]
    present = np.unique(truth)
    both = [np.count_nonzero((truth == i) & (labels == i)) for i in present if i < classes]
    either = [np.count_nonzero((truth == i) | (labels == i)) for i in present if i < classes]
    return float(np.mean(np.array(both) / np.array(either)))


def draw(path: Path, card: ModelCard, images: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Write a PNG, a row an image: image | PyTorch | exported file | where they differ, in red. Whole or not at all.

    images: uint8 (N, H, W, 3); ours, theirs: uint8 (N, H, W).
    """
    palette = load_label_set(card.label_set).palette
    rows = []
    for image, first, second in zip(images, ours, theirs, strict=True):
        bgr = image if card.channels == "bgr" else image[..., ::-1]
        differ = (bgr // 3).copy()
        differ[first != second] = (0, 0, 255)
        share = np.mean(first == second)
        titles = ("image", "PyTorch", "exported", f"differ: {1 - share:.2%}")
        tiles = [bgr, palette[first], palette[second], differ]
        rows.append(np.hstack([_titled(tile, title) for tile, title in zip(tiles, titles, strict=True)]))
    done, png = cv2.imencode(".png", np.vstack(rows))
    if not done:
        raise ParityError(f"{path}: cannot be encoded as PNG")
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(png.tobytes())
    os.replace(partial, path)


def _titled(tile: np.ndarray, title: str) -> np.ndarray:
    """Return uint8 (320 high, title included, 3) of uint8 (H, W, 3)."""
    width = max(1, round(tile.shape[1] * 300 / tile.shape[0]))
    small = cv2.resize(np.ascontiguousarray(tile), (width, 300), interpolation=cv2.INTER_NEAREST)
    bar = np.full((20, width, 3), 255, np.uint8)
    cv2.putText(bar, title, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, small])
