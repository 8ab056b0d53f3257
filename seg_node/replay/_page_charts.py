"""Charts as inline SVG that a page of any width and colour can hold.

Text is placed in per cent and pixels, lines lie in a picture of their own that is stretched (x 0 to 1000, y 0 to
100 downwards): so letters keep their size on a phone. Colours are classes of the style sheet, but for those of the
label set. However many moments a drive has, a chart draws at most ``BINS``.
"""

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from seg_node.replay._page_html import NOTHING, Html, clock, count, milliseconds, percent, tag

BINS = 600
_CLOCK = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)  # seconds that are round on a clock
_TOP, _TALL, _FOOT = 18, 150, 24  # pixels: above the plot, the plot, below it


class Series(NamedTuple):
    """One line of a chart."""

    name: str
    style: str  # class in the style sheet
    values: np.ndarray  # float (n,), NaN where there is none
    key: str = ""  # in the report


class Axis(NamedTuple):
    """Where the moments lie from left to right."""

    x: np.ndarray  # float (n,), rising
    text: Callable[[float], str]
    title: str
    frames: Sequence[str]  # what each frame is called, in the recording


class Scale(NamedTuple):
    """The heights of a chart."""

    low: float
    high: float
    text: Callable[[float], str]  # beside the lines across
    exact: Callable[[float], str]  # under the pointer


class Link(NamedTuple):
    """A ring on a line of a chart that leads to a place of the page."""

    place: int  # in the axis
    height: float
    target: str
    title: str


def axis(elapsed: Sequence[float | None], frames: Sequence[str]) -> Axis:
    """Return an axis of seconds; of frame numbers where the stamps do not rise, as after merging several drives."""
    x = np.array([np.nan if e is None else e for e in elapsed], float)
    if len(x) and np.isfinite(x).all() and (np.diff(x) >= 0).all() and (len(x) == 1 or x[-1] > x[0]):
        return Axis(x, clock, "time in the recording", frames)
    places = np.arange(len(x), dtype=float)
    return Axis(places, lambda value: f"{value:.0f}", "frames, one recording after the other", frames)


def timeline(
    axis: Axis,
    series: Sequence[Series],
    scale: Scale,
    label: str,
    guides: Sequence[float] = (),
    links: Sequence[Link] = (),
) -> Html:
    """Draw lines over time; where moments are drawn as one, a band from the lowest to the highest of them.

    ``guides``: heights at which a dashed line lies. ``links``: moments to go to. What is above
    the scale is drawn at its top.
    """
    place, width = _places(axis.x), scale.high - scale.low
    stops, shapes, readings = _stops(len(axis.x)), [], []
    x = _mean(place, stops)
    for one in series:
        low, mid, high = _thin(np.clip(one.values, scale.low, scale.high), stops)
        low, mid, high = (100 - 100 * (y - scale.low) / width for y in (low, mid, high))
        if len(stops) < len(axis.x):
            shapes.append(tag("path", d=_band(x, low, high), class_=f"band {one.style}"))
        shapes.append(tag("path", d=_line(x, mid), class_=f"line {one.style}"))
        if len(x) <= 60:
            shapes.append(tag("path", d=_dots(x, mid), class_=f"dots {one.style}"))
        means = _mean(one.values, stops)
        readings.append([one.name, one.style, [NOTHING if np.isnan(m) else scale.exact(m) for m in means]])
    for guide in guides:
        y = 100 - 100 * (guide - scale.low) / width
        shapes.append(tag("path", d=f"M0,{y:.2f}H1000", class_="guide"))
    rings = [
        tag(
            "a",
            tag(
                "circle",
                tag("title", link.title),
                cx=f"{place[link.place] / 10:.2f}%",
                cy=f"{_TOP + _TALL * (1 - (np.clip(link.height, scale.low, scale.high) - scale.low) / width):.1f}",
                r=5,
                class_="ring",
            ),
            href=f"#{link.target}",
            aria_label=link.title,
        )
        for link in links
    ]
    points = {"x": [round(v, 1) for v in x], "t": _when(axis, stops), "s": readings}
    return _frame(shapes, _rows(scale) + _columns(axis), label, points, rings)


def stack(axis: Axis, shares: np.ndarray, names: Sequence[str], colors: Sequence[str], label: str) -> Html:
    """Draw shares (moments, classes) of a whole on top of each other."""
    stops = _stops(len(axis.x), 200)
    x, rows = _mean(_places(axis.x), stops), np.array([_mean(column, stops) for column in np.nan_to_num(shares.T)])
    x[[0, -1]] = 0.0, 1000.0  # the middle of a group of moments is not the edge of the drive
    if len(x) == 1:  # a single moment is a whole width of itself
        x, rows = np.array([0.0, 1000.0]), np.repeat(rows, 2, axis=1)
    tops = np.vstack([np.zeros(len(x)), np.cumsum(rows, axis=0)])
    shapes = [
        tag("path", d=_band(x, 100 - 100 * tops[i], 100 - 100 * tops[i + 1]), fill=color, class_="area")
        for i, color in enumerate(colors)
    ]
    scale = Scale(0, 1, lambda value: percent(value, 0), percent)
    largest = np.argsort(-rows.mean(axis=1), kind="stable")[:8]
    when = _when(axis, stops) * (1 if len(stops) > 1 else 2)
    readings = [[names[i], colors[i], [scale.exact(v) for v in rows[i]]] for i in largest]
    return _frame(
        shapes, _rows(scale) + _columns(axis), label, {"x": [round(v, 1) for v in x], "t": when, "s": readings}
    )


def histogram(values: np.ndarray, most: float, label: str, marks: Sequence[tuple[str, float]]) -> Html:
    """Draw how often each time (float (n,), ms) occurs up to ``most``; what is above lies in the last bar."""
    counts, edges = _bins(values, most)
    low, span = edges[0], edges[-1] - edges[0]
    texts = []
    for value in nice(low, edges[-1], 4):
        texts.append(_under(100 * (value - low) / span, f"{value:g} ms"))
    shapes = [tag("path", d=_bars(counts), class_="bars s0")]
    lines, notes = [], []
    for index, (name, value) in enumerate(marks):
        at = 100 * (min(max(value, low), edges[-1]) - low) / span
        lines.append(tag("line", x1=f"{at:.2f}%", x2=f"{at:.2f}%", y1=_TOP - 4, y2=_TOP + _TALL, class_="mark"))
        anchor, dx = ("end", -5) if at > 75 else ("start", 5)
        text, y = f"{name} {milliseconds(value)}", _TOP + 6 + 16 * index
        notes.append(tag("text", text, x=f"{at:.2f}%", dx=dx, y=y, class_="note", text_anchor=anchor))
    base = tag("line", x1=0, x2="100%", y1=_TOP + _TALL, y2=_TOP + _TALL, class_="grid")
    top = tag("text", count(int(counts.max())), x=-8, y=_TOP + 4, text_anchor="end")
    return _frame(shapes, [base, top, *texts], label, None, [*lines, *notes])


def small_histogram(values: np.ndarray, most: float) -> Html:
    """Draw a histogram the size of a word; the numbers stand beside it."""
    return _small(tag("path", d=_bars(_bins(values, most, 24)[0]), class_="bars s0"))


def small_timeline(x: np.ndarray, values: np.ndarray, most: float) -> Html:
    """Draw a timeline the size of a word, from 0 to ``most``."""
    stops = _stops(len(x), 120)
    low, mid, high = (100 - 100 * y / most for y in _thin(np.clip(values, 0, most), stops))
    place = _mean(_places(x), stops)
    band = tag("path", d=_band(place, low, high), class_="band s0") if len(stops) < len(x) else None
    return _small(band, tag("path", d=_line(place, mid), class_="line s0"))


def bar(share: float, color: str) -> Html:
    """Draw a bar that is ``share`` (0 to 1) of its cell long."""
    width = f"{100 * min(max(share, 0.0), 1.0):.2f}%"
    inside = tag("rect", width="100%", height="100%", rx=3, class_="trough")
    return tag(
        "svg",
        inside,
        tag("rect", width=width, height="100%", rx=3, fill=color, class_="edge"),
        class_="bar",
        aria_hidden="true",
    )


def swatch(color: str) -> Html:
    """Draw the colour of a class."""
    return tag(
        "svg",
        tag("rect", width="100%", height="100%", rx=3, fill=color, class_="edge"),
        class_="swatch",
        aria_hidden="true",
    )


def nice(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * part for part in (1, 2, 5, 10) if unit * part >= rough * 0.999)
    first = int(np.ceil(low / step - 1e-6))
    return [round(float(index * step), 9) for index in range(first, int(np.floor(high / step + 1e-6)) + 1)]


def _frame(shapes: list[Html], texts: list[Html], label: str, points: dict | None, front: Sequence[Html] = ()) -> Html:
    """Put shapes into the stretched picture, texts around it; ``points`` is what the pointer reads."""
    inner = tag(
        "svg",
        shapes,
        y=_TOP,
        width="100%",
        height=_TALL,
        viewBox="0 0 1000 100",
        preserveAspectRatio="none",
        overflow="visible",
    )
    picture = tag(
        "svg",
        texts,
        inner,
        front,
        class_="plot",
        role="img",
        aria_label=label,
        width="100%",
        height=_TOP + _TALL + _FOOT,
    )
    data = json.dumps(points, ensure_ascii=False, separators=(",", ":")) if points else None
    return tag("div", picture, class_="chart", data_points=data)


def _small(*shapes: Html | None) -> Html:
    return tag("svg", shapes, class_="small", viewBox="0 0 1000 100", preserveAspectRatio="none", aria_hidden="true")


def _rows(scale: Scale) -> list[Html]:
    """Lines across, each with its height written before it, where the style sheet leaves room."""
    drawn = []
    for value in nice(scale.low, scale.high, 4):
        y = _TOP + _TALL * (1 - (value - scale.low) / (scale.high - scale.low))
        drawn.append(tag("line", x1=0, x2="100%", y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        drawn.append(tag("text", scale.text(value), x=-8, y=f"{y + 4:.1f}", text_anchor="end"))
    return drawn


def _columns(axis: Axis) -> list[Html]:
    """The times below a chart."""
    if len(axis.x) < 2:
        return [_under(50, axis.text(value)) for value in axis.x]
    low, high = axis.x[0], axis.x[-1]
    values = _times(low, high) if axis.text is clock else nice(low, high, 5)
    return [_under(100 * (value - low) / (high - low), _round(axis, value)) for value in values]


def _times(low: float, high: float) -> list[float]:
    """Return about five seconds that are round on a clock."""
    step = next((s for s in _CLOCK if (high - low) / s <= 5), None)
    if high - low < 10 or step is None:
        return nice(low, high, 5)
    return [float(value) for value in range(int(-(-low // step) * step), int(high) + 1, step)]


def _round(axis: Axis, value: float) -> str:
    """A time without the digits that a round number does not need."""
    text = axis.text(value)
    return f"{value:g} s" if text.endswith(" s") else text.removesuffix(".0")


def _when(axis: Axis, stops: np.ndarray) -> list[str]:
    """Time and frame numbers of each group, for the pointer."""
    last = np.append(stops[1:], len(axis.x)) - 1
    return [
        f"{axis.text(axis.x[a])}, frame {axis.frames[a]}" + (f" to {axis.frames[b]}" if b > a else "")
        for a, b in zip(stops, last, strict=True)
    ]


def _under(at: float, text: str) -> Html:
    anchor = "start" if at < 6 else "end" if at > 94 else "middle"
    return tag("text", text, x=f"{at:.2f}%", y=_TOP + _TALL + 18, text_anchor=anchor)


def _places(x: np.ndarray) -> np.ndarray:
    """x from 0 to 1000; a single one in the middle."""
    if len(x) < 2 or x[-1] <= x[0]:
        return np.full(len(x), 500.0)
    return np.asarray(1000 * (x - x[0]) / (x[-1] - x[0]))


def _stops(length: int, most: int = BINS) -> np.ndarray:
    """Where each of at most ``most`` groups of moments starts."""
    groups = min(length, most)
    return np.arange(groups) * length // max(groups, 1)


def _mean(values: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Mean of each group, NaN where all are."""
    known = np.isfinite(values)
    total, amount = np.add.reduceat(np.where(known, values, 0.0), stops), np.add.reduceat(known.astype(float), stops)
    return np.where(amount > 0, total / np.maximum(amount, 1), np.nan)


def _thin(values: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lowest, mean and highest of each group."""
    return np.fmin.reduceat(values, stops), _mean(values, stops), np.fmax.reduceat(values, stops)


def _runs(y: np.ndarray) -> list[np.ndarray]:
    """Places of the neighbours that are numbers, one array for each stretch."""
    known = np.flatnonzero(np.isfinite(y))
    return [run for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(run)]


def _line(x: np.ndarray, y: np.ndarray) -> str:
    # "h0": a stretch of one is a dot
    return "".join(f"M{_points(x[run], y[run])}{'h0' if len(run) == 1 else ''}" for run in _runs(y))


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    back = [run[::-1] for run in _runs(low)]
    return "".join(f"M{_points(x[r[::-1]], low[r[::-1]])}L{_points(x[r], high[r])}Z" for r in back)


def _dots(x: np.ndarray, y: np.ndarray) -> str:
    return "".join(f"M{_points(x[i : i + 1], y[i : i + 1])}h0" for run in _runs(y) for i in run)


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.2f}" for a, b in zip(x, y, strict=True))


def _bins(values: np.ndarray, most: float, bars: int = 48) -> tuple[np.ndarray, np.ndarray]:
    known = values[np.isfinite(values)]
    low = min(float(known.min()), most)
    if most - low < 1e-3 * max(most, 1e-6):  # all the same: one bar in the middle
        low, most = low * 0.9, max(most * 1.1, 1e-3)
    return np.histogram(np.minimum(known, most), bars, (low, most))


def _bars(counts: np.ndarray) -> str:
    step, most = 1000 / len(counts), max(int(counts.max()), 1)
    return "".join(
        f"M{i * step:.1f},100V{100 - 100 * c / most:.2f}h{step * 0.88:.1f}V100Z" for i, c in enumerate(counts) if c
    )
