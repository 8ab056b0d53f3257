"""Bags that this project writes: whole or not there, and read by others' readers as they were meant."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags", reason="writing bags needs rosbags")
from rosbags.rosbag2 import Reader

from seg_node.label_set import load_label_set
from seg_node.replay import bag_messages as messages
from seg_node.replay.bag_writer import BagWriter, latched
from seg_node.sources import open_source

SECOND = 10**9


def picture(shade: int, size=(48, 64)) -> np.ndarray:
    image = np.full((*size, 3), shade, np.uint8)
    image[::2, ::3] = (9, 90, 200)
    return image


def write_drive(path: Path, overwrite: bool = False) -> None:
    with BagWriter(path, overwrite) as bag:
        image = bag.add("/front/image", messages.IMAGE)
        names = bag.add("/front/names", messages.LABEL_INFO, [latched()])
        bag.write(names, SECOND, messages.label_info(SECOND, "front", load_label_set("camvid11")))
        for index in range(5):
            stamp = SECOND + index * SECOND // 20
            bag.write(image, stamp, messages.image(stamp, "front", picture(index), "bgr8"))


def read(path: Path) -> list:
    """Return [topic, when, message] of a bag, with the types that the bag itself tells of."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    found = []
    with Reader(path) as reader:
        store = get_typestore(Stores.EMPTY)
        for connection in reader.connections:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        for connection, logged, data in reader.messages():
            found.append((connection.topic, logged, store.deserialize_cdr(data, connection.msgtype)))
    return found


@pytest.mark.parametrize("name", ["drive.mcap", "drive", "drive.of.may"])
def test_a_bag_is_read_back_and_nothing_else_stays(tmp_path, name):
    path = tmp_path / "new" / name
    write_drive(path)
    assert os.listdir(path.parent) == [name]
    assert path.is_dir() != name.endswith(".mcap")
    found = read(path)
    assert [topic for topic, _, _ in found] == ["/front/names", *["/front/image"] * 5]
    assert [m.class_name for m in found[0][2].class_map][:2] == list(load_label_set("camvid11").names[:2])
    for index, (_, logged, image) in enumerate(found[1:]):
        assert logged == image.header.stamp.sec * SECOND + image.header.stamp.nanosec
        assert (image.header.frame_id, image.encoding, image.step) == ("front", "bgr8", 64 * 3)
        assert np.array_equal(image.data.reshape(48, 64, 3), picture(index))
    source = open_source(str(path))
    assert (source.length, source.rate) == (5, pytest.approx(20))
    source.close()


def test_the_mcap_library_finds_it_valid(tmp_path):
    mcap = pytest.importorskip("mcap.reader", reason="pip install mcap, the format's own library")
    write_drive(tmp_path / "drive.mcap")
    with open(tmp_path / "drive.mcap", "rb") as file:
        reader = mcap.make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        seen = [(channel.topic, schema.name, schema.encoding) for schema, channel, _ in reader.iter_messages()]
        profile = reader.get_header().profile
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
    assert profile == "ros2"
    assert summary.statistics.message_count == len(seen) == 6
    assert ("/front/image", messages.IMAGE, "ros2msg") in seen
    assert all(b"MSG: std_msgs/Header" in schema.data for schema in summary.schemas.values())
    assert yaml.safe_load(metadata["rosbag2"]["serialized_metadata"])["version"] == 8


def test_humble_and_later_understand_the_profiles(tmp_path):
    """Humble wants numbers in a text; the names in a list of version 9 stop its player."""
    write_drive(tmp_path / "drive")
    table = yaml.safe_load((tmp_path / "drive" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert table["version"] == 8 and table["storage_identifier"] == "mcap" and table["compression_mode"] == ""
    assert [(tmp_path / "drive" / name).is_file() for name in table["relative_file_paths"]] == [True]
    topics = {t["topic_metadata"]["name"]: t["topic_metadata"] for t in table["topics_with_message_count"]}
    (plain,) = yaml.safe_load(topics["/front/image"]["offered_qos_profiles"])
    (kept,) = yaml.safe_load(topics["/front/names"]["offered_qos_profiles"])
    assert (plain["reliability"], plain["durability"], plain["history"]) == (1, 2, 1)  # reliable, volatile, keep last
    assert (kept["reliability"], kept["durability"], kept["depth"]) == (1, 1, 1)  # transient local
    # what every ROS 2 Jazzy computes for sensor_msgs/msg/Image
    assert topics["/front/image"]["type_description_hash"].startswith("RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f75")


def test_every_kind_of_message_says_what_was_put_in(tmp_path):
    depth = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20
    matrix = np.array([[50.0, 0, 31.5], [0, 51.0, 23.5], [0, 0, 1]])
    with BagWriter(tmp_path / "a.mcap") as bag:
        for topic, kind, data in (
            ("/jpeg", messages.COMPRESSED, messages.compressed_image(5, "f", picture(80), "jpeg")),
            ("/png", messages.COMPRESSED, messages.compressed_image(6, "f", picture(80), "png")),
            ("/depth", messages.IMAGE, messages.image(7, "f", depth, "16UC1")),
            ("/info", messages.CAMERA_INFO, messages.camera_info(8, "f", (48, 64), matrix)),
            ("/diagnostics", messages.DIAGNOSTICS, messages.diagnostics(9, "n", "m", "h", {"a_ms": "1.5"})),
        ):
            bag.write(bag.add(topic, kind), SECOND, data)
    found = {topic: message for topic, _, message in read(tmp_path / "a.mcap")}
    assert found["/jpeg"].format == "bgr8; jpeg compressed bgr8"
    assert np.abs(cv2.imdecode(found["/jpeg"].data, -1).astype(int) - picture(80)).mean() < 25
    assert np.array_equal(cv2.imdecode(found["/png"].data, -1), picture(80))
    assert np.array_equal(found["/depth"].data.view("<u2").reshape(48, 64), depth) and found["/depth"].step == 128
    assert np.array_equal(found["/info"].k.reshape(3, 3), matrix) and found["/info"].p[6] == 23.5
    assert (found["/info"].height, found["/info"].width, found["/info"].distortion_model) == (48, 64, "plumb_bob")
    (status,) = found["/diagnostics"].status
    assert (status.name, status.values[0].key, status.values[0].value) == ("n", "a_ms", "1.5")


def test_what_is_there_is_kept_until_it_may_be_replaced_by_something_whole(tmp_path):
    for path in (tmp_path / "a.mcap", tmp_path / "a"):
        write_drive(path)
        before = [p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()]
        with pytest.raises(FileExistsError, match="exists already"):
            BagWriter(path)
        with pytest.raises(RuntimeError), BagWriter(path, overwrite=True) as bag:
            bag.write(bag.add("/image", messages.IMAGE), 1, messages.image(1, "f", picture(1), "bgr8"))
            raise RuntimeError
        assert [p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()] == before
        with BagWriter(path, overwrite=True) as bag:
            bag.write(bag.add("/image", messages.IMAGE), 1, messages.image(1, "f", picture(1), "bgr8"))
        assert [topic for topic, _, _ in read(path)] == ["/image"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="no bag"):
        BagWriter(tmp_path / "mine", overwrite=True)


def test_wrong_names_and_empty_bags(tmp_path):
    with pytest.raises(ValueError, match=r"\.mcap"):
        BagWriter(tmp_path / "a.db3")
    with BagWriter(tmp_path / "a.mcap") as bag:
        bag.add("/image", messages.IMAGE)
    with BagWriter(tmp_path / "b.mcap"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_type_that_nobody_knows_is_written_without_a_definition(tmp_path):
    with BagWriter(tmp_path / "a.mcap") as bag:
        topic = bag.add("/odd", "odd_msgs/msg/Odd", definition="")
        bag.write(topic, 5, b"\0\1\0\0abcd")
    with Reader(tmp_path / "a.mcap") as reader:
        (connection,) = reader.connections
        assert (connection.msgtype, connection.msgdef.data, connection.msgdef.format.name) == (
            "odd_msgs/msg/Odd",
            "",
            "NONE",
        )
        assert [bytes(data) for _, _, data in reader.messages()] == [b"\0\1\0\0abcd"]


WRITE = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from seg_node.replay import bag_messages as messages
from seg_node.replay.bag_writer import BagWriter
limit = int(sys.argv[2])
if limit:  # bytes that a file of this process may have: what a full disk does, without filling one
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0).integers(0, 255, (400, 500, 3), np.uint8)
try:
    with BagWriter(Path(sys.argv[1])) as bag:
        topic = bag.add("/image", messages.IMAGE)
        for stamp in range(30 if limit else 10**9):
            bag.write(topic, stamp, messages.image(stamp, "f", noise, "bgr8"))
except OSError as error:
    sys.exit(f"OSError {error.errno}: {error}")
"""


@pytest.mark.parametrize("name", ["a.mcap", "a"])
@pytest.mark.parametrize("limit", [100_000, 3_000_000])
def test_without_room_it_says_so_and_leaves_nothing(tmp_path, name, limit):
    command = [sys.executable, "-c", WRITE, str(tmp_path / name), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"{tmp_path / name}: cannot be written: File too large" in done.stderr and "MB are free" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_killed_run_leaves_no_half_bag_under_the_name_and_the_next_one_works(tmp_path):
    path = tmp_path / "a.mcap"
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path), "0"])
    inner = path.with_name("a.mcap.partial") / "a" / "a.mcap"
    deadline = time.monotonic() + 60
    while not (inner.exists() and inner.stat().st_size > 2_000_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.listdir(tmp_path) == ["a.mcap.partial"]
    write_drive(path)
    assert os.listdir(tmp_path) == ["a.mcap"] and len(read(path)) == 6
