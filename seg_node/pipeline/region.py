"""Which part of the camera image a network looks at, how it is fitted in, and how large the answer is.

Geometry only, no pixels. Whatever the view, the label image covers the whole camera image: a consumer scales
``camera_info`` by label size / camera size and needs to know nothing else.
"""

from functools import lru_cache
from numbers import Integral
from typing import Any, NamedTuple, Optional, Tuple, Union

import numpy as np

FITS = ("stretch", "letterbox")
MAX_SIDE = 16384  # pixels; a larger output is a slip of the keyboard, and would not fit in memory

Size = Tuple[int, int]  # (height, width)


class ViewError(ValueError):
    """A view that makes no sense, or none for this camera's image; the message says why."""


class View(NamedTuple):
    """What people choose. ``check_view`` says whether it makes sense."""

    roi: Optional[Tuple[int, int, int, int]] = None  # x, y, width, height in camera pixels; None: all
    fit: str = "stretch"  # or "letterbox": keep the aspect, fill the rest with the card's mean colour
    output_size: Union[str, Size, None] = None  # None or "camera", "network", or (height, width)


WHOLE = View()


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """Return the part as a view of ``image`` (H, W, ...)."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


class Placement(NamedTuple):
    """A view applied to one camera size and one network."""

    source: Optional[Box]  # of the camera image: what the network sees; None: all of it
    inside: Optional[Box]  # of the network's image: where that lies; None: all of it
    target: Optional[Box]  # of the label image: where that lies; None: all of it
    size: Size  # of the label image


def check_view(view: View) -> View:
    """Return the view in plain tuples and ints. Raises ViewError, which says what to choose."""
    if view.fit not in FITS:
        raise ViewError("fit is {!r}; choose from {}".format(view.fit, ", ".join(FITS)))
    return View(_check_roi(view.roi), view.fit, _check_size(view.output_size))


def _check_roi(roi: Any) -> Optional[Tuple[int, int, int, int]]:
    if roi is None:
        return None
    numbers = _integers(roi)
    if len(numbers) != 4 or min(numbers[2:]) < 1:
        raise ViewError("roi is {!r}; must be x, y, width, height in whole pixels, the last two above 0".format(roi))
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _check_size(size: Any) -> Union[str, Size, None]:
    if size is None or (isinstance(size, str) and size in ("camera", "network")):
        return "network" if size == "network" else None
    sides = _integers(size)
    if len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
        raise ViewError(
            "output_size is {!r}; must be camera, network, or height and width from 1 to {}".format(size, MAX_SIDE)
        )
    return sides[0], sides[1]


def _integers(values: Any) -> Tuple[int, ...]:
    """Return a sequence of whole numbers as ints; () for anything else."""
    right = isinstance(values, (tuple, list)) and all(type(v) is not bool and isinstance(v, Integral) for v in values)
    return tuple(int(value) for value in values) if right else ()


@lru_cache(maxsize=64)  # cameras send one size all day
def place(view: View, camera: Size, network: Size) -> Placement:
    """Apply a checked view to images of size ``camera`` for a network whose input has size ``network``.

    A region that reaches over the image's edge is cut off there. Raises ViewError where all of it is outside.
    """
    source = None if view.roi is None else _clip(view.roi, camera)
    if source == Box(0, 0, *camera):
        source = None
    seen = camera if source is None else (source.height, source.width)
    size = view.output_size or camera
    if isinstance(size, str):
        size = network
    target = None if source is None else _scale(source, camera, size)
    inside = _letterbox(seen, network) if view.fit == "letterbox" else None
    return Placement(source, inside, target, size)


def _clip(roi: Tuple[int, int, int, int], camera: Size) -> Box:
    x, y, width, height = roi
    left, right = max(x, 0), min(x + width, camera[1])
    top, bottom = max(y, 0), min(y + height, camera[0])
    if right <= left or bottom <= top:
        raise ViewError(
            "roi {} (x, y, width, height) lies outside the camera image, which is {} wide and {} high".format(
                list(roi), camera[1], camera[0]
            )
        )
    return Box(top, left, bottom - top, right - left)


def _scale(box: Box, camera: Size, size: Size) -> Box:
    """Return ``box`` as it lies in an image of another size: rounded to pixels, at least one."""
    top, height = _scale_side(box.top, box.height, camera[0], size[0])
    left, width = _scale_side(box.left, box.width, camera[1], size[1])
    return Box(top, left, height, width)


def _scale_side(start: int, length: int, old: int, new: int) -> Tuple[int, int]:
    first = min(round(start * new / old), new - 1)
    last = round((start + length) * new / old)
    return first, max(last - first, 1)


def _letterbox(seen: Size, network: Size) -> Optional[Box]:
    """Return where an image of size ``seen`` lies, as large as it can be and centred; None: it fills all."""
    scale = min(network[0] / seen[0], network[1] / seen[1])
    height = min(max(round(seen[0] * scale), 1), network[0])
    width = min(max(round(seen[1] * scale), 1), network[1])
    if (height, width) == tuple(network):
        return None
    return Box((network[0] - height) // 2, (network[1] - width) // 2, height, width)
