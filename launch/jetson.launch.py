"""Segment one camera on a Jetson, and if asked for, start the camera's driver too.

ros2 launch seg_node jetson.launch.py image:=/camera/image_raw
ros2 launch seg_node jetson.launch.py video_device:=/dev/video0      (needs ros-$ROS_DISTRO-v4l2-camera)
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node

from launch import LaunchDescription

CAMERA = os.path.join(get_package_share_directory("seg_node"), "launch", "camera.launch.py")
PASSED_ON = [
    ("image", "/camera/image_raw", "the camera's topic"),
    ("model", "", "a shipped model, or a folder with a card.yaml"),
    ("runtime", "", "the backend: auto, onnx, openvino, torch"),
    ("transport", "", "raw or compressed"),
]


def generate_launch_description():
    """Return camera.launch.py, and the driver where video_device is given."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in PASSED_ON]
    device = DeclareLaunchArgument("video_device", default_value="", description="a V4L2 device to start a driver for")
    segmentation = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(CAMERA),
        launch_arguments=[(name, LaunchConfiguration(name)) for name, _, _ in PASSED_ON],
    )
    driver = Node(
        package="v4l2_camera",
        executable="v4l2_camera_node",
        namespace="camera",
        output="screen",
        parameters=[{"video_device": LaunchConfiguration("video_device")}],
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("video_device"), "' != ''"])),
    )
    return LaunchDescription([*arguments, device, segmentation, driver])
