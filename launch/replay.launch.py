"""Play a recorded drive through the node and show it live in RViz.

ros2 launch seg_node replay.launch.py bag:=drives/monday
ros2 launch seg_node replay.launch.py bag:=monday.mcap image:=/front/image_raw transport:=compressed rviz:=false

The camera's topic need not be given where the bag has only one. Without RViz all ends when the bag does.
"""

import os

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchDescription
from seg_node.ros.transport import environment_for

SHARE = get_package_share_directory("seg_node")
RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TO_NODE = [
    ("namespace", "", "the node's namespace"),
    (
        "params",
        os.path.join(SHARE, "config", "seg_node.yaml"),
        "a parameter file; what is empty below comes from there",
    ),
    ("model", "", "a shipped model, or a folder with a card.yaml"),
    ("runtime", "", "the backend: auto, onnx, openvino, tensorrt, torch"),
    ("device", "", "where it runs: auto, cpu, gpu"),
    ("precision", "", "what it computes in: auto, fp32, fp16, bf16, int8"),
    ("cloud", "", "the label cloud is made of: off, depth or points"),
    ("depth", "", "the registered depth image's topic, for cloud:=depth"),
    ("points", "", "the organised cloud's topic, for cloud:=points"),
    ("camera_info", "", "the camera's calibration; empty: beside its image"),
]
OWN = [
    ("bag", None, "the recording: a rosbag2 folder, or one .mcap or .db3 file"),
    ("image", "", "the camera's topic in the bag, raw or compressed; empty: the only one there is"),
    ("transport", "", "raw or compressed; empty: as the bag has it"),
    ("rate", "1.0", "how fast to play: 2.0 is twice as fast"),
    ("loop", "false", "true: play it again and again"),
    ("start_offset", "0.0", "seconds of the bag to leave out at its beginning"),
    ("delay", "3.0", "seconds to wait before playing, so that the model is loaded when the first image comes"),
    ("rviz", "true", "show it in RViz"),
    ("layout", "camera", "RViz's layout: camera, cloud, or the path of an .rviz file"),
    ("frame", "camera", "RViz's fixed frame, which matters to clouds only"),
]


def _topics(bag):
    """Return {topic: type} as the recording's metadata.yaml says; {} where it has none."""
    folder = bag if os.path.isdir(bag) else os.path.dirname(os.path.abspath(bag))
    path = os.path.join(folder, "metadata.yaml")
    if not os.path.exists(bag):
        raise RuntimeError("bag:={}: there is no such file or folder".format(bag))
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        table = yaml.safe_load(file)["rosbag2_bagfile_information"]
    entries = [entry["topic_metadata"] for entry in table["topics_with_message_count"]]
    return {entry["name"]: entry["type"] for entry in entries}


def _camera(topics, image, transport, ours):
    """Return (topic, transport) for the node; ``topics`` that begin with ``ours`` are the node's own, recorded."""
    cameras = [t for t, kind in topics.items() if kind in (RAW, COMPRESSED) and not t.startswith(ours)]
    if not image:
        if len(cameras) != 1:
            raise RuntimeError(
                "say which image to segment, image:=...; the bag has {}".format(
                    ", ".join(cameras) or "no metadata.yaml"
                )
            )
        image = cameras[0]
    if transport:
        compressed = transport == "compressed"
    else:
        both = topics.get(image), topics.get(image + "/compressed")
        compressed = both[0] == COMPRESSED or (both[0] is None and both[1] == COMPRESSED)
    if compressed and image.endswith("/compressed"):
        image = image[: -len("/compressed")]
    return image, "compressed" if compressed else "raw"


def _bag(given, topics, ours):
    """Return the player. A recorded clock, and what the node published then, stay out of the way of today's."""
    command = ["ros2", "bag", "play", given["bag"], "--clock", "100", "--rate", given["rate"]]
    command += ["--start-offset", given["start_offset"], "--disable-keyboard-controls"]
    command += ["--loop"] if _true(given["loop"]) else []
    played = [t for t in topics if t != "/clock" and not t.startswith(ours)]
    command += ["--topics", *played] if len(played) < len(topics) else []
    return ExecuteProcess(cmd=command, name="bag", additional_env=environment_for(), output="screen")


def _true(text):
    return text.lower() == "true"


def _include(name, **arguments):
    source = PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", name + ".launch.py"))
    return IncludeLaunchDescription(source, launch_arguments=sorted(arguments.items()))


def _replay(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in OWN + TO_NODE}
    node = "/" + "/".join(word for word in (given["namespace"].strip("/"), "seg_node") if word)
    topics = _topics(given["bag"])
    image, transport = _camera(topics, given["image"], given["transport"], node + "/")
    bag, rviz = _bag(given, topics, node + "/"), _true(given["rviz"])
    passed_on = {name: given[name] for name, _, _ in TO_NODE}
    actions = [_include("camera", image=image, transport=transport, use_sim_time="true", **passed_on)]
    if rviz:
        look = {"layout": given["layout"], "frame": given["frame"]}
        shown = image + ("/compressed" if transport == "compressed" else "")  # RViz knows the transport by this name
        actions.append(_include("rviz", image=shown, node=node, use_sim_time="true", **look))
    ended = [LogInfo(msg="the bag has ended")]
    ended += [] if rviz else [TimerAction(period=1.0, actions=[Shutdown(reason="the bag has ended")])]
    actions.append(RegisterEventHandler(OnProcessExit(target_action=bag, on_exit=ended)))
    return [*actions, TimerAction(period=float(given["delay"]), actions=[bag])]


def generate_launch_description():
    """Return the node, RViz, and after a while the bag."""
    table = OWN + TO_NODE
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in table]
    return LaunchDescription([*arguments, OpaqueFunction(function=_replay)])
