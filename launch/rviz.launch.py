"""Show what the node publishes in RViz, on this machine or on another one in the same network.

ros2 launch seg_node rviz.launch.py image:=/camera/image_raw
ros2 launch seg_node rviz.launch.py layout:=four_cameras cameras:=front,left,right,rear
"""

import os
import tempfile

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

CONFIG = os.path.join(get_package_share_directory("seg_node"), "config")
# What stands for these in config/*.rviz; a layout of your own may use the same names.
STAND_INS = {"image": "/camera/image_raw", "node": "/seg_node", "frame": "camera"}
CAMERAS = ("front", "left", "right", "rear")
ARGUMENTS = [
    ("layout", "camera", "camera, cloud, four_cameras, or the path of an .rviz file"),
    ("image", STAND_INS["image"], "the camera's topic, shown beside the overlay"),
    ("node", STAND_INS["node"], "the segmentation node's full name"),
    ("frame", STAND_INS["frame"], "the fixed frame: the frame_id of the camera's images, or one that tf leads to"),
    ("cameras", ",".join(CAMERAS), "up to four cameras' names, separated by commas, for layout:=four_cameras"),
    ("use_sim_time", "false", "true: time comes from /clock, as with a bag"),
]


def _fill(layout, given):
    """Return the text of a layout with the user's names in place of those that it was saved with."""
    node, cameras = given["node"].rstrip("/") + "/", given["cameras"].split(",")
    lines = []  # line by line: a camera may be called what another's stand-in is called
    for line in layout.splitlines():
        key, colon, value = line.partition(": ")
        if value == STAND_INS["image"]:
            value = given["image"]
        elif key.strip() == "Fixed Frame":
            value = given["frame"]
        elif value.startswith(STAND_INS["node"] + "/"):
            first, slash, rest = value[len(STAND_INS["node"]) + 1 :].partition("/")
            value = node + (_camera(first, cameras) if slash else first) + slash + rest
        lines.append(key + colon + value)
    return "\n".join(lines) + "\n"


def _camera(stand_in, cameras):
    place = CAMERAS.index(stand_in) if stand_in in CAMERAS else len(cameras)
    return cameras[place].strip() if place < len(cameras) else stand_in


def _rviz(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError as error:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        raise RuntimeError(
            "rviz2 is not installed: apt install ros-{}-rviz2, or do without it (replay: rviz:=false)".format(
                distribution
            )
        ) from error
    path = os.path.join(CONFIG, given["layout"] + ".rviz")
    path = path if os.path.isfile(path) else given["layout"]
    with open(path, encoding="utf-8") as file:
        layout = file.read()
    filled = _fill(layout, given)
    if filled != layout:
        with tempfile.NamedTemporaryFile("w", prefix="seg_node_", suffix=".rviz", delete=False) as file:
            file.write(filled)
        path = file.name
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz_seg_node",
            arguments=["-d", path],
            parameters=[{"use_sim_time": given["use_sim_time"].lower() == "true"}],
            output="screen",
        )
    ]


def generate_launch_description():
    """Return RViz with a layout filled in."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=_rviz)])
