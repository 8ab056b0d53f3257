"""Every kind of source gives its frames, and every wrong one says what is wrong and what to do."""

import os
import struct
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node.sources import SourceError, open_source
from seg_node.sources.cdr import image_format, restamp

RAW, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def picture(shade: int, size=(48, 64)) -> np.ndarray:
    return np.full((*size, 3), shade, np.uint8)


def first(source, count=1):
    shots = list(islice(source.endless(), count))
    source.close()
    return shots


def shared_data() -> Path:
    folder = Path(os.environ.get("SEG_NODE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set SEG_NODE_DATA to the folder of real test data")
    return folder


# --- street ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "", "street"])
def test_no_source_is_the_street_with_ground_truth(text):
    source = open_source(text, size=(96, 128))
    shot = first(source)[0]
    assert shot.image.shape == (96, 128, 3) and shot.truth.shape == (96, 128)
    assert source.label_set == "camvid11" and source.rate == 30 and source.length is None


def test_too_small_a_street_is_refused():
    with pytest.raises(SourceError, match="at least 32"):
        open_source(None, size=(8, 8))


# --- video ----------------------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "drive.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(40 * index), format="bgr24")))
        container.mux(stream.encode())
    return path


def test_video_plays_at_its_own_rate_and_loops(video):
    source = open_source(str(video))
    assert (source.rate, source.length) == (12, 5)
    shades = [int(shot.image.mean()) for shot in first(source, 7)]
    assert shades == pytest.approx([0, 40, 80, 120, 160, 0, 40], abs=4)


def test_a_colon_in_a_videos_name_is_no_protocol(video, monkeypatch):
    monkeypatch.chdir(video.parent)
    video.rename("12:30.mp4")
    assert len(first(open_source("12:30.mp4"), 2)) == 2


def test_a_live_source_that_ends_is_a_failure(video):
    from seg_node.sources.video import VideoSource

    source = VideoSource(str(video), live=True)
    with pytest.raises(SourceError, match="stopped giving frames after 4"):
        first(source, 6)  # the first frame went into finding out whether there are any


# --- folder ---------------------------------------------------------------------------------------------------


def test_folder_goes_by_number_skips_what_is_damaged_and_loops(tmp_path):
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), picture(number, size=(20 + number, 30)))
    (tmp_path / "frame3.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not an image either")
    shots = first(open_source(str(tmp_path)), 4)
    assert [shot.image.shape for shot in shots] == [(21, 30, 3), (22, 30, 3), (30, 30, 3), (21, 30, 3)]


def test_odd_digits_in_a_name_are_no_numbers(tmp_path):
    for name in ("\u00b21.png", "a.png"):  # superscript two: str.isdigit() says yes, int() says no
        cv2.imwrite(str(tmp_path / name), picture(1))
    assert open_source(str(tmp_path)).length == 2


def test_folder_beside_its_labels_has_ground_truth(tmp_path):
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "val" / "a.png"), picture(9))
    label = np.full((48, 64), 3, np.uint8)
    label[0] = 11  # CamVid's unlabelled
    cv2.imwrite(str(tmp_path / "valannot" / "a.png"), label)
    truth = first(open_source(str(tmp_path / "val")))[0].truth
    assert truth[1, 0] == 3 and truth[0, 0] == 255


def test_folder_of_nothing_but_damage_ends_instead_of_spinning(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match="no frame in it can be read"):
        first(open_source(str(tmp_path)))


# --- bag ------------------------------------------------------------------------------------------------------


def image_cdr(encoding: str, order: str = "<", size=(2, 4), frame_id: str = "front") -> bytes:
    """An Image (or with encoding "jpeg" the start of a CompressedImage) in CDR."""

    def text(value):
        raw = value.encode() + b"\0"
        return struct.pack(order + "I", len(raw)) + raw + b"\0" * (-len(raw) % 4)

    head = bytes([0, order == "<", 0, 0]) + struct.pack(order + "iI", 5, 6) + text(frame_id)
    if encoding == "jpeg":
        data = cv2.imencode(".jpg", picture(7))[1].tobytes()
        return head + text("jpeg") + struct.pack(order + "I", len(data)) + data
    height, width = size
    data = bytes(height * width * 3)
    return (
        head
        + struct.pack(order + "II", height, width)
        + text(encoding)
        + b"\0" * 4
        + struct.pack(order + "I", width * 3)
        + struct.pack(order + "I", len(data))
        + data
    )


@pytest.fixture(params=["sqlite3", "mcap"])
def bag(tmp_path, request):
    """A bag with five raw images at 20 Hz, seven JPEGs at 30 Hz, a depth image, and text."""
    writer = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    path = tmp_path / "drive"
    with writer.Writer(path, version=9, storage_plugin=writer.StoragePlugin[request.param.upper()]) as out:

        def write(topic, kind, messages, period):
            connection = out.add_connection(topic, kind, typestore=types)
            for index, message in enumerate(messages):
                out.write(connection, 10**9 + index * period, message)

        write(
            "/chatter",
            "std_msgs/msg/String",
            [types.serialize_cdr(types.types["std_msgs/msg/String"]("x"), "std_msgs/msg/String").tobytes()],
            1,
        )
        write("/depth", RAW, [image_cdr("16UC1")] * 9, 10**7)
        write("/front/compressed", JPEG, [image_cdr("jpeg")] * 7, 33_333_333)
        write("/front/raw", RAW, [image_cdr("rgb8")] * 5, 50_000_000)
    return path


def test_bag_prefers_raw_colour_and_says_what_else_there_is(bag):
    source = open_source(str(bag))
    assert (source.compressed, source.length, source.rate) == (False, 5, pytest.approx(20))
    assert "/front/raw (sensor_msgs/msg/Image rgb8 4x2, 5 messages)" in source.notes[0]
    assert "/front/compressed" in source.notes[1] and "/depth" in source.notes[1]
    assert first(source, 6)[5].message == image_cdr("rgb8")


def test_topic_chooses_and_its_slash_may_be_left_out(bag):
    source = open_source(str(bag), topic="front/compressed")
    assert source.compressed and source.length == 7
    assert first(source)[0].message == image_cdr("jpeg")


@pytest.mark.parametrize("topic", ["/chatter", "/nothing"])
def test_topic_without_images_lists_those_with_images(bag, topic):
    with pytest.raises(SourceError) as caught:
        open_source(str(bag), topic=topic)
    assert topic in str(caught.value) and "/depth (sensor_msgs/msg/Image 16UC1 4x2, 9 messages)" in str(caught.value)


def test_bag_that_lost_its_metadata_and_a_single_file_of_it(bag):
    (bag / "metadata.yaml").unlink()
    assert len(first(open_source(str(bag)), 5)) == 5
    file = next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    assert len(first(open_source(str(file)), 5)) == 5


@pytest.mark.parametrize("text", ["", "rosbag2_bagfile_information: ["])
def test_metadata_that_was_cut_off_does_not_matter(bag, text):
    (bag / "metadata.yaml").write_text(text)
    source = open_source(str(bag))
    assert "cannot be read as its metadata.yaml says" in source.notes[0] and len(first(source, 5)) == 5


def small_bag(path, count=1, mode=None, size=(2, 4)):
    """Write a bag of images and return its only file."""
    writer = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    bag = writer.Writer(path, version=9, storage_plugin=writer.StoragePlugin.MCAP)
    if mode:
        bag.set_compression(writer.CompressionMode[mode], writer.CompressionFormat.ZSTD)
    with bag as out:
        connection = out.add_connection("/image", RAW, typestore=get_typestore(Stores.ROS2_JAZZY))
        for index in range(count):
            out.write(connection, 10**9 + index * 5 * 10**7, image_cdr("rgb8", size=size))
    return path / f"{path.name}.mcap"


def test_files_of_a_long_bag_go_by_number(tmp_path):
    (tmp_path / "drive").mkdir()
    for number in (0, 2, 10):
        small_bag(tmp_path / f"drive_{number}", size=(2, 4 + number)).rename(tmp_path / f"drive/drive_{number}.mcap")
    shots = first(open_source(str(tmp_path / "drive")), 3)
    assert [image_format(shot.message, False)[2] for shot in shots] == [4, 6, 14]


def test_compressed_messages_of_a_bag_that_lost_its_metadata(tmp_path):
    file = small_bag(tmp_path / "drive", mode="MESSAGE")
    assert first(open_source(str(file)))[0].message == image_cdr("rgb8")


@pytest.mark.parametrize("lost", [[0], [3], [1, 2]])
@pytest.mark.parametrize("metadata", [True, False])
def test_a_damaged_message_is_left_out_and_the_others_are_not(tmp_path, lost, metadata):
    file = small_bag(tmp_path / "drive", count=5, mode="MESSAGE")
    data = file.read_bytes()
    parts = data.split(b"\x28\xb5\x2f\xfd")  # where zstd begins
    assert len(parts) == 6
    for index in lost:
        parts[index + 1] = b"\xff" * 12 + parts[index + 1][12:]
    file.write_bytes(b"\x28\xb5\x2f\xfd".join(parts))
    if not metadata:
        (tmp_path / "drive" / "metadata.yaml").unlink()
    source = open_source(str(tmp_path / "drive"))
    assert [shot.message for shot in source.shots()] == [image_cdr("rgb8")] * (5 - len(lost))
    assert any("/image is damaged" in note for note in source.notes)


def test_a_bag_of_nothing_but_damage_ends(tmp_path):
    file = small_bag(tmp_path / "drive", count=2, mode="MESSAGE")
    parts = file.read_bytes().split(b"\x28\xb5\x2f\xfd")
    file.write_bytes(b"\x28\xb5\x2f\xfd".join([parts[0], *(b"\xff" * 12 + part[12:] for part in parts[1:])]))
    with pytest.raises(SourceError, match="no frame in it can be read"):
        first(open_source(str(tmp_path / "drive")))


@pytest.mark.parametrize("bag", ["mcap"], indirect=True)
def test_mcap_that_was_cut_off_gives_what_is_whole(bag):
    file = next(bag.glob("*.mcap"))
    whole = file.read_bytes()
    cut = bag.parent / "cut.mcap"
    cut.write_bytes(whole[:-60])  # within the summary: all messages are there
    source = open_source(str(cut))
    assert "cut off" in source.notes[0] and source.length == 5
    assert first(source)[0].message == image_cdr("rgb8")
    cut.write_bytes(whole[:20])
    with pytest.raises(SourceError, match="no ROS 2 bag that can be read"):
        open_source(str(cut))


@pytest.mark.parametrize("name", ["camera_2019_schema.db3", "camera_mixed.mcap"])
def test_real_bags(name):
    path = str(shared_data() / "bags" / name)
    source = open_source(path)
    assert not source.compressed and "640x480" in source.notes[0]
    other = source.notes[1].split("holds ")[1].split(" ")[0]
    assert len(first(source, 2)[1].message) > 640 * 480 * 3
    jpeg = open_source(path, topic=other)
    assert jpeg.compressed and b"\xff\xd8\xff" in first(jpeg)[0].message


# --- CDR ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("frame_id", ["", "a", "abc", "front_camera"])
def test_image_fields_are_found_and_only_the_stamp_changes(order, frame_id):
    message = image_cdr("bayer_rggb8", order, size=(3, 5), frame_id=frame_id)
    assert image_format(message, compressed=False) == ("bayer_rggb8", 3, 5)
    stamped = restamp(message, 1_700_000_000_123_456_789)
    assert struct.unpack_from(order + "iI", stamped, 4) == (1_700_000_000, 123_456_789)
    assert stamped[:4] == message[:4] and stamped[12:] == message[12:]


# --- what is wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere.mp4", "no such file or folder"),
        ("97", "camera 97: gives no frames"),
        ("/dev/video97", "gives no frames"),
    ],
)
def test_sources_that_are_not_there(text, says):
    with pytest.raises(SourceError, match=says):
        open_source(text)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("junk.mp4", "no video that OpenCV can play"),
        ("junk.db3", "no ROS 2 bag that can be read"),
        ("junk.mcap", "no ROS 2 bag that can be read"),
        ("old.bag", "is a ROS 1 bag"),
    ],
)
def test_files_that_are_not_what_their_names_say(tmp_path, name, says):
    (tmp_path / name).write_bytes(b"junk" * 100)
    with pytest.raises(SourceError, match=says):
        open_source(str(tmp_path / name))


def test_empty_folder(tmp_path):
    with pytest.raises(SourceError, match="holds no images"):
        open_source(str(tmp_path))


def test_only_bags_have_topics():
    with pytest.raises(SourceError, match="has no topics"):
        open_source(None, topic="/image")
