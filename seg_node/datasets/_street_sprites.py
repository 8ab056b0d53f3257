"""Things that stand in the street, as flat pictures with masks. Knows no camera and no scene.

A sprite is a list of levels, largest first, each (colour uint8 (H, W, 3), mask uint8 (H, W) of 0 or
255). The colour runs on a little outside the mask, so that filtering draws no seam. Drawn once a
process, then shared.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from seg_node.datasets._street_textures import halves, noise, shaded

BODIES = 3
# Metres of each body's boot, and over how many its rear window slopes.
DECKS = ((0.2, 0.36), (0.72, 0.36), (0.1, 0.36))
PAINTS = (
    (46, 44, 42),
    (150, 148, 146),
    (214, 216, 216),
    (44, 40, 140),
    (128, 66, 36),
    (70, 84, 60),
    (92, 90, 90),
    (40, 110, 150),
)
PEOPLE = 10
RIDERS = 8
STEPS = 4
TREES = 8
SIGNS = 7

Colour = Sequence[float]  # blue, green, red
Points = Sequence[tuple[float, float]]  # x, y in heights of the picture
Levels = list[tuple[np.ndarray, np.ndarray]]  # colour, mask


class _Drawing:
    """A colour picture and its mask, drawn together in units of its height."""

    def __init__(self, height: int, width: int, background: Colour) -> None:
        self.height, self.width = height, width
        self.colour = np.empty((height, width, 3), np.uint8)
        self.colour[:] = np.clip(background, 0, 255)
        self.mask = np.zeros((height, width), np.uint8)

    def _points(self, points: ArrayLike) -> np.ndarray:
        return (np.array(points, np.float32) * self.height).round().astype(np.int32)

    def polygon(self, points: Points, colour: Colour) -> None:
        pixels = self._points(points)
        cv2.fillPoly(self.colour, [pixels], tuple(float(c) for c in colour))
        cv2.fillPoly(self.mask, [pixels], 255)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def oval(self, x: float, y: float, a: float, b: float, colour: Colour, turn: float = 0) -> None:
        centre = tuple(int(v) for v in self._points((x, y)))
        axes = (max(1, round(a * self.height)), max(1, round(b * self.height)))
        cv2.ellipse(self.colour, centre, axes, turn, 0, 360, tuple(float(c) for c in colour), -1)
        cv2.ellipse(self.mask, centre, axes, turn, 0, 360, 255, -1)

    def line(self, points: Points, thick: float, colour: Colour) -> None:
        pixels, across = [self._points(points)], max(1, round(thick * self.height))
        cv2.polylines(self.colour, pixels, False, tuple(float(c) for c in colour), across)
        cv2.polylines(self.mask, pixels, False, 255, across)

    def levels(self, rng: np.random.Generator, grain: float = 0.05) -> Levels:
        """Finish with a little texture and light from above."""
        light = np.linspace(1.08, 0.9, self.height, dtype=np.float32)[:, None]
        field = light * (1 + grain * noise(rng, self.height, self.width, (6, 24, 90), (1, 1, 1)))
        colour = np.clip(self.colour * field[..., None], 0, 255).astype(np.uint8)
        return list(zip(halves(colour), halves(self.mask), strict=True))


def _mirrored(levels: Levels) -> Levels:
    return [(cv2.flip(colour, 1), cv2.flip(mask, 1)) for colour, mask in levels]


def _tone(colour: Colour, gain: float) -> Colour:
    return tuple(min(255.0, c * gain) for c in colour)


@cache
def car_end(body: int, paint: int, front: bool) -> Levels:
    """A car from ahead or behind, 1.8 m wide and 1.5 m high (6 to 5)."""
    rng = np.random.default_rng(1000 + body * 100 + paint * 10 + front)
    colour = PAINTS[paint]
    d = _Drawing(240, 288, colour)
    top = (0.06, 0.10, 0.0)[body]
    inset = (0.17, 0.20, 0.12)[body]
    d.box(0.07, 0.80, 0.27, 1.0, (22, 22, 22))
    d.box(0.93, 0.80, 1.13, 1.0, (22, 22, 22))
    d.polygon(
        [
            (inset, top),
            (1.2 - inset, top),
            (1.12, 0.45),
            (1.17, 0.55),
            (1.17, 0.88),
            (0.03, 0.88),
            (0.03, 0.55),
            (0.08, 0.45),
        ],
        colour,
    )
    d.polygon([(inset, top), (1.2 - inset, top), (1.2 - inset, top + 0.04), (inset, top + 0.04)], _tone(colour, 1.3))
    glass = (78, 70, 62) if front else (52, 46, 42)
    d.polygon([(inset + 0.03, top + 0.06), (1.17 - inset, top + 0.06), (1.08, 0.42), (0.12, 0.42)], glass)
    d.polygon([(inset + 0.06, top + 0.08), (0.55, top + 0.08), (0.42, 0.40), (0.2, 0.40)], _tone(glass, 1.7))
    d.box(0.04, 0.46, 1.16, 0.49, _tone(colour, 1.25))
    d.box(0.04, 0.74, 1.16, 0.88, _tone(colour, 0.55))
    if front:
        d.box(0.36, 0.58, 0.84, 0.68, (28, 28, 28))
        for x in (0.18, 1.02):
            d.oval(x, 0.60, 0.095, 0.055, (235, 240, 240))
            d.oval(x, 0.60, 0.05, 0.035, (255, 255, 255))
        d.box(0.42, 0.74, 0.78, 0.82, (215, 220, 220))
    else:
        for x in (0.05, 0.99):
            d.box(x, 0.50, x + 0.16, 0.66, (36, 30, 190))
            d.box(x + 0.03, 0.59, x + 0.13, 0.64, (120, 150, 235))
        d.box(0.40, 0.60, 0.80, 0.70, (70, 200, 225))
    d.box(0.10, 0.87, 1.10, 0.93, (26, 26, 26))
    return d.levels(rng, 0.03)


@cache
def car_side(body: int, paint: int, nose_right: bool) -> Levels:
    """The flank of a car, 4.2 m long and 1.5 m high (14 to 5)."""
    rng = np.random.default_rng(2000 + body * 100 + paint * 10)
    colour = PAINTS[paint]
    d = _Drawing(180, 504, _tone(colour, 0.9))
    top = (0.06, 0.10, 0.0)[body]
    boot = ((0.10, 0.45), (0.45, 0.48), (0.04, 0.45))[body]
    outline = [
        (0.05, 0.86),
        (0.03, 0.52),
        (boot[0], boot[1]),
        (boot[0] + 0.22, top),
        (1.55, top),
        (2.0, 0.44),
        (2.68, 0.54),
        (2.77, 0.66),
        (2.76, 0.86),
    ]
    d.polygon(outline, _tone(colour, 0.92))
    d.polygon([(boot[0] + 0.15, 0.42), (boot[0] + 0.30, top + 0.06), (1.50, top + 0.06), (1.88, 0.42)], (60, 54, 48))
    for x in (0.95, 1.30):
        d.box(x, top + 0.05, x + 0.06, 0.43, _tone(colour, 0.8))
    d.box(0.05, 0.60, 2.76, 0.63, _tone(colour, 1.2))
    d.box(0.06, 0.80, 2.75, 0.90, _tone(colour, 0.5))
    for x in (0.55, 2.2):
        d.oval(x, 0.80, 0.235, 0.235, (18, 18, 18))
        d.oval(x, 0.80, 0.13, 0.13, (150, 150, 150))
        d.oval(x, 0.80, 0.05, 0.05, (60, 60, 60))
    levels = d.levels(rng, 0.03)
    return levels if nose_right else _mirrored(levels)


@cache
def person(kind: int, step: int) -> Levels:
    """A walker, 0.9 m by 1.8 m (1 to 2), in one of STEPS steps."""
    rng = np.random.default_rng(3000 + kind)
    coats = (
        (48, 40, 36),
        (70, 46, 34),
        (40, 40, 92),
        (84, 74, 66),
        (42, 62, 54),
        (120, 96, 70),
        (36, 36, 36),
        (60, 40, 84),
        (112, 112, 112),
        (46, 70, 110),
    )
    coat, legs = coats[kind], ((58, 44, 38), (36, 36, 38), (88, 70, 58))[int(rng.integers(3))]
    skin, hair = ((150, 178, 214), (90, 120, 165), (130, 165, 205))[kind % 3], (30, 38, 50)
    d = _Drawing(256, 128, coat)
    swing = (0.10, 0.03, -0.10, -0.03)[step]
    for side in (-1, 1):
        foot = 0.25 + side * swing
        d.line([(0.25 + side * 0.03, 0.55), (0.25 + side * swing * 0.7, 0.76), (foot, 0.96)], 0.085, legs)
        d.oval(foot + 0.02, 0.97, 0.055, 0.025, (24, 24, 26))
    d.line([(0.14, 0.27), (0.11 - swing * 0.5, 0.44), (0.13 - swing, 0.56)], 0.075, _tone(coat, 0.85))
    hem = 0.60 if kind % 2 else 0.68
    d.polygon([(0.15, 0.19), (0.35, 0.19), (0.39, 0.30), (0.37, hem), (0.13, hem), (0.11, 0.30)], coat)
    d.line([(0.36, 0.27), (0.39 + swing * 0.5, 0.44), (0.37 + swing, 0.56)], 0.075, _tone(coat, 1.2))
    d.box(0.22, 0.14, 0.28, 0.21, skin)
    d.oval(0.25, 0.10, 0.066, 0.085, skin)
    d.oval(0.25, 0.07, 0.072, 0.065, hair)
    if kind % 3 == 0:
        d.box(0.36, 0.50, 0.47, 0.66, ((40, 60, 150), (200, 205, 205), (110, 60, 30))[kind // 3 % 3])
    return d.levels(rng, 0.08)


@cache
def rider(kind: int, step: int, front: bool) -> Levels:
    """A cyclist from ahead or behind, both wheels showing; 1.1 m by 1.9 m (0.58 to 1)."""
    rng = np.random.default_rng(4000 + kind)
    jacket = (
        (50, 225, 215),
        (44, 44, 200),
        (60, 210, 190),
        (200, 120, 50),
        (60, 140, 235),
        (50, 220, 225),
        (150, 60, 150),
        (230, 230, 228),
    )[kind]
    helmet = ((235, 235, 235), (60, 60, 210), (50, 200, 220), (40, 40, 44))[kind % 4]
    d = _Drawing(256, 148, (70, 70, 70))
    frame = ((40, 40, 160), (150, 90, 30), (50, 120, 60), (30, 30, 30))[kind // 2]
    d.box(0.22, 0.60, 0.36, 0.95, (44, 44, 46))
    d.oval(0.36, 0.78, 0.10, 0.205, (24, 24, 26))
    d.oval(0.36, 0.78, 0.062, 0.155, (104, 104, 106))
    d.oval(0.22, 0.80, 0.10, 0.195, (22, 22, 24))
    d.oval(0.22, 0.80, 0.058, 0.145, (88, 88, 90))
    d.line([(0.22, 0.78), (0.26, 0.56), (0.36, 0.78)], 0.045, frame)
    lift = (0.0, 0.06, 0.09, 0.03)[step]
    for side, up in ((-1, lift), (1, 0.09 - lift)):
        x = 0.28 + side * 0.085
        d.line([(x, 0.50), (x + side * 0.03, 0.66 - up), (x, 0.86 - up)], 0.085, (48, 40, 36))
        d.oval(x, 0.88 - up, 0.05, 0.028, (200, 200, 205))
    d.line([(0.09, 0.47), (0.28, 0.44), (0.48, 0.47)], 0.04, (36, 36, 36))
    d.polygon([(0.19, 0.17), (0.38, 0.17), (0.43, 0.28), (0.40, 0.54), (0.17, 0.54), (0.13, 0.28)], jacket)
    for side in (-1, 1):
        d.line(
            [(0.28 + side * 0.13, 0.23), (0.28 + side * 0.20, 0.36), (0.28 + side * 0.17, 0.46)],
            0.07,
            _tone(jacket, 0.85),
        )
    d.box(0.16, 0.36, 0.41, 0.40, (235, 238, 238) if kind % 2 else (150, 150, 150))
    d.oval(0.28, 0.11, 0.065, 0.08, (140, 170, 208) if front else (46, 54, 66))
    d.oval(0.28, 0.065, 0.08, 0.062, helmet)
    return d.levels(rng, 0.06)


@cache
def tree(kind: int) -> Levels:
    """A tree with a full crown, 5.2 m by 6.5 m (4 to 5)."""
    rng = np.random.default_rng(5000 + kind)
    height, width = 400, 320
    greens = (
        (52, 104, 84),
        (44, 86, 64),
        (64, 118, 112),
        (58, 108, 132),
        (48, 92, 86),
        (40, 78, 58),
        (70, 124, 100),
        (56, 98, 100),
    )
    d = _Drawing(height, width, greens[kind])
    bark = (58, 70, 82)
    d.polygon([(0.36, 1.0), (0.375, 0.5), (0.425, 0.5), (0.445, 1.0)], bark)
    d.line([(0.40, 0.72), (0.28, 0.52)], 0.025, bark)
    d.line([(0.40, 0.68), (0.54, 0.50)], 0.025, bark)
    crown = np.zeros((height, width), np.uint8)
    tall = kind % 3 == 2
    for _ in range(34):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x = 0.40 + (0.16 if tall else 0.25) * reach * np.cos(angle)
        y = 0.34 + (0.27 if tall else 0.21) * reach * np.sin(angle)
        cv2.circle(crown, (int(x * height), int(y * height)), int(rng.uniform(0.05, 0.10) * height), 255, -1)
    leaf = noise(rng, height, width, (8, 26, 70, 200), (0.8, 1.0, 1.0, 0.8))
    light = np.linspace(0.35, -0.35, height, dtype=np.float32)[:, None]
    leaves = shaded(0.86 * np.array(greens[kind], np.float32), 0.26 * leaf + light, 1.0)
    yellow = np.array([0.88, 1.02, 1.06], np.float32) ** np.clip(leaf, -1, 1)[..., None]
    leaves = np.clip(leaves * yellow, 0, 255).astype(np.uint8)
    margin = cv2.dilate(crown, np.ones((9, 9), np.uint8)) > 0
    margin &= (d.mask == 0) | (crown > 0)
    d.colour[margin] = leaves[margin]
    d.mask |= crown
    return d.levels(rng, 0.03)


@cache
def lamp(kind: int, arm_right: bool) -> Levels:
    """A street lamp, 2.2 m by 7 m (22 to 70), its shaft 0.30 m."""
    rng = np.random.default_rng(6000 + kind)
    tone = ((84, 88, 84), (116, 116, 112), (62, 72, 58))[kind]
    d = _Drawing(560, 176, tone)
    d.polygon([(0.135, 1.0), (0.137, 0.04), (0.177, 0.04), (0.179, 1.0)], tone)
    d.box(0.168, 0.05, 0.176, 1.0, _tone(tone, 1.35))
    d.box(0.127, 0.86, 0.187, 1.0, _tone(tone, 0.8))
    d.line([(0.157, 0.05), (0.10, 0.025), (0.03, 0.025)], 0.030, tone)
    d.box(0.005, 0.012, 0.09, 0.044, _tone(tone, 0.7))
    d.box(0.01, 0.036, 0.085, 0.044, (210, 225, 230))
    levels = d.levels(rng, 0.05)
    return _mirrored(levels) if arm_right else levels


@cache
def post(kind: int) -> Levels:
    """A plain post that carries a sign, 0.26 m by 2.6 m (1 to 10)."""
    rng = np.random.default_rng(6100 + kind)
    tone = ((128, 128, 126), (80, 84, 82), (60, 60, 62))[kind]
    d = _Drawing(320, 32, tone)
    d.box(0.0, 0.0, 0.1, 1.0, tone)
    d.box(0.06, 0.0, 0.085, 1.0, _tone(tone, 1.35))
    d.box(0.0, 0.0, 0.015, 1.0, _tone(tone, 0.7))
    return d.levels(rng, 0.04)


@cache
def sign(kind: int) -> tuple[Levels, tuple[float, float]]:
    """A traffic sign or light (levels, width in metres, height in metres)."""
    rng = np.random.default_rng(7000 + kind)
    size = (1.0, 1.0)
    if kind == 0:  # speed limit
        d = _Drawing(160, 160, (40, 40, 205))
        d.oval(0.5, 0.5, 0.48, 0.48, (40, 40, 205))
        d.oval(0.5, 0.5, 0.35, 0.35, (238, 240, 240))
        cv2.putText(d.colour, "30", (40, 102), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (20, 20, 20), 9)
    elif kind == 1:  # warning
        d = _Drawing(160, 160, (40, 40, 205))
        d.polygon([(0.5, 0.02), (0.99, 0.92), (0.01, 0.92)], (40, 40, 205))
        d.polygon([(0.5, 0.24), (0.82, 0.82), (0.18, 0.82)], (238, 240, 240))
        d.box(0.46, 0.42, 0.54, 0.66, (20, 20, 20))
        d.box(0.46, 0.70, 0.54, 0.77, (20, 20, 20))
    elif kind == 2:  # keep left
        d = _Drawing(160, 160, (190, 90, 20))
        d.oval(0.5, 0.5, 0.48, 0.48, (235, 235, 235))
        d.oval(0.5, 0.5, 0.44, 0.44, (190, 90, 20))
        d.line([(0.68, 0.30), (0.34, 0.66)], 0.10, (240, 240, 240))
        d.polygon([(0.25, 0.76), (0.29, 0.50), (0.51, 0.72)], (240, 240, 240))
    elif kind == 3:  # directions
        d, size = _Drawing(160, 264, (70, 120, 20)), (1.65, 1.0)
        d.box(0.0, 0.0, 1.65, 1.0, (235, 238, 235))
        d.box(0.05, 0.05, 1.60, 0.95, (76, 112, 16))
        for y, wide in ((0.22, 1.1), (0.48, 0.8), (0.74, 1.25)):
            for x in np.arange(0.15, wide, 0.11):
                d.box(x, y - 0.06, x + 0.08, y + 0.06, (235, 238, 235))
    elif kind == 4:  # no entry
        d = _Drawing(160, 160, (40, 40, 205))
        d.oval(0.5, 0.5, 0.48, 0.48, (44, 36, 200))
        d.box(0.18, 0.42, 0.82, 0.58, (240, 240, 240))
    else:  # traffic light, red or green
        d, size = _Drawing(256, 128, (26, 28, 28)), (0.75, 1.5)
        d.box(0.0, 0.0, 0.5, 1.0, (215, 220, 220))
        d.box(0.025, 0.02, 0.475, 0.98, (24, 26, 26))
        lit = 0 if kind == 5 else 2
        for k, (on, off) in enumerate(
            (((60, 60, 250), (26, 26, 70)), ((40, 180, 250), (20, 60, 70)), ((150, 235, 90), (40, 60, 26)))
        ):
            d.oval(0.25, 0.19 + 0.31 * k, 0.12, 0.12, on if k == lit else off)
    return d.levels(rng, 0.03), size


@cache
def shadow() -> np.ndarray:
    """A soft dark patch: gain uint8 (64, 64), 255 is no shadow."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    depth = np.clip(1.25 - (x**4 + y**4), 0, 1) * np.clip(2.5 * (1 - np.maximum(abs(x), abs(y))), 0, 1)
    return (255 - 165 * depth).astype(np.uint8)
