"""A contact sheet: moments of a drive as rows of pictures, with a legend. Knows nothing of files or ROS."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from seg_node.evaluation import sheet
from seg_node.label_set import LabelSet


class Row(NamedTuple):
    """One moment; what is None stays blank."""

    caption: str
    image: np.ndarray | None  # uint8 (H, W, 3) BGR, as the camera sent it
    overlay: np.ndarray | None  # uint8 (H, W, 3) BGR
    truth: np.ndarray | None = None  # uint8 (H, W), class ids


def draw_sheet(
    rows: Sequence[Row],
    labels: LabelSet,
    title: str,
    lines: Sequence[str] = (),
    iou: Mapping[str, float | None] | None = None,
) -> np.ndarray:
    """Draw uint8 (H, W, 3) BGR: title, lines of text, the rows, and the classes with their colours.

    ``iou``: class name -> share or None, written behind the names. Raises ValueError where there is no row.
    """
    heads = ["input", "overlay"] + ["ground truth"] * any(row.truth is not None for row in rows)
    cells = [
        (row.caption, [row.image, row.overlay, None if row.truth is None else labels.palette[row.truth]][: len(heads)])
        for row in rows
    ]
    return sheet.draw(heads, cells, title, lines, sheet.legend(labels, sheet.width(len(heads)), iou))
