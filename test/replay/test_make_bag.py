"""Bags of the street, of folders and of videos: what is in them is what was shown, and calibrated as it says."""

import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="writing bags needs rosbags")
from rosbags.rosbag2 import Reader

from seg_node.commands import main
from seg_node.datasets.street import Street
from seg_node.label_set import load_label_set
from seg_node.pipeline.label_cloud import LabelCloud, Pinhole
from seg_node.replay import bag_messages as messages
from seg_node.replay.drive import Drive
from seg_node.replay.make_bag import START, bag_from, open_files, record_street, to_millimetres
from seg_node.sources import SourceError

SIZE = (90, 120)


def read(path: Path) -> dict[str, list]:
    """Return the messages of each topic, in order, each with when it was recorded."""
    found: dict[str, list] = {}
    with Reader(path) as reader:
        for connection, logged, data in reader.messages():
            message = messages.types().deserialize_cdr(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((logged, message))
    return found


def pixels(message, kind=np.uint8) -> np.ndarray:
    return message.data.view(kind).reshape(message.height, message.width, -1).squeeze()


@pytest.fixture(scope="module")
def street_bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("street") / "street.mcap"
    steps = []
    made = record_street(path, 1.2, 10, SIZE, seed=3, progress=lambda done, total: steps.append((done, total)))
    assert (made.frames, made.labels, made.stopped) == (12, 12, False)
    assert steps == [(i, 12) for i in range(1, 13)]
    return path


def test_the_street_is_recorded_as_it_is_rendered(street_bag):
    found = read(street_bag)
    assert {topic: len(entries) for topic, entries in found.items()} == {
        "/camera/image_raw": 12,
        "/camera/camera_info": 12,
        "/camera/depth": 12,
        "/camera/ground_truth": 12,
        "/camera/ground_truth_info": 1,
    }
    street = Street(3, SIZE, 10)
    for index in (0, 5, 11):
        image, label, depth = street.render_with_depth(index)
        for topic in ("image_raw", "camera_info", "depth", "ground_truth"):
            logged, message = found["/camera/" + topic][index]
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            assert logged == stamp == START + index * 10**8 and message.header.frame_id == "camera"
        assert np.array_equal(pixels(found["/camera/image_raw"][index][1]), image)
        assert np.array_equal(pixels(found["/camera/ground_truth"][index][1]), label)
        told = pixels(found["/camera/depth"][index][1], np.uint16) / 1000
        near = depth < 65.5
        assert np.abs(told - depth)[near].max() < 0.0006 and not told[depth > 65.54].any()
    names = [c.class_name for c in found["/camera/ground_truth_info"][0][1].class_map]
    assert names == list(load_label_set("camvid11").names)


def test_depth_and_camera_info_make_a_cloud_in_which_the_road_is_flat(street_bag):
    """Through the code that makes the node's cloud."""
    found = read(street_bag)
    info = found["/camera/camera_info"][4][1]
    label = np.ascontiguousarray(pixels(found["/camera/ground_truth"][4][1]))
    depth = pixels(found["/camera/depth"][4][1], np.uint16)
    pinhole = Pinhole(info.k[0], info.k[4], info.k[2], info.k[5], info.width, info.height)
    points = LabelCloud().from_depth(depth, pinhole, label).points
    road = points[(points["label"] == 3) & (points["z"] < 20)]
    assert road.size > 500
    # the street's camera rides 1.25 to 1.6 m above the road and pitches a little
    assert np.ptp(road["y"]) < 0.25 and 1.2 < np.median(road["y"]) < 1.65
    assert np.nanmin(points["y"][points["label"] == 1]) < -2  # houses are higher than the camera


def test_the_same_call_writes_the_same_bytes_in_another_process(street_bag, tmp_path):
    code = (
        "from pathlib import Path; from seg_node.replay.make_bag import record_street\n"
        f"record_street(Path({str(tmp_path / 'street.mcap')!r}), 1.2, 10, {SIZE}, seed=3)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert zlib.crc32((tmp_path / "street.mcap").read_bytes()) == zlib.crc32(street_bag.read_bytes())


def test_a_drive_finds_its_pictures_and_its_truth(street_bag):
    labels = load_label_set("camvid11")
    with Drive(street_bag, label="/camera/ground_truth", label_set=labels) as drive:
        assert (drive.topic, drive.rate, drive.length) == ("/camera/image_raw", pytest.approx(10), 12)
        pictures = list(drive.pictures())
        assert drive.broken == [] and len(pictures) == 12
    image, label = Street(3, SIZE, 10).render(7)
    assert np.array_equal(pictures[7].frame.image, image) and np.array_equal(pictures[7].truth, label)


@pytest.mark.parametrize(("codec", "worst"), [("jpeg", 12.0), ("png", 0.0)])
def test_compressed(tmp_path, codec, worst):
    record_street(tmp_path / "a.mcap", 0.2, 10, SIZE, codec=codec)
    found = read(tmp_path / "a.mcap")
    assert "/camera/image_raw" not in found
    (_, message), _ = found["/camera/image_raw/compressed"]
    assert message.format == f"bgr8; {codec} compressed bgr8"
    image = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
    assert np.abs(image.astype(int) - Street(7, SIZE, 10).render(0)[0]).mean() <= worst
    assert len(found["/camera/depth"]) == len(found["/camera/ground_truth"]) == 2


def test_depth_that_16_bits_cannot_hold_is_no_depth():
    depth = np.array([[0.5, 65.535, 65.54, 150, np.inf, 1.2344]], np.float32)
    assert to_millimetres(depth).tolist() == [[500, 65535, 0, 0, 0, 1234]]


# --- folders and videos ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images, a damaged one, and CamVid's folder of labels, where one is missing."""
    for name in ("val", "valannot"):
        (tmp_path / name).mkdir()
    for number in (1, 2, 10):
        image = np.full((40 + number, 60, 3), 10 * number, np.uint8)
        cv2.imwrite(str(tmp_path / "val" / f"frame{number}.png"), image)
        label = np.full(image.shape[:2], 3, np.uint8)
        label[:2] = 11  # CamVid's unlabelled
        if number != 2:
            cv2.imwrite(str(tmp_path / "valannot" / f"frame{number}.png"), label)
    (tmp_path / "val" / "frame3.png").write_bytes(b"no image")
    return tmp_path / "val"


def test_a_folder_with_its_labels_by_number_and_of_any_sizes(folder, tmp_path):
    made = bag_from(tmp_path / "a.mcap", open_files(str(folder)), rate=4, topic="front/image_raw")
    assert str(made) == (
        f"{tmp_path / 'a.mcap'}: 3 images, 2 with ground truth; 1 could not be read, the first: {folder}/frame3.png: "
        f"is no image that OpenCV reads; 1 without ground truth, the first: {folder}annot/frame2.png: is missing"
    )
    found = read(tmp_path / "a.mcap")
    images = found["/front/image_raw"]
    assert [(int(pixels(m).mean()), m.height) for _, m in images] == [(10, 41), (20, 42), (100, 50)]
    assert [logged - START for logged, _ in images] == [0, 250_000_000, 500_000_000]
    labels = found["/front/ground_truth"]
    assert [logged - START for logged, _ in labels] == [0, 500_000_000]
    assert pixels(labels[1][1])[:2].max() == 255 and (pixels(labels[1][1])[2:] == 3).all()
    assert len(found["/front/ground_truth_info"]) == 1


def test_what_does_not_fit_or_is_cut_short_is_named(folder, tmp_path, capsys):
    labels = folder.with_name("valannot")
    half = folder / "frame2.jpg"
    cv2.imwrite(str(half), np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8))
    cv2.imwrite(str(labels / "frame2.png"), np.full((20, 30), 3, np.uint8))
    half.write_bytes(half.read_bytes()[:-200])
    (folder / "frame3.png").unlink()
    made = bag_from(tmp_path / "a.mcap", open_files(str(folder)))
    assert "frame2.jpg: is cut short" in str(made) and made.frames == 3
    assert "frame2.png: is 30x20, uint8, of 2 axes; its image is 60x42" in str(made)

    for path in labels.iterdir():
        path.rename(path.with_name("not" + path.name))
    assert main(["bag-from", str(folder), str(tmp_path / "b.mcap")]) == 1
    assert "3 without ground truth" in capsys.readouterr().out


def test_labels_of_jpegs_are_pngs_of_their_stems(tmp_path):
    for name, suffix in (("a", ".jpg"), ("aannot", ".png")):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / f"one{suffix}"), np.full((40, 60), 4, np.uint8))
    assert bag_from(tmp_path / "a.mcap", open_files(str(tmp_path / "a"))).labels == 1


def test_camvid_comes_back_pixel_for_pixel(camvid, tmp_path):
    """So that a replay's score of it is that of ``evaluate``."""
    from seg_node.datasets.camvid import open_split

    few = tmp_path / "val"
    few.mkdir()
    (tmp_path / "valannot").mkdir()
    for path in sorted((camvid / "val").iterdir())[:4]:
        (few / path.name).symlink_to(path)
        (tmp_path / "valannot" / path.name).symlink_to(camvid / "valannot" / path.name)
    bag_from(tmp_path / "a.mcap", open_files(str(few)))
    labels = load_label_set("camvid11")
    with Drive(tmp_path / "a.mcap", label="/camera/ground_truth", label_set=labels) as drive:
        pictures = list(drive.pictures())
    split = open_split("val", data=camvid)
    assert len(pictures) == 4
    for picture, index in zip(pictures, range(4), strict=True):
        sample = split[index]
        assert np.array_equal(picture.frame.image, sample.image) and np.array_equal(picture.truth, sample.label)


def test_a_video_at_its_own_rate(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "drive.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            frame = np.full((48, 64, 3), 40 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    bag_from(tmp_path / "a", open_files(str(tmp_path / "drive.mp4")), codec="png", topic="/front")
    found = read(tmp_path / "a")
    assert list(found) == ["/front/compressed"]
    shades = [int(cv2.imdecode(m.data, cv2.IMREAD_COLOR).mean()) for _, m in found["/front/compressed"]]
    assert shades == pytest.approx([0, 40, 80, 120, 160], abs=4)
    assert found["/front/compressed"][4][0] - START == pytest.approx(4e9 / 12, abs=2)


def test_what_is_no_folder_and_no_video(tmp_path, street_bag):
    with pytest.raises(SourceError, match="no such file"):
        open_files(str(tmp_path / "nothing"))
    with pytest.raises(SourceError, match="is a bag already"):
        open_files(str(street_bag))
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match="no frame in it can be read"):
        bag_from(tmp_path / "a.mcap", open_files(str(tmp_path / "a.png")))
    with pytest.raises(ValueError, match="no name of a topic"):
        bag_from(tmp_path / "a.mcap", open_files(str(tmp_path / "a.png")), topic="/my camera")
    assert not (tmp_path / "a.mcap").exists()
