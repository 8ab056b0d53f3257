"""Max-pooling that remembers where each maximum was, and its inverse (SegNet, ENet).

The same as max_pool2d with indices and max_unpool2d, but of comparisons and selections only: runtimes differ in what
they mean by an index, or know none (TensorRT). The place of a maximum is its number in its window, row by row, kept in
the type of the features: whole numbers to 8 are exact in any.
"""

from typing import Tuple

import torch
from torch.nn import functional

WINDOWS = (2, 3)  # 2x2, or 3x3 with a padding of 1, so that windows overlap; always with stride 2


def pool(x: torch.Tensor, window: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Return the maxima and their places. (N, C, H, W) to twice (N, C, ceil(H / 2), ceil(W / 2))."""
    height, width = x.shape[2:]
    before = window - 2
    padded = functional.pad(x, (before, width % 2, before, height % 2), value=float("-inf"))
    maxima = functional.max_pool2d(padded, window, stride=2)
    rows, columns = 2 * maxima.shape[2] - 1, 2 * maxima.shape[3] - 1
    places = torch.zeros_like(maxima)
    for place in reversed(range(window * window)):  # the first of equal values wins: it is written last
        top, left = place // window, place % window
        there = padded[:, :, top : top + rows : 2, left : left + columns : 2]
        places = places.masked_fill(there == maxima, place)
    return maxima, places


def unpool(x: torch.Tensor, places: torch.Tensor, size: Tuple[int, int], window: int) -> torch.Tensor:
    """Put each value where the maximum was, and zero elsewhere. (N, C, h, w) to (N, C, *size), the size before pool.

    Where overlapping windows had the same maximum, the last one's value is put, as max_unpool2d does on a CPU.
    """
    n, channels, height, width = x.shape
    out = x.new_zeros(())
    # each pixel of a 2x2 cell is in the window of that cell; where windows overlap, in the next ones too
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1))[: (window - 1) ** 2]:
        number = [[_place(row - 2 * down, column - 2 * right, window) for column in (0, 1)] for row in (0, 1)]
        cell = torch.tensor(number, dtype=x.dtype, device=x.device).view(2, 1, 2)
        here = _shift(places, down, right) == cell  # (N, C, h, 2, w, 2)
        out = torch.where(here, _shift(x, down, right), out)
    return out.reshape(n, channels, 2 * height, 2 * width)[:, :, : size[0], : size[1]]


def _place(row: int, column: int, window: int) -> int:
    """Return the number in its window of the pixel at (row, column), counted from the middle; -9 if not in it."""
    first = 2 - window
    inside = row >= first and column >= first
    return (row - first) * window + column - first if inside else -9


def _shift(x: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Bring the window below and to the right to each cell, -1 where there is none. To (N, C, h, 1, w, 1)."""
    if down or right:
        x = functional.pad(x, (0, right, 0, down), value=-1.0)[:, :, down:, right:]
    return x.unsqueeze(4).unsqueeze(3)
