"""A camera image on its way through the pipeline. Knows neither ROS messages nor networks."""

from typing import NamedTuple, Optional, Tuple

import numpy as np


class Frame(NamedTuple):
    """One image and what travels with it."""

    image: np.ndarray  # uint8 (H, W, 3); rows may be padded (a strided view of a message)
    channels: str  # "bgr" or "rgb"
    stamp_ns: int = 0  # when it was exposed, nanoseconds on the sender's clock
    frame_id: str = ""


def reuse(buffer: Optional[np.ndarray], shape: Tuple[int, ...]) -> np.ndarray:
    """Return ``buffer`` where it has this shape, otherwise a new one: cameras seldom change their size."""
    if buffer is not None and buffer.shape == shape:
        return buffer
    return np.empty(shape, np.uint8)
