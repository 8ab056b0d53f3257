"""The launch files, run for real: launch in a process of its own, the real node, real DDS.

Drivers, RViz and `ros2 bag play` are stand-ins that are found as those are: they write down how they were started, and
the drivers and the player publish images as theirs do.
"""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

WHY = "launch and launch_ros are not installed here: the launch files were not run"
pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)
pytest.importorskip("launch_ros", reason=WHY, exc_type=ImportError)

from harness import image_message, send, until, write_card  # noqa: E402
from rcl_interfaces.srv import GetParameters  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.name for path in (ROOT / "launch").glob("*.launch.py"))
RUN = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(argv=sys.argv[2:])
words = [tuple(word.split(":=", 1)) for word in sys.argv[2:]]
service.include_launch_description(
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=words)
)
sys.exit(service.run())
"""
STAND_IN = """#!/usr/bin/env python3
import json, os, signal, sys, time
name = os.path.basename(sys.argv[0])
with open(os.path.join({notes!r}, name + ".json"), "w") as file:
    json.dump({{"words": sys.argv[1:], "environment": dict(os.environ)}}, file)
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if name == "rviz2":
    time.sleep(60)
    sys.exit(0)
import numpy, rclpy
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
topic, kind, seconds = {{
    "v4l2_camera_node": ("image_raw", Image, 60),
    "gscam_node": ("camera/image_raw", Image, 60),
    "ros2": ("/front/image_raw/compressed", CompressedImage, 3),
}}[name]
rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
node = rclpy.create_node(name)
publisher = node.create_publisher(kind, topic, qos_profile_sensor_data)
message = kind()
message.header.frame_id = "stand_in"
if kind is Image:
    message.height, message.width, message.step, message.encoding = 24, 32, 96, "bgr8"
    message.data = bytes(24 * 96)
else:
    import cv2
    message.format, message.data = "jpeg", cv2.imencode(".jpg", numpy.zeros((24, 32, 3), "uint8"))[1].tobytes()
end = time.monotonic() + seconds
while time.monotonic() < end:
    publisher.publish(message)
    time.sleep(0.05)
"""


class Launched:
    """`ros2 launch seg_node FILE ARGUMENTS`, in a session of its own."""

    def __init__(self, prefix, name, *words):
        wheels = "_ROS_WHEELS_BOOTSTRAP_COMPLETE" in os.environ
        leftovers = {"_ROS_WHEELS_BOOTSTRAP_COMPLETE", *(["LD_LIBRARY_PATH"] if wheels else [])}
        leftovers |= {"FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"}
        environment = {key: value for key, value in os.environ.items() if key not in leftovers}
        before = {"PATH": [prefix / "bin", Path(sys.executable).parent], "AMENT_PREFIX_PATH": [prefix, sys.prefix]}
        before["PYTHONPATH"] = [ROOT]
        for key, paths in before.items():
            environment[key] = os.pathsep.join([*map(str, paths), *filter(None, [environment.get(key)])])
        environment["ROS_LOG_DIR"] = str(prefix / "log")
        self._output = prefix / f"output{time.monotonic_ns()}"
        with self._output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(prefix / "share" / "seg_node" / "launch" / name), *words],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self):
        """Return what was printed until now."""
        return self._output.read_text()

    def wait(self, seconds=20.0):
        """Wait until all have ended by themselves; returns the exit code and what was printed."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.kill()
        return code, self.printed()

    def end(self):
        """Press Ctrl-C; returns the exit code and what was printed."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def prefix(tmp_path):
    """An install prefix with our package, as links into the source tree, and the stand-ins in packages of theirs."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "share" / "seg_node").symlink_to(ROOT)
    (tmp_path / "lib" / "seg_node").symlink_to(ROOT / "scripts")
    (index / "seg_node").touch()
    programs = {"v4l2_camera": "v4l2_camera_node", "gscam": "gscam_node", "rviz2": "rviz2"}
    paths = [tmp_path / "bin" / "ros2"] + [tmp_path / "lib" / name / program for name, program in programs.items()]
    for name in programs:
        (index / name).touch()
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN.format(notes=str(tmp_path)))
        path.chmod(0o755)
    return tmp_path


@pytest.fixture
def start(prefix, request):
    """Return a function that launches; what still runs at the test's end is killed."""
    launched = []

    def run(name, *words):
        launched.append(Launched(prefix, name, *words))
        return launched[-1]

    yield run
    for each in launched:
        each.kill()


@pytest.fixture
def node(request, tmp_path):
    """The names under which a test launches the node, and its words for launch."""
    namespace = f"/l{os.getpid()}{request.node.name.split('[')[0][4:]}"
    card = write_card(tmp_path / "card")
    words = (f"namespace:={namespace[1:]}", f"model:={card}", "runtime:=fake")
    return SimpleNamespace(namespace=namespace, name=namespace + "/seg_node", words=words)


def notes(prefix, program):
    """What a stand-in wrote down when it was started: its words, environment and parameters."""
    path = prefix / f"{program}.json"
    until(lambda: path.is_file() and path.read_text().endswith("}"), what=path)
    found = json.loads(path.read_text())
    words = found["words"]
    files = [words[i + 1] for i, word in enumerate(words) if word == "--params-file"]
    found["parameters"] = {}
    for file in files:
        for table in yaml.full_load(Path(file).read_text()).values():  # launch writes lists as tuples
            found["parameters"].update(table["ros__parameters"])
    return found


def values(client, node, *names):
    """Return the node's parameters as it has them."""
    got = client.call(GetParameters, f"{node.name}/get_parameters", GetParameters.Request(names=names)).values
    fields = {1: "bool_value", 3: "double_value", 4: "string_value", 9: "string_array_value"}
    return [getattr(value, fields[value.type]) for value in got]


def module(name):
    """Import a launch file."""
    spec = importlib.util.spec_from_file_location(name.split(".")[0], ROOT / "launch" / name)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def at_home(monkeypatch, prefix):
    """Let this process find the package as the launched ones do."""
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}")
    return prefix


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_documented(name, at_home):
    arguments = module(name).generate_launch_description().get_launch_arguments()
    assert len(arguments) >= 5
    for argument in arguments:
        assert len(argument.description) > 10, argument.name


def test_there_are_the_launch_files_that_the_documentation_names():
    assert {"camera", "jetson", "multi_camera", "replay", "rviz"} <= {name.split(".")[0] for name in FILES}


def test_camera_starts_the_node_with_the_parameter_file_and_what_is_asked_for_over_it(client, start, node, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "/**:\n  ros__parameters: {overlay_alpha: 0.25, model: nowhere, device: mine, diagnostics_period: 0.2}\n"
    )
    words = (*node.words, f"params:={tmp_path / 'mine.yaml'}", "device:=0", f"image:={node.namespace}/image")
    launched = start("camera.launch.py", *words)
    client.ready(node)
    assert client.state(node) == "active"
    assert values(client, node, "overlay_alpha", "device") == [0.25, "0"]  # a device called 0 is no number
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(np.zeros((24, 32, 3), np.uint8)), lambda: labels)
    code, printed = launched.end()
    assert code == 0 and "process has finished cleanly" in printed, printed


def test_a_node_that_dies_is_started_again_where_that_is_asked_for(client, start, node):
    launched = start("camera.launch.py", *node.words, "respawn:=true")
    client.ready(node)
    first = re.findall(r"process started with pid \[(\d+)\]", launched.printed())
    os.kill(int(first[0]), signal.SIGKILL)
    until(lambda: len(re.findall("process started with pid", launched.printed())) == 2)
    client.ready(node)
    code, printed = launched.end()
    assert code == 0 and printed.count("process started") == 2, printed


def test_the_node_runs_in_the_enclave_that_it_is_given(start, node):
    launched = start("camera.launch.py", *node.words, "enclave:=/seg_node")
    until(lambda: "process started" in launched.printed())
    pid = re.findall(r"process started with pid \[(\d+)\]", launched.printed())[0]
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert words[words.index("--enclave") + 1] == "/seg_node"
    assert launched.end()[0] == 0


@pytest.mark.parametrize(
    ("words", "program", "expected"),
    [
        (
            ("camera:=v4l2", "size:=320x240", "frame_id:=front"),
            "v4l2_camera_node",
            {"video_device": "/dev/video0", "image_size": (320, 240), "camera_frame_id": "front"},
        ),
        (("video_device:=/dev/video7",), "v4l2_camera_node", {"video_device": "/dev/video7"}),
        (("camera:=argus", "sensor_id:=1", "rate:=60"), "gscam_node", {"frame_id": "camera"}),
    ],
    ids=["v4l2", "a device alone", "argus"],
)
def test_jetson_starts_a_driver_whose_images_the_node_labels(client, start, prefix, node, words, program, expected):
    launched = start("jetson.launch.py", *node.words, f"image:={node.namespace}/front/image_raw", *words)
    labels = client.listen(node)
    until(lambda: labels, seconds=30)
    assert labels[0].header.frame_id == "stand_in"
    found = notes(prefix, program)
    assert expected.items() <= found["parameters"].items()
    if program == "gscam_node":
        pipeline = found["parameters"]["gscam_config"]
        assert "nvarguscamerasrc sensor-id=1" in pipeline and "width=(int)1280" in pipeline and "60/1" in pipeline
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        assert Path(found["environment"][name]).is_file(), "large images need their shared memory"
    assert f"camera_info:={node.namespace}/front/camera_info" in " ".join(found["words"])
    code, printed = launched.end()
    assert code == 0, printed


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("jetson.launch.py", ("camera:=usb",), "choose from argus, gscam, v4l2"),
        ("jetson.launch.py", ("camera:=gscam",), "needs a pipeline"),
        ("jetson.launch.py", ("camera:=argus", "size:=big"), "as in 640x480"),
        ("multi_camera.launch.py", ("cameras:=a,b", "image:=/x"), "1 topics for 2 cameras"),
        ("multi_camera.launch.py", ("cameras:=a,a",), "name each camera once"),
        ("replay.launch.py", ("bag:=/nowhere",), "no such file"),
        ("rviz.launch.py", ("layout:=nowhere",), "nowhere"),
    ],
)
def test_what_cannot_work_ends_at_once_and_says_why(start, name, words, says):
    code, printed = start(name, *words).wait()
    assert code != 0 and says in printed, printed


def test_a_driver_that_is_not_installed_is_named(start, prefix):
    (prefix / "share/ament_index/resource_index/packages/v4l2_camera").unlink()
    code, printed = start("jetson.launch.py", "camera:=v4l2").wait()
    assert code != 0 and "v4l2_camera is not installed: apt install ros-" in printed


@pytest.mark.parametrize(
    ("installed", "file", "runtime", "expected"),
    [
        (True, "", "", ("config/jetson.yaml", "", "")),
        (False, "", "", ("", "", "")),
        (True, "", "onnx", ("", "onnx", "")),
        (True, "{runtime: auto, precision: auto}", "", ("mine.yaml", "tensorrt", "fp16")),  # as seg_node.yaml has them
        (True, "{overlay_alpha: 0.5, precision: fp32}", "", ("mine.yaml", "tensorrt", "fp32")),
        (True, "{runtime: onnx}", "", ("mine.yaml", "", "")),
        (False, "{runtime: auto}", "", ("mine.yaml", "", "")),
    ],
)
def test_jetson_takes_tensorrt_where_it_is_and_nothing_else_is_asked_for(
    monkeypatch, at_home, tmp_path, installed, file, runtime, expected
):
    jetson = module("jetson.launch.py")
    monkeypatch.setattr(jetson.runtimes, "names", lambda: ["onnx", "tensorrt"])
    monkeypatch.setattr(jetson.runtimes, "is_installed", lambda name: installed)
    params = tmp_path / "mine.yaml"
    params.write_text(f"/**:\n  ros__parameters: {file}\n")
    given = jetson._with_tensorrt({"params": str(params) if file else "", "runtime": runtime, "precision": ""})
    assert given["params"].endswith(expected[0]) and bool(given["params"]) == bool(expected[0])
    assert (given["runtime"], given["precision"]) == expected[1:]


def test_several_cameras_get_labels_of_their_own(client, start, node):
    front, rear = f"{node.namespace}/cam0/image_raw", f"{node.namespace}/cam1/image_raw"
    launched = start("multi_camera.launch.py", "cameras:=front,rear", f"image:={front},{rear}", *node.words)
    until(lambda: client.node.count_publishers(f"{node.name}/rear/label"), seconds=30)
    assert values(client, node, "cameras") == [["front", "rear"]]
    for name in ("front", "rear"):
        labels = client.listen(node, f"{name}/label")
        camera = client.camera(node, topic=f"cam{int(name == 'rear')}/image_raw")
        send(camera, image_message(np.zeros((24, 32, 3), np.uint8), frame_id=name), lambda labels=labels: labels)
        assert labels[0].header.frame_id == name
    code, printed = launched.end()
    assert code == 0, printed


BAG_TOPICS = {
    "/front/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/clock": "rosgraph_msgs/msg/Clock",
}


def write_metadata(folder, topics):
    """Write what replay.launch.py reads of a rosbag2 folder."""
    folder.mkdir()
    entries = [{"topic_metadata": {"name": name, "type": kind}, "message_count": 1} for name, kind in topics.items()]
    table = {"rosbag2_bagfile_information": {"topics_with_message_count": entries}}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(table))
    return folder


def test_replay_plays_the_bag_into_the_node_and_ends_with_it(client, start, prefix, node):
    own = {f"{node.name}/label": "sensor_msgs/msg/Image"}
    bag = write_metadata(prefix / "drive", {**BAG_TOPICS, **own})
    launched = start(
        "replay.launch.py", f"bag:={bag}", "rviz:=false", "rate:=2.0", "loop:=true", "delay:=2.0", *node.words
    )
    labels = client.listen(node)
    assert values(client, node, "transport", "use_sim_time") == ["compressed", True]
    until(lambda: labels, seconds=30)
    code, printed = launched.wait(40)
    assert code == 0 and "the bag has ended" in printed, printed
    found = notes(prefix, "ros2")
    words = " ".join(found["words"])
    assert words.startswith(f"bag play {bag} --clock 100 --rate 2.0 --start-offset 0.0") and "--loop" in words
    played = found["words"][found["words"].index("--topics") + 1 :]
    assert played == ["/front/image_raw/compressed", "/tf"], "today's clock and labels, not those of the recording"
    assert Path(found["environment"]["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()


def test_replay_shows_it_in_rviz(start, prefix, node):
    bag = write_metadata(prefix / "drive", BAG_TOPICS)
    launched = start("replay.launch.py", f"bag:={bag}", "delay:=30.0", *node.words)
    found = notes(prefix, "rviz2")
    layout = yaml.safe_load(Path(found["words"][found["words"].index("-d") + 1]).read_text())
    topics = [d["Topic"]["Value"] for d in layout["Visualization Manager"]["Displays"]]
    assert topics[:2] == ["/front/image_raw/compressed", f"{node.name}/overlay"]
    assert found["parameters"] == {"use_sim_time": True}
    assert launched.end()[0] == 0


@pytest.mark.parametrize(
    ("topics", "image", "transport", "expected"),
    [
        ({"/a": "sensor_msgs/msg/Image"}, "", "", ("/a", "raw")),
        ({"/a/compressed": "sensor_msgs/msg/CompressedImage"}, "", "", ("/a", "compressed")),
        ({"/a/compressed": "sensor_msgs/msg/CompressedImage"}, "/a", "", ("/a", "compressed")),
        ({"/a": "sensor_msgs/msg/Image", "/n/label": "sensor_msgs/msg/Image"}, "", "", ("/a", "raw")),
        ({}, "/a", "compressed", ("/a", "compressed")),
        ({}, "/a", "", ("/a", "raw")),
        ({"/a": "sensor_msgs/msg/Image", "/b": "sensor_msgs/msg/Image"}, "", "", "the bag has /a, /b"),
        ({}, "", "", "the bag has no metadata.yaml"),
    ],
)
def test_replay_finds_the_camera(at_home, topics, image, transport, expected):
    replay = module("replay.launch.py")
    if isinstance(expected, str):
        with pytest.raises(RuntimeError, match=expected):
            replay._camera(topics, image, transport, "/n/")
    else:
        assert replay._camera(topics, image, transport, "/n/") == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("image:=/cam", "node:=/robot/seg_node"), ["/cam", "/robot/seg_node/overlay", "/robot/seg_node/color"]),
        (("layout:=four_cameras", "cameras:=left,front"), ["/seg_node/left/overlay", "/seg_node/front/overlay"]),
        (("layout:=cloud", "frame:=base_link"), [None, "/seg_node/label_cloud"]),
    ],
    ids=["camera", "four_cameras", "cloud"],
)
def test_rviz_shows_the_topics_that_there_are(start, prefix, words, expected):
    launched = start("rviz.launch.py", *words)
    found = notes(prefix, "rviz2")
    layout = yaml.safe_load(Path(found["words"][found["words"].index("-d") + 1]).read_text())["Visualization Manager"]
    topics = [display.get("Topic", {}).get("Value") for display in layout["Displays"]]
    assert topics[: len(expected)] == expected
    frame = layout["Global Options"]["Fixed Frame"]
    assert frame == ("base_link" if "frame:=base_link" in words else "camera")
    assert launched.end()[0] == 0
