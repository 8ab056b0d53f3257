"""A drive through a street that this project renders itself, with the true class of every pixel.

It needs no download, costs about 12 ms a frame (480 x 360, one core), never ends and never repeats.
Labels are CamVid's eleven classes, 0 Sky to 10 Bicyclist; void (255) does not occur. It knows no
networks.
"""

import hashlib
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_node.datasets import Sample
from seg_node.datasets import _street_textures as textures
from seg_node.datasets._street_canvas import FOCAL, Canvas, Metres
from seg_node.datasets._street_layout import Layout, unit

LABEL_SET = "camvid11"
SIZE = (360, 480)  # height, width of a frame where none is asked for
HORIZON = 0.47  # of the height, where the camera does not pitch
SPLITS = {"train": (1, 1000), "val": (2, 100), "test": (3, 100)}  # its number, samples


@cache
def _noise_plane() -> np.ndarray:
    """Camera noise around 8, uint8 (2048, 2048, 3), built once."""
    grain = np.random.default_rng(900).normal(8, 2.2, (1024, 1024, 3))
    return np.tile(grain.clip(0, 16).astype(np.uint8), (2, 2, 1))


class Street:
    """A rendered drive. Frame i is a pure function of (seed, size, frames_per_second, i)."""

    def __init__(self, seed: int = 0, size: tuple[int, int] = SIZE, frames_per_second: float = 30.0) -> None:
        """size: (height, width) of a frame in pixels, each at least 32."""
        if min(size) < 32:
            raise ValueError(f"size {tuple(size)} is too small: ask for at least 32 x 32 pixels")
        if not frames_per_second > 0:
            raise ValueError(f"frames_per_second must be positive, not {frames_per_second}")
        self.seed, self.size = int(seed), (int(size[0]), int(size[1]))
        self.frames_per_second = float(frames_per_second)
        self._layout = Layout(self.seed)
        pick = [unit(self.seed, 50, k) for k in range(10)]
        self._sky, self._skyline = int(pick[0] * textures.SKIES), int(pick[1] * 3)
        self._ground = int(pick[2] * 3)
        self._camera_height = 1.25 + 0.35 * pick[3]
        self._exposure = 0.80 + 0.35 * pick[4]
        self._warmth = 0.10 * (pick[5] - 0.5)
        self._haze = 0.12 + 0.35 * pick[6]
        self._start = 1000.0 * pick[7]
        self._phase = 6.28 * pick[8]

    def render(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame `index`: image uint8 (H, W, 3) in BGR and label uint8 (H, W)."""
        canvas = self._draw(index, deep=False)
        return self._expose(canvas.image, index, index / self.frames_per_second), canvas.label

    def render_with_depth(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frame `index`: the image and label of `render`, and depth float32 (H, W) in metres along the camera's axis.

        Sky is infinitely far. The depth is that of the geometry that is drawn: the ground, walls and cars as planes,
        people, trees and posts as pictures that face the camera. It fits the pinhole of `camera_matrix`.
        """
        canvas = self._draw(index, deep=True)
        assert canvas.depth is not None
        return self._expose(canvas.image, index, index / self.frames_per_second), canvas.label, canvas.depth

    def camera_matrix(self) -> np.ndarray:
        """Focal lengths and centre in pixels, float (3, 3), as a calibration has them: (0, 0) is a pixel's middle.

        The camera of a moving car pitches a little (0.26 degrees at most); this is the pinhole in its mean position.
        """
        height, width = self.size
        focal = FOCAL * width
        return np.array([[focal, 0, width / 2 - 0.5], [0, focal, HORIZON * height - 0.5], [0, 0, 1]])

    def _draw(self, index: int, deep: bool) -> Canvas:
        """What the camera sees, before it exposes it."""
        time = index / self.frames_per_second
        layout, (height, width) = self._layout, self.size
        # Speed swells by a fifth; its integral keeps the place a plain function of time.
        s = self._start + layout.speed * (time + 0.5 * math.sin(0.4 * time + self._phase))
        at, slope = layout.middle(s)
        yaw = 0.012 * math.sin(0.7 * time + self._phase)
        sway = layout.camera_u + 0.12 * math.sin(0.5 * time)

        (a0, w0, p0), (a1, w1, p1) = layout.waves

        def bend(z: Metres) -> Metres:
            sin: Callable[[Any], Any] = np.sin if isinstance(z, np.ndarray) else math.sin
            ahead = a0 * sin(6.2832 * (s + z) / w0 + p0) + a1 * sin(6.2832 * (s + z) / w1 + p1)
            return ahead - at - (slope + yaw) * z - sway

        pitch = 0.0025 * math.sin(5.1 * time) + 0.002 * math.sin(1.7 * time + 1)
        horizon = height * HORIZON + FOCAL * width * pitch
        light = 1 + 0.10 * math.sin(0.21 * time + self._phase) + 0.05 * math.sin(0.83 * time)
        canvas = Canvas(self.size, self._camera_height, horizon, bend, light, self._haze, deep)
        turn = -FOCAL * width * (slope + yaw)
        canvas.sky(self._sky, 6.0 * time + 300 * self._phase, turn)
        canvas.skyline(self._skyline, turn)
        canvas.ground(self._ground, layout.half_width, s, self._tile, self._shade)
        for draw in layout.things(s, time):
            draw(canvas)
        return canvas

    def _tile(self, n: int) -> int:
        """Which ground tile lies at the n-th place: plain ones twice as often."""
        return (0, 1, 2, 3, 4, 0, 3)[int(unit(self.seed, 51, n) * 7)]

    def _shade(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Light on the ground: shade of houses on one side, passing clouds and crowns; arrays."""
        layout = self._layout
        reach = layout.half_width * (0.5 + 0.5 * np.sin(s * 0.131 + self._phase))
        inside = 1 / (1 + np.exp(np.clip(4 * (u * layout.sunny_side + reach), -40, 40)))
        clouds = 0.5 + 0.5 * np.sin(s * 0.043 + 1.3 * np.sin(s * 0.017 + self._phase))
        return 1.06 - 1.1 * layout.contrast * inside - 0.14 * clouds

    def _expose(self, image: np.ndarray, index: int, time: float) -> np.ndarray:
        """The camera's exposure, white balance and noise: one table a channel, then noise added."""
        gain = self._exposure * (1 + 0.06 * math.sin(0.37 * time + 2 * self._phase))
        levels = np.arange(256, dtype=np.float32)[:, None]
        gains = gain * np.array([1 - self._warmth, 1.0, 1 + self._warmth], np.float32)
        # A soft shoulder keeps bright skies from burning out in one step.
        curve = 255 * np.tanh(levels * gains / 255 * 1.15) / np.tanh(1.15) - 8
        table = np.clip(curve, 0, 255).astype(np.uint8)[None]
        image = cv2.LUT(image, np.ascontiguousarray(table))
        height, width = image.shape[:2]
        plane = _noise_plane()
        if max(height, width) > 2048:
            plane = np.tile(plane, (height // 2048 + 1, width // 2048 + 1, 1))
        y = int(unit(self.seed, 52, index) * (plane.shape[0] - height))
        x = int(unit(self.seed, 53, index) * (plane.shape[1] - width))
        return cv2.add(image, plane[y : y + height, x : x + width])


class StreetSplit:
    """Samples of a split; sample i is one frame of a drive of its own."""

    def __init__(self, split: str, size: tuple[int, int] = SIZE, count: int | None = None) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
        self.split, self.size = split, size
        self._number, samples = SPLITS[split]
        self._count = samples if count is None else int(count)

    def __len__(self) -> int:
        return self._count

    def seed(self, i: int) -> int:
        """The drive that sample i is taken from; no two splits share one."""
        return self._number * 1_000_000_000 + i

    def __getitem__(self, index: int) -> Sample:
        """image uint8 (H, W, 3) in BGR, label uint8 (H, W), name."""
        i = index + self._count if index < 0 else index
        if not 0 <= i < self._count:
            raise IndexError(f"sample {i} of {self._count}")
        seed = self.seed(i)
        image, label = Street(seed, self.size).render(int(unit(seed, 99) * 3000))
        return Sample(image, label, f"street_{self.split}_{i:05d}")

    def fingerprint(self, times: bool = False) -> str:
        """Return a hash of what is rendered: the split, its size, and the code that draws; ``times`` is not used."""
        known = hashlib.sha256(repr((self.split, tuple(self.size), self._count)).encode())
        for path in sorted(Path(__file__).parent.glob("*street*.py")):
            known.update(path.read_bytes())
        return known.hexdigest()


def open_split(
    split: str, size: tuple[int, int] | None = SIZE, count: int | None = None, data: object = None
) -> StreetSplit:
    """Open "train" (1000 samples by default), "val" (100) or "test" (100); `data` is not used."""
    return StreetSplit(split, size or SIZE, count)
