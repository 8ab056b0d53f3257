"""HTML from Python: elements that escape what they hold, and numbers as people read them."""

import html
import math
from collections.abc import Iterable
from typing import Any, TypeAlias

NOTHING = "\N{EN DASH}"  # where a number is missing
_VOID = {"img", "meta", "link", "br"}  # elements that have no end


class Html(str):
    """Text that is markup already; every other text is escaped where it is put into an element."""


Child: TypeAlias = "str | float | Iterable[Child] | None"


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Return one element.

    ``children``: Html, text (escaped), None (nothing) or lists of these. ``attributes``: ``class_`` is class,
    ``stroke_width`` is stroke-width; None and False leave one out, True writes its name alone.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            written = key.rstrip("_").replace("_", "-")
            parts.append(written if value is True else f'{written}="{html.escape(str(value))}"')
    start = f"<{' '.join(parts)}>"
    return Html(start if name in _VOID else f"{start}{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Return children, as ``tag`` takes them, one after the other."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, (str, int, float)):
        return Html(html.escape(str(children)))
    return Html("".join(join(child) for child in children))


def number(value: Any) -> float | None:
    """Return a finite number, or None for everything else (null, NaN, text)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def percent(value: Any, digits: int = 1) -> str:
    """0.7131 -> 71.3 %; a dash where there is no number."""
    share = number(value)
    if share is not None and 0 < share < 0.5 * 10 ** (-2 - digits):
        return f"< {10.0**-digits:.{digits}f}\N{NO-BREAK SPACE}%"  # not the same as none
    return NOTHING if share is None else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def milliseconds(value: Any) -> str:
    """3.14159 -> 3.14 ms: three figures are as many as a clock is good for."""
    time = number(value)
    return NOTHING if time is None else f"{time:.{2 if time < 10 else 1 if time < 100 else 0}f}\N{NO-BREAK SPACE}ms"


def count(value: Any) -> str:
    """12345 -> 12,345."""
    amount = number(value)
    return NOTHING if amount is None else f"{amount:,.0f}"


def many(amount: int, one: str, more: str | None = None) -> str:
    """Return "1 frame" or "1,200 frames"."""
    return f"{amount:,} {one if amount == 1 else more or one + 's'}"


def clock(seconds: float) -> str:
    """12.345 -> 12.35 s; 754.2 -> 12:34.2."""
    if abs(seconds) < 120:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"
