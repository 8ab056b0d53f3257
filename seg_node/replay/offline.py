"""Every frame of a drive through the Segmenter, in order, at full speed: the same bag gives the same labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from seg_node.pipeline.segmenter import Segmenter
from seg_node.replay.drive import Drive, Picture

STAGES = ("decode", "resize", "infer", "restore", "total")
_PATIENCE = 10  # inferences that fail in a row before the network is given up

Progress = Callable[[int, "int | None"], None]  # messages done, of how many


class Result(NamedTuple):
    """What a network said of one frame."""

    picture: Picture
    labels: np.ndarray  # uint8 (H, W), class ids of the model's label set, 255 unlabelled; valid until the next one
    confidence: np.ndarray | None  # uint8 (H, W), likewise
    milliseconds: dict[str, float]  # stage -> ms


class Watcher(Protocol):
    """Sees every result in order: measure, worst frames, annotated bag, video, Rerun file."""

    def see(self, result: Result) -> None: ...

    def close(self) -> None: ...


def run(segmenter: Segmenter, drive: Drive, watchers: Sequence[Watcher], progress: Progress) -> list[str]:
    """Show every frame's result to every watcher; closes none of them.

    Returns a text a frame on which inference failed. Raises what the runtime raises once it fails many times in a row.
    """
    failed: list[str] = []
    row = 0
    for picture in drive.pictures():
        try:
            segmentation = segmenter.segment(picture.frame)
        except Exception as error:  # any backend's; the robot, too, goes on with the next frame
            row += 1
            if row == _PATIENCE:
                raise
            failed.append(f"message {picture.index} of {drive.topic}: inference failed: {error}")
            continue
        row = 0
        stages = {stage: 1e3 * seconds for stage, seconds in segmentation.timings.items()}
        milliseconds = {"decode": picture.milliseconds, **stages}
        milliseconds["total"] = sum(milliseconds.values())
        result = Result(picture, segmentation.labels, segmentation.confidence, milliseconds)
        for watcher in watchers:
            watcher.see(result)
        progress(drive.seen, drive.length)
    return failed
