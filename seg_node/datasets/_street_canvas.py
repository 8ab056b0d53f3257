"""Draws surfaces and sprites in perspective, colour, label and depth with one mask; knows no traffic.

Coordinates: z metres ahead of the camera along the road, u metres right of the road's middle,
h metres up. The road bends: `bend(z)` is how far its middle lies right of the camera's axis at z.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import cv2
import numpy as np

from seg_node.datasets import _street_sprites as sprites
from seg_node.datasets import _street_textures as textures

NEAR = 1.2  # metres; nothing nearer is drawn
FAR = 150.0  # metres; the skyline stands here
FOCAL = 0.9  # of the width
ROAD, PAVEMENT = 3, 4

Point = tuple[float, float, float]  # z, u, h
Metres = TypeVar("Metres", float, np.ndarray)


class Bend(Protocol):
    """How far the road's middle lies right of the camera's axis, z metres ahead."""

    def __call__(self, z: Metres, /) -> Metres: ...


class Canvas:
    """One frame in the making."""

    def __init__(
        self,
        size: tuple[int, int],
        camera_height: float,
        horizon: float,
        bend: Bend,
        light: float,
        haze: float,
        deep: bool = False,
    ) -> None:
        """``deep``: keep depth too, which costs time and changes no pixel."""
        self.height, self.width = size
        self.image = np.full((*size, 3), 205, np.uint8)  # haze, where a gap stays between skyline and ground
        self.label = np.zeros(size, np.uint8)
        self.depth = np.full(size, np.inf, np.float32) if deep else None  # z of what a pixel shows; infinite: sky
        self.focal = FOCAL * self.width
        self.unit = self.width / 480.0  # sizes below are told in pixels of a 480 pixel wide image
        self.camera_height, self.horizon, self.bend = camera_height, horizon, bend
        self.light, self.haze = light, haze  # gain of the scene; share of haze at FAR

    def project(self, z: float, u: float, h: float) -> tuple[float, float]:
        """Pixel (x, y) of a point."""
        return (
            self.width / 2 + self.focal * (u + self.bend(z)) / z,
            self.horizon + self.focal * (self.camera_height - h) / z,
        )

    def _tint(self, z: float, gain: float) -> tuple[float, float]:
        """Scale and offset that light a surface and veil it by its distance."""
        veil = self.haze * min(1.0, z / FAR)
        return gain * self.light * (1 - veil), 205.0 * veil

    def sky(self, index: int, drift: float, turn: float) -> None:
        """Fill the upper part; `drift` and `turn` shift it sideways, in sky columns and pixels."""
        rows = min(self.height, max(1, int(self.horizon) + 4))
        if self.horizon < 1:
            return
        step = 0.42 / self.unit
        matrix = np.array([[2 * step, 0, drift - turn * step], [0, 2 * 240.0 / rows, 8]], np.float32)
        half = (self.width + 1) // 2, (rows + 1) // 2  # clouds are soft: half the pixels do
        picture = cv2.warpAffine(
            textures.sky(index), matrix, half, borderMode=cv2.BORDER_WRAP, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        self.image[:rows] = cv2.resize(picture, (self.width, rows))

    def skyline(self, index: int, turn: float) -> None:
        """Buildings and trees at the end of the view, from the horizon up."""
        bottom = int(self.horizon + self.focal * self.camera_height / FAR) + 2
        tall = int(64 * self.unit)
        top = max(0, bottom - tall)
        bottom = min(self.height, bottom)
        if bottom <= top:
            return
        step = 1 / (0.5 * self.unit)
        first = 128 - (bottom - top) * step
        matrix = np.array([[step, 0, 700 - turn * step], [0, step, first]], np.float32)
        size = (self.width, bottom - top)
        colour, label = (
            cv2.warpAffine(picture, matrix, size, flags=flag | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP)
            for picture, flag in zip(textures.skyline(index), (cv2.INTER_LINEAR, cv2.INTER_NEAREST), strict=True)
        )
        colour = cv2.convertScaleAbs(colour, alpha=0.6 * self.light, beta=70)
        self._stamp(colour, (label > 0).astype(np.uint8), slice(top, bottom), slice(0, self.width), label, FAR)

    def ground(
        self,
        style: int,
        half_width: float,
        distance: float,
        tile_of: Callable[[int], int],
        shade: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        """Road, kerbs, pavements. `tile_of(n)` picks a tile, `shade(s, u)` gives the light."""
        first = int(max(0, np.ceil(self.horizon + self.focal * self.camera_height / (FAR * 1.2))))
        rows = np.arange(first, self.height, dtype=np.float32)
        if not len(rows):
            return
        z = self.focal * self.camera_height / np.maximum(rows + 0.5 - self.horizon, 0.5)
        slope = z / self.focal
        start = -self.width / 2 * slope - self.bend(z)
        columns = np.arange(self.width, dtype=np.float32) + np.float32(0.5)
        u = start.astype(np.float32)[:, None] + slope.astype(np.float32)[:, None] * columns
        aside = np.abs(u)
        on_road = aside < half_width
        self.label[first:] = np.where(on_road, np.uint8(ROAD), np.uint8(PAVEMENT))
        if self.depth is not None:
            self.depth[first:] = z[:, None]
        per_metre = textures.PIXELS_PER_METRE
        road_start = per_metre * textures.PAVEMENT_METRES + textures.GAP
        stretch = per_metre * textures.ROAD_METRES / 2 / half_width
        on = (u + np.float32(half_width)) * np.float32(stretch) + np.float32(road_start)
        across = np.where(
            on_road,
            on,
            np.minimum(
                (aside - np.float32(half_width)) * np.float32(per_metre),
                np.float32(per_metre * textures.PAVEMENT_METRES - 3),
            ),
        )
        s = distance + z
        tile = np.floor(s / textures.TILE_METRES).astype(np.int64)
        kinds = {int(n): tile_of(int(n)) for n in np.unique(tile)}
        kind = np.array([kinds[int(n)] for n in tile])
        # Texture rows run towards the camera's back so that writing on the road reads upright.
        part = 1 - (s / textures.TILE_METRES - tile)
        along = ((kind + part) * textures.TILE_METRES * per_metre).astype(np.float32)
        squeeze = per_metre * z * z / (self.focal * self.camera_height)
        level = np.clip(np.floor(np.log(squeeze / 2.5) / np.log(4.0)) + 1, 0, 4).astype(int)
        out = self.image[first:]
        for number in range(5):
            where = np.flatnonzero(level == number)
            if not len(where):
                continue
            picture, fold_x, fold_y = textures.ground(style)[number]
            band = slice(where[0], where[-1] + 1)
            map_x = across[band] * np.float32(1 / fold_x) - np.float32(0.5)
            map_y = np.repeat((along[band] / fold_y - 0.5)[:, None], self.width, 1).astype(np.float32)
            out[band] = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        coarse = np.ascontiguousarray(u[::8, ::8])
        light = shade(s[::8, None], coarse) * self.light
        veil = self.haze * np.minimum(1, z[::8, None] / FAR) * 0.8
        light = np.clip(light * (1 - veil) * 128, 0, 255).astype(np.uint8)
        light = cv2.resize(light, (self.width, len(rows)), interpolation=cv2.INTER_LINEAR)
        cv2.multiply(out, cv2.merge([light, light, light]), dst=out, scale=1 / 128)

    def _stamp(
        self,
        colour: np.ndarray,
        mask: np.ndarray,
        rows: slice,
        columns: slice,
        value: int | np.ndarray,
        z: float | np.ndarray,
    ) -> None:
        """Write colour, class and depth where the mask is set: the only place that does all."""
        view = self.image[rows, columns]
        cv2.copyTo(colour, mask, view)
        if isinstance(value, int):
            value = np.full(mask.shape, value, np.uint8)
        cv2.copyTo(value, mask, self.label[rows, columns])
        if self.depth is not None:
            cv2.copyTo(np.broadcast_to(np.float32(z), mask.shape).copy(), mask, self.depth[rows, columns])

    def quad(
        self,
        levels: Sequence[np.ndarray],
        corners: Sequence[Point],
        source: tuple[float, float, float, float],
        value: int,
        gain: float = 1.0,
        mask_levels: Sequence[np.ndarray] | None = None,
        outline: Sequence[Point] | None = None,
    ) -> None:
        """A flat textured surface.

        corners: four (z, u, h), going round from the top left of the texture;
        source: (x0, y0, x1, y1), the part of the texture used, in shares of its size;
        outline: points (z, u, h) in the same plane that bound what is drawn, where not the corners.
        """
        points = np.array([self.project(*corner) for corner in corners], np.float32)
        low, high = points.min(0), points.max(0)
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.width, int(high[0]) + 1), min(self.height, int(high[1]) + 1)
        if x1 - x0 < 1 or y1 - y0 < 1 or high[0] - low[0] < 1:
            return
        tall = max(abs(points[3, 1] - points[0, 1]), abs(points[2, 1] - points[1, 1]))
        wide = np.hypot(*(points[1] - points[0]))
        whole = np.sqrt(max(1.0, tall * wide / ((source[2] - source[0]) * (source[3] - source[1]))))
        number = 0
        while number + 1 < len(levels) and np.sqrt(levels[number][..., 0].size) > 1.6 * whole:
            number += 1
        picture = levels[number]
        height, width = picture.shape[:2]
        sx0, sy0, sx1, sy1 = (source[0] * width, source[1] * height, source[2] * width, source[3] * height)
        inside = np.array([(sx0, sy0), (sx1, sy0), (sx1, sy1), (sx0, sy1)], np.float32) - np.float32(0.5)
        shift = np.array([x0, y0], np.float32)
        matrix = cv2.getPerspectiveTransform(inside, points - shift)
        size = (x1 - x0, y1 - y0)
        colour = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        scale, offset = self._tint(min(corners[0][0], corners[1][0]), gain)
        colour = cv2.convertScaleAbs(colour, alpha=scale, beta=offset)
        if mask_levels is None:
            mask = np.zeros(size[::-1], np.uint8)
            bound = points if outline is None else np.array([self.project(*p) for p in outline], np.float32)
            fixed = np.round(np.clip(bound - shift, -8000, 8000) * 16).astype(np.int32)
            cv2.fillConvexPoly(mask, fixed, 255, shift=4)
        else:
            mask = cv2.warpPerspective(mask_levels[number], matrix, size, flags=cv2.INTER_LINEAR)
            cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY, dst=mask)
        z = 0.0 if self.depth is None else _depth_of_plane(points - shift, [c[0] for c in corners], mask.shape)
        self._stamp(colour, mask, slice(y0, y1), slice(x0, x1), value, z)

    def sprite(
        self,
        levels: sprites.Levels,
        z: float,
        u: float,
        base: float,
        width: float,
        height: float,
        value: int,
        least: float,
        gain: float = 1.0,
    ) -> None:
        """An upright picture facing the camera, its foot at height `base`; metres.

        Thinner than `least` pixels (of a 480 pixel wide image) it is not drawn; a little above
        that it fades in, and has its class from the middle of the fade on.
        """
        scale = self.focal / z
        presence = (min(width, height) * scale / (least * self.unit) - 1) / 0.06
        if presence <= 0:
            return
        x, y = self.project(z, u, base)
        left, top = x - width * scale / 2, y - height * scale
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1 = min(self.width, int(left + width * scale) + 1)
        y1 = min(self.height, int(y) + 1)
        if x1 - x0 < 1 or y1 - y0 < 1:
            return
        number = 0
        while number + 1 < len(levels) and levels[number][0].shape[0] > 1.7 * height * scale:
            number += 1
        picture, mask = levels[number]
        fx, fy = picture.shape[1] / (width * scale), picture.shape[0] / (height * scale)
        matrix = np.array([[fx, 0, (x0 + 0.5 - left) * fx - 0.5], [0, fy, (y0 + 0.5 - top) * fy - 0.5]], np.float32)
        size = (x1 - x0, y1 - y0)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        colour = cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(mask, matrix, size, flags=flags)
        cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY, dst=mask)
        scale, offset = self._tint(z, gain)
        colour = cv2.convertScaleAbs(colour, alpha=scale, beta=offset)
        rows, columns = slice(y0, y1), slice(x0, x1)
        if presence < 1:
            colour = cv2.addWeighted(colour, presence, self.image[rows, columns], 1 - presence, 0)
            if presence < 0.5:
                cv2.copyTo(colour, mask, self.image[rows, columns])
                return
        self._stamp(colour, mask, rows, columns, value, z)

    def shows(self, z: float, size: float, least: float) -> bool:
        """Whether `size` metres at z reach `least` pixels of a 480 pixel wide image."""
        return size * self.focal / z >= least * self.unit

    def shadow(self, z0: float, z1: float, u0: float, u1: float) -> None:
        """Darken the ground within z0..z1, u0..u1; labels stay."""
        z0 = max(z0, NEAR * 1.5)
        if z1 <= z0 or z0 > 60:
            return
        points = np.array([self.project(z, u, 0) for z, u in ((z1, u0), (z1, u1), (z0, u1), (z0, u0))], np.float32)
        low, high = points.min(0), points.max(0)
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.width, int(high[0]) + 1), min(self.height, int(high[1]) + 1)
        if x1 - x0 < 2 or y1 - y0 < 1:
            return
        whole = np.array([(0, 0), (63, 0), (63, 63), (0, 63)], np.float32)
        matrix = cv2.getPerspectiveTransform(whole, points - np.array([x0, y0], np.float32))
        dark = cv2.warpPerspective(
            sprites.shadow(), matrix, (x1 - x0, y1 - y0), borderMode=cv2.BORDER_CONSTANT, borderValue=255
        )
        view = self.image[y0:y1, x0:x1]
        cv2.multiply(view, cv2.merge([dark, dark, dark]), dst=view, scale=1 / 255)


def _depth_of_plane(points: np.ndarray, z: Sequence[float], shape: tuple[int, ...]) -> float | np.ndarray:
    """Depth of a flat surface at every pixel of ``shape``, float32 (H, W); a number where it faces the camera.

    ``points``: its corners in pixels, (n, 2); ``z``: theirs. One over z is linear in the pixels of a plane.
    """
    near, far = min(z), max(z)
    if far - near < 1e-6:
        return near
    ones = np.ones(len(z))
    (across, down, constant), *_ = np.linalg.lstsq(np.column_stack([points, ones]), 1 / np.array(z), rcond=None)
    height, width = shape
    inverse = (constant + down * (np.arange(height)[:, None] + 0.5)) + across * (np.arange(width) + 0.5)
    return (1 / np.clip(inverse, 1 / far, 1 / near)).astype(np.float32)
