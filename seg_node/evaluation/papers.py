"""The figures that the papers print about their networks' size and cost, and ours beside them.

``config/papers/<paper>.yaml`` holds what is printed, table by table, as printed ("0.364 M"), so that its last digit
tells how exact it is:

    title: ...                      the paper's
    flops: flops_c3                 what its FLOPs columns count: a name of ``_COUNTED`` (see ``flops``)
    parameters: weights             left out where biases and batch norm are counted too
    tables:
      Table 3:
        title: ...                  what the table is about
        flops: macs                 left out where it is the paper's
        size: [512, 1024]           of the input image that its FLOPs are for
        classes: 20
        rows:
          - name: ESPNet            as printed
            network: espnet         and what networks.build takes; without it the row is not built, ``note`` says why
            options: {}             left out where empty; so is ``classes``, where it is the table's
            part: backbone          the attribute whose parameters are counted; left out for the whole network
            parameters: {paper: 0.364 M, ours: 364569}
            flops: {paper: 9.07 G, ours: 9665183744, why: what is wrong with the paper's}
            note: ...

``ours`` is the exact count where it is known. ``why`` stands where the paper's figure is not reached, and then ``ours``
must stand too.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seg_node import networks
from seg_node.evaluation.flops import Complexity, complexity
from seg_node.share import shipped
from seg_node.yaml_table import read_table

TOLERANCE = {"parameters": 0.01, "flops": 0.02}
_COUNTED = ("macs", "macs_norm", "flops_c3", "flops_c3_once")
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_KEYS = {"name", "network", "options", "classes", "size", "part", "parameters", "flops", "note"}


class Figure(NamedTuple):
    """One printed number."""

    printed: str
    value: float
    half_unit: float  # half a unit of the last printed digit: what rounding may have hidden
    ours: int | None
    why: str

    def reached_by(self, count: int, tolerance: float) -> bool:
        return abs(count - self.value) <= max(tolerance * self.value, self.half_unit)


class Row(NamedTuple):
    paper: str  # the file's name
    title: str  # the paper's
    table: str
    about: str  # what the table shows
    name: str
    network: str | None
    options: dict[str, Any]
    classes: int
    size: tuple[int, int]  # (height, width)
    part: str
    parameters_are: str  # "all" or "weights": those of convolutions and matrix products only
    flops_are: str  # a field of ``Complexity``
    figures: dict[str, Figure]  # "parameters", "flops"
    note: str

    def measure(self) -> dict[str, int]:
        """Return our count of each of the row's figures."""
        assert self.network is not None
        name = self.network

        def build() -> Any:
            return networks.build(name, self.classes, **self.options)

        counts: Complexity = complexity(build, self.size)
        with torch.device("meta"):
            part = getattr(build(), self.part) if self.part else build()
        few = self.parameters_are == "weights"
        whole = {
            "parameters": sum(w.numel() for w in part.parameters() if not few or w.dim() > 1),
            "flops": getattr(counts, self.flops_are),
        }
        return {what: whole[what] for what in self.figures}


def load_papers() -> list[Row]:
    """Read every paper's figures. Raises ValueError naming the file and the row where something is wrong."""
    return [row for path in shipped("config/papers", "*.yaml") for row in _read(path)]


def _read(path: Path) -> list[Row]:
    table = read_table(path)
    rows = []
    for number, about in table["tables"].items():
        for entry in about["rows"]:
            where = f"{path}: {number}: {entry.get('name')}"
            unknown = set(entry) - _KEYS
            flops_are = about.get("flops", table["flops"])
            if unknown or flops_are not in _COUNTED:
                raise ValueError(f"{where}: unknown keys {sorted(unknown)}, or 'flops' none of {_COUNTED}")
            if not entry.get("network") and not entry.get("note"):
                raise ValueError(f"{where}: names no network and no note that says why")
            height, width = entry.get("size", about["size"])
            rows.append(
                Row(
                    paper=path.stem,
                    title=str(table["title"]),
                    table=number,
                    about=str(about["title"]),
                    name=str(entry["name"]),
                    network=entry.get("network"),
                    options=entry.get("options", {}),
                    classes=entry.get("classes", about["classes"]),
                    size=(height, width),
                    part=entry.get("part", ""),
                    parameters_are=table.get("parameters", "all"),
                    flops_are=flops_are,
                    figures={what: _figure(entry[what], where) for what in TOLERANCE if what in entry},
                    note=str(entry.get("note", "")),
                )
            )
    return rows


def _figure(entry: dict[str, Any], where: str) -> Figure:
    printed = str(entry["paper"])
    match = re.fullmatch(r"(\d+)(?:\.(\d+))? ?([KMG]?)", printed)
    if not match or set(entry) - {"paper", "ours", "why"} or ("why" in entry and "ours" not in entry):
        raise ValueError(f"{where}: {entry}: must be {{paper: 0.364 M, ours: COUNT, why: TEXT}}, 'ours' wherever 'why'")
    whole, decimals, unit = match.groups()
    value = float(f"{whole}.{decimals or 0}") * _UNITS[unit]
    half_unit = 0.5 * 10 ** -len(decimals or "") * _UNITS[unit] if unit else 0.0
    return Figure(printed, value, half_unit, entry.get("ours"), str(entry.get("why", "")))
