"""The node: wiring between ROS and the pipeline, and no more.

    python -m seg_node.ros.segmentation_node --ros-args -r image:=/camera/image_raw

Three threads. The executor's takes messages and leaves the newest in a slot; the worker's decodes, segments and
publishes, so that frames are never queued; the main one waits for signals and publishes diagnostics, so that both
go on while a model loads.
"""

import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, List, Optional, Tuple

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from seg_node.model_card import load_card
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter
from seg_node.ros import parameters
from seg_node.ros.health import DROPS, Health
from seg_node.ros.messages import compressed_to_frame, to_frame
from seg_node.ros.newest import NewestWins
from seg_node.ros.outputs import Outputs
from seg_node.ros.transport import PROFILE_VARIABLES, prepare_transport
from seg_node.runtimes import Runtime, load_runtime
from seg_node.share import share_path

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_PATIENCE = 0.4  # seconds that a thread gets to end before the process ends without it
_HUNG = 10.0  # seconds after which a transition gives an inference up
_THROTTLE = 5.0  # seconds between two log lines from one place
# A camera may offer either reliability; what is late is of no use, so one image is all that waits.
_INPUT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class SegmentationNode(LifecycleNode):
    """Subscribes ``image``; publishes ``~/label``, ``~/overlay``, ``~/color``, ``~/confidence`` and /diagnostics.

    Every frame is segmented, so that diagnostics tell the truth before anyone listens; what nobody subscribes to
    is neither painted nor published.
    """

    def __init__(self) -> None:
        """Raises parameters.ParameterError."""
        super().__init__("seg_node")
        self.settings = parameters.declare(self, self._change)
        compressed = self.settings.transport == "compressed"
        self._message_type, self._decode = (CompressedImage, compressed_to_frame) if compressed else (Image, to_frame)
        # As image_transport does: remap `image`, and its companions follow.
        self._topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        self._outputs = Outputs(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._health = Health()
        self._runtime: Optional[Runtime] = None
        self._segmenter: Optional[Segmenter] = None
        self._subscription: Any = None
        self._worker: Optional[NewestWins] = None

    def _change(self, settings: parameters.Settings) -> None:
        self.settings = settings

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and run it once, since a first inference can take seconds."""
        wanted = self.settings
        self._health.broken = ""
        self._health.model.update(model=wanted.model, runtime=wanted.runtime, device=wanted.device)
        self._health.enter("loading")
        self.get_logger().info("loading model '{}'".format(wanted.model))
        try:
            card = load_card(wanted.model)
            self._runtime = load_runtime(card, wanted.runtime, wanted.device)
            self._segmenter = Segmenter(card, self._runtime)
            self._outputs.paint_with(self._segmenter.label_set)
            self._segmenter.segment(Frame(np.zeros(card.size + (3,), np.uint8), card.channels))
        except Exception as error:  # whatever a vendor library raises: the node stays up and says so
            self._release()
            self._health.enter("unconfigured")
            self._health.broken = "cannot load model '{}': {}".format(wanted.model, _plain(error))
            self.get_logger().error(self._health.broken)
            return _FAILURE
        self._health.reset()
        self._health.model.update(
            model=card.name,
            runtime=self._runtime.name,
            device=str(getattr(self._runtime, "device", wanted.device)),
            input_size="{}x{}".format(*card.size),
        )
        self._health.enter("inactive")
        return _SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._worker = NewestWins(self._process)
        self._subscription = self._subscribe()
        self._health.enter("active")
        self.get_logger().info(
            "segmenting {} with {} on {}".format(
                self._topic, self._health.model["model"], self._health.model["runtime"]
            )
        )
        return _SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._pause():
            return TransitionCallbackReturn.ERROR
        self._health.enter("inactive")
        return _SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        self._health.enter("unconfigured")
        return _SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._pause()
        self._release()
        self._health.enter("finalized")
        return _SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Get back to unconfigured, where a manager may try again."""
        self._pause()
        self._release()
        self._health.enter("unconfigured")
        self._health.error("a lifecycle transition failed from state '{}'".format(state.label))
        return _SUCCESS

    def start(self) -> None:
        """Configure and activate, unless the parameters leave that to a lifecycle manager."""
        if self.settings.autostart and self.trigger_configure() == _SUCCESS:
            self.trigger_activate()

    def stop(self, patience: float) -> bool:
        """Begin no more frames; returns whether the one at hand ended within ``patience`` seconds."""
        worker, self._worker = self._worker, None
        return worker is None or worker.stop(patience)

    def close(self) -> None:
        """Free what is left and the node itself; nothing of it may be running any more."""
        self._release()
        self.destroy_node()

    def _pause(self) -> bool:
        """Stop listening and working; returns whether the last inference ended (a device may hang)."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        ended = self.stop(_HUNG)
        if not ended:
            self._runtime = self._segmenter = None  # better leaked than freed under a running inference
            self._health.error("an inference has not ended after {:g} s".format(_HUNG))
        return ended

    def _release(self) -> None:
        runtime, self._runtime, self._segmenter = self._runtime, None, None
        if runtime is not None:
            runtime.close()

    # Frames

    def _subscribe(self) -> Any:
        lost = SubscriptionEventCallbacks(message_lost=self._on_lost)
        try:
            return self.create_subscription(
                self._message_type, self._topic, self._on_image, _INPUT, event_callbacks=lost
            )
        except Exception:  # a middleware that cannot tell
            return self.create_subscription(self._message_type, self._topic, self._on_image, _INPUT)

    def _on_image(self, msg: Any) -> None:
        arrived, worker = time.monotonic(), self._worker
        stamp = msg.header.stamp
        age = self.get_clock().now().nanoseconds / 1e9 - stamp.sec - stamp.nanosec / 1e9
        self._health.received(age)
        limit = self.settings.max_age
        if limit and age > limit:
            self._health.dropped("too_old", "{:.3f} s on arrival, max_age is {:g} s".format(age, limit))
        elif worker is not None and worker.offer((msg, arrived)):
            self._health.dropped("newer_frame")

    def _on_lost(self, event: Any) -> None:
        """The middleware lost images on their way here: stock Fast DDS does that to those over half a megabyte."""
        count = event.total_count_change
        text = (
            "{} images lost before they came here; if the camera is on this machine, start its process with {}".format(
                count,
                " and ".join("{}={}".format(name, share_path("config/fastdds.xml")) for name in PROFILE_VARIABLES),
            )
        )
        self._health.lost(count, text)
        self.get_logger().warning(text, throttle_duration_sec=60.0)

    def _process(self, item: Tuple[Any, float]) -> None:
        """Take one message all the way (in the worker's thread)."""
        msg, arrived = item
        doing = "bad_image"
        try:
            start = time.perf_counter()
            frame = self._decode(msg)
            seconds = {"decode": time.perf_counter() - start}
            doing = "inference_failed"
            segmenter = self._segmenter
            assert segmenter is not None
            result = segmenter.segment(frame)
            if self._segmenter is not segmenter:
                return  # it hung and was given up; others may be at work by now
            seconds.update(result.timings)
            doing = "publishing"
            self._outputs.labels(result, msg.header, seconds)
            seconds["total"] = time.monotonic() - arrived
            self._outputs.pictures(frame, result, msg.header, self.settings.overlay_alpha, seconds)
            self._health.labelled(seconds)
        except Exception as error:  # one frame is no reason to stop
            self._failed(doing, _plain(error))

    def _failed(self, doing: str, why: str) -> None:
        if not rclpy.ok():
            return  # everything ends; no news
        if doing in DROPS:
            self._health.dropped(doing, why)
        else:
            self._health.error("{}: {}".format(doing, why))
        self.get_logger().warning("{}: {}".format(doing, why), throttle_duration_sec=_THROTTLE)

    # Diagnostics

    def report(self) -> None:
        """Publish the node's health; main() does so once a period."""
        report = self._health.report(self._why_silent)
        status = DiagnosticStatus(
            level=bytes([report.level]),
            message=report.message,
            hardware_id=self._health.model["model"],
            name="{}: segmentation".format(self.get_fully_qualified_name().lstrip("/")),
            values=[KeyValue(key=key, value=value) for key, value in report.values],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _why_silent(self) -> str:
        wanted = self._message_type.__name__
        types = [info.topic_type for info in self.get_publishers_info_by_topic(self._topic)]
        other = sorted({name for name in types if not name.endswith("/" + wanted)})
        why = "{} (publishers: {})".format(self._topic, len(types))
        if other:
            return "{}; they send {}, parameter transport wants {}".format(why, ", ".join(other), wanted)
        return why if types else why + "; is the camera running, and `image` remapped to its topic?"


def _plain(error: Exception) -> str:
    """Return an error's text; with its type where the text was not written for people."""
    text = " ".join(str(error).split())
    written = isinstance(error, (ValueError, OSError, ImportError, RuntimeError)) and text
    return text if written else "{}: {}".format(type(error).__name__, text)


def _spin(node: SegmentationNode, executor: SingleThreadedExecutor, ended: threading.Event, failed: List[str]) -> None:
    try:
        node.start()
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():
            failed.append(traceback.format_exc())
    finally:
        ended.set()


def main(args: Optional[List[str]] = None) -> int:
    """Run the node until SIGINT or SIGTERM. Returns 0, 1 after an internal error, 2 for wrong parameters."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # ours alone: launch may send SIGINT twice
        signal.signal(number, lambda *_: ended.set())
    prepare_transport()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = SegmentationNode()
    except (parameters.ParameterError, RuntimeError) as error:  # rclpy's own are RuntimeErrors
        print("seg_node: cannot start: {}".format(error), file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    failed: List[str] = []
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(node, executor, ended, failed), name="executor", daemon=True)
    spinning.start()
    while not ended.wait(node.settings.diagnostics_period):
        try:
            node.report()
        except Exception as error:  # no reason to stop segmenting
            node.get_logger().error("diagnostics: " + _plain(error), throttle_duration_sec=_THROTTLE)
    return _end(node, spinning, failed)


def _end(node: SegmentationNode, spinning: threading.Thread, failed: List[str]) -> int:
    """Stop within a second, come what may; returns the exit code."""
    code = 1 if failed else 0
    for number in (signal.SIGINT, signal.SIGTERM):  # a second one would find Python's handlers gone
        signal.signal(number, signal.SIG_IGN)
    for text in failed:
        print(text, file=sys.stderr)
    stopped = node.stop(_PATIENCE)
    rclpy.shutdown(uninstall_handlers=False)  # wakes the executor
    spinning.join(_PATIENCE)
    if not stopped or spinning.is_alive():  # an inference hangs or a model loads: Python would wait for it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    node.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
