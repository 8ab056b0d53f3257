"""A row for each result, how rows are shown, and the file that they are kept in."""

import json
import os
import re
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.workers import ROOT
from seg_node.evaluation.hardware import commit, machine

Row = dict[str, Any]


def row(
    name: str,
    value: float,
    unit: str,
    baseline: float | None = None,
    ratio: float | None = None,
    goal: str = "",
    met: bool | None = None,
    **more: Any,
) -> Row:
    """Return one result.

    ``ratio``: what ``goal`` speaks of; by default value / baseline. ``met``: whether the goal is reached, None where
    there is none, or where it does not apply here.
    """
    if ratio is None and baseline:
        ratio = value / baseline
    made = {"name": name, "value": _round(value), "unit": unit, "baseline": _round(baseline), "ratio": _round(ratio)}
    return made | ({"goal": goal, "met": met} if goal else {}) | more


def failure(name: str, why: str) -> Row:
    """Return what is kept of something that could not be measured here. A file's place on this machine is not."""
    why = why.replace(f"{ROOT}/", "")
    return {"name": name, "value": None, "unit": "", "baseline": None, "ratio": None, "skipped": why}


def stamped(item: str, made: Row, plan: str) -> Row:
    """Add what a result means little without."""
    about = {
        "item": item,
        "plan": plan,
        "hardware": machine(),
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 1),  # of the last minute: a measurement's own, too
    }
    return made | {key: value for key, value in about.items() if key not in made or key in ("hardware", "date")}


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def path_in(folder: Path, plan: str) -> Path:
    """Return today's file for this machine."""
    word = "bench" if plan == "full" else f"bench-{plan}"
    return folder / f"{word}-{slug(machine())}-{datetime.now(timezone.utc):%Y-%m-%d}.json"


def slug(text: str) -> str:
    """Return a machine's name as a part of a file's: "AMD EPYC, 2 cores" is epyc_2core."""
    text = re.sub(r"\((r|tm)\)|@ .*?(?=,|$)|\b(amd|intel|nvidia|cpu|processor|\d+-core)\b", " ", text.lower())
    text = re.sub(r"(\d+) cores?", r"\1core", text)
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def keep(path: Path, item: str, rows: list[Row], others: bool = False) -> None:
    """Write an item's rows, in place of those that the file has of it, or of the same name where the others stay.

    A kill leaves the old file.
    """
    new = {each["name"] for each in rows}
    try:
        old = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        old = []
    path.parent.mkdir(parents=True, exist_ok=True)
    stay = [each for each in old if each["item"] != item or (others and each["name"] not in new)]
    lines = [json.dumps(each) + "\n" for each in stay + rows]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(lines), encoding="utf-8")
    os.replace(partial, path)


def show(rows: Iterable[Row]) -> None:
    """Print a table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "value", "", "baseline", "ratio", "goal", "", box=None, pad_edge=False)
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    table.columns[2].max_width = 44  # a unit, or a reason
    last = ""
    for each in rows:
        if each["item"] != last:
            last = each["item"]
            table.add_section()
            table.add_row(f"[bold]{last}[/bold]")
        if "skipped" in each:
            table.add_row("  " + each["name"], "", f"[dim]not measured: {each['skipped'].partition(';')[0]}[/dim]")
            continue
        verdict = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}[each.get("met")]
        cells = [_cell(each[key]) for key in ("value", "baseline", "ratio")]
        table.add_row("  " + each["name"], cells[0], each["unit"], *cells[1:], each.get("goal", ""), verdict)
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(table)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
