"""The files that a recorded drive leaves: label images, contact sheet, latency report, beside its video."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.evaluation.contact_sheet import Row, draw_sheet
from seg_node.evaluation.hardware import hardware, versions
from seg_node.evaluation.video_writer import VideoWriter
from seg_node.label_set import LabelSet

_ROWS = 5
_LABEL_FILES = "[0-9][0-9].png"
_MARK = ".recorded-here"  # lies where a recording has begun: its files may be replaced


def check_place(out: Path, source: Path | None = None) -> None:
    """Raise FileExistsError where ``remove_old`` would remove what no recording left, or what is played."""
    old = _old(out)
    if old and not ((out / _MARK).exists() or _is_report(out / "latency.json")):
        raise FileExistsError(f"{old[0]}: is there already, and is no demo's; choose another --out, or move it")
    if source is not None and any(source.resolve() in (path.resolve(), path.resolve().parent) for path in old):
        raise FileExistsError(f"{source}: is what is played, and would be written over; choose another --out")


def remove_old(out: Path) -> None:
    """Make the folder, and remove the files that an earlier recording left in it; others stay."""
    (out / "label").mkdir(parents=True, exist_ok=True)
    for path in _old(out):
        path.unlink()
    (out / _MARK).touch()


def _old(out: Path) -> list[Path]:
    files = [out / name for name in ("overlay.mp4", "sheet.png", "latency.json")]
    return [path for path in files if path.exists()] + sorted((out / "label").glob(_LABEL_FILES))


def _is_report(path: Path) -> bool:
    try:
        return "latency_ms" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


class Drive(NamedTuple):
    """What was recorded, and where its files go."""

    out: Path
    title: str
    labels: LabelSet
    video: VideoWriter  # closed


def write_recording(
    drive: Drive,
    report: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
    decode: Callable[[bytes], np.ndarray | None],
) -> list[Path]:
    """Write label/*.png, sheet.png and latency.json; returns the paths of all files, the video first.

    ``frames``: parts by name, ``label`` and where they came ``image`` (undecoded), ``overlay`` and ``truth``; and
    ``elapsed``, seconds since the start.
    Raises OSError where a file cannot be written.
    """
    out, video = drive.out, drive.video
    files = [video.path] if video.frames else []
    for index, frame in enumerate(frames):
        files.append(_write_image(out / "label" / f"{index:02d}.png", frame["label"]))
    rows = [_row(frame, decode) for frame in _spread(frames, _ROWS)]
    sheet = draw_sheet(rows, drive.labels, drive.title, summary(report), report["iou"])
    files.append(_write_image(out / "sheet.png", sheet))
    path = out / "latency.json"
    table = {
        "source": drive.title,
        "label_set": drive.labels.name,
        **report,
        "video": {"frames": video.frames, "skipped": video.skipped},
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return [*files, path]


def summary(report: Mapping[str, Any]) -> list[str]:
    """Return a report in two lines of text."""
    fps = report["fps"]["out"]
    latency = report["latency_ms"].get("end_to_end", {})
    first = ["model {} ({}, {})".format(report["model"], report["runtime"], report["device"])]
    if fps is not None:
        first.append(f"{fps:.1f} frames/s")
    if report["miou"] is not None:
        first.append("mIoU {:.1f} %".format(100 * report["miou"]))
    second = ["{} frames sent, {} labelled".format(report["frames"]["sent"], report["frames"]["out"])]
    if latency:
        second.append("camera to label {p50:.1f} ms (p95 {p95:.1f}, p99 {p99:.1f})".format(**latency))
    second.append("{cpu}, {cores} cores".format(**hardware()))
    return ["  |  ".join(first), "  |  ".join(second)]


def _spread(frames: Sequence[Any], count: int) -> list[Any]:
    """Return ``count`` of the frames, evenly spread."""
    count = min(count, len(frames))
    return [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(count)]


def _row(frame: Mapping[str, Any], decode: Callable[[bytes], np.ndarray | None]) -> Row:
    image = decode(frame["image"]) if "image" in frame else None
    return Row("{:.1f} s".format(frame["elapsed"]), image, frame.get("overlay"), frame.get("truth"))


def _write_image(path: Path, image: np.ndarray) -> Path:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"{path}: cannot be written; is there room, and may you write there?")
    return path
