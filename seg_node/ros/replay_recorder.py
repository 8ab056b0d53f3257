"""Keep every label image that the node publishes, and when it came; score nothing while the node works.

    python -m seg_node.ros.replay_recorder --labels labels.bin

Appends label images to a file, as PNG. Prints a JSON object a line: ``ready`` once the node is active and heard,
``node`` (its diagnostics) whenever they come, ``label`` (a stamp, ns) with ``received`` (ns), ``at`` and ``size``
(where it lies in the file) for every label, and ``kept`` (how many) at the end, which SIGINT brings about.
"""

import argparse
import json
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

import cv2
import numpy as np

_WAITING = 256  # label images that may wait to be written
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]  # fast, and as small


class Recorder:
    """Subscribes ``seg_node/label`` and /diagnostics on a node."""

    def __init__(self, node: Any, path: Path) -> None:
        """Raises OSError where the file cannot be written."""
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from rclpy.subscription import Subscription
        from sensor_msgs.msg import Image

        self.error: Optional[Exception] = None
        self._clock, self._ready, self._kept = node.get_clock(), False, 0
        self._file = open(str(path), "wb")  # noqa: SIM115 (closed in close)
        self._status = node.get_namespace().strip("/") + "/seg_node: segmentation"
        self._waiting: Any = queue.Queue(_WAITING)  # full: wait, for no label may be lost here
        self._writer = threading.Thread(target=self._write_all, daemon=True)
        self._writer.start()
        reliable = QoSProfile(depth=_WAITING, reliability=ReliabilityPolicy.RELIABLE)
        # Before Iron, rclpy cannot tell when the middleware received a message.
        timed = hasattr(Subscription, "CallbackType")
        node.create_subscription(
            Image, "seg_node/label", self._on_label if timed else lambda message: self._on_label(message, {}), reliable
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable)

    def close(self) -> int:
        """Write what is left; returns how many label images there are."""
        self._waiting.put(None)
        self._writer.join()
        self._file.close()
        return self._kept

    def _on_label(self, message: Any, info: Dict[str, Any]) -> None:
        received = info.get("received_timestamp") or self._clock.now().nanoseconds
        stamp = int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)
        pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
        self._waiting.put((stamp, received, pixels))

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name != self._status.lstrip("/"):
                continue
            values = {pair.key: pair.value for pair in status.values}
            if values.get("state") == "active" and not self._ready:
                # The node has heard of our subscriptions: these diagnostics would not have come otherwise.
                self._ready = True
                say(ready=True)
            say(node=values, level=status.level[0], message=status.message)

    def _write_all(self) -> None:
        while True:
            item = self._waiting.get()
            if item is None:
                return
            try:
                self._write(*item)
            except Exception as error:  # no room: go on, or the node would wait for us
                self.error = self.error or error

    def _write(self, stamp: int, received: int, pixels: np.ndarray) -> None:
        png = cv2.imencode(".png", pixels, _PNG)[1].tobytes()
        at = self._file.tell()
        self._file.write(png)
        self._file.flush()
        self._kept += 1
        say(label=stamp, received=received, at=at, size=len(png))


_saying = threading.Lock()


def say(**what: Any) -> None:
    with _saying:
        print(json.dumps(what), flush=True)


def main(words: Optional[List[str]] = None) -> int:
    """Record until SIGINT or SIGTERM. Returns 0, or 1 with a line on stderr where labels could not be written."""
    parser = argparse.ArgumentParser("replay_recorder", description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="where label images go")
    from seg_node.ros.transport import prepare_transport

    prepare_transport()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    everything = sys.argv if words is None else ["replay_recorder"] + words
    arguments = parser.parse_args(rclpy.utilities.remove_ros_args(everything)[1:])
    cv2.setNumThreads(1)  # the other cores are the network's
    stop: List[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stop.append(received))
    rclpy.init(args=everything, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("replay_recorder")
    try:
        recorder = Recorder(node, arguments.labels)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop:
            executor.spin_once(timeout_sec=0.1)
        say(kept=recorder.close())
    except OSError as error:
        recorder = None
        print(error, file=sys.stderr)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    if recorder is not None and recorder.error is not None:
        print("cannot write {}: {}".format(arguments.labels, recorder.error), file=sys.stderr)
    return 0 if recorder is not None and recorder.error is None else 1


if __name__ == "__main__":
    sys.exit(main())
