"""The sections of a report's page on classes: the table with a row for each, and the confusion matrix.

A section that a report has nothing for is None, and the page leaves it out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seg_node.replay._page_charts import bar, swatch
from seg_node.replay._page_html import NOTHING, Html, number, percent, tag
from seg_node.replay._page_parts import cell, colors, name_cell, section, table
from seg_node.replay._page_pictures import png_uri

_MATRIX = 40  # classes; more cells than a person reads are a picture


def classes(report: Mapping[str, Any]) -> Html | None:
    """Per-class table: IoU, recall and precision where there is ground truth, shares, flicker, agreement."""
    names = report.get("classes") or []
    iou, shares, flicker = (report.get(key) or {} for key in ("iou", "shares", "flicker"))
    against = (report.get("agreement") or {}).get("iou_against") or {}
    if not names or not any(number(v) is not None for part in (iou, shares, flicker, against) for v in part.values()):
        return None
    recall, precision = _recall_precision(report.get("confusion"), len(names))
    scored = any(number(v) is not None for v in iou.values())
    columns: list[tuple[str, str, Any, bool]] = []  # title, digits of per cent, values, with a bar
    if scored:
        columns += [("IoU", "1", iou, True)]
        if recall is not None:
            columns += [("Recall", "1", dict(zip(names, recall, strict=True)), False)]
            columns += [("Precision", "1", dict(zip(names, precision, strict=True)), False)]
    if against:
        columns += [("IoU with other model", "1", against, not scored)]
    columns += [("Share of pixels", "2", shares, not scored and not against), ("Flicker", "2", flicker, False)]
    heads = [("Class", "text"), *((title, "num barred" if barred else "num") for title, _, _, barred in columns)]
    rows = []
    for name, color in zip(names, colors(report), strict=True):
        cells = [name_cell(swatch(color), name, value=name)]
        for _, digits, values, barred in columns:
            value = number(values.get(name))
            text = tag("span", percent(value, int(digits)), class_="figure")
            cells.append(
                cell(tag("span", bar(value or 0.0, color), text, class_="with-bar") if barred else text, value)
            )
        rows.append(cells)
    lead = "Click a heading to sort. " + (
        "Recall: share of a class's true pixels that were found; precision: share of the pixels called so that are. "
        if recall is not None and scored
        else ""
    )
    lead += "Flicker: how much the class's share of the picture jumps from one frame to the next."
    return section("classes", "Classes", lead, table("Every class of the label set", heads, rows))


def _recall_precision(confusion: Any, classes: int) -> tuple[Any, Any]:
    matrix = _matrix(confusion, classes)
    if matrix is None:
        return None, None
    hit, known = np.diag(matrix)[:classes], matrix[:classes]
    with np.errstate(invalid="ignore", divide="ignore"):
        return hit / known.sum(axis=1), hit / known.sum(axis=0)[:classes]


def _matrix(confusion: Any, classes: int) -> np.ndarray | None:
    matrix = np.array(confusion if confusion else [], float)
    return matrix if matrix.shape == (classes + 1, classes + 1) and matrix[:classes].sum() > 0 else None


def confusion(report: Mapping[str, Any]) -> Html | None:
    """Heat map of what was called what, and the largest mistakes in words."""
    names = list(report.get("classes") or [])
    matrix = _matrix(report.get("confusion"), len(names))
    if matrix is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        share = matrix / matrix.sum(axis=1, keepdims=True)
    mistakes = np.nan_to_num(matrix[: len(names)] / matrix[: len(names)].sum())
    np.fill_diagonal(mistakes, 0)
    every = [*names, "no label"]
    if not matrix[-1].any() and not matrix[:, -1].any():  # nothing was void
        share, every = share[:-1, :-1], names
    said = []
    for place in np.argsort(-mistakes, axis=None, kind="stable")[:5]:
        row, column = np.unravel_index(place, mistakes.shape)
        if mistakes[row, column] > 0:
            said.append(
                tag(
                    "li",
                    tag("strong", percent(share[row, column])),
                    f" of {every[row]} was called ",
                    tag("strong", every[column]),
                    f" ({percent(mistakes[row, column], 2)} of all pixels)",
                )
            )
    lead = (
        "Rows are the ground truth, columns what the model said, in per cent of the row. "
        "Blue is right, orange is wrong; the stronger, the more."
    )
    listed = tag("div", tag("h3", "Where most pixels are lost"), tag("ol", said), class_="mistakes") if said else None
    drawn = _heat_table(share, every) if len(names) <= _MATRIX else _heat_picture(share, names)
    return section("confusion", "Confusion matrix", lead, tag("div", drawn, listed, class_="beside"))


def _heat_table(share: np.ndarray, names: Sequence[str]) -> Html:
    head = tag(
        "tr",
        tag("th", "truth ↓ said →", scope="col", class_="corner"),
        [tag("th", tag("span", name), scope="col") for name in names],
    )
    rows = []
    for i, name in enumerate(names):
        cells = [tag("th", name, scope="row")]
        for j in range(len(names)):
            value = number(share[i, j])
            heat = 0 if value is None else min(10, int(np.ceil(10 * value - 0.05)))
            text = NOTHING if value is None else f"{100 * value:.0f}" if value >= 0.005 else ""
            title = None if not value else f"{name} called {names[j]}: {percent(value, 2)}"
            cells.append(tag("td", text, class_=f"h{heat} {'right' if i == j else 'wrong'}", title=title))
        rows.append(tag("tr", cells))
    caption = "Confusion matrix, per cent of each true class"
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", rows), class_="heat")
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _heat_picture(share: np.ndarray, names: Sequence[str]) -> Html:
    tone = np.nan_to_num(share)[:, :, None] ** 0.5
    blue, orange, paper = (np.array(c, float) for c in ((214, 98, 11), (20, 90, 215), (247, 244, 241)))
    strong = np.where(np.eye(len(share), dtype=bool)[:, :, None], blue, orange)
    image = np.rint(paper + (strong - paper) * tone).astype(np.uint8)
    alt = f"Confusion matrix of {len(names)} classes as a heat map; the largest mistakes are listed beside it"
    return tag("img", src=png_uri(image), alt=alt, class_="heat-picture")
