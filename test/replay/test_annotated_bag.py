"""The annotated bag: every original message as it was, and the results beside their images."""

import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags need rosbags")
from cards import card_table
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_node.label_set import load_label_set
from seg_node.replay import bag_messages as messages
from seg_node.replay.annotated_bag import AnnotatedBag
from seg_node.replay.bag_writer import BagWriter
from seg_node.replay.drive import Drive
from seg_node.replay.make_bag import record_street
from seg_node.replay.offline import Result, run
from seg_node.sources.bag import Bag

LABELS = load_label_set("camvid11")
OURS = {"/seg_node/label", "/seg_node/overlay/compressed", "/seg_node/label_info", "/diagnostics"}
ODD = "odd_msgs/msg/Odd"
ODD_TEXT = (
    "# how odd\nuint8 MANY=3\nodd_msgs/Part[] parts\nfloat64 much\n" + "=" * 80 + "\nMSG: odd_msgs/Part\nint32 a\n"
)


def result(picture, milliseconds=2.5) -> Result:
    """What a network might say: the image's red channel modulo the classes."""
    labels = np.ascontiguousarray(picture.frame.image[..., 2]) % 11
    labels[0] = 255
    return Result(picture, labels, None, {"infer": 2.0, "total": milliseconds})


def annotate(source: Path, path: Path, image: str | None = None) -> AnnotatedBag:
    with Drive(source, image) as drive:
        bag = AnnotatedBag(path, drive, LABELS)
        for picture in drive.pictures():
            bag.see(result(picture))
        bag.close()
    return bag


def raw(path: Path) -> dict[tuple[str, str], list[tuple[int, bytes]]]:
    """Return every topic's messages as they lie in the bag; those without are there too."""
    bag = Bag(path)
    found: dict = {(c.topic, c.msgtype): [] for reader in bag.readers for c in reader.connections}
    before = 0
    for connection, logged, data in bag.everything():
        assert logged >= before
        before = logged
        found[connection.topic, connection.msgtype].append((logged, bytes(data)))
    bag.close()
    return found


def decoded(entries, kind):
    return [messages.types().deserialize_cdr(data, kind) for _, data in entries]


@pytest.fixture
def odd_bag(tmp_path):
    """A bag with images, a type of its own and diagnostics of its own, in the plug-in that is asked for."""

    def write(name: str, plugin=StoragePlugin.MCAP, mode=CompressionMode.NONE) -> Path:
        store = get_typestore(Stores.ROS2_JAZZY)
        store.register(get_types_from_msg(ODD_TEXT, ODD))
        out = Writer(tmp_path / name, version=8, storage_plugin=plugin)
        out.set_compression(mode, CompressionFormat.ZSTD)
        with out:
            image = out.add_connection("/image", messages.IMAGE, typestore=store)
            odd = out.add_connection("/odd", ODD, msgdef=ODD_TEXT, rihs01="RIHS01_" + "7" * 64)
            health = out.add_connection("/diagnostics", messages.DIAGNOSTICS, typestore=store)
            for index in range(6):
                stamp = 10**9 + index * 10**8
                pixels = np.full((20 + index, 30, 3), 9 * index, np.uint8)
                out.write(odd, stamp - 10, b"\0\1\0\0" + bytes([index] * 16))
                out.write(image, stamp, messages.image(stamp - 5, f"camera{index}", pixels, "rgb8"))
                out.write(health, stamp + 7, messages.diagnostics(stamp, "motor", "well", "", {}))
            out.write(image, stamp + 50, b"\0\1\0\0broken")
            out.write(odd, stamp + 99, b"\0\1\0\0the end")
        return tmp_path / name

    return write


@pytest.mark.parametrize("plugin", list(StoragePlugin))
@pytest.mark.parametrize("mode", [CompressionMode.NONE, CompressionMode.MESSAGE, CompressionMode.FILE])
def test_originals_stay_as_they_are_and_results_carry_their_images_header(tmp_path, odd_bag, plugin, mode):
    source = odd_bag("odd", plugin, mode)
    annotate(source, tmp_path / "new.mcap")
    before, after = raw(source), raw(tmp_path / "new.mcap")
    assert set(after) == set(before) | {(t, k) for t, k in after if t in OURS}
    for topic in (("/image", messages.IMAGE), ("/odd", ODD)):
        assert after[topic] == before[topic]
    health = decoded(after["/diagnostics", messages.DIAGNOSTICS], messages.DIAGNOSTICS)
    assert [m.status[0].name for m in health].count("motor") == 6
    assert {v.key: v.value for v in health[0].status[0].values} == {
        "frame": "0",
        "infer_ms": "2.000",
        "total_ms": "2.500",
    }
    labels = after["/seg_node/label", messages.IMAGE]
    for index, ((logged, _), message) in enumerate(zip(labels, decoded(labels, messages.IMAGE), strict=True)):
        assert logged == 10**9 + index * 10**8
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == logged - 5
        assert (message.header.frame_id, message.height, message.encoding) == (f"camera{index}", 20 + index, "mono8")
        assert (message.data.reshape(-1, 30)[1:] == 9 * index % 11).all() and (message.data[:30] == 255).all()
    assert len(labels) == 6
    overlays = decoded(after["/seg_node/overlay/compressed", messages.COMPRESSED], messages.COMPRESSED)
    assert [cv2.imdecode(m.data, cv2.IMREAD_COLOR).shape for m in overlays] == [(20 + i, 30, 3) for i in range(6)]
    assert all(m.format == "bgr8; jpeg compressed bgr8" for m in overlays)
    (names,) = decoded(after["/seg_node/label_info", messages.LABEL_INFO], messages.LABEL_INFO)
    assert [(c.class_id, c.class_name) for c in names.class_map] == list(enumerate(LABELS.names))
    assert not (tmp_path / "new.mcap.partial").exists()


def test_a_type_of_ones_own_keeps_its_definition_and_every_topic_its_profile(tmp_path, odd_bag):
    source = odd_bag("odd")
    annotate(source, tmp_path / "new")
    with Reader(source) as old, Reader(tmp_path / "new") as new:
        known = {c.topic: c for c in new.connections}
        assert known["/odd"].msgdef.data == ODD_TEXT and known["/odd"].digest == "RIHS01_" + "7" * 64
        for connection in old.connections:
            copy = known[connection.topic]
            assert (copy.msgtype, copy.msgdef, copy.ext) == (connection.msgtype, connection.msgdef, connection.ext)
        assert known["/seg_node/label_info"].ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
        assert known["/seg_node/label"].ext.offered_qos_profiles[0].reliability.name == "RELIABLE"


def test_a_robots_own_results_are_not_mixed_with_the_new_ones(tmp_path, odd_bag):
    annotate(odd_bag("odd"), tmp_path / "one.mcap")
    second = annotate(tmp_path / "one.mcap", tmp_path / "two.mcap", "/image")
    found = raw(tmp_path / "two.mcap")
    assert len(found["/seg_node/label", messages.IMAGE]) == len(found["/seg_node_replay/label", messages.IMAGE]) == 6
    assert any("/seg_node_replay" in note for note in second.notes)
    with pytest.raises(ValueError, match="is the bag that is read"), Drive(tmp_path / "one.mcap", "/image") as drive:
        AnnotatedBag(tmp_path / "one.mcap", drive, LABELS)


def test_a_bag_cut_off_in_mid_file_is_copied_as_far_as_it_goes(tmp_path):
    record_street(tmp_path / "street.mcap", 3, 10, (180, 240))
    data = (tmp_path / "street.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: len(data) * 2 // 3])
    annotate(tmp_path / "cut.mcap", tmp_path / "new.mcap", "/camera/image_raw")
    before, after = raw(tmp_path / "cut.mcap"), raw(tmp_path / "new.mcap")
    for topic, entries in before.items():
        assert after[topic] == entries
    count = len(before["/camera/image_raw", messages.IMAGE])
    assert 10 < count < 30 and len(after["/seg_node/label", messages.IMAGE]) == count


def test_a_cut_off_bag_whose_messages_lie_a_little_mixed(tmp_path):
    """As recorders leave them: no index says which comes first."""
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    with BagWriter(tmp_path / "drive.mcap") as bag:
        image, other = bag.add("/image", messages.IMAGE), bag.add("/other", messages.IMAGE)
        for index in range(1, 41):
            bag.write(image, index * 100, messages.image(index, "f", noise ^ np.uint8(index), "bgr8"))
            bag.write(other, index * 100 - 3, messages.image(index, "f", noise[:9, :9], "bgr8"))
    data = (tmp_path / "drive.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: len(data) * 3 // 4])
    annotate(tmp_path / "cut.mcap", tmp_path / "new.mcap", "/image")
    counts = {topic: len(entries) for (topic, _), entries in raw(tmp_path / "new.mcap").items()}
    assert counts["/image"] == counts["/seg_node/label"] and counts["/image"] > 15
    assert abs(counts["/other"] - counts["/image"]) <= 1


def test_a_bag_in_several_files_without_its_metadata(tmp_path):
    (tmp_path / "drive").mkdir()
    for number, seed in enumerate((1, 2)):
        record_street(tmp_path / f"{number}.mcap", 0.5, 10, (64, 96), seed)
        with BagWriter(tmp_path / "drive" / f"drive_{number}.mcap") as part:
            topics: dict = {}
            for (topic, kind), entries in raw(tmp_path / f"{number}.mcap").items():
                topics[topic] = part.add(topic, kind)
                for logged, data in entries:
                    part.write(topics[topic], logged + number * 10**9, data)
    annotate(tmp_path / "drive", tmp_path / "new.mcap", "/camera/image_raw")
    assert {t: len(entries) for (t, _), entries in raw(tmp_path / "new.mcap").items()} == {
        "/camera/image_raw": 10,
        "/camera/camera_info": 10,
        "/camera/depth": 10,
        "/camera/ground_truth": 10,
        "/camera/ground_truth_info": 2,
        "/seg_node/label": 10,
        "/seg_node/overlay/compressed": 10,
        "/seg_node/label_info": 1,
        "/diagnostics": 10,
    }


def test_a_long_bag_takes_no_more_memory_than_a_short_one(tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    peaks = []
    for count in (20, 100):  # 18 and 92 MB of messages
        source = tmp_path / f"{count}.mcap"
        with BagWriter(source) as bag:
            image, other = bag.add("/image", messages.IMAGE), bag.add("/other", messages.IMAGE)
            for stamp in range(1, count + 1):
                bag.write(other, stamp * 10, messages.image(stamp, "f", noise, "bgr8"))
                if stamp % 10 == 0:
                    bag.write(image, stamp * 10, messages.image(stamp, "f", noise[:40, :40], "bgr8"))
        tracemalloc.start()
        annotate(source, tmp_path / f"new{count}.mcap", "/image")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(raw(tmp_path / f"new{count}.mcap")["/other", messages.IMAGE]) == count
    assert peaks[1] < peaks[0] + 8e6


def test_a_failure_leaves_no_bag_and_closing_it_is_harmless(tmp_path, odd_bag, monkeypatch):
    with Drive(odd_bag("odd")) as drive:
        bag = AnnotatedBag(tmp_path / "new.mcap", drive, LABELS)
        picture = next(drive.pictures())
        bag.see(result(picture))

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(bag._writer._bag, "write", full)
        with pytest.raises(OSError, match=r"new\.mcap: cannot be written: No space left on device; .* free"):
            bag.see(result(picture))
        bag.close()
    assert os.listdir(tmp_path) == ["odd"]


def test_the_whole_way_with_a_runtime(tmp_path, write_card):
    """Through ``offline.run``: what the segmenter says is what lies in the bag."""
    from seg_node import runtimes
    from seg_node.model_card import load_card
    from seg_node.pipeline.segmenter import Segmenter

    record_street(tmp_path / "street.mcap", 0.5, 10, (96, 128))
    folder = write_card(input={**card_table()["input"], "size": [96, 128]})
    card = load_card(folder)
    runtime = runtimes.load_runtime(card, "fake", "cpu")
    segmenter = Segmenter(card, runtime)
    with Drive(tmp_path / "street.mcap") as drive:
        bag = AnnotatedBag(tmp_path / "new.mcap", drive, segmenter.label_set)
        assert run(segmenter, drive, [bag], lambda done, total: None) == []
        bag.close()
        expected = [segmenter.segment(picture.frame).labels.copy() for picture in drive.pictures()]
    labels = decoded(raw(tmp_path / "new.mcap")["/seg_node/label", messages.IMAGE], messages.IMAGE)
    assert len(labels) == 5
    for message, wanted in zip(labels, expected, strict=True):
        assert np.array_equal(message.data.reshape(96, 128), wanted)


# --- recordings of real robots --------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["new.mcap", "new"])
def test_a_recording_with_thirty_topics_keeps_them_all(real_bags, tmp_path, out):
    source = real_bags / "camera_mixed.mcap"
    bag = annotate(source, tmp_path / out)
    before, after = raw(source), raw(tmp_path / out)
    assert len(before) == 32 and bag.notes == []
    assert {key: entries for key, entries in after.items() if key in before} == before
    assert {topic for topic, _ in set(after) - set(before)} == OURS
    with Reader(source) as old, Reader(tmp_path / out) as new:
        known = {c.topic: c for c in new.connections}
        for connection in old.connections:
            assert known[connection.topic].msgdef == connection.msgdef and known[connection.topic].ext == connection.ext


def test_a_recording_with_thirty_topics_is_valid_for_the_formats_own_library(real_bags, tmp_path):
    mcap = pytest.importorskip("mcap.reader", reason="pip install mcap, the format's own library")
    annotate(real_bags / "camera_mixed.mcap", tmp_path / "new.mcap")
    with open(tmp_path / "new.mcap", "rb") as file:
        reader = mcap.make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        schemas = {schema.name: schema for schema, _, _ in reader.iter_messages()}
        assert len(summary.channels) == 36 and summary.statistics.message_count == 198
    assert all(schema.encoding == "ros2msg" and schema.data for schema in summary.schemas.values())
    assert b"VisionClass[] class_map" in schemas[messages.LABEL_INFO].data


def test_a_recording_of_2019_gets_the_names_and_definitions_of_today(real_bags, tmp_path):
    source = real_bags / "camera_2019_schema.db3"
    annotate(source, tmp_path / "new", "/image")
    before, after = raw(source), raw(tmp_path / "new")
    assert ("/image", "sensor_msgs/Image") in before
    for (topic, kind), entries in before.items():
        assert after[topic, kind.replace("/", "/msg/")] == entries
    with Reader(tmp_path / "new") as reader:
        assert all(c.msgdef.data and c.digest.startswith("RIHS01_") for c in reader.connections)
