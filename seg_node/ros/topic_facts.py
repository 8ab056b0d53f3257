"""What the ROS graph knows of a topic's publishers."""

from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from seg_node.ros.transport import PROFILE_VARIABLES
from seg_node.share import share_path


def is_latched(node: Any, topic: str) -> bool:
    """Return whether a topic is published once for all, which an ordinary subscription would miss."""
    found = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return bool(found) and all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in found)


def info_qos(latched: bool) -> QoSProfile:
    """Return what meets a camera_info that is published with every image, or once for all."""
    if latched:
        return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def why_silent(node: Any, topic: str, kind: Any, large: bool) -> str:
    """Say what is known of a topic that no message of type ``kind`` comes from; ``large``: over half a megabyte."""
    topic = node.resolve_topic_name(topic)
    types = [info.topic_type for info in node.get_publishers_info_by_topic(topic)]
    other = sorted({each for each in types if not each.endswith("/" + kind.__name__)})
    why = "nothing has come on {} (publishers: {})".format(topic, len(types))
    if other:
        return "{}; they send {}, not {}".format(why, ", ".join(other), kind.__name__)
    if types and large:
        return "{}; on this machine, start its process with {}={}, or what is large gets lost".format(
            why, PROFILE_VARIABLES[-1], share_path("config/fastdds.xml")
        )
    return why
