"""The confusion matrix as a picture: each row says what became of the pixels of one class."""

import cv2
import numpy as np

from seg_node.evaluation import sheet
from seg_node.evaluation.confusion import Confusion
from seg_node.label_set import LabelSet

_LARGEST, _SMALLEST = 48, 14  # pixels of a cell
_SIDE = 1300  # about what all cells together may take
_WITH_NUMBERS = 30  # a cell this large has its share written in it
_NAMES = 150  # pixels for the classes' names
_BLUE = (156, 81, 31)  # BGR of a share of 1


def draw_confusion(confusion: Confusion, labels: LabelSet, title: str, lines: tuple[str, ...] = ()) -> np.ndarray:
    """Draw uint8 (H, W, 3) BGR: rows are ground truth and sum to 100 %, columns prediction; the last column is what
    was left unlabelled, the last row void ground truth. Behind each row: the class's IoU and its share of all pixels.
    """
    names = [*labels.names, "void"]
    count = len(names)
    cell = max(_SMALLEST, min(_LARGEST, _SIDE // count))
    left, top = sheet.GAP + _NAMES, 56 + 20 * len(lines) + _NAMES
    picture = sheet.blank(top + count * cell + 40, left + count * cell + 160)
    sheet.write(picture, title, sheet.GAP, 30, scale=0.7, room=picture.shape[1] - 2 * sheet.GAP)
    for index, line in enumerate(lines):
        sheet.write(picture, line, sheet.GAP, 54 + 20 * index, color=sheet.FAINT, room=picture.shape[1] - 20)
    totals = confusion.matrix.sum(axis=1)
    shares = confusion.matrix / np.maximum(totals, 1)[:, None]
    picture[top : top + count * cell, left : left + count * cell] = _cells(shares, totals, cell)
    _write_names(picture, names, left, top, cell)
    _write_scores(picture, confusion, left + count * cell + 12, top, cell)
    sheet.write(picture, "rows: ground truth; columns: prediction; % of the row", left, picture.shape[0] - 14)
    return picture


def _cells(shares: np.ndarray, totals: np.ndarray, cell: int) -> np.ndarray:
    """Return the matrix in colour, uint8 (n * cell, n * cell, 3); the root makes small shares visible."""
    strength = np.sqrt(shares)[..., None]
    color = np.rint(255 + strength * (np.array(_BLUE) - 255)).astype(np.uint8)
    color[totals == 0] = 235  # nothing of it in the ground truth
    cells = color.repeat(cell, 0).repeat(cell, 1)
    for line in range(0, len(cells), cell):
        cells[line] = cells[:, line] = 220
    if cell >= _WITH_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.0005:
                text = f"{100 * share:.1f}"
                x = column * cell + (cell - sheet.text_width(text, 0.36)) // 2
                ink = sheet.PAPER if share > 0.35 else sheet.INK
                sheet.write(cells, text, x, row * cell + cell // 2 + 5, scale=0.36, color=ink)
    return cells


def _write_names(picture: np.ndarray, names: list[str], left: int, top: int, cell: int) -> None:
    for index, name in enumerate(names):
        middle = index * cell + cell // 2 + 4
        length = min(sheet.text_width(name, 0.42), _NAMES - 14)
        sheet.write(picture, name, left - length - 8, top + middle, scale=0.42, room=_NAMES - 14)
        upright = sheet.blank(cell, _NAMES)
        sheet.write(upright, name, 6, cell // 2 + 4, scale=0.42, room=_NAMES - 14)
        x = left + index * cell
        picture[top - _NAMES : top, x : x + cell] = cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)


def _write_scores(picture: np.ndarray, confusion: Confusion, x: int, top: int, cell: int) -> None:
    iou = [*confusion.scores().iou, np.nan]
    share = confusion.matrix.sum(axis=1) / max(1, confusion.matrix.sum())
    for place, head in ((x, "IoU"), (x + 70, "of pixels")):
        sheet.write(picture, head, place, top - 8, scale=0.42)
    for index, (score, part) in enumerate(zip(iou, share, strict=True)):
        y = top + index * cell + cell // 2 + 4
        sheet.write(picture, "-" if np.isnan(score) else f"{100 * score:.1f} %", x, y, scale=0.42)
        sheet.write(picture, f"{100 * part:.2f} %", x + 70, y, scale=0.42, color=sheet.FAINT)
