"""What the node takes from the middleware and gives to it: which memory, counted in one process with real DDS."""

import json
import subprocess
import sys
import textwrap
from array import array

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from harness import environment, write_card  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from seg_node.pipeline.serialized import read_compressed, read_image  # noqa: E402

HEIGHT, WIDTH = 360, 480
COUNT = (
    textwrap.dedent(
        """
    import array, json, sys, time, tracemalloc
    from seg_node.ros.transport import prepare_transport
    prepare_transport()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image
    from seg_node.ros.node import SegmentationNode

    rclpy.init(args=["node"] + sys.argv[1:])
    node, other = SegmentationNode(), rclpy.create_node("camera", use_global_arguments=False)
    node.start()
    executor, received = SingleThreadedExecutor(), []
    executor.add_node(node)
    camera = other.create_publisher(Image, "image", 1)
    outputs = {name: other.create_subscription(Image, "seg_node/" + name, received.append, 1)
               for name in ("label", "overlay")}
    message = Image(height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH)
    message.data = array.array("B", bytes(3 * HEIGHT * WIDTH))

    def done():
        return node._streams[0].health._counters.total("out")

    def frame():
        before, end = done(), time.monotonic() + 20
        camera.publish(message)
        while done() == before and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        assert done() == before + 1, "no frame came out"
        time.sleep(0.05)  # its overlay

    while not (camera.get_subscription_count() and all(map(node._streams[0].outputs.wanted, outputs))):
        executor.spin_once(timeout_sec=0.05)
    for _ in range(5):
        frame()
    tracemalloc.start()
    peaks = []
    for _ in range(5):
        frame()
        tracemalloc.clear_traces()
        frame()
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    print(json.dumps(peaks))
    node.stop(5.0)
    rclpy.shutdown()
    """
    )
    .replace("HEIGHT", str(HEIGHT))
    .replace("WIDTH", str(WIDTH))
)


def test_a_frame_takes_memory_for_the_message_and_for_nothing_else(tmp_path):
    """One image is received; labels and pictures, a third of it and all of it, are made in memory that is there."""
    card = write_card(tmp_path)
    words = ["--ros-args", "-p", f"model:={card}", "-p", "runtime:=fake"]
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *words], env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    peaks = json.loads(done.stdout.splitlines()[-1])
    image = 3 * HEIGHT * WIDTH
    assert all(image <= peak < 1.2 * image for peak in peaks), peaks


@pytest.mark.parametrize("frame_id", ["", "a", "camera", "Kamera/vorn-links", "a" * 300])
def test_what_ros_serializes_is_read(frame_id):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = 7, 999_999_999
    data = array("B", np.random.default_rng(2).integers(0, 256, 4 * 31, np.uint8).tobytes())
    image = Image(header=header, height=4, width=10, encoding="bgr8", is_bigendian=1, step=31, data=data)
    read = read_image(serialize_message(image), lambda *stamp: stamp)
    assert read.header == (7, 999_999_999, frame_id)
    for name in ("height", "width", "encoding", "is_bigendian", "step"):
        assert getattr(read, name) == getattr(image, name)
    assert bytes(read.data) == data.tobytes()

    compressed = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=data)
    read = read_compressed(serialize_message(compressed), lambda *stamp: stamp)
    assert (read.header, read.format) == ((7, 999_999_999, frame_id), compressed.format)
    assert bytes(read.data) == data.tobytes()
