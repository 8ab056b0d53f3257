"""The image topics that are alive now: do both ends' QoS meet, and does what is sent arrive here?"""

import time
from typing import Any, Dict, List

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.qos import QoSCompatibility as Meets

from seg_node.ros.doctor import ERROR, OK, WARNING, Finding, Machine, mb
from seg_node.ros.transport import advice, choose_profile, tune_malloc

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_KINDS = {"sensor_msgs/msg/Image": "Image", "sensor_msgs/msg/CompressedImage": "CompressedImage"}
_SETTLED, _NOBODY, _DISCOVERY = 1.5, 5.0, 10.0  # seconds without news, with no publisher at all, and at most
_BEARABLE = 0.05  # share of images lost on a machine that is busy otherwise


class Heard:
    """What came on a topic."""

    def __init__(self) -> None:
        self.count = self.lost = self.bytes = 0
        self.what = ""

    def take(self, message: Any) -> None:
        self.count += 1
        self.bytes = len(message.data)
        shape = "{}x{} {}".format(message.width, message.height, message.encoding) if hasattr(message, "step") else ""
        self.what = "{}, {}".format(shape or message.format, mb(self.bytes))

    def miss(self, event: Any) -> None:
        self.lost += event.total_count_change


def check_topics(machine: Machine, seconds: float) -> List[Finding]:
    """Look at every image topic, and listen to them for so many seconds (0: do not).

    Listening costs what a further subscriber costs: each image is sent once more.
    """
    tune_malloc()
    choose_profile()  # so that what gets lost is not lost by us
    rclpy.init(args=["--ros-args", "--log-level", "error"])
    node = rclpy.create_node("seg_node_doctor", enable_rosout=False, start_parameter_services=False)
    try:
        topics = discover(node)
        if not topics:
            says = "nobody publishes images here (ROS_DOMAIN_ID {})".format(machine.environ.get("ROS_DOMAIN_ID") or 0)
            return [Finding("topics", OK, says)]
        found = [finding for name in sorted(topics) for finding in check_qos(node, name)]
        heard = listen(node, topics, seconds) if seconds else {}
        return found + [finding for name in sorted(heard) for finding in judge(name, heard[name], seconds)]
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def discover(node: Any) -> Dict[str, str]:
    """Return the image topics that somebody publishes, and their types, once nothing new is heard of."""
    known: Any = None
    end = settled = time.monotonic() + _DISCOVERY
    while time.monotonic() < min(end, settled):
        names = [name for name, kinds in node.get_topic_names_and_types() if set(kinds) & set(_KINDS)]
        ends = [node.get_publishers_info_by_topic(n) + node.get_subscriptions_info_by_topic(n) for n in names]
        news = sorted((_name(one), n) for n, both in zip(names, ends) for one in both)
        if news != known or any("_UNKNOWN_" in name for name, _ in news):
            known, settled = news, time.monotonic() + (_SETTLED if news else _NOBODY)
        time.sleep(0.1)
    types = {name: kind for name, kinds in node.get_topic_names_and_types() for kind in kinds if kind in _KINDS}
    return {name: kind for name, kind in types.items() if node.count_publishers(name)}


def check_qos(node: Any, topic: str) -> List[Finding]:
    """Return who cannot hear whom."""
    found = []
    for publisher in node.get_publishers_info_by_topic(topic):
        for subscriber in node.get_subscriptions_info_by_topic(topic):
            ends = "{} -> {}".format(_name(publisher), _name(subscriber))
            if publisher.topic_type != subscriber.topic_type:
                says = "{}: {}: sends {}, wants {}".format(topic, ends, publisher.topic_type, subscriber.topic_type)
                found.append(Finding("topics", ERROR, says, ("# remap one of them, or -p transport:=compressed",)))
                continue
            meets, why = qos_check_compatible(publisher.qos_profile, subscriber.qos_profile)
            if meets == Meets.ERROR:
                says = "{}: {}: nothing is delivered: {}".format(topic, ends, " ".join(why.split()))
                found.append(Finding("topics", ERROR, says, (_remedy(publisher, subscriber),)))
    return found


def _remedy(publisher: Any, subscriber: Any) -> str:
    offered, wanted = publisher.qos_profile, subscriber.qos_profile
    best_effort = ReliabilityPolicy.BEST_EFFORT
    if offered.reliability == best_effort and wanted.reliability != best_effort:
        return "# subscribe best effort in {}: in RViz, Reliability Policy; of seg_node, qos_input_reliability".format(
            _name(subscriber)
        )
    if offered.durability != wanted.durability and wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL:
        return "# subscribe with durability volatile in {}".format(_name(subscriber))
    return "ros2 topic info --verbose TOPIC   # and give both the same"


def listen(node: Any, topics: Dict[str, str], seconds: float) -> Dict[str, Heard]:
    """Subscribe to all topics (name to type) as a camera's subscriber does; returns what came of each."""
    import sensor_msgs.msg

    heard = {name: Heard() for name in topics}
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    for name, kind in topics.items():
        message, one = getattr(sensor_msgs.msg, _KINDS[kind]), heard[name]
        try:
            events = SubscriptionEventCallbacks(message_lost=one.miss)
            node.create_subscription(message, name, one.take, qos, event_callbacks=events)
        except Exception:  # a middleware that cannot tell
            node.create_subscription(message, name, one.take, qos)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    executor.remove_node(node)
    return heard


def judge(topic: str, heard: Heard, seconds: float) -> List[Finding]:
    """Say what became of what was sent on a topic."""
    if not heard.count and not heard.lost:
        says = "{}: nothing came in {:g} s; does its publisher send, and as the same user?".format(topic, seconds)
        return [Finding("topics", WARNING, says, ("ros2 topic info --verbose {}".format(topic),))]
    rate = "{}: {:.1f} Hz{}".format(topic, heard.count / seconds, ", " + heard.what if heard.what else "")
    share = heard.lost / (heard.lost + heard.count)
    if heard.lost > 1:  # we may have come in the middle of one
        says = "{}; {} more were lost on their way here".format(rate, heard.lost)
        level = ERROR if share > _BEARABLE else WARNING
        return [Finding("topics", level, says, ("# " + advice(heard.bytes),))]
    return [Finding("topics", OK, rate + ", none lost")]


def _name(end: Any) -> str:
    return "{}/{}".format(end.node_namespace.rstrip("/"), end.node_name)
