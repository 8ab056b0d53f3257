"""Segment a camera on a Jetson: its driver if asked for, and the node with TensorRT at fp16 where that is installed.

ros2 launch seg_node jetson.launch.py camera:=argus                          (the board's CSI camera; needs gscam)
ros2 launch seg_node jetson.launch.py camera:=v4l2 video_device:=/dev/video1 (a USB camera; needs v4l2_camera)
ros2 launch seg_node jetson.launch.py image:=/front/image_raw                (a driver that is running already)
"""

import os

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription
from seg_node import runtimes
from seg_node.ros.parameter_files import value_in
from seg_node.ros.transport import environment_for

SHARE = get_package_share_directory("seg_node")
PASSED_ON = [
    ("image", "/camera/image_raw", "the camera's topic, which the driver is given too"),
    ("namespace", "", "the node's namespace"),
    ("enclave", "", "the SROS 2 enclave that the node runs in, such as /seg_node"),
    ("respawn", "", "true: start the node and the driver again, two seconds after they have died"),
    ("params", "", "a parameter file; empty: config/jetson.yaml with TensorRT, else config/seg_node.yaml"),
    ("model", "", "a shipped model, or a folder with a card.yaml"),
    ("runtime", "", "the backend; empty: what the parameter file says, and for its auto tensorrt where installed"),
    ("device", "", "where it runs: auto, cpu, gpu"),
    ("precision", "", "what it computes in: auto, fp32, fp16, bf16, int8"),
    ("transport", "", "raw or compressed"),
    ("cloud", "", "the label cloud is made of: off, depth or points"),
]
DRIVER = [
    ("camera", "", "the driver to start: v4l2, argus, gscam; empty: none, or v4l2 where video_device is given"),
    ("video_device", "", "the device of camera:=v4l2; empty: /dev/video0"),
    ("sensor_id", "0", "which CSI camera camera:=argus opens"),
    ("size", "", "width x height that the driver is asked for; empty: 640x480 with v4l2, 1280x720 with argus"),
    ("rate", "30", "frames a second that camera:=argus is asked for"),
    ("pipeline", "", "the GStreamer pipeline of camera:=gscam, without its sink"),
    ("frame_id", "camera", "the frame_id of the driver's images"),
    ("camera_params", "", "a parameter file for the driver; it wins over size and frame_id"),
]
ARGUS = (
    "nvarguscamerasrc sensor-id={sensor_id} ! "
    "video/x-raw(memory:NVMM), width=(int){width}, height=(int){height}, framerate=(fraction){rate}/1 ! "
    "nvvidconv ! video/x-raw, format=(string)BGRx ! videoconvert"
)


def _with_tensorrt(given):
    """Return the arguments with TensorRT where it is here and nobody, the parameter file included, asks for another."""
    tensorrt = "tensorrt" in runtimes.names() and runtimes.is_installed("tensorrt")
    if given["runtime"] or not tensorrt:
        return given
    if not given["params"]:
        return dict(given, params=os.path.join(SHARE, "config", "jetson.yaml"))
    if value_in(given["params"], "runtime") not in (None, "auto"):
        return given
    precision = given["precision"] or value_in(given["params"], "precision")
    return dict(given, runtime="tensorrt", precision="fp16" if precision in (None, "auto") else precision)


def _segmentation(context):
    given = _with_tensorrt({name: LaunchConfiguration(name).perform(context) for name, _, _ in PASSED_ON})
    source = PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "camera.launch.py"))
    return [IncludeLaunchDescription(source, launch_arguments=sorted(given.items()))]


def _driver(context):
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in DRIVER + PASSED_ON}
    kind = given["camera"] or ("v4l2" if given["video_device"] else "")
    if not kind:
        return [LogInfo(msg="no driver started; waiting for images on " + given["image"])]
    makers = {"v4l2": _v4l2, "argus": _gscam, "gscam": _gscam}
    if kind not in makers:
        raise RuntimeError("camera:={}: choose from {}".format(kind, ", ".join(sorted(makers))))
    return [makers[kind](given)]


def _v4l2(given):
    parameters = {"video_device": given["video_device"] or "/dev/video0", "camera_frame_id": given["frame_id"]}
    if given["size"]:
        parameters["image_size"] = list(_size(given["size"]))
    return _start("v4l2_camera", "v4l2_camera_node", "image_raw", parameters, given)


def _gscam(given):
    """The Argus pipeline, or the user's. videoconvert is the CPU's: nvvidconv knows no 24-bit colours."""
    width, height = _size(given["size"] or "1280x720")
    pipeline = given["pipeline"] or ARGUS.format(width=width, height=height, **given)
    if given["camera"] == "gscam" and not given["pipeline"]:
        raise RuntimeError('camera:=gscam needs a pipeline, as in pipeline:="v4l2src ! videoconvert"')
    parameters = {"gscam_config": pipeline, "frame_id": given["frame_id"], "sync_sink": False}
    return _start("gscam", "gscam_node", "camera/image_raw", parameters, given)


def _start(package, executable, topic, parameters, given):
    """Return a driver's node that publishes the image and, beside it, camera_info."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        name = "ros-{}-{}".format(os.environ.get("ROS_DISTRO", "$ROS_DISTRO"), package.replace("_", "-"))
        raise RuntimeError("{} is not installed: apt install {}".format(package, name)) from error
    width, height = _size(given["size"] or "1280x720")
    info, renamed = (os.path.join(os.path.dirname(name), "camera_info") for name in (topic, given["image"]))
    return Node(
        package=package,
        executable=executable,
        name="camera",
        namespace=given["namespace"],
        parameters=[parameters] + [path for path in [given["camera_params"]] if path],
        remappings=[(topic, given["image"]), (info, renamed)],
        additional_env=environment_for(3 * width * height),
        respawn=given["respawn"].lower() == "true",
        respawn_delay=2.0,
        output="screen",
    )


def _size(text):
    """Return (width, height) of a text such as "640x480"."""
    try:
        width, height = (int(word) for word in text.lower().split("x"))
    except ValueError:
        raise RuntimeError("size:={}: write width x height, as in 640x480".format(text)) from None
    return width, height


def generate_launch_description():
    """Return the driver, where one is asked for, and camera.launch.py."""
    table = PASSED_ON + DRIVER
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in table]
    return LaunchDescription([*arguments, OpaqueFunction(function=_driver), OpaqueFunction(function=_segmentation)])
