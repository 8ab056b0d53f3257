"""A camera, a worker: publishes images best effort at the rate that it is asked for, stamped as they are sent.

As any driver of large images must (docs), it gives Fast DDS enough shared memory; what it sends lies ready as messages.
"""

import array
import time
from typing import Any

from bench.workers import serve
from seg_node.ros.transport import prepare_transport

_COUNT = 4  # different images; a 4K image has 25 MB


def main() -> None:
    prepare_transport()
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    from seg_node.evaluation.benchmark import street

    rclpy.init(args=["camera", "--ros-args", "--log-level", "error"])
    node = rclpy.create_node("camera")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publishers: dict[str, Any] = {}
    ready: dict[tuple[int, int], list[Any]] = {}

    def messages(height: int, width: int) -> list[Any]:
        if (height, width) not in ready:
            ready.clear()  # a size at a time
            ready[height, width] = [message(image) for image in street((height, width), count=_COUNT)]
        return ready[height, width]

    def message(image: Any) -> Any:
        made = Image(height=image.shape[0], width=image.shape[1], encoding="bgr8", step=3 * image.shape[1])
        made.header.frame_id = "camera"
        made.data = array.array("B", image.tobytes())
        return made

    def find(topics: list[str]) -> dict[str, Any]:
        """Say whether somebody listens to each topic."""
        for topic in topics:
            if topic not in publishers:
                publishers[topic] = node.create_publisher(Image, topic, qos)
        return {"found": all(publishers[topic].get_subscription_count() for topic in topics)}

    def play(topics: list[str], size: list[int], rate: float, frames: int) -> dict[str, Any]:
        """Send so many frames to each topic, in turn; returns {topic: [stamp in ns, ...]}, and the seconds it took.

        Where it cannot keep to the rate it goes on from there, without a burst.
        """
        images = messages(*size)
        period, steps = 1.0 / (rate * len(topics)), frames * len(topics)
        sent: dict[str, list[int]] = {topic: [] for topic in topics}
        begin = due = time.monotonic()
        for step in range(steps):
            now = time.monotonic()
            if now - due > period:
                due = now
            time.sleep(max(0.0, due - now))
            due += period
            image, topic = images[(step // len(topics)) % len(images)], topics[step % len(topics)]
            stamp = time.time_ns()
            image.header.stamp.sec, image.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
            publishers[topic].publish(image)
            sent[topic].append(stamp)
        return {"sent": sent, "seconds": time.monotonic() - begin}

    serve(find=find, play=play)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
