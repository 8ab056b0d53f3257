"""Short bags of the rendered street, with images and the true class of every pixel, as rosbags writes them."""

import functools

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from seg_node.datasets.street import Street

IMAGE, LABEL = "/camera/image_raw", "/camera/label"
KIND = "sensor_msgs/msg/Image"
START = 1_700_000_000_123_456_789


@functools.cache
def types():
    return get_typestore(Stores.ROS2_JAZZY)


def image_message(pixels, stamp, data=None):
    """Serialize uint8 (H, W) or (H, W, 3) BGR as an Image of that stamp (ns), or other ``data`` than its pixels."""
    t = types().types
    header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9), "camera")
    encoding, depth = ("bgr8", 3) if pixels.ndim == 3 else ("mono8", 1)
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).ravel() if data is None else data
    message = t[KIND](header, height, width, encoding, 0, depth * width, data)
    return types().serialize_cdr(message, KIND)


def write_street(folder, frames, gaps=None, size=(360, 480), seed=7, cut=(), short=()):
    """Write a bag (mcap, in a folder) and return its folder.

    ``gaps``: seconds before each frame but the first; 30 frames a second without. ``cut``: frames whose message ends
    in its middle; ``short``: frames that are whole messages with too few pixels.
    """
    street = Street(seed, size=size, frames_per_second=30.0)
    times = np.cumsum([0.0, *(gaps or [1 / 30] * (frames - 1))])
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        images, labels = (writer.add_connection(topic, KIND, typestore=types()) for topic in (IMAGE, LABEL))
        for index in range(frames):
            image, truth = street.render(index)
            stamp = START + int(times[index] * 1e9)
            data = np.zeros(9, np.uint8) if index in short else None
            message = bytes(image_message(image, stamp, data))
            writer.write(images, stamp, message[: len(message) // 2] if index in cut else message)
            writer.write(labels, stamp, image_message(truth, stamp))
    return folder
