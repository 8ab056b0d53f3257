"""A picture of how often each class occurs, a row for each class and a bar for each split."""

from collections.abc import Sequence

import cv2
import numpy as np

from seg_node.preparation.check import SplitReport

_ROW, _BAR, _LEFT, _WIDE, _RIGHT = 6, 16, 210, 560, 190
_LOWEST = 1e-6  # share at the left end of the bars; each tenth of their length is a factor of 4
_INK, _PAPER, _LINE = (40, 40, 40), (255, 255, 255), (225, 225, 225)


def draw(title: str, reports: Sequence[SplitReport]) -> np.ndarray:
    """Return uint8 (H, W, 3) BGR; bars are logarithmic, from a millionth of all labelled pixels to all of them."""
    names = reports[0].names
    row = _BAR * len(reports) + _ROW
    image = np.full((60 + row * len(names) + 30, _LEFT + _WIDE + _RIGHT, 3), _PAPER, np.uint8)
    _write(image, title, (10, 24), 0.6)
    for power in range(-6, 1):
        x = _LEFT + round(_WIDE * (power + 6) / 6)
        cv2.line(image, (x, 44), (x, image.shape[0] - 26), _LINE, 1)
        _write(image, f"{100 * 10.0**power:g} %", (x - 14, image.shape[0] - 10), 0.38)
    for number, name in enumerate(names):
        top = 50 + number * row
        cv2.rectangle(image, (10, top), (24, top + row - _ROW - 2), reports[0].palette[number].tolist(), cv2.FILLED)
        cv2.rectangle(image, (10, top), (24, top + row - _ROW - 2), _INK, 1)
        _write(image, name[:24], (32, top + 12), 0.42)
        for place, report in enumerate(reports):
            _draw_bar(image, report, number, top + place * _BAR)
    return image


def _draw_bar(image: np.ndarray, report: SplitReport, number: int, top: int) -> None:
    share = float(report.shares[number])
    length = round(_WIDE * (1 + np.log10(max(share, _LOWEST)) / 6))
    cv2.rectangle(image, (_LEFT, top), (_LEFT + length, top + _BAR - 4), report.palette[number].tolist(), cv2.FILLED)
    cv2.rectangle(image, (_LEFT, top), (_LEFT + length, top + _BAR - 4), _INK, 1)
    text = f"{100 * share:.3g} %  {report.split}, {report.images[number]} images"
    _write(image, text, (_LEFT + length + 6, top + 11), 0.36)


def _write(image: np.ndarray, text: str, at: tuple[int, int], scale: float) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
