"""Segment one camera.

ros2 launch seg_node camera.launch.py image:=/camera/image_raw model:=rdsnet_camvid
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

PARAMS = os.path.join(get_package_share_directory("seg_node"), "config", "seg_node.yaml")
OURS = ("model", "runtime", "device", "transport")
ARGUMENTS = [
    ("image", "image", "the camera's topic; with transport:=compressed without its /compressed"),
    ("namespace", "", "the node's namespace, one for each camera"),
    ("params", PARAMS, "a parameter file; what is empty below comes from there"),
    ("model", "", "a shipped model, or a folder with a card.yaml"),
    ("runtime", "", "the backend: auto, onnx, openvino, torch"),
    ("device", "", "where it runs: auto, cpu, gpu"),
    ("transport", "", "raw or compressed"),
]


def _node(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    ours = {name: given[name] for name in OURS if given[name]}
    return [
        Node(
            package="seg_node",
            executable="segmentation_node",
            name="seg_node",
            namespace=given["namespace"],
            parameters=[given["params"]] + ([ours] if ours else []),
            remappings=[("image", given["image"])],
            output="screen",
        )
    ]


def generate_launch_description():
    """Return the node with its parameters and remaps."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])
