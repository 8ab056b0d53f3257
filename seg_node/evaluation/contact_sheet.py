"""A contact sheet: moments of a drive as rows of pictures, with a legend. Knows nothing of files or ROS."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from seg_node.label_set import LabelSet

_CELL = 400  # width of a picture, pixels
_GAP = 10
_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (120, 120, 120)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


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

    ``iou``: class name -> share or None, written behind the names. Text is ASCII; other letters become '?'. Raises
    ValueError where there is no row.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    heads = ["input", "overlay"] + ["ground truth"] * any(row.truth is not None for row in rows)
    width = len(heads) * (_CELL + _GAP) + _GAP
    parts = [_header(title, lines, width), _headings(heads, width)]
    parts += [_row(row, labels, len(heads), width) for row in rows]
    parts.append(_legend(labels, iou or {}, width))
    return np.vstack(parts)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _write(
    image: np.ndarray, text: str, x: int, y: int, *, scale: float = 0.45, color: tuple = _INK, room: int | None = None
) -> None:
    """Write text, smaller where it would leave ``room`` pixels."""
    text = text.encode("ascii", "replace").decode()
    (length, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    if room and length > room:
        scale *= room / length
    cv2.putText(image, text, (x, y), _FONT, scale, color, 1, cv2.LINE_AA)


def _header(title: str, lines: Sequence[str], width: int) -> np.ndarray:
    strip = _blank(44 + 20 * len(lines), width)
    _write(strip, title, _GAP, 30, scale=0.75, room=width - 2 * _GAP)
    for index, line in enumerate(lines):
        _write(strip, line, _GAP, 54 + 20 * index, color=_FAINT, room=width - 2 * _GAP)
    return strip


def _headings(heads: list[str], width: int) -> np.ndarray:
    strip = _blank(26, width)
    for index, head in enumerate(heads):
        _write(strip, head, _GAP + index * (_CELL + _GAP), 18)
    return strip


def _row(row: Row, labels: LabelSet, columns: int, width: int) -> np.ndarray:
    pictures = [row.image, row.overlay, labels.palette[row.truth] if row.truth is not None else None][:columns]
    tallest = max((p.shape[0] / p.shape[1] for p in pictures if p is not None), default=0.75)
    height = max(24, min(int(_CELL * tallest), _CELL))
    strip = _blank(height + _GAP, width)
    for index, picture in enumerate(pictures):
        x = _GAP + index * (_CELL + _GAP)
        if picture is None:
            _write(strip, "not received", x + 8, 20, color=_FAINT)
        else:
            fitted = _fit(picture, height)
            strip[: fitted.shape[0], x : x + fitted.shape[1]] = fitted
    (length, _), _ = cv2.getTextSize(row.caption, _FONT, 0.4, 1)
    cv2.rectangle(strip, (_GAP, 0), (_GAP + length + 8, 18), _PAPER, -1)
    _write(strip, row.caption, _GAP + 4, 13, scale=0.4)
    return strip


def _fit(picture: np.ndarray, height: int) -> np.ndarray:
    """Scale a picture to fill a cell as far as its shape allows."""
    scale = min(_CELL / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST))


def _legend(labels: LabelSet, iou: Mapping[str, float | None], width: int) -> np.ndarray:
    column = 200
    columns = max(1, (width - _GAP) // column)
    lines = -(-labels.class_count // columns)
    strip = _blank(_GAP + 26 * lines, width)
    for index, name in enumerate(labels.names):
        x, y = _GAP + index % columns * column, index // columns * 26
        color = tuple(int(part) for part in labels.palette[index])
        cv2.rectangle(strip, (x, y), (x + 24, y + 18), color, -1)
        cv2.rectangle(strip, (x, y), (x + 24, y + 18), _FAINT, 1)
        score = iou.get(name)
        text = name if score is None else f"{name}, IoU {100 * score:.1f} %"
        _write(strip, text, x + 32, y + 14, room=column - 40)
    return strip
