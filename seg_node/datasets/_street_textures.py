"""Surfaces of the street: ground, facades, roofs, fences, sky, the far skyline.

Everything is drawn once per process from fixed seeds and shared by all drives. Images are uint8
(H, W, 3) in BGR. Knows no camera and no scene.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

PIXELS_PER_METRE = 40  # of the ground texture
TILE_METRES = 25.6  # one ground tile along the road: 1024 rows, so that it halves down to 4
TILES = 5  # different tiles stacked in the ground texture
ROAD_METRES = 10.0  # nominal width of the road in the texture; drives stretch it to their own
PAVEMENT_METRES = 12.0  # kerb and slabs, from the kerb outwards
GAP = 16  # texels between road and pavement, so that filtering never mixes them
FACADES = 14
ROOFS = 3
FENCES = 4
SKIES = 4

Colour = tuple[int, int, int]  # blue, green, red


def noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    cells: Sequence[int] = (4, 12, 40, 160),
    weights: Sequence[float] = (1.0, 0.7, 0.5, 0.4),
) -> np.ndarray:
    """Smooth random field, float32 (height, width), mean 0 and deviation 1."""
    field = np.zeros((height, width), np.float32)
    for cell, weight in zip(cells, weights, strict=False):
        shape = (min(height, max(2, cell * height // max(height, width))), min(width, cell))
        grid = rng.standard_normal(shape).astype(np.float32)
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / field.std()


def shaded(colour: ArrayLike, field: np.ndarray, strength: float) -> np.ndarray:
    """Colour (B, G, R) brightened by field * strength: uint8 (H, W, 3)."""
    lit = np.asarray(colour, np.float32) * (1 + strength * field[..., None])
    return np.clip(lit, 0, 255).astype(np.uint8)


def halves(image: np.ndarray, steps: int = 4) -> list[np.ndarray]:
    """The image and its successive halves, largest first."""
    levels = [image]
    for _ in range(steps):
        height, width = levels[-1].shape[:2]
        if min(height, width) < 8:
            break
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return levels


def _paint_road(tile: np.ndarray, kind: int) -> None:
    """Markings of one road tile (1024 rows along the road, 400 columns across), in place."""
    height, width = tile.shape[:2]
    middle, white, yellow = width // 2, (205, 208, 208), (80, 170, 195)
    for start in range(0, height, 340):
        if kind == 2 and start == 340:
            continue  # the zebra crossing is there
        cv2.rectangle(tile, (middle - 3, start), (middle + 3, start + 160), white, -1)
    for edge in (10, 18):
        for x in (edge, width - edge):
            cv2.line(tile, (x, 0), (x, height), yellow if kind % 2 else white, 3)
    if kind == 1:  # straight-on arrows, one a lane
        for x, up in ((width // 4 + 20, -1), (3 * width // 4 - 20, 1)):
            y = height // 2
            cv2.rectangle(tile, (x - 5, y - 60), (x + 5, y + 60), white, -1)
            tip = np.array([(x - 16, y + up * 60), (x + 16, y + up * 60), (x, y + up * 130)])
            cv2.fillPoly(tile, [tip], white)
    if kind == 2:  # zebra crossing
        for x in range(8, width - 10, 40):
            cv2.rectangle(tile, (x, 410), (x + 20, 530), white, -1)
    if kind == 3:  # repaired patches and a drain cover
        cv2.rectangle(tile, (40, 200), (150, 520), (69, 67, 66), -1)
        cv2.rectangle(tile, (250, 700), (330, 860), (98, 95, 92), -1)
        cv2.rectangle(tile, (24, 640), (44, 664), (40, 40, 42), -1)
    if kind == 4:
        cv2.putText(tile, "SLOW", (40, 520), cv2.FONT_HERSHEY_SIMPLEX, 1.7, white, 9)
        cv2.circle(tile, (290, 300), 13, (60, 58, 56), -1)


def _pavement(rng: np.random.Generator, style: int, height: int, width: int) -> np.ndarray:
    """Kerb in the first columns, then slabs or bricks: uint8 (height, width, 3)."""
    base = ((128, 134, 138), (112, 130, 152), (140, 140, 136))[style]
    image = shaded(base, noise(rng, height, width, (6, 30, 120, 500)), 0.07)
    rows, columns = ((32, 24), (16, 8), (64, 32))[style]
    grid = rng.uniform(0.86, 1.1, (height // rows + 1, width // columns + 1)).astype(np.float32)
    plate = cv2.resize(grid, None, fx=columns, fy=rows, interpolation=cv2.INTER_NEAREST)
    image = np.clip(image * plate[:height, :width, None], 0, 255).astype(np.uint8)
    image[::rows] = image[::rows] * 0.72
    image[:, ::columns] = image[:, ::columns] * 0.72
    image[:, :5] = (96, 98, 100)  # the kerb's upright face, in its own shade
    image[:, 5:12] = shaded((168, 172, 174), noise(rng, height, 7), 0.05)
    image[::40, :12] = (90, 92, 94)
    return image


@cache
def ground(style: int) -> list[tuple[np.ndarray, int, int]]:
    """The ground of one style as levels [(image, times smaller across, times smaller along)].

    Columns: pavement (kerb first), GAP, road; rows: TILES tiles along the road. Far ground is
    squeezed more along the road than across it, so levels shrink 4 times in rows, twice in columns.
    """
    rng = np.random.default_rng(100 + style)
    height, width = round(TILE_METRES * PIXELS_PER_METRE), round(ROAD_METRES * PIXELS_PER_METRE)
    asphalt = ((82, 80, 79), (70, 69, 70), (98, 95, 93))[style]
    grain = rng.standard_normal((height, width)).astype(np.float32)
    tiles = []
    for kind in range(TILES):
        field = noise(rng, height, width, (4, 16, 60), (1, 0.6, 0.4))
        wheels = np.cos(np.linspace(0, 8 * np.pi, width, dtype=np.float32))[None]
        road = shaded(asphalt, 0.08 * field + 0.09 * grain + 0.03 * wheels, 1.0)
        _paint_road(road, kind)
        road = np.clip(road * (1 + 0.04 * grain[..., None]), 0, 255).astype(np.uint8)
        side = _pavement(rng, style, height, round(PAVEMENT_METRES * PIXELS_PER_METRE))
        between = np.hstack([np.repeat(side[:, -1:], GAP // 2, 1), np.repeat(road[:, :1], GAP // 2, 1)])
        tiles.append(np.hstack([side, between, road]))
    image = np.vstack(tiles)
    levels: list[tuple[np.ndarray, int, int]] = []
    for across, along in ((1, 1), (1, 4), (2, 16), (4, 64), (8, 256)):
        size = (image.shape[1] // across, image.shape[0] // along)
        levels.append((cv2.resize(image, size, interpolation=cv2.INTER_AREA), across, along))
    return levels


def _bricks(
    rng: np.random.Generator, height: int, width: int, colour: ArrayLike, row: int = 6, column: int = 15
) -> np.ndarray:
    field = noise(rng, height, width)
    image = shaded(colour, field, 0.06).astype(np.float32)
    grid = rng.normal(1, 0.1, (height // row + 1, width // column + 2)).astype(np.float32)
    each = cv2.resize(grid, None, fx=column, fy=row, interpolation=cv2.INTER_NEAREST)
    for y in range(0, height, row):
        shift = (y // row % 2) * column // 2
        image[y : y + row] *= each[y : min(y + row, height), shift : shift + width, None]
        image[y : y + 1] = image[y : y + 1] * 0.5 + np.array([75, 85, 92], np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _window(
    rng: np.random.Generator, image: np.ndarray, x: int, y: int, width: int, height: int, frame: Colour, arched: bool
) -> None:
    """One window with frame, sill, reflected sky and sometimes curtains, in place."""
    cv2.rectangle(image, (x - 6, y - 6), (x + width + 6, y + height + 4), frame, -1)
    if arched:
        cv2.ellipse(image, (x + width // 2, y - 4), (width // 2 + 6, 12), 0, 180, 360, frame, -1)
    top, low = rng.uniform(60, 150), rng.uniform(22, 50)
    ramp = np.linspace(top, low, height, dtype=np.float32)[:, None, None]
    tint = np.array([1.1, 1.0, 0.92], np.float32)
    image[y : y + height, x : x + width] = np.clip(ramp * tint, 0, 255)
    if rng.random() < 0.4:
        curtain = rng.uniform(0.5, 0.9) * np.array([170, 185, 195])
        wide = max(2, int(width * rng.uniform(0.15, 0.35)))
        image[y : y + height, x : x + wide] = curtain
        image[y : y + height, x + width - wide : x + width] = curtain
    cv2.line(image, (x + width // 2, y), (x + width // 2, y + height), frame, 3)
    cv2.line(image, (x, y + height // 2), (x + width, y + height // 2), frame, 3)
    dark = tuple(int(0.5 * c) for c in frame)
    cv2.rectangle(image, (x - 10, y + height + 4), (x + width + 10, y + height + 10), dark, -1)


def _shop(rng: np.random.Generator, image: np.ndarray, top: int) -> None:
    """A shopfront along the bottom of a facade, in place."""
    height, width = image.shape[:2]
    colour = tuple(int(c) for c in rng.choice([(60, 70, 30), (40, 40, 120), (90, 50, 30), (50, 50, 50), (40, 90, 110)]))
    cv2.rectangle(image, (0, top), (width, height), colour, -1)
    cv2.rectangle(image, (0, top), (width, top + 22), tuple(min(255, c + 40) for c in colour), -1)
    for x in range(0, width, 256):
        for k in range(10):
            left = x + 40 + 16 * k
            if rng.random() < 0.85:
                cv2.rectangle(image, (left, top + 6), (left + 9, top + 16), (215, 225, 230), -1)
        for left, wide in ((x + 12, 110), (x + 132, 60), (x + 200, 46)):
            pane = noise(rng, height - top - 40, wide, (3, 8), (1, 0.6))
            image[top + 28 : height - 12, left : left + wide] = shaded((62, 58, 54), pane, 0.4)
            cv2.rectangle(image, (left, top + 28), (left + wide, height - 12), (30, 30, 32), 3)


@cache
def facade(index: int) -> tuple[list[np.ndarray], int]:
    """Levels of a facade of four bays, 512 x 512, and its number of floors."""
    rng = np.random.default_rng(200 + index)
    materials = (
        (62, 82, 128),
        (104, 140, 165),
        (140, 158, 168),
        (196, 206, 210),
        (78, 86, 98),
        (128, 126, 120),
        (92, 120, 150),
    )
    kind, floors = index % len(materials), (2, 3, 4)[(index * 5 + index // 7) % 3]
    size = 512
    if kind in (0, 1, 4, 6):
        image = _bricks(rng, size, size, materials[kind])
    else:
        image = shaded(materials[kind], noise(rng, size, size, (3, 9, 60, 250)), 0.045)
        if kind == 2:  # ashlar: large stones
            for y in range(0, size, 24):
                image[y : y + 2] = image[y : y + 2] * 0.75
                image[y : y + 24, (y // 24 % 2) * 24 :: 48] = image[y : y + 24, (y // 24 % 2) * 24 :: 48] * 0.8
    frame = ((214, 222, 224), (200, 205, 206), (60, 58, 56), (70, 80, 86))[int(rng.integers(4))]
    frame = (88, 88, 90) if kind == 3 else frame
    top, floor = 28, (size - 28) // floors
    for level in range(floors):
        y = top + level * floor + int(floor * 0.2)
        high = int(floor * 0.58)
        for bay in range(4):
            if kind == 5:  # modern: ribbons of glass
                _window(rng, image, bay * 128 + 10, y, 108, high, (70, 70, 72), False)
            else:
                wide = 60 + 12 * (kind % 3)
                _window(rng, image, bay * 128 + 64 - wide // 2, y, wide, high, frame, kind in (2, 6) and level > 0)
        if level and kind != 5:
            band = top + level * floor
            image[band - 4 : band + 3] = np.clip(image[band - 4 : band + 3] * 1.18, 0, 255)
    if index % 3 == 0:
        _shop(rng, image, size - int(floor * 0.9))
    else:
        for bay in (0, 2):
            x, y = bay * 128 + 44, size - int(floor * 0.84)
            cv2.rectangle(image, (x - 8, y - 8), (x + 48, size), frame, -1)
            door = tuple(int(c) for c in rng.integers(25, 110, 3))
            cv2.rectangle(image, (x, y), (x + 40, size), door, -1)
            cv2.rectangle(image, (x + 6, y + 8), (x + 34, y + 30), (120, 115, 105), -1)
    cornice = tuple(int(c * 0.8) for c in materials[kind])
    cv2.rectangle(image, (0, 0), (size, 14), tuple(min(255, int(c * 1.15)) for c in cornice), -1)
    cv2.rectangle(image, (0, 14), (size, 20), tuple(int(c * 0.5) for c in cornice), -1)
    image[-10:] = image[-10:] * 0.7
    return halves(image), floors


@cache
def gable(index: int) -> list[np.ndarray]:
    """Levels of the blind side wall that goes with a facade, 256 x 256."""
    rng = np.random.default_rng(300 + index)
    colour = facade(index)[0][0][24:60, :].reshape(-1, 3).mean(0)
    image = _bricks(rng, 256, 256, colour * 0.92, 4, 10)
    if index % 2:
        _window(rng, image, 100, 60, 36, 52, (190, 196, 198), False)
    return halves(image)


@cache
def roof(index: int) -> list[np.ndarray]:
    """Levels of a tiled roof, 128 x 256."""
    rng = np.random.default_rng(400 + index)
    image = _bricks(rng, 128, 256, ((72, 66, 62), (58, 74, 112), (88, 88, 84))[index], 8, 12)
    return halves(image)


@cache
def fence(index: int) -> list[np.ndarray]:
    """Levels of a fence panel that one cannot see through, 128 x 256."""
    rng = np.random.default_rng(500 + index)
    colour = ((62, 100, 140), (70, 96, 58), (50, 74, 104), (120, 108, 66))[index]
    image = np.zeros((128, 256, 3), np.uint8)
    for x in range(0, 256, 16):
        grain = noise(rng, 128, 16, (4, 10, 60), (1, 1, 0.8))
        image[:, x : x + 16] = shaded(np.array(colour) * rng.uniform(0.82, 1.16), grain, 0.08)
        image[:, x : x + 3] = np.array(colour) * 0.35
    for y in (16, 100):
        image[y : y + 10] = np.clip(image[y : y + 10] * 1.25, 0, 255)
        image[y + 10 : y + 13] = image[y + 10 : y + 13] * 0.5
    image[:5] = np.clip(np.array(colour) * 1.35, 0, 255)
    image[:, :12] = np.clip(np.array(colour) * 0.7, 0, 255)
    return halves(image)


@cache
def sky(index: int) -> np.ndarray:
    """Clouds over a gradient, 256 x 1024; its left and right ends meet."""
    rng = np.random.default_rng(600 + index)
    wide = noise(rng, 256, 1280, (7, 17, 50, 150), (1.0, 0.9, 0.5, 0.25))
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    wide[:, :256] = wide[:, :256] * ramp + wide[:, 1024:] * (1 - ramp)
    wide = wide[:, :1024]
    up = np.linspace(1, 0, 256, dtype=np.float32)[:, None, None]  # 1 at the top
    low = np.array([242, 236, 226], np.float32)
    high = np.array([[228, 190, 150], [235, 205, 172], [222, 214, 206], [205, 190, 186]][index], np.float32)
    blue = (1 - up) * low + up * high
    cover = np.clip(wide * (0.5, 0.35, 0.3, 0.45)[index] + (0.45, 0.25, 0.8, 0.6)[index], 0, 1)
    under = np.clip(1 - 0.10 * np.roll(wide, 6, 0), 0.75, 1.05)[..., None]
    cloud = np.array([[250, 249, 247], [252, 251, 249], [232, 230, 227], [226, 226, 230]][index], np.float32)
    image = blue * (1 - cover[..., None]) + cloud * under * cover[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


@cache
def skyline(index: int) -> tuple[np.ndarray, np.ndarray]:
    """What closes the view: colour (128, 2048, 3) and label (128, 2048), 0 where sky shows."""
    rng = np.random.default_rng(700 + index)
    colour, label = np.zeros((128, 2048, 3), np.uint8), np.zeros((128, 2048), np.uint8)
    x = 0
    while x < 2048:
        wide, high = int(rng.integers(50, 150)), int(rng.integers(28, 84))
        if rng.random() < 0.5:
            tone = rng.uniform(0.8, 1.15) * np.array([(128, 134, 142), (132, 144, 158)][wide % 2])
            cv2.rectangle(colour, (x, 128 - high), (x + wide, 128), tuple(int(c) for c in tone), -1)
            cv2.rectangle(label, (x, 128 - high), (x + wide, 128), 1, -1)
            for y in range(128 - high + 7, 124, 12):
                for left in range(x + 5, x + wide - 8, 12):
                    cv2.rectangle(colour, (left, y), (left + 5, y + 6), (98, 98, 98), -1)
        else:
            for _ in range(14):
                centre = (x + int(rng.integers(0, wide)), 128 - int(rng.integers(0, high)))
                tone = rng.uniform(0.8, 1.15) * np.array([84, 112, 104])
                radius = int(rng.integers(14, 30))
                cv2.circle(colour, centre, radius, tuple(int(c) for c in tone), -1)
                cv2.circle(label, centre, radius, 5, -1)
        x += wide
    grain = rng.normal(1, 0.05, (128, 2048, 1)).astype(np.float32)
    return np.clip(colour * grain, 0, 255).astype(np.uint8), label
