"""report.json: what is in it, how it is written, and how several become one.

All figures but the confusion matrices follow from the moments, so a merged report is exactly that of one long drive.
"""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seg_node.evaluation.confusion import Confusion
from seg_node.evaluation.hardware import hardware, versions
from seg_node.label_set import LabelSet
from seg_node.replay.measure import Measure, number
from seg_node.replay.worst import COUNT, Worst

KIND, VERSION, NAME = "seg_node replay report", 1, "report.json"
_IMAGE = ("resize", "infer", "restore")  # what ``evaluate`` counts as the time of an image
_SAME = ("mode", "model", "classes", "against_model")  # what reports must share to be one


class ReportError(ValueError):
    """A report that cannot be read, merged or compared; the message names it."""


class OtherVersionError(ReportError):
    """A report that another version of this program wrote."""


class About(NamedTuple):
    """What a report says besides what was measured."""

    mode: str  # "offline" or "live"
    model: str
    labels: LabelSet  # the model's
    bag: dict[str, Any]  # path, title, topic, messages
    runtime: str
    device: str
    precision: str
    input_size: tuple[int, int]  # height, width
    frames: dict[str, Any]  # in, out, dropped {cause: count}
    broken: list[str]
    notes: list[str]
    settings: dict[str, Any]
    against_model: str | None = None
    latency_ms: dict[str, dict[str, float]] | None = None  # of stages that the moments do not hold


def assemble(about: About, measure: Measure, worst: Worst) -> dict[str, Any]:
    """Return the report of one drive."""
    labels = about.labels
    report = {
        "kind": KIND,
        "version": VERSION,
        "mode": about.mode,
        "model": about.model,
        "label_set": labels.name,
        "classes": list(labels.names),
        "palette": [[int(part) for part in labels.palette[i][::-1]] for i in range(labels.class_count)],
        "bag": about.bag,
        "runtime": about.runtime,
        "device": about.device,
        "precision": about.precision,
        "input_size": list(about.input_size),
        "void": "ignored",
        "images": len(measure.moments),
        "frames": about.frames,
        "broken": list(about.broken),
        "notes": list(about.notes),
        **_scores(measure.confusion if measure.scored else None, labels.names),
        **_summary([measure.moments], labels.names),
    }
    report["latency_ms"] = {**(about.latency_ms or {}), **report["latency_ms"]}
    report["agreement"] |= _against(measure.confusion_against, about.against_model, labels.names)
    return {**report, "moments": measure.moments, "worst": worst.entries, **_circumstances(about.settings)}


def write(folder: Path, report: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write the worst frames' ``files`` and then, in one step, report.json; returns its path. Raises OSError."""
    (folder / "worst").mkdir(parents=True, exist_ok=True)
    for old in (folder / "worst").glob("[0-9][0-9][0-9][0-9][0-9][0-9]*.*"):
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return _write_json(folder / NAME, report)


def read(path: Path) -> dict[str, Any]:
    """Read a report, by its path or its folder's. Raises ReportError."""
    path = path / NAME if path.is_dir() else path
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: is no report that can be read ({error}); seg-node replay writes one") from error
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise ReportError(f"{path}: is no report of seg-node replay")
    if report.get("version") != VERSION:
        raise OtherVersionError(f"{path}: is a report of version {report.get('version')}; this program reads {VERSION}")
    return report


def merge(folders: Sequence[Path], out: Path, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Make one report of those in ``folders`` and write it to ``out``: as if they were one drive.

    ``notes``: what else a reader must know, such as bags that could not be replayed. Moments and worst frames say of
    which folder they are (``bag``); ``bags`` has a line for each. Raises ReportError where they are not of the same
    mode, model and classes.
    """
    reports = [read(folder) for folder in folders]
    if not reports:
        raise ReportError("there is no report to merge")
    first, names = reports[0], [folder.name for folder in folders]
    for folder, report in zip(folders, reports, strict=True):
        for key in _SAME:
            mine, other = ({**r, **r["agreement"]}[key] for r in (report, first))
            if mine != other:
                raise ReportError(f"{folder} and {folders[0]} cannot be merged: {key} is {mine!r} and {other!r}")
    classes = first["classes"]
    against = _sum([r["agreement"]["confusion"] for r in reports], len(classes))
    report = {
        **{key: first[key] for key in ("kind", "version", "mode", "model", "label_set", "classes", "palette")},
        "bag": {
            "path": _common_folder([r["bag"]["path"] for r in reports]),
            "title": f"{len(reports)} bag{'s' * (len(reports) != 1)}",
            "topic": _alike(r["bag"]["topic"] for r in reports),
            "messages": sum(r["bag"]["messages"] or 0 for r in reports),
        },
        **{key: _alike(r[key] for r in reports) for key in ("runtime", "device", "precision")},
        **{key: first[key] for key in ("input_size", "void")},
        "images": sum(r["images"] for r in reports),
        "frames": _add_frames([r["frames"] for r in reports]),
        "broken": [f"{name}: {text}" for name, r in zip(names, reports, strict=True) for text in r["broken"]],
        "notes": [*notes, *(f"{name}: {text}" for name, r in zip(names, reports, strict=True) for text in r["notes"])],
        **_scores(_sum([r["confusion"] for r in reports], len(classes)), classes),
        **_summary([r["moments"] for r in reports], classes),
    }
    report["agreement"] |= _against(against, first["agreement"]["against_model"], classes)
    report["bags"] = [_line(name, r) for name, r in zip(names, reports, strict=True)]
    report["moments"] = [{"bag": n, **m} for n, r in zip(names, reports, strict=True) for m in r["moments"]]
    report["worst"] = _worst(folders, reports, out)
    report |= _circumstances(first["settings"])
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / NAME, report)
    return report


def _scores(confusion: Confusion | None, names: Sequence[str]) -> dict[str, Any]:
    if confusion is None:
        keys = ("miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou", "confusion")
        return {**dict.fromkeys(keys), "iou": dict.fromkeys(names)}
    scores = confusion.scores()
    return {
        "miou": number(scores.miou),
        "iou": dict(zip(names, map(number, scores.iou), strict=True)),
        "pixel_accuracy": number(scores.pixel_accuracy),
        "class_accuracy": number(scores.class_accuracy),
        "frequency_weighted_iou": number(scores.frequency_weighted_iou),
        "confusion": confusion.matrix.tolist(),
    }


def _against(confusion: Confusion | None, model: str | None, names: Sequence[str]) -> dict[str, Any]:
    iou = {} if confusion is None else dict(zip(names, map(number, confusion.scores().iou), strict=True))
    matrix = None if confusion is None else confusion.matrix.tolist()
    return {"against_model": model, "iou_against": iou, "confusion": matrix}


def _summary(drives: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str]) -> dict[str, Any]:
    """Return what follows from the moments of one or more drives: times, agreement, shares and flicker."""
    moments = list(itertools.chain.from_iterable(drives))
    shares = [np.array([m["shares"] for m in drive]).reshape(-1, len(names)) for drive in drives]
    steps = np.vstack([np.abs(np.diff(part, axis=0)) for part in shares])
    stages = list(dict.fromkeys(stage for m in moments for stage in m["ms"]))
    images = [_image_ms(m["ms"]) for m in moments]
    return {
        "ms_per_image": {key: round(v, 2) for key, v in _percentiles(images).items() if key in ("p50", "p95")},
        "latency_ms": {stage: _percentiles([m["ms"][stage] for m in moments if stage in m["ms"]]) for stage in stages},
        "agreement": {
            "consecutive": _mean([m["agreement"] for m in moments]),
            "against": _mean([m["against"] for m in moments]),
        },
        "shares": _by_name(names, np.vstack(shares)),
        "flicker": _by_name(names, steps),
    }


def _image_ms(ms: Mapping[str, float]) -> float:
    """Return what a frame took: as ``evaluate`` counts, or of what is known from outside the node the whole."""
    if all(stage in ms for stage in _IMAGE):
        return sum(ms[stage] for stage in _IMAGE)
    return ms.get("total", ms.get("end_to_end", float("nan")))


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return {}
    found = np.percentile(known, (50, 95, 99, 100))
    return {key: round(float(value), 3) for key, value in zip(("p50", "p95", "p99", "max"), found, strict=True)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return number(float(np.mean(known))) if known else None


def _by_name(names: Sequence[str], rows: np.ndarray) -> dict[str, float | None]:
    """Return the mean of each column of float (N, classes) under its class's name."""
    means = rows.mean(axis=0) if len(rows) else np.full(len(names), np.nan)
    return {name: number(value, 6) for name, value in zip(names, means, strict=True)}


def _sum(matrices: Sequence[Any], classes: int) -> Confusion | None:
    known = [np.array(matrix, np.int64) for matrix in matrices if matrix is not None]
    if not known:
        return None
    confusion = Confusion(classes)
    confusion.matrix = np.sum(known, axis=0)
    return confusion


def _add_frames(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    causes = dict.fromkeys(cause for part in parts for cause in part["dropped"])
    return {
        "in": sum(part["in"] or 0 for part in parts),
        "out": sum(part["out"] or 0 for part in parts),
        "dropped": {cause: sum(part["dropped"].get(cause) or 0 for part in parts) for cause in causes},
    }


def _common_folder(paths: Sequence[str]) -> str:
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones
        return ", ".join(paths)


def _alike(values: Any) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _line(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("bag", "images", "frames", "miou", "pixel_accuracy", "agreement", "ms_per_image")
    line = {"name": name, **{key: report[key] for key in keys}, "broken": len(report["broken"])}
    line["agreement"] = {key: report["agreement"][key] for key in ("consecutive", "against")}
    return line


def _worst(folders: Sequence[Path], reports: Sequence[Mapping[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Return the worst frames of all; their pictures stay where they are."""
    entries = []
    for folder, report in zip(folders, reports, strict=True):
        way = Path(os.path.relpath(folder, out)).as_posix()
        for entry in report["worst"]:
            moved = {key: f"{way}/{entry[key]}" for key in ("image", "overlay", "truth") if entry[key]}
            entries.append({"bag": folder.name, **entry, **moved})
    reasons = [why for why in ("miou", "against", "agreement") if any(e["why"] == why for e in entries)]
    alike = [e for e in entries if e["why"] == reasons[0]] if reasons else []  # other scores do not compare
    return sorted(alike, key=lambda e: (e["score"], e["bag"], e["index"]))[:COUNT]


def _circumstances(settings: Mapping[str, Any]) -> dict[str, Any]:
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"settings": dict(settings), "hardware": hardware(), "versions": versions(), "date": date}


def _write_json(path: Path, report: Mapping[str, Any]) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(report, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
