"""A Rerun recording of a drive: image, classes over it by name, ground truth, latencies and scores along its time.

    /camera                   the image, JPEG      /camera/labels, /camera/truth   class ids, named and coloured
    /latency/<stage>          milliseconds         /score/miou                     of the frame, and so far

The time lines are ``stamp`` (the images' own) and ``frame``. Opens with ``rerun FILE`` and at app.rerun.io.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seg_node.evaluation.confusion import Confusion
from seg_node.label_set import UNLABELLED, LabelSet
from seg_node.pipeline.network_input import to_bgr
from seg_node.replay.drive import Drive
from seg_node.replay.offline import Result

_QUALITY = 85
_STAGES = ("total", "infer")  # whose latency is shown first; the others are there to be chosen
_PATIENCE = 60.0  # seconds for the last frames to reach the disk
_ROOM = 64 << 20  # bytes; Rerun's own writer never comes back from a disk that is full


class RerunFile:
    """A Watcher that writes an .rrd file; it has its name when it is complete."""

    def __init__(self, path: Path, drive: Drive, label_set: LabelSet) -> None:
        """``label_set``: the model's. Raises ImportError saying what to install, ValueError where the drive's ground
        truth names other classes.
        """
        try:
            import rerun
        except ImportError as error:
            raise ImportError("a Rerun recording needs the library rerun-sdk: pip install rerun-sdk") from error
        self._rr, self._label_set = rerun, label_set
        self._truth_ids, self._own = (drive.truth_set or label_set).to(label_set), label_set.to(label_set)
        self._all = Confusion(label_set.class_count)
        self.path, self.partial = Path(path), Path(path).with_name(Path(path).name + ".partial")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # so named, the viewer tells drives apart, and lays one drive's replay over the other
        self._stream = rerun.RecordingStream("seg_node", recording_id=f"{drive.title} {drive.topic}")
        self._stream.set_log_time_enabled(False)  # when this was computed says nothing of the drive
        self._stream.set_log_tick_enabled(False)
        self._stream.save(str(self.partial), default_blueprint=self._blueprint())
        self._stream.log("/", self._classes(), static=True)
        self._said: set[str] = set()

    def _classes(self) -> Any:
        """Names and colours of the class ids."""
        colors = self._label_set.palette[:, ::-1]
        named = [(i, name, tuple(int(c) for c in colors[i])) for i, name in enumerate(self._label_set.names)]
        unlabelled = (UNLABELLED, "unlabelled", (0, 0, 0, 0))
        return self._rr.AnnotationContext([self._rr.AnnotationInfo(*entry) for entry in [*named, unlabelled]])

    def _blueprint(self) -> Any:
        import rerun.blueprint as rrb

        views = [
            rrb.Spatial2DView(origin="/camera", name="Labels", contents=["/camera", "/camera/labels"]),
            rrb.Spatial2DView(origin="/camera", name="Ground truth", contents=["/camera", "/camera/truth"]),
        ]
        plots = [
            rrb.TimeSeriesView(origin="/latency", name="Milliseconds"),
            rrb.TimeSeriesView(origin="/score", name="mIoU"),
        ]
        return rrb.Blueprint(
            rrb.Vertical(rrb.Horizontal(*views), rrb.Horizontal(*plots), row_shares=[3, 1]),
            rrb.TimePanel(timeline="stamp", state="collapsed"),
        )

    def see(self, result: Result) -> None:
        """Add a frame. Raises ValueError for an image that has no JPEG, OSError where the disk is nearly full."""
        free = shutil.disk_usage(self.path.parent).free
        if free < _ROOM:
            raise OSError(f"{self.path}: cannot be written; is there room? ({free >> 20} MB are left on that disk)")
        rr, stream, picture = self._rr, self._stream, result.picture
        moment = picture.stamp or picture.logged  # a camera without a clock stamps 0
        stream.set_time("stamp", timestamp=np.datetime64(moment, "ns"))
        stream.set_time("frame", sequence=picture.index)
        done, data = cv2.imencode(".jpg", to_bgr(picture.frame), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise ValueError(f"message {picture.index}: OpenCV cannot encode {picture.frame.image.shape} as JPEG")
        stream.log("camera", rr.EncodedImage(contents=data.tobytes(), media_type="image/jpeg"))
        stream.log("camera/labels", rr.SegmentationImage(result.labels, opacity=0.5, draw_order=1))
        for stage, milliseconds in result.milliseconds.items():
            self._plot(f"latency/{stage}", stage, milliseconds, stage in _STAGES)
        if picture.truth is not None and picture.truth.shape == result.labels.shape:
            self._score(cv2.LUT(picture.truth, self._truth_ids), cv2.LUT(result.labels, self._own))

    def _score(self, truth: np.ndarray, labels: np.ndarray) -> None:
        frame = Confusion(self._all.classes)
        frame.add(truth, labels)
        self._all.matrix += frame.matrix
        self._stream.log("camera/truth", self._rr.SegmentationImage(truth, opacity=0.5, draw_order=1))
        for name, confusion in (("frame", frame), ("so_far", self._all)):
            miou = confusion.scores().miou
            if not np.isnan(miou):  # a frame of void alone
                self._plot(f"score/{name}", name.replace("_", " "), miou, True)

    def _plot(self, entity: str, name: str, value: float, shown: bool) -> None:
        if entity not in self._said:
            self._said.add(entity)
            self._stream.log(entity, self._rr.SeriesLines(names=name, visible_series=shown), static=True)
        self._stream.log(entity, self._rr.Scalars(value))

    def close(self) -> None:
        """Give the file its name. Raises OSError where it could not be written."""
        try:
            self._stream.flush(timeout_sec=_PATIENCE)
            self._stream.disconnect()
        except RuntimeError as error:  # its writer stopped
            self.partial.unlink(missing_ok=True)
            raise OSError(f"{self.path}: cannot be written; is there room? ({error})") from error
        os.replace(self.partial, self.path)
