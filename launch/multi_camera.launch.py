"""Segment several cameras with one node and one model.

ros2 launch seg_node multi_camera.launch.py cameras:=front,left,right,rear
ros2 launch seg_node multi_camera.launch.py cameras:=front,rear image:=/cam0/image_raw,/cam1/image_raw

Outputs are /seg_node/front/label, /seg_node/front/overlay, ... under each camera's name.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHIPPED = os.path.join(get_package_share_directory("seg_node"), "config", "seg_node.yaml")
OURS = ("model", "runtime", "device", "precision", "transport", "cloud")
INPUTS = ("image", "depth", "points", "camera_info")
EACH = "one for each camera, separated by commas, or one for all in which {} stands for the camera's name"
ARGUMENTS = [
    ("cameras", None, "the cameras' names, separated by commas"),
    ("image", "/{}/image_raw", "the cameras' topics: " + EACH),
    ("namespace", "", "the node's namespace"),
    ("enclave", "", "the SROS 2 enclave that the node runs in, such as /seg_node"),
    ("respawn", "false", "true: start the node again, two seconds after it has died"),
    ("params", SHIPPED, "a parameter file; what is empty below comes from there"),
    ("model", "", "a shipped model, or a folder with a card.yaml"),
    ("runtime", "", "the backend: auto, onnx, openvino, tensorrt, torch"),
    ("device", "", "where it runs: auto, cpu, gpu"),
    ("precision", "", "what it computes in: auto, fp32, fp16, bf16, int8"),
    ("transport", "", "raw or compressed, for all"),
    ("cloud", "", "the label clouds are made of: off, depth or points"),
    ("depth", "", "the registered depth images, for cloud:=depth; empty: NAME/depth; else " + EACH),
    ("points", "", "the organised clouds, for cloud:=points; empty: NAME/points; else " + EACH),
    ("camera_info", "", "the calibrations; empty: beside the images; else " + EACH),
]


def _topics(name, value, cameras):
    """Return one topic for each camera. Raises RuntimeError where their numbers differ."""
    words = [word.strip() for word in value.split(",")]
    if len(words) == 1 and "{}" in words[0]:
        return [words[0].replace("{}", camera) for camera in cameras]
    if len(words) != len(cameras):
        raise RuntimeError(
            "{}:={} names {} topics for {} cameras ({}); give one each, or a pattern such as /{{}}/image_raw".format(
                name, value, len(words), len(cameras), ", ".join(cameras)
            )
        )
    return words


def _node(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    cameras = [name.strip() for name in given["cameras"].split(",") if name.strip()]
    if not cameras or len(set(cameras)) != len(cameras):
        raise RuntimeError("cameras:={}: name each camera once, as in front,left,right".format(given["cameras"]))
    ours = {name: ParameterValue(given[name], value_type=str) for name in OURS if given[name]}
    remaps = [
        ("{}/{}".format(camera, name), topic)
        for name in INPUTS
        if given[name]
        for camera, topic in zip(cameras, _topics(name, given[name], cameras))
    ]
    return [
        Node(
            package="seg_node",
            executable="segmentation_node",
            name="seg_node",
            namespace=given["namespace"],
            parameters=[given["params"] or SHIPPED, dict(ours, cameras=cameras)],
            remappings=remaps,
            ros_arguments=["--enclave", given["enclave"]] if given["enclave"] else [],
            respawn=given["respawn"].lower() == "true",
            respawn_delay=2.0,
            output="screen",
        )
    ]


def generate_launch_description():
    """Return one node for all cameras."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])
