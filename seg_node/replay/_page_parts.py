"""What the sections of a report's page are made of: headings, tables, colours of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from seg_node.replay._page_html import Html, number, tag


def section(name: str, title: str, lead: str | None, *content: Html | None) -> Html:
    """Return a section that ``#name`` leads to."""
    head = tag("h2", title, id=f"{name}-title")
    return tag(
        "section",
        head,
        tag("p", lead, class_="lead") if lead else None,
        content,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def table(
    caption: str,
    heads: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Html]],
    *,
    sortable: bool = True,
    extra: Sequence[str] = (),
) -> Html:
    """Return a table; ``heads``: title and class ("text", "num") of each column, ``rows``: td and th elements.

    Where sortable, the heads are buttons, and a script orders the rows by the cells' data-v. ``extra``: titles of
    further columns that have no order.
    """
    titles = [
        tag("th", tag("button", title, type="button") if sortable else title, scope="col", class_=kind)
        for title, kind in heads
    ]
    titles += [tag("th", title, scope="col", class_="spark") for title in extra]
    body = tag("tbody", [tag("tr", row) for row in rows])
    kind = "sortable" if sortable else None
    inner = tag("table", tag("caption", caption), tag("thead", tag("tr", titles)), body, class_=kind)
    # scrolls by itself on a phone, by keyboard too
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def cell(text: str | Html, value: Any = None, kind: str = "num") -> Html:
    """Return a td; ``value`` is what it is sorted by, a number or text."""
    written = number(value)
    return tag("td", text, class_=kind, data_v=value if isinstance(value, str) else written)


def name_cell(*content: Any, value: str) -> Html:
    """Return the th that names a row."""
    return tag("th", content, scope="row", class_="text", data_v=value)


def colors(report: Mapping[str, Any]) -> list[str]:
    """Return the classes' colours as CSS writes them, grey where the report has none."""
    palette = report.get("palette") or []
    return [
        f"rgb({','.join(str(int(c)) for c in palette[i][:3])})" if i < len(palette) else "rgb(128,128,128)"
        for i in range(len(report.get("classes") or []))
    ]


def size(report: Mapping[str, Any]) -> str | None:
    """Return the network's input as people write it, width first."""
    sides = report.get("input_size") or []
    return f"{sides[1]} \N{MULTIPLICATION SIGN} {sides[0]}" if len(sides) == 2 else None
