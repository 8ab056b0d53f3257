"""The names of the classes in a picture, written over its lower edge: a swatch and a name for each.

Knows nothing of frames. A class's tile is rendered once for a text size; drawing one copies it.
"""

from typing import Dict, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from seg_node.label_set import UNLABELLED, LabelSet

_SHARE = 0.25  # of the image's height that the legend may take
_SEEN = 0.0005  # of the pixels: classes with fewer would come and go with the noise
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PAPER, _INK, _EDGE = (24, 24, 24), (255, 255, 255), (140, 140, 140)  # the edge: for swatches as dark as the paper


class _Place(NamedTuple):
    class_id: int
    row: int  # from the top of the legend
    left: int  # pixels


class Legend:
    """Draws one label set's names."""

    def __init__(self, label_set: LabelSet) -> None:
        self._label_set = label_set
        self._height = 0  # of the tiles at hand
        self._tiles: Dict[int, np.ndarray] = {}  # class id -> uint8 (height, any, 3) BGR

    def draw(self, image: np.ndarray, labels: np.ndarray, hidden: Optional[np.ndarray] = None) -> None:
        """Write the names of the classes in ``labels`` uint8 (H, W) into ``image`` uint8 (H, W, 3) BGR.

        ``hidden``: uint8 (256,), 255 for classes to leave out. Where there is no room for all, those with the most
        pixels stay; an image too small for any is left as it is.
        """
        height, width = labels.shape
        self._use_size(_text_height(height, width))
        rows = int(height * _SHARE) // self._height
        places = self._arrange(_by_size(labels, self._label_set.class_count, hidden), width, rows)
        top = height - self._height * (places[-1].row + 1) if places else 0
        for class_id, row, left in places:
            tile, y = self._tiles[class_id], top + row * self._height
            image[y : y + self._height, left : left + tile.shape[1]] = tile

    def _use_size(self, height: int) -> None:
        if height != self._height:
            self._height, self._tiles = height, {}

    def _arrange(self, largest_first: List[int], width: int, rows: int) -> List[_Place]:
        """Place as many classes as fit, in the order of their ids so that they keep their places."""
        for count in range(len(largest_first), 0, -1):
            places = self._flow(sorted(largest_first[:count]), width)
            if places and places[-1].row < rows:
                return places
        return []

    def _flow(self, class_ids: List[int], width: int) -> List[_Place]:
        """Set tiles side by side, row after row; [] where one is wider than the image."""
        places, row, left = [], 0, 0
        for class_id in class_ids:
            length = self._tile(class_id).shape[1]
            if length > width:
                return []
            if left + length > width:
                row, left = row + 1, 0
            places.append(_Place(class_id, row, left))
            left += length
        return places

    def _tile(self, class_id: int) -> np.ndarray:
        if class_id not in self._tiles:
            color = tuple(int(part) for part in self._label_set.palette[class_id])
            self._tiles[class_id] = _render(self._label_set.names[class_id], color, self._height)
        return self._tiles[class_id]


def _text_height(height: int, width: int) -> int:
    """Return the height of a row of text in pixels: 13 in the smallest image, 28 in one 1920 wide."""
    return 10 + min(width, 2 * height) // 106


def _by_size(labels: np.ndarray, class_count: int, hidden: Optional[np.ndarray]) -> List[int]:
    """Return the ids of the classes seen and not hidden, the largest first."""
    rows = labels[:: 1 + len(labels) // 240]  # some rows tell as much as all of them
    counts = cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel()[:class_count]
    if hidden is not None:
        counts[hidden[:class_count] == UNLABELLED] = 0
    seen = np.flatnonzero(counts > _SEEN * rows.size)
    return [int(class_id) for class_id in seen[np.argsort(-counts[seen], kind="stable")]]


def _render(name: str, color: Tuple[int, ...], height: int) -> np.ndarray:
    """Return uint8 (height, any, 3): a swatch and a name, drawn large and made small, which reads better."""
    fine = 4
    text = name.encode("ascii", "replace").decode()  # OpenCV's fonts know no more
    scale = fine * height * 0.026
    (length, _), _ = cv2.getTextSize(text, _FONT, scale, fine)
    side = int(height * 0.6)
    swatch, gap = fine * side, fine * max(2, height // 6)
    tile = np.empty((fine * height, fine * -(-(4 * gap + swatch + length) // fine), 3), np.uint8)
    tile[:] = _PAPER
    top, left = fine * ((height - side) // 2), gap
    tile[top : top + swatch, left : left + swatch] = _EDGE
    tile[top + fine : top + swatch - fine, left + fine : left + swatch - fine] = color
    cv2.putText(tile, text, (2 * gap + swatch, int(fine * height * 0.72)), _FONT, scale, _INK, fine + 1, cv2.LINE_AA)
    return cv2.resize(tile, (tile.shape[1] // fine, height), interpolation=cv2.INTER_AREA)
