"""A node under test in a process of its own, and a client of it in this one: real DDS between real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

import rclpy
import rclpy.parameter
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from seg_node.ros.transport import prepare_transport

ROOT = Path(__file__).resolve().parents[2]
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
_NODE = ["-m", "seg_node.ros.segmentation_node"]
_MAIN = "\nimport sys; from seg_node.ros.segmentation_node import main; sys.exit(main(sys.argv))"
SIZE = (24, 32)  # of the fake network, (height, width)


def environment():
    """Return the environment of someone who starts a program anew: no leftovers of this process's ROS wheels."""
    ours = {"_ROS_WHEELS_BOOTSTRAP_COMPLETE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"}
    if "_ROS_WHEELS_BOOTSTRAP_COMPLETE" in os.environ:
        ours.add("LD_LIBRARY_PATH")  # theirs; a sourced ROS needs its own
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**{k: v for k, v in os.environ.items() if k not in ours}, "PYTHONPATH": path}


def until(condition, seconds=20.0, what=""):
    """Wait for a condition and return its value; fails after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


def send(camera, message, condition, seconds=15.0):
    """Publish until a condition holds and return its value: a camera's first images may find nobody."""

    def attempt():
        camera.publish(message)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.005)
        return None

    return until(attempt, seconds)


def write_card(folder, **options):
    """Write a card for the fake backend and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = ", ".join(f"{key}: {value}" for key, value in options.items())
    (folder / "card.yaml").write_text(
        "name: pretend\n"
        f"network: {{name: external, classes: 11, options: {{{settings}}}}}\n"
        "label_set: camvid11\n"
        f"input: {{size: [{SIZE[0]}, {SIZE[1]}], channels: bgr}}\n"
        "output: {kind: labels}\n"
        "files: {}\n"
    )
    return folder


class NodeProcess:
    """The node, in a namespace of its own."""

    count = 0

    def __init__(self, model, *arguments, runtime="fake", remaps=(), before=""):
        """``before``: Python that is run in its process first."""
        NodeProcess.count += 1
        self.namespace = f"/t{os.getpid()}_{NodeProcess.count}"
        self.name = self.namespace + "/seg_node"
        words = [
            "-r",
            f"__ns:={self.namespace}",
            "-p",
            f"model:={model}",
            "-p",
            f"runtime:={runtime}",
            "-p",
            "diagnostics_period:=0.2",
        ]
        words += [word for argument in arguments for word in ("-p", argument)]
        words += [word for remap in remaps for word in ("-r", remap)]
        self.process = subprocess.Popen(
            [sys.executable, *(["-c", before + _MAIN] if before else _NODE), "--ros-args", *words],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def alive(self):
        return self.process.poll() is None

    def end(self, *signals):
        """Send signals (SIGINT if none are named); returns exit code, what it printed, and the seconds it took."""
        start = time.monotonic()
        for number in signals or (signal.SIGINT,):
            if self.alive():
                self.process.send_signal(number)
                time.sleep(0.02)
        try:
            printed = "".join(self.process.communicate(timeout=10))
        except subprocess.TimeoutExpired:
            self.process.kill()
            printed = "".join(self.process.communicate())
        return self.process.returncode, printed, time.monotonic() - start


class Client:
    """Talks to nodes over DDS and keeps what they say."""

    def __init__(self):
        prepare_transport()  # as any camera of large images must
        rclpy.init(args=["--ros-args", "--log-level", "error"])
        self.node = rclpy.create_node("tester")
        self.statuses, self._clients = {}, {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        with contextlib.suppress(ExternalShutdownException):
            while not self._closing.is_set():
                self._executor.spin_once(timeout_sec=0.1)

    def close(self):
        """End what waits in ROS before ROS goes: a crash there would take all tests with it."""
        self._closing.set()
        self._executor.wake()
        self._thread.join(5)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def _on_diagnostics(self, message):
        for status in message.status:
            self.statuses.setdefault(status.name, []).append(status)

    def status(self, node, condition=lambda level, message, values: True, seconds=20.0, camera="segmentation"):
        """Return (level, message, values) of the next diagnostics of ``node`` that meet the condition."""
        name = f"{node.name[1:]}: {camera}"
        self.statuses[name] = []
        found = []

        def look():
            for status in list(self.statuses[name]):
                found[:] = [ord(status.level), status.message, {v.key: v.value for v in status.values}]
                if condition(*found):
                    return True
            return False

        try:
            until(look, seconds)
        except AssertionError:
            raise AssertionError(f"no such diagnostics; last: {found}") from None
        return found

    def ready(self, node):
        """Wait until the node is active and its subscription is there."""
        self.status(
            node,
            lambda level, message, values: values["runtime"] and message not in ("loading", "inactive", "unconfigured"),
            seconds=30,
        )
        return node

    def listen(self, node, output="label"):
        """Subscribe to an output and return the growing list of its messages."""
        received = []
        topic = f"{node.name}/{output}"
        self.node.create_subscription(Image, topic, received.append, RELIABLE)
        until(lambda: self.node.count_publishers(topic), what=topic)
        time.sleep(0.3)  # its side of the discovery, which we cannot see
        return received

    def camera(self, node, message_type=Image, topic="image", qos=RELIABLE):
        publisher = self.node.create_publisher(message_type, f"{node.namespace}/{topic}", qos)
        until(publisher.get_subscription_count, what=topic)
        time.sleep(0.2)
        return publisher

    def call(self, kind, service, request, tries=1):
        """``tries``: for what only asks. A server that has not found us yet answers to nobody."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
            assert self._clients[service].wait_for_service(timeout_sec=20), service
            time.sleep(0.5)
        for left in reversed(range(tries)):
            future = self._clients[service].call_async(request)
            with contextlib.suppress(AssertionError) if left else contextlib.nullcontext():
                until(future.done, 20 / tries, service)
                break
        return future.result()

    def transition(self, node, what):
        """Ask for a transition, by its label or its id, and return whether it was made."""
        transition = Transition(id=what) if isinstance(what, int) else Transition(label=what)
        request = ChangeState.Request(transition=transition)
        return self.call(ChangeState, f"{node.name}/change_state", request).success

    def state(self, node):
        return self.call(GetState, f"{node.name}/get_state", GetState.Request(), 4).current_state.label

    def set(self, node, name, value):
        """Set a parameter of whatever type and return the result."""
        return self._set(node, rclpy.parameter.Parameter(name, value=value).to_parameter_msg())

    set_double = set_string = set

    def get_string(self, node, name):
        request = GetParameters.Request(names=[name])
        return self.call(GetParameters, f"{node.name}/get_parameters", request, 4).values[0].string_value

    def _set(self, node, parameter):
        request = SetParameters.Request(parameters=[parameter])
        return self.call(SetParameters, f"{node.name}/set_parameters", request).results[0]


def image_message(image, encoding="bgr8", stamp=(0, 0), frame_id="camera", pad=0):
    """Build an Image of uint8 (H, W, 3) or (H, W); ``pad`` bytes follow each row."""
    height, width = image.shape[:2]
    rows = [row.tobytes() + b"\xaa" * pad for row in image]
    message = Image(height=height, width=width, encoding=encoding, step=len(rows[0]))
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = frame_id
    message.data = array("B", b"".join(rows))
    return message
