"""A camera that plays a source: a video, a folder, a bag, a real camera, or the street.

    python -m seg_node.ros.camera drive.mp4 --ros-args -r image:=/front/image

Publishes ``image`` (or ``image/compressed``), ``camera_info`` (uncalibrated, one a frame: it is small and reliable,
so it tells what was sent) and ``ground_truth`` (mono8 class ids) where the source has it. Stamps are the time of
sending. A recorded message goes out as it is, but for its stamp.
"""

import argparse
import signal
import sys
import time
from typing import Any, List, Optional

from seg_node.sources import Shot, Source, SourceError, open_source
from seg_node.sources.arguments import add_source_arguments

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 120.0  # seconds to wait for subscribers; a node may be building an engine


class Camera:
    """Publishes one source on a node."""

    def __init__(self, node: Any, source: Source) -> None:
        from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        self._node, self._source = node, source
        self._image_type, self._info_type = Image, CameraInfo
        reliable = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
        if source.compressed:
            self._images = node.create_publisher(CompressedImage, "image/compressed", qos_profile_sensor_data)
        else:
            self._images = node.create_publisher(Image, "image", qos_profile_sensor_data)
        self._infos = node.create_publisher(CameraInfo, "camera_info", reliable)
        self._truths = node.create_publisher(Image, "ground_truth", reliable) if source.label_set else None

    def wait(self, subscribers: int) -> None:
        """Wait until so many listen, so that the first frame is not lost. Raises SourceError after two minutes."""
        deadline = time.monotonic() + _PATIENCE
        while self._images.get_subscription_count() < subscribers or (
            subscribers > 1 and self._infos.get_subscription_count() < 1
        ):
            if time.monotonic() > deadline:
                raise SourceError(
                    "{}: {} of {} subscribers came in {:.0f} s".format(
                        self._images.topic_name, self._images.get_subscription_count(), subscribers, _PATIENCE
                    )
                )
            time.sleep(0.05)
        if subscribers:
            time.sleep(0.2)  # both ends must have found each other, and we see only ours

    def play(self, seconds: Optional[float]) -> int:
        """Send frames at the source's rate, for so long or for ever; returns how many."""
        count, period = 0, 1.0 / self._source.rate
        start: Optional[float] = None
        due: Optional[float] = None
        for shot in self._source.endless():
            message = self._prepare(shot)
            now = time.monotonic()
            if start is None or due is None:
                start = due = now  # the first frame may take long: a renderer draws its textures before it
            if not self._source.live:
                if now - due > period:
                    due = now  # late: go on steadily from here, without a burst
                time.sleep(max(0.0, due - now))
                due += period
            if seconds is not None and time.monotonic() - start >= seconds:
                break
            self._send(shot, message)
            count += 1
        return count

    def _prepare(self, shot: Shot) -> Any:
        """Do what can be done before the moment of exposure."""
        from seg_node.pipeline.messages import fill_image

        if shot.image is None:
            return None
        message = self._image_type()
        return fill_image(message, shot.image, message.header, "bgr8")

    def _send(self, shot: Shot, message: Any) -> None:
        from seg_node.pipeline.messages import fill_image
        from seg_node.sources.cdr import restamp

        now = self._node.get_clock().now()
        info = self._info_type()
        info.header.stamp, info.header.frame_id = now.to_msg(), "camera"
        if shot.message is not None:
            self._images.publish(restamp(shot.message, now.nanoseconds))
        else:
            message.header = info.header
            info.height, info.width = message.height, message.width
            self._images.publish(message)
        self._infos.publish(info)
        if shot.truth is not None and self._truths is not None:
            self._truths.publish(fill_image(self._image_type(), shot.truth, info.header, "mono8"))


def _interrupt(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, but once: launch may send SIGINT twice, and an end must not be interrupted."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(words: Optional[List[str]] = None) -> int:
    """Play a source. Returns 0, or 1 with a line on stderr where it gives no frames."""
    for number in _SIGNALS:  # a shell's background job starts with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return 0


def _run(words: Optional[List[str]]) -> int:
    parser = argparse.ArgumentParser("camera", description=__doc__.splitlines()[0])
    add_source_arguments(parser)
    parser.add_argument("--duration", type=float, metavar="S", help="seconds to play (default: for ever)")
    parser.add_argument("--wait-for", type=int, default=0, metavar="N", help="start when N subscribers listen")
    from seg_node.ros.transport import prepare_transport

    prepare_transport()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    everything = sys.argv if words is None else ["camera"] + words
    arguments = parser.parse_args(rclpy.utilities.remove_ros_args(everything)[1:])
    try:
        source = open_source(arguments.source, arguments.topic, arguments.size)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    prepare_transport(source.frame_bytes)
    rclpy.init(args=everything, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera")
    try:
        camera = Camera(node, source)
        camera.wait(arguments.wait_for)
        node.get_logger().info("{} at {:g} Hz".format(source.title, source.rate))
        count = camera.play(arguments.duration)
        node.get_logger().info("{} frames sent".format(count))
        time.sleep(0.5)  # the last of them are still on their way
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
