"""What a live replay brought back: which frames were sent, which came back and when, what became of the others.

Fed with what the camera and the recorder say, a JSON object each; starts no processes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seg_node.evaluation.tally import PERCENTILES

_WINDOW = 300  # frames that the node's own percentiles cover
_LATE = 0.010  # seconds; a camera further behind its bag than this is told of


class Label(NamedTuple):
    """One label image that came back."""

    pixels: np.ndarray  # uint8 (H, W), class ids of the model's label set, 255 unlabelled
    milliseconds: float  # from sending the frame to receiving its labels


class _Sent(NamedTuple):
    place: int  # among the topic's messages
    late: float  # seconds behind the bag's own time


class Played:
    """Frames are known by the stamp they were sent with; ``of`` maps them back to the bag's."""

    def __init__(self, path: Path) -> None:
        """``path``: the file with the label images."""
        self.path = path
        self.ready = self.complete = False
        self.broken = ""  # why the node cannot work at all
        self.reports = 0  # of the node's diagnostics
        self.node: dict[str, str] = {}  # the newest of them
        self.sent: dict[int, _Sent] = {}  # by stamp
        self._count_sent: int | None = None  # known when all were
        self.unreadable = 0  # messages that were sent, and hold no image for offline either
        self._labels: dict[int, dict[str, int]] = {}  # by stamp
        self._stamps: dict[int, int] = {}  # index -> stamp

    def take(self, said: Mapping[str, Any]) -> None:
        """Take an object that the camera or the recorder has printed."""
        if "sent" in said:
            self.sent[said["stamp"]] = _Sent(said["sent"], said["late"])
            self._stamps[said["sent"]] = said["stamp"]
        elif "label" in said:
            self._labels[said["label"]] = dict(said)
        elif "node" in said:
            self.node = dict(said["node"])
            self.reports += 1
            self.broken = said["message"] if said["level"] == 2 else ""
        elif "played" in said:
            self._count_sent = said["played"]
        self.ready |= "ready" in said
        self.complete |= "kept" in said

    def settled(self) -> bool:
        """Return whether nothing is still on its way: all was sent, and what arrived was labelled or dropped."""
        arrived, out = self._count("frames_in"), self._count("frames_out")
        done = arrived == out + sum(self._drops().values()) and len(self._labels) >= out
        return done and len(self.sent) == self._count_sent

    def of(self, index: int) -> Label | None:
        """Return what came back for a message of the bag's topic; None where nothing did."""
        stamp = self._stamps.get(index)
        found = None if stamp is None else self._labels.get(stamp)
        if stamp is None or found is None:
            return None
        with open(self.path, "rb") as file:
            file.seek(found["at"])
            pixels = cv2.imdecode(np.frombuffer(file.read(found["size"]), np.uint8), cv2.IMREAD_UNCHANGED)
        return Label(np.asarray(pixels), (found["received"] - stamp) / 1e6)

    def frames(self) -> dict[str, Any]:
        """Return ``in`` (sent), ``out`` (came back) and ``dropped`` by cause, whose sum is in less out.

        Causes beside the node's own: transport (lost on the way to the node, or replaced by a newer one in DDS's
        queue, which holds ``qos_input_depth``), label_transport (on the way back), unfinished (the node had not said
        what became of them when everything was ended). A message cut off in its middle never reaches the node's
        code; it counts as bad_image, as it does offline.
        """
        came = len(self._labels.keys() & self.sent.keys())
        arrived, out = self._count("frames_in"), self._count("frames_out")
        dropped = self._drops()
        arrived = max(arrived, came + sum(dropped.values()))  # a node that died had no time to say
        lost = len(self.sent) - arrived
        cut_off = min(lost, max(0, self.unreadable - dropped.get("bad_image", 0)))
        dropped["bad_image"] = dropped.get("bad_image", 0) + cut_off
        dropped["transport"] = lost - cut_off
        dropped["label_transport"] = max(0, out - came)
        dropped["unfinished"] = len(self.sent) - came - sum(dropped.values())
        return {"in": len(self.sent), "arrived": arrived, "out": came, "dropped": dropped}

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Return ``end_to_end`` (sent to label received) of every frame, and the node's own newest percentiles."""
        values = [(found["received"] - stamp) / 1e6 for stamp, found in self._labels.items() if stamp in self.sent]
        stages = {"end_to_end": _percentiles(values)} if values else {}
        suffix = "_p50_ms"
        for stage in (key[: -len(suffix)] for key in self.node if key.endswith(suffix)):
            found = {p: self.node.get(f"{stage}_{p}_ms", "nan") for p in PERCENTILES}
            if "nan" not in found.values():
                stages[stage] = {p: float(value) for p, value in found.items()}
        return stages

    def fps(self) -> dict[str, float | None]:
        """Return frames a second that were ``sent`` and that came ``out``."""
        received = [found["received"] for stamp, found in self._labels.items() if stamp in self.sent]
        return {"sent": _rate(list(self.sent)), "out": _rate(received)}

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know."""
        notes = []
        late = _percentiles([1e3 * sent.late for sent in self.sent.values()])
        if late["p95"] > 1e3 * _LATE:
            notes.append(
                "the camera fell behind the bag's own time (p95 {p95:.0f} ms, at most {max:.0f} ms): this machine "
                "was too busy to play it".format(**late)
            )
        if self._count("frames_in") > _WINDOW:
            notes.append(f"latency inside the node is of its last {_WINDOW} frames, end_to_end of all")
        if self.node.get("last_error"):
            notes.append("last error of the node: {}".format(self.node["last_error"]))
        return notes

    def _drops(self) -> dict[str, int]:
        prefix = "dropped_"
        return {key[len(prefix) :]: self._count(key) for key in self.node if key.startswith(prefix)}

    def _count(self, key: str) -> int:
        return int(self.node.get(key, 0))


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return dict.fromkeys(PERCENTILES, 0.0)
    found = np.percentile(np.array(values), (50, 95, 99, 100))
    return {p: round(float(value), 3) for p, value in zip(PERCENTILES, found, strict=True)}


def _rate(stamps: list[int]) -> float | None:
    seconds = (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0
    return round((len(stamps) - 1) / seconds, 3) if seconds > 0 else None
