"""What the page of a report says about frames, recordings and circumstances; each function is one section.

A section that a report has nothing for is None, and the page leaves it out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seg_node.replay._page_charts import bar, swatch
from seg_node.replay._page_html import Html, clock, count, many, milliseconds, number, percent, tag
from seg_node.replay._page_parts import cell, colors, name_cell, section, size, table
from seg_node.replay._page_pictures import data_uri

_CAUSES = {
    "newer_frame": "a newer frame came first",
    "too_old": "too old on arrival",
    "bad_image": "image could not be read",
    "inference_failed": "inference failed",
    "max_rate": "more than max_rate allows",
    "stopped": "the node was stopped",
    "transport": "lost on the way to the node",
    "label_transport": "label lost on the way back",
    "unfinished": "not finished when the drive ended",
}
_WHY = {
    "miou": "mIoU with ground truth",
    "agreement": "agreement with the frame before",
    "against": "agreement with the other model",
}


def worst(report: Mapping[str, Any], folder: Path) -> Html | None:
    """The worst frames, each with image, overlay and truth side by side."""
    frames = report.get("worst") or []
    if not frames:
        return None
    shown = []
    for rank, frame in enumerate(frames, 1):
        index = frame.get("index")
        why = _WHY.get(frame.get("why"), str(frame.get("why")))
        parts = [("image", "Image"), ("overlay", "Labels over image"), ("truth", "Ground truth")]
        named = [(key, title) for key, title in parts if key != "truth" or frame.get("truth")]
        pictures = [_picture(folder, frame.get(key), f"{title}, frame {index}", title) for key, title in named]
        elapsed = number(frame.get("elapsed"))
        facts = [f"{clock(elapsed)}" if elapsed is not None else None, frame.get("bag")]
        head = tag(
            "h3",
            f"Frame {index}",
            tag("span", " · ".join(str(f) for f in facts if f), class_="when"),
            tag("span", f"{percent(frame.get('score'))} ", tag("small", why), class_="score"),
        )
        shown.append(tag("article", head, tag("div", pictures, class_=f"trio n{len(named)}"), id=f"worst-{rank}"))
    legend = [tag("li", swatch(c), n) for n, c in zip(report.get("classes") or [], colors(report), strict=False)]
    title = "The worst frame" if len(shown) == 1 else f"The worst {len(shown)} frames"
    key = tag("ul", legend, class_="legend", aria_label="Colours of the classes")
    return section("worst", title, "Lowest score first. Click a picture to enlarge it.", key, *shown)


def _picture(folder: Path, name: str | None, alt: str, title: str) -> Html:
    uri = data_uri(folder, name)
    if uri is None:
        shown = tag("div", f"{name or 'no picture'} is missing", class_="missing")
    else:
        shown = tag("button", tag("img", src=uri, alt=alt), type="button", class_="zoom", aria_label=f"Enlarge: {alt}")
    return tag("figure", shown, tag("figcaption", title))


def frames(report: Mapping[str, Any]) -> Html | None:
    """Frames in, out and dropped by cause."""
    counts = report.get("frames") or {}
    dropped = {k: v for k, v in (counts.get("dropped") or {}).items() if number(v)}
    total = number(counts.get("in")) or 0
    kept = [("in", "in the recording"), ("arrived", "arrived at the node"), ("out", "labelled")]
    rows = [(title, number(counts[key]), "kept") for key, title in kept if number(counts.get(key)) is not None]
    rows += [(_CAUSES.get(cause, cause.replace("_", " ")), number(n), "lost") for cause, n in dropped.items()]
    if total == 0 and not dropped:
        return None
    body = []
    for title, amount, kind in rows:
        share = (amount or 0) / total if total else 0.0
        body.append(
            [
                name_cell(title, value=title),
                cell(
                    tag(
                        "span",
                        bar(share, "currentColor"),
                        tag("span", count(amount), class_="figure"),
                        class_=f"with-bar {kind}",
                    ),
                    amount,
                ),
                cell(percent(share, 2), share),
            ]
        )
    fps = counts.get("fps") or {}
    sent, labelled = number(fps.get("sent")), number(fps.get("out"))
    lead = None if dropped else "No frame was dropped."
    if sent is not None and labelled is not None:
        lead = f"{lead or ''} {sent:.1f} frames a second were sent, {labelled:.1f} labels a second came back.".strip()
    heads = [("Frames", "text"), ("Number", "num barred"), ("Share", "num")]
    return section(
        "frames",
        "Frames and drops",
        lead,
        table("Frames in, labelled, and dropped by cause", heads, body, sortable=False),
    )


def bags(report: Mapping[str, Any]) -> Html | None:
    """A table of the bags that a merged report is made of."""
    listed = report.get("bags") or []
    if not listed:
        return None
    scored = any(number(one.get("miou")) is not None for one in listed)
    heads = [
        ("Recording", "text"),
        ("mIoU" if scored else "Agreement", "num barred"),
        *([("Pixel accuracy", "num")] if scored else []),
        *((title, "num") for title in ("p50", "p95", "Frames", "Lost", "Broken")),
    ]
    lead = f"This report is made of {many(len(listed), 'recording')}."
    return section("bags", "Recordings", lead, table("Every recording", heads, [_bag(one, scored) for one in listed]))


def _bag(one: Mapping[str, Any], scored: bool) -> list[Html]:
    """One row of the table of bags: of what ``report.merge`` writes of each."""
    ms, total = one.get("ms_per_image") or {}, one.get("frames") or {}
    name = str(one.get("name") or (one.get("bag") or {}).get("title") or "unnamed")
    score = number(one.get("miou") if scored else (one.get("agreement") or {}).get("consecutive"))
    figure = tag("span", percent(score), class_="figure")
    came, out = number(total.get("in")), number(total.get("out"))
    lost = max(0.0, came - out) if came is not None and out is not None else None
    row = [
        name_cell(name, value=name),
        cell(tag("span", bar(score or 0.0, "currentColor"), figure, class_="with-bar kept"), score),
    ]
    if scored:
        row.append(cell(percent(one.get("pixel_accuracy")), one.get("pixel_accuracy")))
    row += [cell(milliseconds(ms.get(key)), ms.get(key)) for key in ("p50", "p95")]
    return row + [cell(count(value), value) for value in (out, lost, one.get("broken"))]


def remarks(report: Mapping[str, Any]) -> Html | None:
    """Notes, and the messages that could not be read."""
    notes, broken = report.get("notes") or [], report.get("broken") or []
    if not notes and not broken:
        return None
    parts = _lines(notes, "notes")
    if broken:
        parts.append(tag("h3", f"{many(len(broken), 'message')} could not be read"))
        parts += _lines(broken, "notes broken")
    return section("notes", "Notes", None, *parts)


def _lines(texts: Sequence[Any], kind: str) -> list[Html]:
    """Return a list of texts; what is beyond the first ten is folded away, what is beyond a thousand left out."""
    items = [tag("li", str(text)) for text in texts[:1000]]
    if len(texts) > 1000:
        items.append(tag("li", f"and {count(len(texts) - 1000)} more, which report.json holds"))
    shown = [tag("ul", items[:10], class_=kind)] if items else []
    if len(items) > 10:
        more = tag("summary", f"{count(len(texts) - 10)} more")
        shown.append(tag("details", more, tag("ul", items[10:], class_=kind)))
    return shown


def circumstances(report: Mapping[str, Any]) -> Html:
    """How, with what and on what the report was made."""
    named = report.get("bag")
    bag = named if isinstance(named, Mapping) else {}
    run = {
        "mode": report.get("mode"),
        "model": report.get("model"),
        "label set": report.get("label_set"),
        "input size": size(report),
        "runtime": report.get("runtime"),
        "device": report.get("device"),
        "precision": report.get("precision"),
        "void": report.get("void"),
        "recording": bag.get("path"),
        "topic": bag.get("topic"),
        "messages": bag.get("messages"),
        "date": report.get("date"),
    }
    groups = [("Run", run), *((k.title(), report.get(k) or {}) for k in ("settings", "hardware", "versions"))]
    drawn = [tag("div", tag("h3", title), _facts(facts), class_="facts") for title, facts in groups if facts]
    return section("settings", "How this was measured", None, tag("div", drawn, class_="fact-groups"))


def _facts(facts: Mapping[str, Any]) -> Html:
    rows = [(str(key).replace("_", " "), _plain(value)) for key, value in facts.items() if value is not None]
    return tag("dl", [tag("div", tag("dt", key), tag("dd", text)) for key, text in rows])


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return ", ".join(str(v) for v in value) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
