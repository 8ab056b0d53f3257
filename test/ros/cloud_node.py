"""A process that labels images as fast as it can be told, and publishes their clouds: the node, less the network.

Labels are the image's blue, confidence its green, after ``work`` seconds; a label image is published as the node does.
"""

import contextlib
import queue
import sys
import threading
import time

from seg_node.ros.transport import prepare_transport

prepare_transport()

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from seg_node.pipeline.messages import fill_image, to_frame  # noqa: E402
from seg_node.pipeline.segmenter import Segmentation  # noqa: E402
from seg_node.ros.cloud import CloudOutput  # noqa: E402


class CloudNode(LifecycleNode):
    def __init__(self):
        super().__init__("cloud_node")
        self._cameras = self.declare_parameter("cameras", [""]).value
        mode = self.declare_parameter("cloud", "depth").value
        self._work = self.declare_parameter("work", 0.0).value
        self._clouds = {camera: CloudOutput(self, camera, mode) for camera in self._cameras}
        self._labels = {}
        self._subscriptions_ours, self._worker = [], None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def on_configure(self, state):
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._items = queue.Queue()
        self._worker = threading.Thread(target=self._label, daemon=True)
        self._worker.start()
        for camera, cloud in self._clouds.items():
            topic = camera + "/image" if camera else "image"
            cloud.start()
            if camera not in self._labels:
                self._labels[camera] = self.create_publisher(Image, ("~/" + camera).rstrip("/") + "/label", 5)
            take = lambda msg, camera=camera: self._items.put((camera, msg))  # noqa: E731
            self._subscriptions_ours.append(self.create_subscription(Image, topic, take, best_effort))
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state):
        for subscription in self._subscriptions_ours:
            self.destroy_subscription(subscription)
        self._subscriptions_ours = []
        self._items.put(None)
        self._worker.join(5)
        ended = [cloud.stop(5.0) for cloud in self._clouds.values()]
        return TransitionCallbackReturn.SUCCESS if all(ended) else TransitionCallbackReturn.ERROR

    def _label(self):
        for item in iter(self._items.get, None):
            try:
                self._process(item)
            except Exception:
                if rclpy.ok():
                    raise
                return  # everything ends, as the node's own worker knows

    def _process(self, item):
        camera, msg = item
        cloud = self._clouds[camera]
        cloud.expect(msg.header)
        frame = to_frame(msg)
        time.sleep(self._work)
        labels, confidence = frame.image[..., 0].copy(), frame.image[..., 1].copy()
        self._labels[camera].publish(fill_image(Image(), labels, msg.header, "mono8"))
        cloud.publish(frame, Segmentation(labels, confidence, {}), msg.header)
        labels[:], confidence[:] = 99, 99  # a segmenter reuses its arrays

    def report(self):
        active = self._state_machine.current_state[1] == "active"
        statuses = []
        for camera, cloud in self._clouds.items():
            name = (self.get_fully_qualified_name() + "/" + camera).strip("/") + ": segmentation"
            values = [KeyValue(key="runtime", value="none")]
            values += [KeyValue(key=key, value=value) for key, value in cloud.report().items()]
            values += [KeyValue(key="threads", value=str(threading.active_count()))]
            message = "segmenting" if active else "inactive"
            statuses.append(DiagnosticStatus(level=b"\0", message=message, name=name, values=values))
        self._diagnostics.publish(DiagnosticArray(status=statuses))

    def close(self):
        for cloud in self._clouds.values():
            cloud.close()
        self.destroy_node()


def main():
    rclpy.init(args=sys.argv)
    node = CloudNode()
    node.trigger_configure()
    node.trigger_activate()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.create_timer(0.1, node.report)
    try:
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            executor.spin()
    except Exception:  # a signal between two waits: rclpy makes a wait set of a context that is gone
        if rclpy.ok():
            raise
    node.close()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
