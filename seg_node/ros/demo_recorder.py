"""Watch the node at work, over DDS as anyone would, and write down what it did.

    python -m seg_node.ros.demo_recorder --out demo_out --duration 20 --label-set camvid11

Writes OUT/overlay.mp4, label/*.png, sheet.png and latency.json. Prints a JSON object a line: ``report`` every half
second, at last ``result`` with the files, or ``failure`` with the reason. SIGINT ends the recording early and
writes what there is. It must not slow down what it measures: video and scores have threads of low priority that
skip frames rather than fall behind.
"""

import argparse
import json
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from seg_node.evaluation.moments import Moments, Pairing
from seg_node.evaluation.recording import Drive, remove_old, write_recording
from seg_node.evaluation.tally import Tally
from seg_node.evaluation.video_writer import VideoWriter
from seg_node.label_set import load_label_set

_LABELS = 8  # label images written, at least, of a drive of some seconds; at most twice as many
_MEMORY = 128 << 20  # bytes of frames that wait for their other parts
_REPORT_EVERY = 0.5  # seconds
_QUIET = 1.5  # seconds after the last frame in which the node's last frames and diagnostics come
_STATUS = "seg_node: segmentation"


class Recorder:
    """Subscribes on a node and keeps what a report and its pictures need."""

    def __init__(self, node: Any, arguments: argparse.Namespace) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
        from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
        from rclpy.subscription import Subscription
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        self.labels = load_label_set(arguments.label_set)
        self.tally = Tally(self.labels)
        self.moments = Moments(_LABELS)
        self.video = VideoWriter(arguments.out / "overlay.mp4")
        self.broken, self._error = "", DiagnosticStatus.ERROR
        self._clock = node.get_clock()
        self._frames = Pairing(_MEMORY)
        self.image_type = CompressedImage if arguments.compressed else Image
        reliable = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
        topic = "image/compressed" if arguments.compressed else "image"
        # The input is kept as bytes: only the few frames of the contact sheet are ever decoded.
        node.create_subscription(self.image_type, topic, self._on_image, qos_profile_sensor_data, raw=True)
        node.create_subscription(CameraInfo, "camera_info", self._on_sent, reliable)
        # Before Iron, rclpy cannot tell when the middleware received a message.
        timed = hasattr(Subscription, "CallbackType")
        node.create_subscription(
            Image, "seg_node/label", self._on_label if timed else lambda message: self._on_label(message, {}), reliable
        )
        node.create_subscription(
            Image, "seg_node/overlay", self._on_overlay, QoSProfile(depth=4, reliability=ReliabilityPolicy.RELIABLE)
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable)
        if arguments.truth:
            node.create_subscription(Image, "ground_truth", self._on_truth, reliable)

    def elapsed(self) -> float:
        """Return seconds since the first frame was sent; 0 before."""
        return 0.0 if self.tally.start is None else time.monotonic() - self.tally.start

    def _on_sent(self, info: Any) -> None:
        self.tally.add_sent(time.monotonic())

    def _on_image(self, message: bytes) -> None:
        seconds, nanoseconds = struct.unpack_from(("<" if message[1] & 1 else ">") + "iI", message, 4)
        self._frames.add(seconds * 10**9 + nanoseconds, "image", message, len(message))

    def _on_label(self, message: Any, info: Dict[str, Any]) -> None:
        stamp = _stamp(message)
        received = info.get("received_timestamp") or self._clock.now().nanoseconds
        self.tally.add_label(time.monotonic(), (received - stamp) / 1e9)
        label = _pixels(message)
        frame = self._frames.add(stamp, "label", label, label.size)
        self.moments.consider(frame, self.elapsed())
        self._score(frame)

    def _on_truth(self, message: Any) -> None:
        truth = _pixels(message)
        self._score(self._frames.add(_stamp(message), "truth", truth, truth.size))

    def _score(self, frame: Dict[str, Any]) -> None:
        if "truth" in frame and "label" in frame:
            self.tally.add_pair(time.monotonic(), frame["truth"], frame["label"])

    def _on_overlay(self, message: Any) -> None:
        overlay = _pixels(message)
        self._frames.add(_stamp(message), "overlay", overlay, overlay.size)
        self.video.offer(overlay, self.elapsed())

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name == _STATUS:
                self.tally.add_diagnostics({pair.key: pair.value for pair in status.values})
                if status.level == self._error:
                    self.broken = status.message  # the node is there but cannot work


def _stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _pixels(message: Any) -> np.ndarray:
    """View the node's own images: uint8 (H, W) for mono8, (H, W, 3) for bgr8."""
    shape = (message.height, message.width) + ((3,) if message.encoding == "bgr8" else ())
    return np.frombuffer(message.data, np.uint8).reshape(shape)


def _decoder(recorder: Recorder, compressed: bool) -> Any:
    """Return a function: recorded bytes -> uint8 (H, W, 3) BGR, or None where they are no image."""
    from rclpy.serialization import deserialize_message

    from seg_node.pipeline.messages import MessageError, compressed_to_frame, to_frame

    def decode(message: bytes) -> Optional[np.ndarray]:
        try:
            frame = (compressed_to_frame if compressed else to_frame)(deserialize_message(message, recorder.image_type))
        except MessageError:
            return None
        return frame.image[..., ::-1] if frame.channels == "rgb" else frame.image

    return decode


def record(node: Any, arguments: argparse.Namespace, stop: List[int]) -> int:
    """Record until the time is up or ``stop`` holds a signal; returns the exit code."""
    from rclpy.executors import SingleThreadedExecutor

    recorder = Recorder(node, arguments)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    begun = reported = time.monotonic()
    while not stop:
        executor.spin_once(timeout_sec=0.1)
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY:
            reported = now
            _say(report=recorder.tally.report(), elapsed=recorder.elapsed())
        if recorder.tally.start is None:
            if recorder.broken or now - begun > arguments.patience:
                break
        elif recorder.elapsed() > arguments.duration + _QUIET:
            break
    recorder.video.close()
    recorder.tally.finish()
    report = recorder.tally.report()
    report["seconds"] = round(min(recorder.elapsed(), arguments.duration), 2)
    if not recorder.tally.labelled:
        _say(failure=_reason(recorder, report))
        return 1
    drive = Drive(arguments.out, arguments.title, recorder.labels, recorder.video)
    files = write_recording(drive, report, recorder.moments.frames(), _decoder(recorder, arguments.compressed))
    _say(result=report, files=[str(path) for path in files])
    return 0


def _reason(recorder: Recorder, report: Dict[str, Any]) -> str:
    """Say in a line why no labelled frame came."""
    tally, error = recorder.tally, recorder.broken or report["last_error"]
    if recorder.broken:
        why = "the node cannot work"
    elif not tally.sent:
        why = "the camera sent nothing"
    elif not tally.node:
        why = "the camera sent {} frames, but the node published no diagnostics".format(tally.sent)
    elif report["frames"]["in"] == 0:
        why = "the camera sent {} frames, and none reached the node".format(tally.sent)
    else:
        why = "{} frames reached the node, and it labelled none".format(report["frames"]["in"])
    return "no labelled frame came: {}{}".format(why, "; the node says: " + error if error else "")


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main(words: Optional[List[str]] = None) -> int:
    """Record. Returns 0, 1 where no labelled frame came, or 2 where the files cannot be written."""
    parser = argparse.ArgumentParser("demo_recorder", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--duration", type=float, default=20.0)
    parser.add_argument("--label-set", default="camvid11")
    parser.add_argument("--title", default="", help="what is recorded, for the contact sheet")
    parser.add_argument("--compressed", action="store_true", help="the camera sends CompressedImage")
    parser.add_argument("--truth", action="store_true", help="the camera sends ground truth")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for the first frame")
    from seg_node.ros.transport import prepare_transport

    prepare_transport()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    everything = sys.argv if words is None else ["demo_recorder"] + words
    arguments = parser.parse_args(rclpy.utilities.remove_ros_args(everything)[1:])
    stop: List[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stop.append(received))
    rclpy.init(args=everything, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("demo_recorder")
    try:
        remove_old(arguments.out)
        return record(node, arguments, stop)
    except OSError as error:  # no room, no right to write; PyAV's are OSErrors too
        _say(failure=f"cannot write the recording: {error}")
        return 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
