"""Small bags for tests, written by rosbags, and a model that says what an image's first channel is."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from cards import card_table

from seg_node.datasets.street import Street

IMAGE, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
START, GAP = 1_700_000_000_000_000_000, 50_000_000  # ns


def types():
    pytest.importorskip("rosbags")
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def header(stamp: int, frame_id: str = "front"):
    known = types().types
    time = known["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return known["std_msgs/msg/Header"](time, frame_id)


def image(pixels: np.ndarray, stamp: int, encoding: str = "bgr8", *, pad: int = 0, little: bool = True) -> bytes:
    """An Image in CDR; ``pad`` bytes follow each row."""
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, pad)), constant_values=170)
    step = rows.shape[1]
    msg = types().types[IMAGE](header(stamp), height, width, encoding, 0, step, rows.reshape(-1))
    return types().serialize_cdr(msg, IMAGE, little_endian=little).tobytes()


def compressed(pixels: np.ndarray, stamp: int, suffix: str = ".png") -> bytes:
    data = cv2.imencode(suffix, pixels)[1].reshape(-1)
    msg = types().types[JPEG](header(stamp), suffix[1:], data)
    return types().serialize_cdr(msg, JPEG).tobytes()


def write_bag(path: Path, topics: dict, storage: str = "mcap", mode: str = "NONE") -> Path:
    """Write a bag; ``topics``: name -> (type, [(logged, message)]). Returns its folder."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    writer = rosbag2.Writer(path, version=8, storage_plugin=rosbag2.StoragePlugin[storage.upper()])
    if mode != "NONE":
        writer.set_compression(rosbag2.CompressionMode[mode], rosbag2.CompressionFormat.ZSTD)
    with writer as bag:
        found = []
        for name, (kind, messages) in topics.items():
            if kind in types().types:
                connection = bag.add_connection(name, kind, typestore=types())
            else:  # one of the robot's own
                connection = bag.add_connection(
                    name, kind, msgdef="float64 x\nuint8[] y\n", rihs01="RIHS01_" + "0" * 64
                )
            found += [(logged, connection, message) for logged, message in messages]
        for logged, connection, message in sorted(found, key=lambda one: one[0]):
            bag.write(connection, logged, message)
    return path


def at(index: int) -> int:
    return START + index * GAP


def street(count: int, size: tuple[int, int] = (96, 128)) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of the street with their labels, 0.2 s apart."""
    drive = Street(7, size=size)
    return [drive.render(6 * index) for index in range(count)]


def street_bag(path: Path, count: int = 6, size: tuple[int, int] = (96, 128), **how: str) -> Path:
    """A bag with images and their ground truth."""
    frames = street(count, size)
    return write_bag(
        path,
        {
            "/front/image": (IMAGE, [(at(i), image(one, at(i))) for i, (one, _) in enumerate(frames)]),
            "/front/label": (IMAGE, [(at(i) + 9, image(one, at(i), "mono8")) for i, (_, one) in enumerate(frames)]),
        },
        **how,
    )


def fake_model(folder: Path, **options: object) -> Path:
    """A model's folder, for the runtime "fake": the label of a pixel is its first channel modulo 11."""
    folder.mkdir(parents=True, exist_ok=True)
    table = card_table(network={"name": "rdsnet", "classes": 11, **({"options": options} if options else {})})
    (folder / "card.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    return folder
