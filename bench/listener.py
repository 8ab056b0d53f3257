"""A listener, a worker: subscribes a node's outputs and notes when each image came."""

import contextlib
import threading
import time
from typing import Any

from bench.workers import serve
from seg_node.ros.transport import prepare_transport


def main() -> None:
    prepare_transport()
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from sensor_msgs.msg import Image

    rclpy.init(args=["listener", "--ros-args", "--log-level", "error"])
    node = rclpy.create_node("listener")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    lock = threading.Lock()
    came: dict[str, list[tuple[int, int]]] = {}
    subscriptions: dict[str, Any] = {}

    def note(topic: str, message: Any) -> None:
        now, stamp = time.time_ns(), message.header.stamp
        with lock:
            came[topic].append((stamp.sec * 1_000_000_000 + stamp.nanosec, now))

    def listen(topics: list[str]) -> dict[str, Any]:
        """Listen to these topics, and no others."""
        for topic in set(subscriptions) - set(topics):
            node.destroy_subscription(subscriptions.pop(topic))
        for topic in topics:
            if topic not in subscriptions:
                came[topic] = []
                subscriptions[topic] = node.create_subscription(
                    Image, topic, lambda message, topic=topic: note(topic, message), 10
                )
        return {}

    def collect(topics: list[str]) -> dict[str, Any]:
        """Return what came since the last time: {topic: [(stamp, arrival), ...]}, in ns."""
        with lock:
            taken = {topic: came[topic] for topic in topics}
            came.update({topic: [] for topic in topics})
        return {"came": taken}

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    threading.Thread(target=spin, daemon=True).start()
    serve(listen=listen, collect=collect)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
