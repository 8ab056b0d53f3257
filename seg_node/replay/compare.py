"""What report B wins and loses against report A: overall, a class, a frame; and whether that is good enough.

Frames belong together by bag and stamp. Scores of frames are mIoU where there is ground truth. All shares are 0 to 1.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from seg_node.replay import bag_names
from seg_node.replay.report import ReportError

_TOTALS = ("miou", "pixel_accuracy", "class_accuracy", "frequency_weighted_iou")
_LISTED = 10  # frames shown, of those lost and of those won most


class Limits(NamedTuple):
    """What B must hold; None: not asked."""

    min_miou_gain: float | None = None  # B's mIoU less A's
    max_class_loss: float | None = None  # of any class, in IoU
    max_p95_ratio: float | None = None  # B's time of an image, p95, over A's
    max_frame_loss: float | None = None  # of any frame, in mIoU


NO_LIMITS = Limits()


def compare(a: Mapping[str, Any], b: Mapping[str, Any], limits: Limits = NO_LIMITS) -> dict[str, Any]:
    """Return what ``--json`` prints. ``missed``: a text a limit that B does not hold, or that cannot be checked."""
    shared = [name for name in a["classes"] if name in b["classes"]]
    if not shared:
        raise ReportError(f"the reports have no class in common: {a['label_set']} and {b['label_set']}")
    frames = _frames(a, b)
    result: dict[str, Any] = {
        "a": _about(a),
        "b": _about(b),
        "totals": {key: _pair(a[key], b[key]) for key in _TOTALS},
        "agreement": _pair(a["agreement"]["consecutive"], b["agreement"]["consecutive"]),
        "iou": {name: _pair(a["iou"].get(name), b["iou"].get(name)) for name in shared},
        "ms_per_image": {key: _ratio(a["ms_per_image"].get(key), b["ms_per_image"].get(key)) for key in ("p50", "p95")},
        "lost_frames": _pair(_lost(a), _lost(b)),
        "frames": frames,
    }
    result["warnings"] = _warnings(a, b, frames)
    result["missed"] = _missed(result, limits)
    return result


def _frames(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the frames that both have fare: won, lost, alike, and the largest of either."""
    named = "bags" in a or "bags" in b
    one, other = _by_key(a, named), _by_key(b, named)
    matched = [key for key in one if key in other]
    rows = []
    for key in matched:
        before, after = one[key]["miou"], other[key]["miou"]
        if before is None or after is None:
            continue
        entry = {"bag": key[0], "stamp": key[1], "index": one[key]["index"], "elapsed": one[key]["elapsed"]}
        rows.append({**entry, "a": before, "b": after, "change": round(after - before, 6)})
    ordered = sorted(rows, key=lambda row: row["change"])
    return {
        "matched": len(matched),
        "scored": len(rows),
        "only_a": len(one) - len(matched),
        "only_b": len(other) - len(matched),
        "won": sum(row["change"] > 0 for row in rows),
        "lost": sum(row["change"] < 0 for row in rows),
        "largest_losses": [row for row in ordered[:_LISTED] if row["change"] < 0],
        "largest_gains": [row for row in ordered[::-1][:_LISTED] if row["change"] > 0],
        "changes": rows,
    }


def _by_key(report: Mapping[str, Any], named: bool) -> dict[tuple[str, int, int], dict[str, Any]]:
    """Return the moments by bag, stamp and how often the bag had that stamp before (a camera may not set it).

    Without ``named``, a report of one bag is compared with another of one bag, which may have been renamed.
    """
    own = bag_names.own_name(report["bag"]["title"]) if named else ""
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for moment in report["moments"]:
        key = (moment.get("bag", own), moment["stamp"])
        found[(*key, seen[key])] = moment
        seen[key] += 1
    return found


def _warnings(a: Mapping[str, Any], b: Mapping[str, Any], frames: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know before believing the figures."""
    warnings = []
    if not frames["matched"]:
        warnings.append("the reports share no frame: they are of other bags, or of other topics")
    elif frames["only_a"] or frames["only_b"]:
        warnings.append(
            f"{frames['only_a']} frames are in A alone, {frames['only_b']} in B alone: totals are of different frames"
        )
    if a["bag"]["title"] != b["bag"]["title"]:
        warnings.append("A is of {}, B of {}".format(a["bag"]["title"], b["bag"]["title"]))
    if sorted(a["classes"]) != sorted(b["classes"]):
        warnings.append(f"classes differ ({a['label_set']}, {b['label_set']}): only those that both have are compared")
    if a["mode"] != b["mode"]:
        warnings.append(f"A is {a['mode']}, B is {b['mode']}: their times are not of the same kind")
    if any(a["hardware"].get(key) != b["hardware"].get(key) for key in ("cpu", "cores")) or a["device"] != b["device"]:
        warnings.append("A and B ran on different hardware: their times do not compare the models")
    interrupted = [name for name, report in (("A", a), ("B", b)) if report.get("interrupted")]
    return warnings + [f"{name} was interrupted: it holds part of its drive" for name in interrupted]


def _missed(result: Mapping[str, Any], limits: Limits) -> list[str]:
    """Return the limits that are not held. What cannot be checked is not held: a gate must not open by accident."""
    missed = []

    def check(asked: float | None, option: str, value: float | None, held: bool, text: str) -> None:
        if asked is None:
            return
        if value is None:
            missed.append(f"--{option} {asked:g}: cannot be checked, there is nothing to compare")
        elif not held:
            missed.append(f"--{option} {asked:g}: {text}")

    gain = result["totals"]["miou"]["change"]
    if limits.min_miou_gain is not None:
        value = None if result["frames"]["matched"] == 0 else gain
        held = gain is not None and gain >= limits.min_miou_gain
        check(limits.min_miou_gain, "min-miou-gain", value, held, f"mIoU changes by {_signed(gain)}")
    if limits.max_class_loss is not None:
        known = {name: p["change"] for name, p in result["iou"].items() if p["change"] is not None}
        worst = min(known, key=lambda name: known[name], default=None)
        loss = None if worst is None else -known[worst]
        held = loss is not None and loss <= limits.max_class_loss
        check(limits.max_class_loss, "max-class-loss", loss, held, f"{worst} changes by {_signed(-(loss or 0))}")
    if limits.max_p95_ratio is not None:
        ratio = result["ms_per_image"]["p95"]["ratio"]
        held = ratio is not None and ratio <= limits.max_p95_ratio
        check(limits.max_p95_ratio, "max-p95-ratio", ratio, held, f"p95 is {ratio} times as long")
    if limits.max_frame_loss is not None:
        changes = [row["change"] for row in result["frames"]["changes"]]
        loss = -min(changes) if changes else None
        held = loss is not None and loss <= limits.max_frame_loss
        count = sum(-change > limits.max_frame_loss for change in changes)
        text = f"{count} frame{'s' * (count != 1)} beyond it, the worst changes by {_signed(-(loss or 0))}"
        check(limits.max_frame_loss, "max-frame-loss", loss, held, text)
    return missed


def _pair(a: float | None, b: float | None) -> dict[str, float | None]:
    return {"a": a, "b": b, "change": None if a is None or b is None else round(b - a, 6)}


def _ratio(a: float | None, b: float | None) -> dict[str, float | None]:
    return {"a": a, "b": b, "ratio": None if not a or b is None else round(b / a, 4)}


def _lost(report: Mapping[str, Any]) -> int:
    """Return how many frames went in and did not come out labelled."""
    return int((report["frames"]["in"] or 0) - (report["frames"]["out"] or 0))


def _about(report: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("model", "mode", "runtime", "device", "precision", "images", "date")
    return {**{key: report[key] for key in keys}, "bag": report["bag"]["title"]}


def _signed(value: float | None) -> str:
    return "nothing known" if value is None else f"{100 * value:+.2f} points"
