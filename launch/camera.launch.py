"""Segment one camera whose driver is running already.

ros2 launch seg_node camera.launch.py image:=/camera/image_raw model:=rdsnet_camvid
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHIPPED = os.path.join(get_package_share_directory("seg_node"), "config", "seg_node.yaml")
# Arguments that are parameters of the node, and those that say where its inputs come from.
OURS = ("model", "runtime", "device", "precision", "transport", "cloud")
INPUTS = ("image", "depth", "points", "camera_info")
ARGUMENTS = [
    ("image", "image", "the camera's topic; with transport:=compressed without its /compressed"),
    ("namespace", "", "the node's namespace, one for each camera"),
    ("enclave", "", "the SROS 2 enclave that the node runs in, such as /seg_node"),
    ("respawn", "false", "true: start the node again, two seconds after it has died"),
    ("params", SHIPPED, "a parameter file; what is empty below comes from there"),
    ("model", "", "a shipped model, or a folder with a card.yaml"),
    ("runtime", "", "the backend: auto, onnx, openvino, tensorrt, torch"),
    ("device", "", "where it runs: auto, cpu, gpu"),
    ("precision", "", "what it computes in: auto, fp32, fp16, bf16, int8"),
    ("transport", "", "raw or compressed"),
    ("cloud", "", "the label cloud is made of: off, depth or points"),
    ("depth", "", "the registered depth image's topic, for cloud:=depth"),
    ("points", "", "the organised cloud's topic, for cloud:=points"),
    ("camera_info", "", "the camera's calibration; empty: beside its image"),
    ("use_sim_time", "", "true: time comes from /clock, as with a bag"),
]


def _node(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    # as text: a device called 0 is no number
    ours = {name: ParameterValue(given[name], value_type=str) for name in OURS if given[name]}
    if given["use_sim_time"]:
        ours["use_sim_time"] = given["use_sim_time"].lower() == "true"
    return [
        Node(
            package="seg_node",
            executable="segmentation_node",
            name="seg_node",
            namespace=given["namespace"],
            parameters=[given["params"] or SHIPPED] + ([ours] if ours else []),
            remappings=[(name, given[name]) for name in INPUTS if given[name]],
            ros_arguments=["--enclave", given["enclave"]] if given["enclave"] else [],
            respawn=given["respawn"].lower() == "true",
            respawn_delay=2.0,
            output="screen",
        )
    ]


def generate_launch_description():
    """Return the node with its parameters and remaps."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])
