"""report.html: everything a report holds as one file that any browser opens and that fetches nothing."""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from seg_node.replay import _page_classes as classes
from seg_node.replay import _page_sections as sections
from seg_node.replay import _page_times as times
from seg_node.replay._page_html import Html, count, many, milliseconds, number, percent, tag
from seg_node.replay._page_parts import size
from seg_node.replay.report import read

_DOCTYPE = "<!doctype html>\n"


def write_page(folder: Path) -> Path:
    """Write ``folder/report.html`` from ``folder/report.json`` and the pictures it names; return its path.

    Raises ReportError where report.json is no report of seg-node replay, OSError where the page cannot be written.
    """
    report, target = read(folder), folder / "report.html"
    # half of a pair of surrogates, as a damaged title may hold, is no UTF-8
    target.write_text(_DOCTYPE + render(report, folder), encoding="utf-8", errors="xmlcharrefreplace")
    return target


def render(report: Mapping[str, Any], folder: Path) -> Html:
    """Return the html element of a report whose pictures lie in ``folder``."""
    style, script = _static("page.css"), _static("page.js")
    parts = {
        "Recordings": sections.bags(report),
        "Over time": times.quality(report),
        "Classes": classes.classes(report),
        "Latency": times.latency(report),
        "Frames": sections.frames(report),
        "Worst frames": sections.worst(report, folder),
        "Confusion": classes.confusion(report),
        "Notes": sections.remarks(report),
        "Settings": sections.circumstances(report),
    }
    shown = {title: part for title, part in parts.items() if part is not None}
    links = [tag("li", tag("a", title, href=f"#{_name(part)}")) for title, part in shown.items()]
    body = [
        tag("a", "Skip to the report", href="#report", class_="skip"),
        _header(report),
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag("main", _tiles(report), list(shown.values()), id="report"),
        tag("footer", f"Written by seg-node replay from report.json{_date(report)}."),
        tag("script", Html(script)),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{_model(report)} on {_title(report)}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    ]
    return tag("html", tag("head", head), "\n", tag("body", body), lang="en")


def verdict(report: Mapping[str, Any]) -> str:
    """Say in one or two sentences how good, how fast, and what was lost."""
    seen = _frames(report)
    if not seen["out"]:
        return "No frame was labelled, so there is nothing to judge. The notes below say what was found."
    miou, (p50, p95) = number(report.get("miou")), _speed(report)
    agreement = number((report.get("agreement") or {}).get("consecutive"))
    over = f"over {many(seen['out'], 'frame')}"
    if miou is not None:
        said = f"{percent(miou)} mIoU {over}"
    elif agreement is not None:
        said = f"No ground truth; {percent(agreement)} agreement from frame to frame {over}"
    else:
        said = f"No ground truth {over}"
    if p50 is not None:
        said += f", in {milliseconds(p50)} a frame" + (
            f" (95 % within {milliseconds(p95)})" if p95 is not None and seen["out"] > 1 else ""
        )
    if seen["lost"] == 0:
        return said + ". No frame was lost."
    was = "was" if seen["lost"] == 1 else "were"
    return said + f". {count(seen['lost'])} of {many(seen['in'], 'frame')} {was} lost."


def _header(report: Mapping[str, Any]) -> Html:
    chips = [
        report.get("mode"),
        report.get("runtime"),
        report.get("device"),
        report.get("precision"),
        size(report),
        report.get("label_set"),
    ]
    bag = report.get("bag")
    topic = bag.get("topic") if isinstance(bag, Mapping) else None
    return tag(
        "header",
        tag("p", "seg-node replay", tag("span", _date(report, " · ")), class_="brand"),
        tag("h1", _model(report), tag("span", " on ", class_="on"), _title(report)),
        tag("p", verdict(report), class_="verdict"),
        tag("ul", [tag("li", str(chip)) for chip in [*chips, topic] if chip], class_="chips", aria_label="Set-up"),
    )


def _tiles(report: Mapping[str, Any]) -> Html:
    """The numbers that everybody asks for first."""
    seen, (p50, p95), agreement = _frames(report), _speed(report), report.get("agreement") or {}
    broken = len(report.get("broken") or [])
    tiles = []
    if number(report.get("miou")) is not None:
        accuracy = percent(report.get("pixel_accuracy"))
        tiles.append(_tile("mIoU", percent(report["miou"]), f"pixel accuracy {accuracy}", "main"))
    if number(agreement.get("consecutive")) is not None:
        note = "from frame to frame"
        tiles.append(_tile("Agreement over time", percent(agreement["consecutive"]), note))
    if number(agreement.get("against")) is not None:
        note = f"with {agreement.get('against_model') or 'the other model'}"
        tiles.append(_tile("Agreement, models", percent(agreement["against"]), note))
    if p50 is not None:
        live = bool((report.get("latency_ms") or {}).get("end_to_end"))
        title = "Latency end to end" if live else "Time per image"
        tiles.append(_tile(title, milliseconds(p50), f"p50; p95 {milliseconds(p95)}"))
    tiles.append(_tile("Frames labelled", count(seen["out"]), f"of {count(seen['in'])} recorded"))
    share = f"{percent(seen['lost'] / seen['in'], 2)} of all" if seen["in"] else "there was none to lose"
    tiles.append(
        _tile("Frames lost", count(seen["lost"]), share, "bad" if seen["lost"] else "good" if seen["in"] else "")
    )
    if broken:
        tiles.append(_tile("Broken messages", count(broken), "see notes", "bad"))
    return tag("dl", tiles, class_="tiles")


def _tile(title: str, value: str, note: str, kind: str = "") -> Html:
    return tag(
        "div", tag("dt", title), tag("dd", value, class_="value"), tag("dd", note), class_=f"tile {kind}".strip()
    )


def _frames(report: Mapping[str, Any]) -> dict[str, int]:
    counts = report.get("frames") or {}
    came, out = (int(number(counts.get(key)) or 0) for key in ("in", "out"))
    return {"in": came, "out": out, "lost": max(0, came - out)}


def _speed(report: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return p50 and p95 of an image's time, ms: from sensor to label where that was measured."""
    figures = (report.get("latency_ms") or {}).get("end_to_end") or report.get("ms_per_image") or {}
    return number(figures.get("p50")), number(figures.get("p95"))


def _title(report: Mapping[str, Any]) -> str:
    bag = report.get("bag")
    if isinstance(bag, Mapping):
        return str(bag.get("title") or bag.get("path") or "a recording")
    several = report.get("bags") or []
    return many(len(several), "recording") if several else str(bag or "a recording")


def _model(report: Mapping[str, Any]) -> str:
    return str(report.get("model") or "A model")


def _date(report: Mapping[str, Any], before: str = ", ") -> str:
    return f"{before}{str(report['date']).replace('T', ' ')[:16]}" if report.get("date") else ""


def _name(part: Html) -> str:
    """Return the id of a section."""
    return part.partition('id="')[2].partition('"')[0]


def _static(name: str) -> str:
    """Return a file that lies beside this module, in a zip too."""
    return files("seg_node.replay").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Forbid the page everything but its own style, its own script and pictures inside it."""

    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = ["default-src 'none'", "img-src data:", f"style-src {allowed(style)}", f"script-src {allowed(script)}"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])
