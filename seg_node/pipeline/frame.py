"""A camera image on its way through the pipeline. Knows neither ROS messages nor networks."""

from typing import NamedTuple, Optional, Tuple

import numpy as np


class Frame(NamedTuple):
    """One image. Its header stays with the message, from which the outputs copy it."""

    image: np.ndarray  # uint8 (H, W, 3); rows may be padded (a strided view of a message)
    channels: str  # "bgr" or "rgb"


def reuse(buffer: Optional[np.ndarray], shape: Tuple[int, ...]) -> np.ndarray:
    """Return ``buffer`` where it has this shape, otherwise a new one: cameras seldom change their size."""
    if buffer is not None and buffer.shape == shape:
        return buffer
    return np.empty(shape, np.uint8)
