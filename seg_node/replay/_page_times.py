"""The sections of a report's page that are drawn over time: quality, class shares and latency."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seg_node.replay import _page_charts as charts
from seg_node.replay._page_html import NOTHING, Html, many, milliseconds, number, percent, tag
from seg_node.replay._page_parts import cell, colors, name_cell, section, table

_STAGES = {
    "age": "camera to node",
    "wait": "wait for its turn",
    "decode": "decode message",
    "resize": "resize to network",
    "infer": "network",
    "restore": "restore size",
    "overlay": "overlay and colour",
    "publish": "publish",
    "total": "message to labels",
    "end_to_end": "camera to label received",
}
_WHOLE = ("end_to_end", "total")  # the stage that is drawn large, best first


def column(moments: Sequence[Mapping[str, Any]], key: str, part: str | None = None) -> np.ndarray:
    """Return one value of every moment, float (n,), NaN where it has none."""
    found = (moment.get(key) if part is None else (moment.get(key) or {}).get(part) for moment in moments)
    return np.array([np.nan if (v := number(value)) is None else v for value in found], float)


def quality(report: Mapping[str, Any]) -> Html | None:
    """mIoU, accuracy and agreement over time, and what the drive showed."""
    moments = report.get("moments") or []
    other = (report.get("agreement") or {}).get("against_model") or "the other model"
    lines = [
        charts.Series(title, f"s{index}", column(moments, key), key)
        for index, (key, title) in enumerate(
            [
                ("miou", "mIoU"),
                ("accuracy", "Pixel accuracy"),
                ("agreement", "Agreement with the frame before"),
                ("against", f"Agreement with {other}"),
            ]
        )
    ]
    lines = [line for line in lines if np.isfinite(line.values).any()]
    drawn = []
    axis = _axis(moments)
    if lines:
        lowest = min(float(np.nanmin(line.values)) for line in lines)
        scale = charts.Scale(max(0.0, min(0.9, np.floor(lowest * 10) / 10)), 1.0, lambda v: percent(v, 0), percent)
        keys = tag("ul", [tag("li", _key(line.style), line.name) for line in lines], class_="legend")
        label = "; ".join(_summary(line, axis) for line in lines)
        rings, more = _worst(report, moments, lines)
        drawn += [keys, charts.timeline(axis, lines, scale, f"Over {axis.title}: {label}", links=rings)]
        drawn.append(_axis_title(axis, more))
    shares, names = _shares(report, moments)
    if shares is not None:
        used = [i for i in range(len(names)) if shares[:, i].max(initial=0) >= 0.001]
        tones = colors(report)
        drawn += [
            tag("h3", "What the model saw: share of each class"),
            tag("ul", [tag("li", charts.swatch(tones[i]), names[i]) for i in used], class_="legend"),
            charts.stack(
                axis,
                shares[:, used],
                [names[i] for i in used],
                [tones[i] for i in used],
                "Share of each class in the picture over time; the table of classes has the means",
            ),
            _axis_title(axis),
        ]
    return section("time", "Over time", _band_note(len(moments)), *drawn) if drawn else None


def latency(report: Mapping[str, Any]) -> Html | None:
    """Latency of the whole image in full, and of every stage in small."""
    stages = report.get("latency_ms") or {}
    moments = report.get("moments") or []
    if not any(number(v) is not None for part in stages.values() for v in (part or {}).values()):
        return None
    axis = _axis(moments)
    main, drawn = next((name for name in _WHOLE if name in stages), None), []
    if main is not None:
        values = column(moments, "ms", main)
        if np.isfinite(values).any():
            drawn += _large(axis, values, stages[main] or {}, _STAGES[main])
    rows = []
    # measured from outside the node, moments know only the whole, which is drawn large already
    drawable = any(name != main and name in (moment.get("ms") or {}) for moment in moments for name in stages)
    order = sorted(stages, key=lambda name: list(_STAGES).index(name) if name in _STAGES else len(_STAGES))
    for name in order:
        figures, values = stages[name] or {}, column(moments, "ms", name)
        small: list[Html | str] = [NOTHING, NOTHING] if drawable else []
        if drawable and np.isfinite(values).any():
            most = _most(values)
            small = [charts.small_histogram(values, most), charts.small_timeline(axis.x, values, most)]
        title = _STAGES.get(name, name.replace("_", " "))
        numbers = [cell(milliseconds(figures.get(key)), figures.get(key)) for key in ("p50", "p95", "p99", "max")]
        rows.append([name_cell(title, value=title), *numbers, *(cell(drawing, kind="spark") for drawing in small)])
    heads = [("Stage", "text"), *((key, "num") for key in ("p50", "p95", "p99", "max"))]
    extra = ("Distribution", "Over time") if drawable else ()
    stages_table = table("Latency of every stage", heads, rows, extra=extra)
    return section("latency", "Latency", None, *drawn, stages_table)


def _large(axis: charts.Axis, values: np.ndarray, figures: Mapping[str, Any], title: str) -> list[Html | None]:
    most = _most(values)
    marks = [(key, value) for key in ("p50", "p95", "p99") if (value := number(figures.get(key))) is not None]
    summary = ", ".join(f"{key} {milliseconds(value)}" for key, value in marks)
    scale = charts.Scale(0.0, most, lambda v: f"{v:.4g}\N{NO-BREAK SPACE}ms", milliseconds)
    line = charts.Series(title, "s0", values)
    guides = [value for key, value in marks if key == "p95" and value < most]
    above = int((values > most).sum())
    note = f" {many(above, 'frame')} took longer, up to {milliseconds(np.nanmax(values))}." if above else ""
    return [
        tag("h3", f"Distribution: {title}"),
        charts.histogram(values, most, f"Histogram of {title}: {summary}", marks),
        tag("p", f"The last bar holds everything above.{note}", class_="remark") if above else None,
        tag("h3", f"Over time: {title}"),
        charts.timeline(axis, [line], scale, f"{title} over {axis.title}: {summary}", guides),
        _axis_title(axis, " · dashed: p95"),
    ]


def _most(values: np.ndarray) -> float:
    """The height of a chart: a few very slow frames, as the first often is, do not flatten all others."""
    highest, usual = float(np.nanmax(values)), float(np.nanpercentile(values, 99))
    top = highest if highest <= 3 * usual else 1.5 * usual
    return top * 1.05 if top > 0 else 1.0


def _shares(report: Mapping[str, Any], moments: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray | None, list[str]]:
    names = list(report.get("classes") or [])
    rows = [moment.get("shares") or [] for moment in moments]
    if not rows or not names or not any(len(row) == len(names) for row in rows):
        return None, names
    blank = [0.0] * len(names)
    clean = [[number(v) or 0.0 for v in row] if len(row) == len(names) else blank for row in rows]
    return np.array(clean, float), names


def _axis(moments: Sequence[Mapping[str, Any]]) -> charts.Axis:
    frames = [f"{m.get('index')} of {m['bag']}" if m.get("bag") else str(m.get("index")) for m in moments]
    several = len({m.get("bag") for m in moments}) > 1  # each has a time of its own
    return charts.axis([None if several else number(m.get("elapsed")) for m in moments], frames)


def _worst(
    report: Mapping[str, Any], moments: Sequence[Mapping[str, Any]], lines: Sequence[charts.Series]
) -> tuple[list[charts.Link], str]:
    """Return rings that lead to the worst frames, and what to say of them."""
    places = {(m.get("bag"), m.get("index")): place for place, m in enumerate(moments)}
    drawn = {line.key for line in lines}
    rings = []
    for rank, frame in enumerate(report.get("worst") or [], 1):
        place, score = places.get((frame.get("bag"), frame.get("index"))), number(frame.get("score"))
        if place is not None and score is not None and frame.get("why") in drawn:
            title = f"Frame {frame.get('index')}, {percent(score)}: number {rank} of the worst"
            rings.append(charts.Link(place, score, f"worst-{rank}", title))
    return rings, " · rings: the worst frames" if rings else ""


def _summary(line: charts.Series, axis: charts.Axis) -> str:
    low = int(np.nanargmin(line.values))
    mean = percent(np.nanmean(line.values))
    return f"{line.name} {mean} on average, lowest {percent(line.values[low])} at {axis.text(axis.x[low])}"


def _key(style: str) -> Html:
    return tag(
        "svg", tag("rect", width="100%", height="100%", rx=2, class_=f"bars {style}"), class_="key", aria_hidden="true"
    )


def _axis_title(axis: charts.Axis, more: str = "") -> Html:
    return tag("p", axis.title + more, class_="axis-title")


def _band_note(length: int) -> str | None:
    if length <= charts.BINS:
        return None
    each = -(-length // charts.BINS)
    return (
        f"Each point is the mean of up to {each} frames; the pale band reaches from the lowest to the highest of them."
    )
