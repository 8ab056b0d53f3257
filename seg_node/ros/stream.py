"""One camera: what comes from it, what goes out under its name, and how well it does."""

import time
from typing import Any, Callable, Dict, List, Optional

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from seg_node.pipeline.frame import Frame
from seg_node.pipeline.messages import compressed_to_frame, to_frame
from seg_node.pipeline.segmenter import Segmentation
from seg_node.pipeline.serialized import read_compressed, read_image
from seg_node.ros.cloud import CloudOutput
from seg_node.ros.gaps import Gaps
from seg_node.ros.health import Condition, Health, Report
from seg_node.ros.outputs import Outputs
from seg_node.ros.parameters import Settings
from seg_node.ros.receiver import NotForTheExecutor, Receiver
from seg_node.ros.topic_facts import info_qos, is_latched
from seg_node.ros.transport import advice

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_PATIENCE = 1.0  # seconds that a thread at work gets to end
_PIXEL = {"label": 1, "confidence": 1, "overlay": 3, "color": 3}  # bytes that an output sends for each
_NAMELESS = 1.5  # seconds after which a publisher is reported without its name
_TRANSPORTS = {
    "raw": (Image, read_image, to_frame),
    "compressed": (CompressedImage, read_compressed, compressed_to_frame),
}
BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE


class Arrival:
    """A message, or an object with its fields, and when it came."""

    __slots__ = ("at", "msg")

    def __init__(self, msg: Any, at: float) -> None:
        self.msg, self.at = msg, at


class Stream:
    """Subscribes ``<name>/image`` and its camera_info; publishes ``~/<name>/label`` and the others.

    ``name`` is empty for a node's only camera: ``image``, ``~/label``.
    """

    def __init__(self, node: Any, name: str, settings: Settings, condition: Condition) -> None:
        self.name, self._node, self.settings = name, node, settings
        prefix = name + "/" if name else ""
        self.health = Health(condition)
        self.outputs = Outputs(node, "~/" + prefix, settings)
        compressed = settings.transport == "compressed"
        self._message_type, self._read, self._to_frame = _TRANSPORTS[settings.transport]
        # pixels of the frame at hand and of the one that is painted, where they are not the messages'
        self._decoded: List[Optional[np.ndarray]] = [None, None]
        image = node.resolve_topic_name(prefix + "image")
        # As image_transport does: remap `image`, and its companions follow.
        self.topic = image + ("/compressed" if compressed else "")
        self._info_topic = _companion(node, prefix, image)
        self.cloud: Optional[CloudOutput] = None
        if settings.cloud != "off":
            self.cloud = CloudOutput(node, name, settings.cloud, self.outputs.qos, info_topic=self._info_topic)
        self._info: Any = None
        self._waits_for_confidence = False
        self._images: Any = None  # subscriptions, while it listens
        self._infos: Any = None
        self._receiver: Optional[Receiver] = None
        self._not_for_the_executor = NotForTheExecutor()
        self._reliability = RELIABLE if settings.qos_input_reliability == "reliable" else BEST_EFFORT
        self._offer: Callable[[Arrival], bool] = lambda _: False
        self._due = 0.0
        self._gaps = Gaps()
        self._hears_of_losses = True
        self._lost = self._told = 0  # images that the middleware lost, and of which diagnostics have told
        self._image_bytes = self._pixels = 0  # of the last image, and of its labels

    # In

    def listen(self, offer: Callable[[Arrival], bool]) -> None:
        """Begin to take images; ``offer`` gets each, and says whether it replaced one that nobody had begun."""
        self._offer = offer
        self.health.listen()
        self._gaps, self._lost, self._told = Gaps(), 0, 0
        self._subscribe()
        if self.cloud is not None:
            self.cloud.start()

    def hush(self, patience: float = _PATIENCE) -> bool:
        """Take no more images, and make no more clouds; returns whether that ended within so many seconds."""
        self._unsubscribe()
        if self._infos is not None:
            self._node.destroy_subscription(self._infos)
        self._infos = self._info = None
        return self.cloud is None or self.cloud.stop(patience)

    def _subscribe(self) -> None:
        qos = QoSProfile(depth=self.settings.qos_input_depth, reliability=self._reliability)

        def create(events: Any) -> Any:
            return self._node.create_subscription(
                self._message_type,
                self.topic,
                _nobody,
                qos,
                callback_group=self._not_for_the_executor,
                event_callbacks=events,
                raw=True,
            )

        try:
            events = SubscriptionEventCallbacks(message_lost=self._on_lost, incompatible_qos=self._see_mismatch)
            self._images = create(events)
        except Exception:  # a middleware that cannot tell
            self._hears_of_losses = False
            self._images = create(None)
        self._receiver = Receiver(self._images, self._on_image, self._failed_to_receive, self._node.context)

    def pause(self) -> None:
        """Take no more images for now, from whatever thread; ``hush`` follows in the executor's, or the end."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.stop(_PATIENCE)

    def _unsubscribe(self) -> None:
        self.pause()
        images, self._images = self._images, None
        if images is not None:
            self._node.destroy_subscription(images)

    def _failed_to_receive(self, error: Exception) -> None:
        text = "receiving {}: {}: {}".format(self.topic, type(error).__name__, error)
        self.health.error(text)
        self._node.get_logger().warning(text, throttle_duration_sec=5.0)

    def _on_image(self, serialized: bytes, about: Dict[str, Any]) -> None:
        now = time.monotonic()
        try:
            msg = self._read(serialized, _header) or deserialize_message(serialized, self._message_type)
        except Exception as error:  # MessageError, or whatever the middleware raises
            self.health.lost(1, "cannot read a message on {}: {}".format(self.topic, error))
            return
        stamp = msg.header.stamp
        age = self._node.get_clock().now().nanoseconds / 1e9 - stamp.sec - stamp.nanosec / 1e9
        self.health.received(age)
        self._gaps.see(stamp.sec + stamp.nanosec / 1e9, about.get("publication_sequence_number"))
        self._image_bytes = len(msg.data)
        settings = self.settings
        if settings.max_age and age > settings.max_age:
            why = "{:.3f} s on arrival, max_age is {:g} s".format(age, settings.max_age)
            self.health.dropped("too_old", why)
        elif settings.max_rate and not self._is_due(now, 1.0 / settings.max_rate):
            self.health.dropped("max_rate")
        elif self._offer(Arrival(msg, now)):
            self.health.dropped("newer_frame")
        if self.outputs.info_wanted() != (self._infos is not None):
            self._soon(self._follow_info)

    def _soon(self, work: Callable[[], None]) -> None:
        """Call it in the executor's thread, which goes through what a node has and must not see it change."""
        executor = self._node.executor
        if executor is not None:
            executor.create_task(work)

    def _is_due(self, now: float, period: float) -> bool:
        """Keep to ``period`` on average: a camera of 30 Hz at max_rate 20 must not come out at 15."""
        self._due = min(self._due, now + period)  # it may have been a longer one until now
        if now < self._due:
            return False
        self._due = max(self._due + period, now)
        return True

    def _follow_info(self) -> None:
        """Subscribe to camera_info while ours is wanted: taking it costs as much as taking an image."""
        wanted = self.outputs.info_wanted() and self._images is not None
        if wanted and self._infos is None:
            qos = info_qos(is_latched(self._node, self._info_topic))
            self._infos = self._node.create_subscription(CameraInfo, self._info_topic, self._on_info, qos)
        elif not wanted and self._infos is not None:
            self._node.destroy_subscription(self._infos)
            self._infos = self._info = None

    def _on_info(self, msg: Any) -> None:
        self._info = msg

    def _on_lost(self, event: Any) -> None:
        """The middleware lost images on their way here: stock Fast DDS does that to those over half a megabyte."""
        self._lost += event.total_count_change

    def report(self) -> Report:
        """Return how this camera does, and what never came of what it sent. Called once a period."""
        lost, about = self._lost, ""
        if not self._hears_of_losses:
            guessed = 0 if self._gaps.numbered else self._gaps.by_stamps()
            lost = self._lost = max(self._lost + guessed, self._gaps.missing)
            about = "about " if guessed else ""
        if lost > self._told:
            text = "{}{} images lost before they came here; {}".format(
                about, lost - self._told, advice(self._image_bytes)
            )
            self.health.lost(lost - self._told, text)
            self._node.get_logger().warning(text, throttle_duration_sec=60.0)
            self._told = lost
        self.health.replaced = max(0, self._gaps.missing - lost)
        return self.health.report(self.why_silent)

    def _see_mismatch(self, event: Any) -> None:
        self._soon(self._on_mismatch)

    def _on_mismatch(self) -> None:
        """A camera offers less than was asked for: ask for less, since its images are wanted all the same."""
        text = "{} does not offer what qos_input_reliability {} asks for".format("{}", self._reliability.name.lower())
        if self._reliability == RELIABLE and self._images is not None:
            self._reliability = BEST_EFFORT
            self._unsubscribe()
            self._subscribe()
            text += "; subscribed as best_effort instead"
        end = time.monotonic() + _NAMELESS

        def tell() -> None:
            name = self._names_of_best_effort()
            if name or time.monotonic() > end:
                self._node.destroy_timer(timer)
                self.health.error(text.format(name or "a publisher of " + self.topic))
                self._node.get_logger().warning(text.format(name or "a publisher of " + self.topic))

        timer = self._node.create_timer(0.1, tell, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _names_of_best_effort(self) -> str:
        """Return who publishes best effort; "" while one has not told its name: that comes after its topics."""
        found = [info for info in self._publishers() if info.qos_profile.reliability == BEST_EFFORT]
        if any("_UNKNOWN_" in info.node_name for info in found):
            return ""
        return ", ".join(sorted({"{}/{}".format(info.node_namespace.rstrip("/"), info.node_name) for info in found}))

    def why_silent(self) -> str:
        """Return what is known of a topic that no image comes from."""
        wanted = self._message_type.__name__
        types = [info.topic_type for info in self._publishers()]
        other = sorted({name for name in types if not name.endswith("/" + wanted)})
        why = "{} (publishers: {})".format(self.topic, len(types))
        if other:
            return "{}; they send {}, parameter transport wants {}".format(why, ", ".join(other), wanted)
        image = "`{}`".format(self.name + "/image" if self.name else "image")
        return why if types else why + "; is the camera running, and {} remapped to its topic?".format(image)

    def _publishers(self) -> List[Any]:
        infos: List[Any] = self._node.get_publishers_info_by_topic(self.topic)
        return infos

    # Out

    def decode(self, msg: Any) -> Frame:
        """Return a message's image; the next call may overwrite it, unless it is painted. Raises MessageError."""
        frame = self._to_frame(msg, self._decoded[0])
        if frame.image.base is None:
            self._decoded[0] = frame.image
        return frame

    def wants_confidence(self) -> bool:
        """Return whether somebody waits for it, in an image or in a cloud."""
        self._waits_for_confidence = self.outputs.wanted("confidence")
        return self._waits_for_confidence or (self.cloud is not None and self.cloud.wanted())

    def frame_bytes(self) -> int:
        """Return the bytes of images that go out for one frame now."""
        return self._pixels * sum(size for name, size in _PIXEL.items() if self.outputs.wanted(name))

    def publish(self, arrival: Arrival, frame: Frame, result: Segmentation, seconds: dict, unsure: str) -> None:
        """Send a frame's labels, and its cloud. Raises what the middleware raises.

        ``seconds``: its stages so far. ``unsure``: what is wrong with the file that gives confidence, if somebody
        wants it.
        """
        header = arrival.msg.header
        try:
            self.outputs.labels(result, header, self._info, seconds)
        except Exception:
            self.health.dropped("publish_failed")
            raise
        self._pixels = result.labels.size
        if unsure:
            self.health.error(unsure)
        elif result.confidence is None and self._waits_for_confidence:
            self.health.error(
                "somebody waits for confidence, but the file that runs gives none: export it with --confidence"
            )
        seconds["total"] = time.monotonic() - arrival.at
        self.health.labelled(seconds)
        if self.cloud is not None:
            self.cloud.publish(frame, result, header)

    def painting(self, arrival: Arrival, frame: Frame, result: Segmentation) -> Optional[Callable[[], None]]:
        """Return what makes and sends a frame's pictures, or None where nobody wants any.

        It may be called in another thread, while the next frame is taken; it raises what the middleware raises. Frame
        and result must stay until it has ended, and the painting after it must not be asked for before.
        """
        if not self.outputs.pictures_wanted():
            return None
        self._decoded.reverse()
        make = self.outputs.painting(frame, result, arrival.msg.header)
        return lambda: self.health.painted(make())


def _nobody(serialized: bytes) -> None:
    """The callback of a subscription that the executor leaves alone."""


def _header(seconds: int, nanoseconds: int, frame_id: str) -> Header:
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def _companion(node: Any, prefix: str, image: str) -> str:
    """Return the topic of camera_info: as remapped, or else beside the image, as image_transport has it."""
    here = node.resolve_topic_name(prefix + "camera_info")
    if here != node.resolve_topic_name(prefix + "camera_info", only_expand=True):
        return str(here)
    return image.rsplit("/", 1)[0] + "/camera_info"
