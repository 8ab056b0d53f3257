"""Sheets of pictures: rows and columns with a title, lines of text, and a legend. Knows nothing of files or drives."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from seg_node.label_set import LabelSet

CELL = 400  # width of a picture, pixels
GAP = 10
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (120, 120, 120)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    heads: Sequence[str],
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]],
    title: str,
    lines: Sequence[str] = (),
    legend: np.ndarray | None = None,
    cell: int = CELL,
) -> np.ndarray:
    """Draw uint8 (H, W, 3) BGR: title, lines of text, column heads, rows of a caption and its pictures, and a legend.

    A picture is uint8 (H, W, 3) BGR of any size, or None. ``legend``: from ``legend(...)`` at ``width(...)``. Text is
    ASCII; other letters become '?'. Raises ValueError where there is no row.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    wide = width(len(heads), cell)
    parts = [_header(title, lines, wide), _headings(heads, wide, cell)]
    parts += [_row(caption, pictures, wide, cell) for caption, pictures in rows]
    return np.vstack(parts + ([] if legend is None else [legend]))


def width(columns: int, cell: int = CELL) -> int:
    """Return the pixels that a sheet of so many columns is wide."""
    return columns * (cell + GAP) + GAP


def legend(labels: LabelSet, wide: int, iou: Mapping[str, float | None] | None = None) -> np.ndarray:
    """Draw the classes with their colours, uint8 (H, wide, 3); ``iou``: shares, written behind the names."""
    column = 200
    columns = max(1, (wide - GAP) // column)
    lines = -(-labels.class_count // columns)
    strip = blank(GAP + 26 * lines, wide)
    for index, name in enumerate(labels.names):
        x, y = GAP + index % columns * column, index // columns * 26
        color = tuple(int(part) for part in labels.palette[index])
        cv2.rectangle(strip, (x, y), (x + 24, y + 18), color, -1)
        cv2.rectangle(strip, (x, y), (x + 24, y + 18), FAINT, 1)
        score = (iou or {}).get(name)
        text = name if score is None else f"{name}, IoU {100 * score:.1f} %"
        write(strip, text, x + 32, y + 14, room=column - 40)
    return strip


def blank(height: int, wide: int) -> np.ndarray:
    return np.full((height, wide, 3), PAPER, np.uint8)


def write(
    image: np.ndarray, text: str, x: int, y: int, *, scale: float = 0.45, color: tuple = INK, room: int | None = None
) -> None:
    """Write text, smaller where it would leave ``room`` pixels."""
    text = text.encode("ascii", "replace").decode()
    length = text_width(text, scale)
    if room and length > room:
        scale *= room / length
    cv2.putText(image, text, (x, y), _FONT, scale, color, 1, cv2.LINE_AA)


def text_width(text: str, scale: float) -> int:
    (length, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    return int(length)


def fit(picture: np.ndarray, wide: int, height: int) -> np.ndarray:
    """Scale a picture to fill a cell as far as its shape allows."""
    scale = min(wide / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST))


def _header(title: str, lines: Sequence[str], wide: int) -> np.ndarray:
    strip = blank(44 + 20 * len(lines), wide)
    write(strip, title, GAP, 30, scale=0.75, room=wide - 2 * GAP)
    for index, line in enumerate(lines):
        write(strip, line, GAP, 54 + 20 * index, color=FAINT, room=wide - 2 * GAP)
    return strip


def _headings(heads: Sequence[str], wide: int, cell: int) -> np.ndarray:
    strip = blank(26, wide)
    for index, head in enumerate(heads):
        write(strip, head, GAP + index * (cell + GAP), 18, room=cell)
    return strip


def _row(caption: str, pictures: Sequence[np.ndarray | None], wide: int, cell: int) -> np.ndarray:
    tallest = max((p.shape[0] / p.shape[1] for p in pictures if p is not None), default=0.75)
    height = max(24, min(int(cell * tallest), cell))
    strip = blank(height + GAP, wide)
    for index, picture in enumerate(pictures):
        x = GAP + index * (cell + GAP)
        if picture is None:
            write(strip, "not received", x + 8, 20, color=FAINT)
        else:
            fitted = fit(picture, cell, height)
            strip[: fitted.shape[0], x : x + fitted.shape[1]] = fitted
    if caption:
        length = min(text_width(caption, 0.4), cell - 8)
        cv2.rectangle(strip, (GAP, 0), (GAP + length + 8, 18), PAPER, -1)
        write(strip, caption, GAP + 4, 13, scale=0.4, room=cell - 8)
    return strip
