"""Write an H.264 file that every player and browser shows, while a drive goes on."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_node.evaluation.background import Background

_SMALLEST = 32  # pixels; encoders refuse less


class VideoWriter:
    """Frames with the moments at which they were taken; skips frames rather than making the caller wait.

    The first frame decides the size; others are fitted into it with black bars. No file is made before it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0  # written
        self._container: Any | None = None
        self._stream: Any = None
        self._size: tuple[int, int] = (0, 0)
        self._last = -1
        self._worker = Background(self._encode, depth=6)

    @property
    def skipped(self) -> int:
        return self._worker.skipped

    def offer(self, image: np.ndarray, seconds: float) -> bool:
        """Hand over uint8 (H, W, 3) BGR taken ``seconds`` after the start; returns whether it was taken."""
        return self._worker.offer(image, seconds)

    def close(self) -> None:
        """Finish the file. Raises what the encoder raised, where no frame could be written."""
        self._worker.finish()
        if self._container is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
        if self._worker.error is not None and self.frames == 0:
            raise self._worker.error

    def _open(self, image: np.ndarray) -> None:
        import av

        height, width = (max(_SMALLEST, side + side % 2) for side in image.shape[:2])  # 4:2:0 wants even sides
        self._size = (height, width)
        self._container = av.open(str(self.path.absolute()), "w", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=30)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.options = {"preset": "ultrafast", "crf": "23"}
        self._stream.codec_context.thread_count = 1  # the other cores are the network's
        self._stream.codec_context.time_base = Fraction(1, 1000)
        self._stream.codec_context.gop_size = 60

    def _encode(self, image: np.ndarray, seconds: float) -> None:
        import av

        if self._container is None:
            self._open(image)
        moment = int(seconds * 1000)
        if moment <= self._last:
            return  # time in a file only goes forward
        self._last = moment
        frame = av.VideoFrame.from_ndarray(fit(image, self._size), format="bgr24")
        frame.pts, frame.time_base = moment, Fraction(1, 1000)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)  # type: ignore[union-attr]
        self.frames += 1


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return uint8 (height, width, 3): the image as large as fits, in the middle, on black."""
    height, width = size
    if image.shape[:2] == size:
        return image
    scale = min(height / image.shape[0], width / image.shape[1])
    if image.shape[0] <= height and image.shape[1] <= width and scale < 1.1:
        scale = 1.0  # only the even side that it lacks: no reason to blur it
    inner = (max(1, int(image.shape[0] * scale)), max(1, int(image.shape[1] * scale)))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = (
        image if scale == 1.0 else cv2.resize(image, inner[::-1], interpolation=cv2.INTER_AREA)
    )
    return canvas
