"""``~/label_cloud`` of one camera: labelled images and depth (or points), paired by stamp.

Depth may come before the image is labelled or after it; both wait for the other in short queues. The executor's
thread only queues, the worker's only copies; a thread of this camera's own makes and publishes the clouds.
"""

import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from seg_node.pipeline.frame import Frame
from seg_node.pipeline.label_cloud import CloudError, LabelCloud, Pinhole
from seg_node.pipeline.segmenter import Segmentation
from seg_node.ros.cloud_messages import cloud_fields, fill_cloud, organise, read_depth, read_pinhole, read_points
from seg_node.ros.stamp_pairs import Settled, StampPairs
from seg_node.ros.topic_facts import info_qos, is_latched, why_silent

MODES = ("depth", "points")  # besides "off"
_WAITING = 5  # labelled images whose depth may still come: 150 ms at 30 Hz, and 5 bytes a pixel each
_READY = 3  # pairs that wait for the thread; the oldest goes when it is too slow
_FOLLOW = 0.5  # seconds between two looks whether anyone wants the cloud
_SECOND = 10**9
_THROTTLE = 10.0  # seconds between two log lines
_COUNTS = ("in", "out", "unmatched", "bad", "skipped")


class _Source(NamedTuple):
    frame_id: str
    arrays: Tuple[np.ndarray, ...]  # views of the message: depth, or x, y and z


class _Labelled(NamedTuple):
    header: Any
    frame: Optional[Frame]
    labels: np.ndarray
    confidence: Optional[np.ndarray]


class CloudOutput:
    """Subscribes ``depth`` and ``camera_info``, or ``points``, while someone subscribes to ``~/label_cloud``.

    A cloud has the stamp of its image, so that it can be had together with label and confidence by equal stamps,
    and the frame_id of the depth. Nothing that comes over ROS makes a callback raise.
    """

    def __init__(
        self,
        node: Any,
        camera: str = "",
        mode: str = "depth",
        qos: Optional[QoSProfile] = None,
        tolerance: float = 0.02,
        queue: int = 10,
        info_topic: str = "",
    ) -> None:
        """Create the publisher. ``camera``: a name before all topics; ``queue``: depth messages that are kept.

        ``info_topic``: instead of ``camera_info``.
        ``tolerance``: seconds between the stamps of an image and the depth that is taken for it where none has the
        same stamp. Raises ValueError for an unknown mode.
        """
        if mode not in MODES:
            raise ValueError("cloud is '{}'; choose from off, {}".format(mode, ", ".join(MODES)))
        self._node, self._mode = node, mode
        self._kind = Image if mode == "depth" else PointCloud2
        self._prefix = camera + "/" if camera else ""
        reliable = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self._topic = self._prefix + mode
        self._info_topic = info_topic or self._prefix + "camera_info"
        self._publisher = node.create_publisher(PointCloud2, "~/{}label_cloud".format(self._prefix), qos or reliable)
        self._subscriptions: List[Any] = []
        self._latched_info = False
        self._timer: Any = None
        self._cloud = LabelCloud()
        # Guarded by _changed, which is never held while pixels are touched.
        self._changed = threading.Condition()
        self._pairs = StampPairs(mode, int(tolerance * _SECOND), queue, _WAITING)
        self._ready: Deque[Tuple[_Labelled, _Source]] = deque()
        self._pinhole: Optional[Pinhole] = None
        self._pinhole_fault = ""
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._reason, self._seconds = "", 0.0
        self._thread: Optional[threading.Thread] = None
        self._stopped = threading.Event()

    # Lifecycle: in the executor's thread

    def start(self) -> None:
        """Begin to pair: on activation."""
        if self._thread is not None:
            return
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopped,), name="cloud", daemon=True)
        self._thread.start()
        # A steady clock: simulated time may stand still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(_FOLLOW, self._follow, clock=clock)
        self._follow()

    def stop(self, timeout: float) -> bool:
        """Stop listening and working: on deactivation; returns whether the thread ended within so many seconds."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._node.destroy_timer(self._timer)
        with self._changed:
            self._stopped.set()
            self._changed.notify_all()
        self._unsubscribe()
        thread.join(timeout)
        return not thread.is_alive()

    def close(self, timeout: float = 1.0) -> bool:
        """Stop, and destroy the publisher; returns what ``stop`` does."""
        ended = self.stop(timeout)
        self._node.destroy_publisher(self._publisher)
        return ended

    # Frames: in the worker's thread

    def wanted(self) -> bool:
        """Return whether someone subscribes to the cloud, and depth is therefore listened to."""
        return bool(self._subscriptions) and bool(self._publisher.get_subscription_count())

    def expect(self, header: Any) -> None:
        """Say that the image of this header is about to be labelled, so that its depth is kept until then."""
        with self._changed:
            self._pairs.expect(_nanoseconds(header))

    def publish(self, frame: Optional[Frame], segmentation: Segmentation, header: Any) -> None:
        """Take a labelled image; its cloud follows from another thread. Copies, and only where a cloud is wanted.

        Labels and frame show all that the depth shows, at any size.
        """
        if not self.wanted():
            return
        confidence = segmentation.confidence
        labelled = _Labelled(
            header,
            None if frame is None else Frame(frame.image.copy(), frame.channels),
            segmentation.labels.copy(),
            None if confidence is None else confidence.copy(),
        )
        with self._changed:
            lost = self._settle(self._pairs.add_image(_nanoseconds(header), labelled))
        self._count_lost(lost)

    def report(self) -> Dict[str, str]:
        """Return counts since the start and what went wrong last, for diagnostics. Any thread."""
        with self._changed:
            values = {"cloud_" + name: str(count) for name, count in self._counts.items()}
            reason = self._reason
        if self._subscriptions and not self._counts["in"]:
            reason = reason or why_silent(self._node, self._topic, self._kind, True)
        values["cloud_ms"] = "{:.1f}".format(self._seconds * 1e3)
        values["cloud_reason"] = reason
        return values

    # Messages: in the executor's thread

    def _follow(self) -> None:
        """Listen while someone wants the cloud, and only then."""
        wanted = bool(self._publisher.get_subscription_count())
        if not wanted:
            self._unsubscribe()
        elif not self._subscriptions:
            self._subscribe()
        elif self._awaits_info() and is_latched(self._node, self._info_topic) != self._latched_info:
            self._subscribe()  # the camera has come since, and it is not as we thought

    def _subscribe(self) -> None:
        self._unsubscribe()
        take = self._on_depth if self._mode == "depth" else self._on_points
        subscribe = self._node.create_subscription
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        subscriptions = [subscribe(self._kind, self._topic, take, qos)]
        if self._mode == "depth":
            self._latched_info = is_latched(self._node, self._info_topic)
            qos = info_qos(self._latched_info)
            subscriptions.append(subscribe(CameraInfo, self._info_topic, self._on_info, qos))
        self._subscriptions = subscriptions

    def _unsubscribe(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            self._node.destroy_subscription(subscription)
        with self._changed:
            self._pairs.clear()
            self._ready.clear()
        self._pinhole, self._pinhole_fault = None, ""  # the next camera may be another

    def _awaits_info(self) -> bool:
        return self._mode == "depth" and self._pinhole is None and not self._pinhole_fault

    def _on_depth(self, msg: Any) -> None:
        try:
            self._take(msg, (read_depth(msg),))
        except Exception as error:  # a message is no reason to stop
            self._fail("bad", error)

    def _on_points(self, msg: Any) -> None:
        try:
            self._take(msg, read_points(msg))
        except Exception as error:
            self._fail("bad", error)

    def _on_info(self, msg: Any) -> None:
        try:
            self._pinhole, self._pinhole_fault = read_pinhole(msg), ""
        except Exception as error:
            known, self._pinhole, self._pinhole_fault = self._pinhole_fault, None, str(error)
            if known != str(error):  # an uncalibrated camera says so with every image
                self._fail("bad", error)

    def _take(self, msg: Any, arrays: Tuple[np.ndarray, ...]) -> None:
        source = _Source(msg.header.frame_id, arrays)
        with self._changed:
            self._counts["in"] += 1
            lost = self._settle(self._pairs.add_depth(_nanoseconds(msg.header), source))
        self._count_lost(lost)

    # Clouds: in their own thread

    def _settle(self, settled: Settled) -> List[str]:
        """Hand pairs to the thread; returns why images went without. Under the lock."""
        self._ready.extend(settled.pairs)
        while len(self._ready) > _READY:
            self._ready.popleft()
            self._counts["skipped"] += 1
        self._changed.notify()
        return settled.lost

    def _run(self, stopped: threading.Event) -> None:
        while True:
            with self._changed:
                while not self._ready and not stopped.is_set():
                    self._changed.wait()
                if stopped.is_set():
                    return
                labelled, source = self._ready.popleft()
            try:
                self._make(labelled, source)
            except Exception as error:  # one cloud is no reason to stop
                if not stopped.is_set():
                    self._fail("unmatched" if self._pinhole is None and self._mode == "depth" else "bad", error)
            del labelled, source  # their memory

    def _make(self, labelled: _Labelled, source: _Source) -> None:
        start = time.perf_counter()
        rest = (labelled.labels, labelled.confidence, labelled.frame)
        if self._mode == "depth":
            pinhole, fault = self._pinhole, self._pinhole_fault
            if not self._subscriptions:
                return  # nobody wants it any more
            if pinhole is None:
                raise CloudError(fault or why_silent(self._node, self._info_topic, CameraInfo, False))
            cloud = self._cloud.from_depth(source.arrays[0], pinhole, *rest)
        else:
            size = (labelled.labels if labelled.frame is None else labelled.frame.image).shape[:2]
            x, y, z = source.arrays
            cloud = self._cloud.from_points(organise((x, y, z), size), *rest)
        header = Header(stamp=labelled.header.stamp, frame_id=source.frame_id or labelled.header.frame_id)
        message = PointCloud2(fields=cloud_fields(cloud, PointField))
        self._publisher.publish(fill_cloud(message, cloud, header))
        with self._changed:
            self._counts["out"] += 1
            self._seconds = time.perf_counter() - start

    def _count_lost(self, reasons: List[str]) -> None:
        for reason in reasons:
            self._fail("unmatched", CloudError(reason))

    def _fail(self, cause: str, error: Exception) -> None:
        if not self._node.context.ok():
            return  # everything ends; no news
        reason = str(error) if isinstance(error, CloudError) else "{}: {}".format(type(error).__name__, error)
        with self._changed:
            self._counts[cause] += 1
            self._reason = reason
        self._node.get_logger().warning("label_cloud: " + reason, throttle_duration_sec=_THROTTLE)


def _nanoseconds(header: Any) -> int:
    return int(header.stamp.sec) * _SECOND + int(header.stamp.nanosec)
