"""What stands where along the endless road, as things to draw for a place and time.

Every property of the n-th lot or walker is a hash of (seed, stream, n), so that the road neither
ends nor repeats. It knows no pixels.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial

from seg_node.datasets import _street_sprites as sprites
from seg_node.datasets import _street_textures as textures
from seg_node.datasets._street_canvas import FAR, NEAR, Canvas

BUILDING, POLE, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = 1, 2, 5, 6, 7, 8, 9, 10
_MASK = (1 << 64) - 1
LOT = 12.0  # metres of a lot, on average

Draw = Callable[[Canvas], None]
Thing = tuple[float, Draw]  # how far it is, which orders things; what draws it


@lru_cache(maxsize=1 << 15)  # a drive asks for the same few hundred again, frame after frame
def unit(*keys: int) -> float:
    """A number in [0, 1) that depends on the integers given and on nothing else."""
    value = 0x9E3779B97F4A7C15
    for key in keys:
        value = (value ^ (int(key) & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        value = (value ^ (value >> 29)) * 0x94D049BB133111EB & _MASK
        value ^= value >> 32
    return value / 2.0**64


class Layout:
    """The road of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        pick = partial(unit, seed, 1)
        self.speed = 7.0 + 3.0 * pick(1)  # metres a second, of the camera
        self.half_width = 4.2 + 0.8 * pick(2)  # metres, of the road
        self.pavement = 3.0 + 1.2 * pick(3)  # metres wide
        self.camera_u = -0.40 * self.half_width  # one drives on the left
        self.greenery = 0.18 + 0.30 * pick(4)  # share of lots without a house
        self.storeys = 2.9 + 0.7 * pick(5)  # metres a floor
        self.traffic = 0.55 + 0.45 * pick(6)  # share of slots in use
        self.style = int(pick(7) * textures.FACADES)  # houses of a street look alike
        self.sunny_side = 1 if pick(8) < 0.5 else -1
        self.contrast = 0.05 + 0.22 * pick(9)
        self.fences = 0.40 + 0.25 * pick(10)
        self.waves = [
            (
                (2.0 + 4.0 * pick(20 + k)) * (1, 0.5)[k],
                (210.0, 97.0)[k] * (0.8 + 0.5 * pick(30 + k)),
                6.28 * pick(40 + k),
            )
            for k in range(2)
        ]

    def middle(self, s: float) -> tuple[float, float]:
        """How far right the road's middle lies at s metres, and its slope there."""
        at = sum(a * math.sin(6.2832 * s / w + p) for a, w, p in self.waves)
        slope = sum(a * 6.2832 / w * math.cos(6.2832 * s / w + p) for a, w, p in self.waves)
        return at, slope

    def things(self, s: float, time: float) -> list[Draw]:
        """All things in view from s metres at `time` seconds: list of draw(canvas), far to near."""
        out: list[Thing] = []
        for side in (-1, 1):
            self._lots(out, s, side)
            self._furniture(out, s, side)
            self._walkers(out, s, time, side)
        self._parked(out, s)
        self._moving(out, s, time)
        out.sort(key=lambda thing: -thing[0])
        return [draw for _, draw in out]

    def _edge(self, side: int, n: int) -> float:
        return LOT * (n + 0.45 * (unit(self.seed, 2, side, n) - 0.5))

    def _lots(self, out: list[Thing], s: float, side: int) -> None:
        """Houses, gardens and gaps on one side."""
        gain = 1.0 + side * self.sunny_side * self.contrast
        for n in range(int(s // LOT) - 2, int((s + FAR) // LOT) + 2):
            z0, z1 = self._edge(side, n) - s, self._edge(side, n + 1) - s
            if z1 < NEAR + 0.5 or z0 > FAR:
                continue
            pick = partial(unit, self.seed, 3, side, n)
            front = self.half_width + self.pavement
            green = pick(1) < self.greenery
            fenced = pick(2) < self.fences or (green and pick(3) < 0.7)
            # Within a lot the order is by distance from the road; later keys are drawn later.
            if green:
                count = max(2, int((z1 - z0) / 3.5))
                for k in reversed(range(count)):
                    z = z0 + (k + 0.3 + 0.4 * pick(20 + k)) * (z1 - z0) / count
                    if z < NEAR * 2:
                        continue
                    out.append(
                        (
                            z1 + 0.03,
                            partial(
                                _tree,
                                int(pick(30 + k) * sprites.TREES),
                                z,
                                side * (front + 2.6 + 4 * pick(40 + k)),
                                0.85 + 0.5 * pick(50 + k),
                                gain,
                            ),
                        )
                    )
            else:
                front += 2.5 if fenced else 0.0
                out.append((z1 + 0.04, partial(self._house, side, pick, z0, z1, front, gain)))
            if fenced and z0 < 60:
                kind = int(pick(60) * textures.FENCES)
                high = 1.25 + 0.6 * pick(61)
                u = side * (self.half_width + self.pavement)
                count = max(2, round((z1 - z0) / 2.6))
                for k in reversed(range(count)):
                    near, far = (max(NEAR, z0 + (z1 - z0) * j / count) for j in (k, k + 1))
                    if far > NEAR and near < 50:
                        out.append(
                            (
                                z1 + 0.01 + 0.001 * (count - k) / count - 0.002,
                                partial(_panel, kind, side, u, near, far, high, gain),
                            )
                        )

    def _house(
        self, side: int, pick: Callable[[int], float], z0: float, z1: float, front: float, gain: float, canvas: Canvas
    ) -> None:
        """Roof, blind wall and facade of one house."""
        style = self.style + int(pick(4) * 5) if pick(5) < 0.7 else int(pick(4) * textures.FACADES)
        style %= textures.FACADES
        levels, floors = textures.facade(style)
        high = floors * (self.storeys + 0.4 * pick(6)) + 0.8
        inner, outer = side * front, side * (front + 8.0)
        gain *= 0.86 + 0.28 * pick(7)
        ridge = high + (2.2 + 1.6 * pick(9) if pick(8) < 0.65 else 0)
        if ridge > high:
            near = max(z0, NEAR)
            canvas.quad(
                textures.roof(int(pick(10) * textures.ROOFS)),
                [
                    (z1, side * (front + 4), ridge),
                    (near, side * (front + 4), ridge),
                    (near, inner, high),
                    (z1, inner, high),
                ],
                (0, 0, 1, 1),
                BUILDING,
                gain * 0.95,
            )
        if z0 > NEAR:
            corners = [(z0, inner, ridge), (z0, outer, ridge), (z0, outer, 0), (z0, inner, 0)]
            outline = [(z0, inner, high), (z0, side * (front + 4), ridge), (z0, outer, high), *corners[2:]]
            canvas.quad(textures.gable(style), corners, (0, 0, 1, 1), BUILDING, 0.82 * gain, outline=outline)
        near = max(z0, NEAR)
        bays = max(2, min(4, round((z1 - z0) / 3.2))) / 4
        cut = bays * (near - z0) / (z1 - z0)
        if side < 0:
            corners = [(near, inner, high), (z1, inner, high), (z1, inner, 0), (near, inner, 0)]
            canvas.quad(levels, corners, (cut, 0, bays, 1), BUILDING, gain)
        else:
            corners = [(z1, inner, high), (near, inner, high), (near, inner, 0), (z1, inner, 0)]
            canvas.quad(levels, corners, (0, 0, bays - cut, 1), BUILDING, gain)

    def _furniture(self, out: list[Thing], s: float, side: int) -> None:
        """Lamps, signs and street trees beside the kerb."""
        u = side * (self.half_width + 0.55)
        for n in range(int(s // 11) - 1, int((s + 62) // 11) + 1):
            pick = partial(unit, self.seed, 4, side, n)
            z = 11.0 * n + 6 * pick(1) - s
            if z < NEAR * 1.5:
                continue
            choice = pick(2)
            if choice < 0.42:
                out.append((z, partial(_lamp, int(pick(3) * 3), z, u, side)))
            elif choice < 0.82:
                out.append(
                    (z, partial(_sign, int(pick(4) * sprites.SIGNS), int(pick(5) * 3), z, u, 2.1 + 0.6 * pick(6)))
                )
            elif choice < 0.90 + 0.1 * self.greenery:
                out.append(
                    (
                        z,
                        partial(
                            _tree,
                            int(pick(3) * sprites.TREES),
                            z,
                            side * (self.half_width + 1.2),
                            0.75 + 0.2 * pick(4),
                            1.0,
                        ),
                    )
                )

    def _walkers(self, out: list[Thing], s: float, time: float, side: int) -> None:
        """People on the pavement, both ways, and now and then one crossing."""
        for stream, speed in ((0, 1.2), (1, -1.3)):
            place = s - speed * time
            for n in range(int(place // 8) - 1, int((place + 26) // 8) + 1):
                pick = partial(unit, self.seed, 5, side, stream, n)
                z = 8.0 * n + 6 * pick(1) - place
                if pick(2) > 0.30 + 0.35 * self.traffic or z < NEAR * 2:
                    continue
                u = side * (self.half_width + 1.3 + (self.pavement - 1.8) * pick(3))
                step = int(time * 4.5 + 4 * pick(4)) % sprites.STEPS
                kind = int(pick(5) * sprites.PEOPLE)
                out.append((z, partial(_person, kind, step, z, u, 1.66 + 0.22 * pick(6))))
        if side > 0:
            return
        for n in range(int(s // 30) - 1, int((s + 30) // 30) + 1):
            pick = partial(unit, self.seed, 6, n)
            z = 30.0 * n + 20 * pick(1) - s
            if z < NEAR * 2 or pick(2) > 0.65:
                continue
            way = 1 if pick(3) < 0.5 else -1
            u = self.camera_u + way * 1.5 * (3.2 - z / self.speed)  # gone before we come
            u = max(-self.half_width - 1.0, min(self.half_width + 1.0, u))
            kind = int(pick(4) * sprites.PEOPLE)
            out.append((z, partial(_person, kind, int(time * 5) % sprites.STEPS, z, u, 1.74)))

    def _parked(self, out: list[Thing], s: float) -> None:
        for side in (-1, 1):
            for n in range(int(s // 6.5) - 1, int((s + 45) // 6.5) + 1):
                pick = partial(unit, self.seed, 7, side, n)
                z = 6.5 * n + pick(1) - s
                if unit(self.seed, 8, side, n // 5) < 0.5 * self.traffic and pick(2) < 0.75:
                    out.append(
                        (
                            z,
                            partial(
                                _car,
                                int(pick(3) * sprites.BODIES),
                                int(pick(4) * len(sprites.PAINTS)),
                                side > 0,
                                z,
                                side * (self.half_width + 0.25),
                            ),
                        )
                    )

    def _moving(self, out: list[Thing], s: float, time: float) -> None:
        """Cars and cyclists: each stream is a lattice of slots that moves at one speed."""
        place = s + 8.5 * time
        for n in range(int(place // 19) - 1, int((place + 45) // 19) + 1):
            pick = partial(unit, self.seed, 9, n)
            z = 19.0 * n + 8 * pick(1) - place
            if pick(2) < self.traffic:
                out.append(
                    (
                        z,
                        partial(
                            _car,
                            int(pick(3) * sprites.BODIES),
                            int(pick(4) * len(sprites.PAINTS)),
                            True,
                            z,
                            0.36 * self.half_width,
                        ),
                    )
                )
        for which, speed, gap, reach in ((10, 3.6, 17.0, -0.9), (11, -4.2, 15.0, 0.85)):
            place = s - speed * time
            for n in range(int(place // gap) - 1, int((place + 30) // gap) + 1):
                pick = partial(unit, self.seed, which, n)
                z = gap * n + 8 * pick(1) - place
                if z > NEAR * 1.5 and pick(2) < 0.45 + 0.4 * self.traffic:
                    u = math.copysign(self.half_width - abs(reach), reach)
                    step = int(time * 6 + 4 * pick(3)) % sprites.STEPS
                    out.append((z, partial(_rider, int(pick(4) * sprites.RIDERS), step, speed < 0, z, u)))
        if unit(self.seed, 12) < 0.6 * self.traffic + 0.1:  # one car ahead, now nearer, now farther
            z = 20 + 8 * math.sin(0.23 * time + 6 * unit(self.seed, 13)) + 4 * math.sin(0.11 * time)
            out.append(
                (
                    z,
                    partial(
                        _car,
                        int(unit(self.seed, 14) * sprites.BODIES),
                        int(unit(self.seed, 15) * len(sprites.PAINTS)),
                        False,
                        z,
                        self.camera_u,
                    ),
                )
            )


def _panel(kind: int, side: int, u: float, z0: float, z1: float, high: float, gain: float, canvas: Canvas) -> None:
    near, far = (z0, u, high), (z1, u, high)
    left, right = (near, far) if side < 0 else (far, near)
    canvas.quad(textures.fence(kind), [left, right, (*right[:2], 0), (*left[:2], 0)], (0, 0, 1, 1), FENCE, gain)


def _tree(kind: int, z: float, u: float, scale: float, gain: float, canvas: Canvas) -> None:
    if not canvas.shows(z, 5.2 * scale, 22):
        return
    canvas.shadow(z - 1.6 * scale, z + 1.6 * scale, u - 2.2 * scale, u + 2.2 * scale)
    canvas.sprite(sprites.tree(kind), z, u, 0, 5.2 * scale, 6.5 * scale, TREE, 22, gain)


def _lamp(kind: int, z: float, u: float, side: int, canvas: Canvas) -> None:
    if 0.30 * canvas.focal / z < 5 * canvas.unit:
        return
    # The arm reaches over the road.
    canvas.sprite(sprites.lamp(kind, side < 0), z, u, 0, 2.2 * 0.86, 7.0 * 0.86, POLE, 20)


def _sign(kind: int, tone: int, z: float, u: float, base: float, canvas: Canvas) -> None:
    levels, (width, height) = sprites.sign(kind)
    if 0.28 * canvas.focal / z < 4.9 * canvas.unit:
        return
    canvas.sprite(sprites.post(tone), z, u, 0, 0.28, base + 0.5 * height, POLE, 4.5)
    canvas.sprite(levels, z - 0.15, u, base, width * 1.05, height * 1.05, SIGN, 14)


def _person(kind: int, step: int, z: float, u: float, tall: float, canvas: Canvas) -> None:
    if not canvas.shows(z, 0.5 * tall, 17.5):
        return
    canvas.shadow(z - 0.35, z + 0.35, u - 0.5, u + 0.5)
    canvas.sprite(sprites.person(kind, step), z, u, 0, 0.5 * tall, tall, PEDESTRIAN, 17.5)


def _rider(kind: int, step: int, front: bool, z: float, u: float, canvas: Canvas) -> None:
    if not canvas.shows(z, 1.1, 20):
        return
    canvas.shadow(z - 0.5, z + 0.5, u - 0.6, u + 0.6)
    canvas.sprite(sprites.rider(kind, step, front), z, u, 0, 1.1, 1.9, BICYCLIST, 20)


def _car(body: int, paint: int, front: bool, z: float, u: float, canvas: Canvas) -> None:
    """A car whose near end is at z: its flank as seen from the camera, then its end."""
    length, width, high = 4.2, 1.8, 1.5
    if z + length < NEAR * 1.5 or high * canvas.focal / max(z, 0.1) < 15 * canvas.unit:
        return
    canvas.shadow(z - 0.35, z + length + 0.2, u - 1.15, u + 1.15)
    middle = u + canvas.bend(max(z, NEAR))
    if abs(middle) > width / 2 and z > NEAR:
        side = 1 if middle > 0 else -1
        low, top = u - side * 0.87, u - side * 0.68  # flanks lean inwards
        left, right = (z, z + length) if side < 0 else (z + length, z)
        # The nose is at the far end of cars that drive our way.
        flank = sprites.car_side(body, paint, (side < 0) != front)
        canvas.quad(
            [c for c, _ in flank],
            [(left, top, high), (right, top, high), (right, low, 0), (left, low, 0)],
            (0, 0, 1, 1),
            CAR,
            0.92,
            [m for _, m in flank],
        )
    if z < NEAR:
        return
    colours, masks = zip(*sprites.car_end(body, paint, front), strict=True)
    # Metres of bonnet or boot, and over how many the window slopes.
    deck, slant = (1.25, 0.75) if front else sprites.DECKS[body]
    belt, half = 0.47, width / 2
    waist = high * (1 - belt)
    back = z + deck
    canvas.quad(
        colours,
        [
            (back + slant, u - half, high),
            (back + slant, u + half, high),
            (back, u + half, waist),
            (back, u - half, waist),
        ],
        (0, 0, 1, belt),
        CAR,
        1.0,
        masks,
    )
    if deck > 0.1:
        canvas.quad(
            colours,
            [
                (back, u - 0.88 * half, waist),
                (back, u + 0.88 * half, waist),
                (z, u + 0.96 * half, waist),
                (z, u - 0.96 * half, waist),
            ],
            (0.32, 0.51, 0.68, 0.55),
            CAR,
            1.12,
        )
    canvas.quad(
        colours,
        [(z, u - half, waist), (z, u + half, waist), (z, u + half, 0), (z, u - half, 0)],
        (0, belt, 1, 1),
        CAR,
        1.0,
        masks,
    )
