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
    border = (before, width % 2, before, height % 2)
    padded = functional.pad(x, border, value=float("-inf")) if any(border) else x
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
    height, width = x.shape[2:]
    more = window - 2  # overlapping: an odd row or column is in the next window too
    if more:
        x = functional.pad(x, (0, more, 0, more))
        places = functional.pad(places, (0, more, 0, more), value=-1.0)
    corners = []  # of all 2x2 cells: (N, C, h, w) each
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = x.new_zeros(())
        for down in range(1 + row * more):
            for right in range(1 + column * more):
                # this corner's place in the window that is so far down and right
                place = (row - 2 * down + more) * window + column - 2 * right + more
                here = (slice(None), slice(None), slice(down, down + height), slice(right, right + width))
                corner = torch.where(places[here] == place, x[here], corner)
        corners.append(corner)
    cells = torch.stack(corners, dim=2).flatten(1, 2)  # (N, 4 C, h, w)
    return functional.pixel_shuffle(cells, 2)[:, :, : size[0], : size[1]]
