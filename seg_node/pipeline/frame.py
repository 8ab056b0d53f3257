"""A camera image on its way through the pipeline, and memory for what is made of it.

Knows neither ROS messages nor networks.
"""

import array
from typing import Any, NamedTuple, Optional, Tuple

import numpy as np


class Frame(NamedTuple):
    """One image. Its header stays with the message, from which the outputs copy it."""

    image: np.ndarray  # uint8 (H, W, 3); rows may be padded (a strided view of a message), and may be read only
    channels: str  # "bgr" or "rgb"


def reuse(buffer: Optional[np.ndarray], shape: Tuple[int, ...]) -> np.ndarray:
    """Return ``buffer`` where it has this shape, otherwise a new one: cameras seldom change their size.

    A new one lies in an ``array.array``, which a ROS message takes without a copy (``array_of``).
    """
    if buffer is not None and buffer.shape == shape:
        return buffer
    size = 1
    for side in shape:
        size *= side
    return np.frombuffer(array.array("B", bytes(1)) * size, np.uint8).reshape(shape)


def array_of(image: np.ndarray) -> "Optional[array.array[int]]":
    """Return the array that all of ``image`` lies in, in order; None where it does not."""
    owner: Any = image
    while isinstance(owner, (np.ndarray, memoryview)):  # a view of a view, or of what NumPy holds by a memoryview
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    whole = isinstance(owner, array.array) and owner.typecode == "B" and len(owner) == image.size
    return owner if whole and image.flags.c_contiguous and image.dtype == np.uint8 else None
