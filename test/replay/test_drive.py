"""Every bag gives its frames with their ground truth, and what cannot be read is told and passed over."""

import cv2
import numpy as np
import pytest
from bags import GAP, IMAGE, JPEG, START, at, compressed, image, street, street_bag, write_bag

from seg_node.label_set import load_label_set
from seg_node.replay.drive import Drive
from seg_node.replay.truth import stamp_in
from seg_node.sources import SourceError

CAMVID = load_label_set("camvid11")


def plain(shade: int, size=(48, 64)) -> np.ndarray:
    return np.full((*size, 3), shade, np.uint8)


def ids(class_id: int, size=(48, 64)) -> np.ndarray:
    return np.full(size, class_id, np.uint8)


def images(count: int, size=(48, 64)) -> tuple:
    return IMAGE, [(at(i), image(plain(i, size), at(i))) for i in range(count)]


def seen(path, **options):
    """All pictures of a drive, and the drive."""
    with Drive(path, **options) as drive:
        return list(drive.pictures()), drive


def truths(path, **options) -> list:
    """For each picture its truth's one class, None where there is none."""
    pictures, _ = seen(path, label_set=CAMVID, **options)
    found = [None if p.truth is None else set(np.unique(p.truth).tolist()) for p in pictures]
    assert all(one is None or len(one) == 1 for one in found)
    return [None if one is None else one.pop() for one in found]


# --- bags -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("mode", ["NONE", "FILE", "MESSAGE"])
def test_every_pixel_of_every_bag(tmp_path, storage, mode):
    if (storage, mode) == ("mcap", "FILE"):
        pytest.skip("MCAP compresses its chunks, not its files")
    path = street_bag(tmp_path / "drive", storage=storage, mode=mode)
    pictures, drive = seen(path, label="/front/label", label_set=CAMVID)
    frames = street(6)
    assert [p.index for p in pictures] == list(range(6)) and drive.length == 6 and not drive.broken
    assert [p.stamp for p in pictures] == [p.logged for p in pictures] == [at(i) for i in range(6)]
    for picture, (pixels, truth) in zip(pictures, frames, strict=True):
        assert np.array_equal(picture.frame.image, pixels) and np.array_equal(picture.truth, truth)
    assert (drive.topic, drive.title, drive.rate) == ("/front/image", "drive", pytest.approx(20))


def test_a_second_pass_is_the_same(tmp_path):
    with Drive(street_bag(tmp_path / "drive"), label="/front/label", label_set=CAMVID) as drive:
        one, other = ([(p.stamp, p.frame.image.tobytes(), p.truth.tobytes()) for p in drive.pictures()] for _ in "ab")
    assert one == other and len(one) == 6


def test_encodings_padding_and_byte_order(tmp_path):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (47, 63, 3), np.uint8)
    grey = rng.integers(0, 256, (47, 63), np.uint8)
    messages = [
        image(pixels, at(0), "bgr8", pad=5),
        image(pixels[..., ::-1], at(1), "rgb8", little=False),
        image(grey, at(2), "mono8", pad=1, little=False),
        compressed(pixels, at(3)),
    ]
    topics = {
        "/image": (IMAGE, [(at(i), m) for i, m in enumerate(messages[:3])]),
        "/png": (JPEG, [(at(3), messages[3])]),
    }
    bag = write_bag(tmp_path / "drive", topics)
    first, second, third = (p.frame for p in seen(bag)[0])
    assert np.array_equal(first.image, pixels) and first.channels == "bgr"
    assert np.array_equal(second.image, pixels[..., ::-1]) and second.channels == "rgb"
    assert np.array_equal(third.image, np.dstack([grey] * 3))
    assert np.array_equal(seen(bag, image="/png")[0][0].frame.image, pixels)


def test_images_may_change_their_size(tmp_path):
    sizes = [(48, 64), (30, 40), (48, 64), (1, 1)]
    bag = write_bag(
        tmp_path / "drive",
        {"/image": (IMAGE, [(at(i), image(plain(9, size), at(i))) for i, size in enumerate(sizes)])},
    )
    assert [p.frame.image.shape[:2] for p in seen(bag)[0]] == sizes


def test_broken_messages_are_told_and_passed_over(tmp_path):
    whole = image(plain(5), at(0))
    messages = [whole, whole[:300], b"", b"\0\1\0\0" + b"\xff" * 40, image(plain(1), at(4), "no such"), whole]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, [(at(i), m) for i, m in enumerate(messages)])})
    pictures, drive = seen(bag)
    assert [p.index for p in pictures] == [0, 5] and drive.seen == 6
    assert [text.split(":")[0] for text in drive.broken] == [f"message {i} of /image" for i in (1, 2, 3, 4)]
    assert "unknown encoding 'no such'" in drive.broken[3]


def test_a_bag_without_images_lists_its_topics(tmp_path):
    topics = {
        "/imu": ("sensor_msgs/msg/Imu", [(at(0), b"x" * 40)]),
        "/own": ("robot_msgs/msg/Arm", [(at(1), b"y" * 9)]),
    }
    with pytest.raises(SourceError) as caught:
        Drive(write_bag(tmp_path / "drive", topics))
    assert "no topic in it holds images" in str(caught.value)
    assert "/imu (sensor_msgs/msg/Imu, 1 messages)" in str(caught.value) and "/own (robot_msgs/msg/Arm" in str(
        caught.value
    )


def test_a_topic_without_messages_and_a_bag_of_nothing(tmp_path):
    with pytest.raises(SourceError, match="topic /image has no messages"):
        Drive(write_bag(tmp_path / "drive", {"/image": (IMAGE, [])}))
    with pytest.raises(SourceError, match="It has no topics"):
        Drive(write_bag(tmp_path / "empty", {}))


def test_the_cameras_topic_among_thirty(tmp_path):
    topics = {f"/own_{i}": ("robot_msgs/msg/Arm", [(at(i), b"\0\1\0\0" + b"z" * i)]) for i in range(26)}
    topics["/depth"] = (IMAGE, [(at(i), image(np.zeros((8, 16), np.uint8), at(i), "16UC1")) for i in range(9)])
    topics["/label"] = (IMAGE, [(at(i), image(ids(3), at(i), "mono8")) for i in range(9)])
    topics["/a/overlay/compressed"] = (JPEG, [(at(i), compressed(plain(3), at(i))) for i in range(9)])
    topics["/front"] = images(4)
    bag = write_bag(tmp_path / "drive", topics)
    pictures, drive = seen(bag)
    assert drive.topic == "/front" and len(pictures) == 4
    assert seen(bag, image="label")[1].topic == "/label"  # what a person asks for, they get


def test_a_grey_camera_is_not_taken_for_the_label_topic_nor_the_other_way(tmp_path):
    grey = [(at(i), image(ids(40 + i), at(i), "mono8")) for i in range(3)]
    labels = [(at(i), image(ids(i), at(i), "mono8")) for i in range(3)]
    bag = write_bag(tmp_path / "drive", {"/a": (IMAGE, labels), "/b": (IMAGE, grey)})
    pictures, drive = seen(bag, label="/a", label_set=CAMVID)
    assert drive.topic == "/b" and [int(p.frame.image[0, 0, 0]) for p in pictures] == [40, 41, 42]


def test_what_is_whole_of_an_mcap_that_was_cut_off(tmp_path):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (200, 300, 3), np.uint8) for _ in range(40)]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, [(at(i), image(n, at(i))) for i, n in enumerate(noise)])})
    whole = next(bag.glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: len(whole) // 2])
    pictures, drive = seen(cut)
    assert 10 < len(pictures) < 25 and "cut off" in drive.notes[0]
    assert all(np.array_equal(p.frame.image, n) for p, n in zip(pictures, noise, strict=False))


@pytest.mark.parametrize("name", ["camera_2019_schema.db3", "camera_mixed.mcap"])
def test_real_bags(name, real_bags):
    pictures, drive = seen(real_bags / name)
    assert [p.frame.image.shape for p in pictures] == [(480, 640, 3)] * drive.length and not drive.broken
    jpegs = [t.name for t in image_topics(real_bags / name) if t.compressed]
    pictures, drive = seen(real_bags / name, image=jpegs[0])
    assert len(pictures) == drive.length >= 1 and drive.compressed and not drive.broken


def image_topics(path):
    from seg_node.sources.bag import Bag

    bag = Bag(path)
    found = bag.image_topics()
    bag.close()
    return found


# --- ground truth from a topic --------------------------------------------------------------------------------


def labelled(tmp_path, labels, count=4, **more) -> object:
    """A bag of ``count`` images with label messages [(logged, message)]."""
    return write_bag(tmp_path / "drive", {"/image": images(count), "/label": (IMAGE, labels), **more})


def test_labels_go_by_stamp_whenever_they_were_recorded(tmp_path):
    labels = [(at(20 - i), image(ids(i), at(i), "mono8")) for i in range(4)]  # backwards, after all the images
    assert truths(labelled(tmp_path, labels), label="/label") == [0, 1, 2, 3]


def test_a_label_near_in_time_will_do_and_one_further_than_half_a_frame_will_not(tmp_path):
    shift = {0: 0, 1: GAP // 2 - 1, 2: GAP // 2 + 1_000, 3: -GAP // 3}
    labels = [(at(i), image(ids(i), at(i) + shift[i], "mono8")) for i in (0, 1, 3)]
    labels.append((at(2), image(ids(9), at(9), "mono8")))
    assert truths(labelled(tmp_path, labels), label="/label") == [0, 1, None, 3]


def test_equal_stamps_win_over_near_ones(tmp_path):
    labels = [(at(0), image(ids(7), at(0) + 1, "mono8")), (at(0), image(ids(2), at(0), "mono8"))]
    assert truths(labelled(tmp_path, labels, count=1), label="/label") == [2]


def test_a_camera_that_sets_no_stamps_is_matched_in_order(tmp_path):
    unset = [(at(i), image(plain(i), 0)) for i in range(3)]
    labels = [(at(i), image(ids(i), 0, "8UC1")) for i in range(3)]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, unset), "/label": (IMAGE, labels)})
    assert truths(bag, label="/label") == [0, 1, 2]


def test_compressed_labels(tmp_path):
    labels = [(at(i), compressed(ids(i), at(i))) for i in range(4)]
    bag = write_bag(tmp_path / "drive", {"/image": images(4), "/label": (JPEG, labels)})
    assert truths(bag, label="label") == [0, 1, 2, 3]


def test_what_is_void_and_what_is_no_class(tmp_path):
    labels = [(at(i), image(ids(c), at(i), "mono8")) for i, c in enumerate((10, 11, 255, 12))]
    bag = labelled(tmp_path, labels)
    assert truths(bag, label="/label") == [10, 255, 255, None]
    assert (
        "holds ids [12], which are not in label set camvid11"
        in seen(bag, label="/label", label_set=CAMVID)[1].broken[0]
    )
    # as ``evaluate``: the class that means void is no class
    pictures, _ = seen(bag, label="/label", label_set=load_label_set("camvid12"))
    assert [int(p.truth[0, 0]) for p in pictures[:3]] == [10, 255, 255]


def test_labels_that_do_not_fit_are_broken_and_the_image_is_not(tmp_path):
    labels = [
        image(ids(1, size=(24, 64)), at(0), "mono8"),
        image(plain(1), at(1), "bgr8"),
        image(ids(2), at(2), "mono8")[:400],
        image(ids(3), at(3), "mono8", pad=7),
    ]
    bag = labelled(tmp_path, [(at(i), m) for i, m in enumerate(labels)])
    pictures, drive = seen(bag, label="/label", label_set=CAMVID)
    assert len(pictures) == 4 and [p.truth is None for p in pictures] == [True, True, True, False]
    assert "label 0 of /label is 64x24, its image 64x48" in drive.broken[0]
    assert "label images are mono8 or 8UC1, this one is 'bgr8'" in drive.broken[1] and "label 2" in drive.broken[2]
    assert np.array_equal(pictures[3].truth, ids(3))


def test_no_such_label_topic(tmp_path):
    with pytest.raises(SourceError, match="no images on topic '/truth'"):
        Drive(labelled(tmp_path, []), label="/truth", label_set=CAMVID)


# --- ground truth from a folder -------------------------------------------------------------------------------


def folder_of(tmp_path, names, ids_of=ids):
    folder = tmp_path / "labels"
    folder.mkdir()
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / f"{name}.png"), ids_of(index))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        lambda i: str(at(i)),
        lambda i: f"{at(i) // 10**9}_{at(i) % 10**9}",  # not padded, as people print two integers
        lambda i: f"label_{at(i) + 3}",
        lambda i: f"frame_{at(i) // 10**9}_{at(i) % 10**9:09d}",
    ],
)
def test_files_named_by_stamp(tmp_path, name):
    names = [name(i) for i in (0, 1, 3)]  # a file for each third frame would do as well
    folder = folder_of(tmp_path, names)
    bag = write_bag(tmp_path / "drive", {"/image": images(4)})
    assert truths(bag, truth=folder) == [0, 1, None, 2]


@pytest.mark.parametrize("start", [0, 10**9, START])
def test_camvids_names_are_no_stamps_even_where_they_look_like_some(tmp_path, start):
    folder = folder_of(tmp_path, [f"0001TP_{6690 + 30 * i:06d}" for i in range(4)], lambda i: ids((0, 5, 11, 10)[i]))
    messages = [(START + i, image(plain(i), start + i * GAP)) for i in range(4)]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, messages)})
    assert truths(bag, truth=folder) == [0, 5, 255, 10]


def test_files_in_order_go_by_number_and_count_broken_images(tmp_path):
    folder = folder_of(tmp_path, ["f1", "f2", "f10"])
    messages = [(at(0), image(plain(0), at(0))), (at(1), b"broken"), (at(2), image(plain(2), at(2)))]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, messages)})
    assert truths(bag, truth=folder) == [0, 2]


def test_files_that_fit_neither_way_say_how_to_name_them(tmp_path):
    folder = folder_of(tmp_path, ["a", "b", "c"])
    bag = write_bag(tmp_path / "drive", {"/image": images(4)})
    with pytest.raises(SourceError, match=r"3 PNG files for 4 images.*1700000000_123456789\.png"):
        Drive(bag, truth=folder, label_set=CAMVID)
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="holds no PNG files"):
        Drive(bag, truth=tmp_path / "none", label_set=CAMVID)


def test_files_that_cannot_be_used_are_broken(tmp_path):
    folder = folder_of(tmp_path, [str(at(i)) for i in range(4)])
    (folder / f"{at(0)}.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / f"{at(1)}.png"), ids(1, size=(10, 10)))
    cv2.imwrite(str(folder / f"{at(2)}.png"), plain(1))
    pictures, drive = seen(write_bag(tmp_path / "drive", {"/image": images(4)}), truth=folder, label_set=CAMVID)
    assert [p.truth is None for p in pictures] == [True, True, True, False] and len(drive.broken) == 3
    assert "is 10x10, its image 64x48" in drive.broken[1] and "one channel" in drive.broken[2]


def test_raw_ids_of_cityscapes_files_become_classes(tmp_path):
    folder = folder_of(tmp_path, [str(at(i)) for i in range(4)], lambda i: ids((7, 26, 0, 33)[i]))
    pictures, _ = seen(
        write_bag(tmp_path / "drive", {"/image": images(4)}), truth=folder, label_set=load_label_set("cityscapes19")
    )
    assert [int(p.truth[0, 0]) for p in pictures] == [0, 13, 255, 18]


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        ("1700000000123456789", 1_700_000_000_123_456_789),
        ("5_30", 5_000_000_030),
        ("12", 12),
        ("a", None),
        ("1_2_3", None),
    ],
)
def test_stamps_in_names(name, stamp):
    assert stamp_in(name) == stamp


def test_wrong_combinations(tmp_path):
    bag = write_bag(tmp_path / "drive", {"/image": images(1)})
    with pytest.raises(ValueError, match="give one of them"):
        Drive(bag, label="/label", truth=tmp_path, label_set=CAMVID)
    with pytest.raises(ValueError, match="needs a label set"):
        Drive(bag, label="/label")


# --- damage ---------------------------------------------------------------------------------------------------


def chunked(tmp_path, count=100):
    """An MCAP file of several chunks, its images, and where the records of its chunks begin."""
    noise = np.random.default_rng(8).integers(0, 256, (count, 100, 150, 3), np.uint8)
    other = [(at(i) + 5, b"\0\1\0\0" + bytes(30)) for i in range(count)]
    topics = {"/image": (IMAGE, [(at(i), image(n, at(i))) for i, n in enumerate(noise)])}
    bag = write_bag(tmp_path / "drive", {**topics, "/own": ("robot_msgs/msg/Arm", other)})
    from rosbags.rosbag2 import Reader

    with Reader(bag / "drive.mcap") as reader:
        places = [c.chunk_start_offset + 9 + 40 + len(c.compression) for c in reader.storage.chunks]
    assert len(places) >= 3
    return bag, noise, places


def test_a_damaged_chunk_costs_itself_and_the_others_keep_their_places(tmp_path):
    bag, noise, places = chunked(tmp_path)
    file = bag / "drive.mcap"
    data = bytearray(file.read_bytes())
    data[places[1] : places[1] + 16] = b"\xff" * 16
    file.write_bytes(data)
    for path in (bag, file):
        pictures, drive = seen(path)
        lost = sorted(set(range(100)) - {p.index for p in pictures})
        assert 0 < len(lost) < 60 and lost == list(range(lost[0], lost[-1] + 1)) and pictures[-1].index == 99
        assert all(np.array_equal(p.frame.image, noise[p.index]) and p.stamp == at(p.index) for p in pictures)
        assert len(drive.broken) == len(lost) and drive.seen == 100
        assert any("/image is damaged" in note for note in drive.notes)


def test_everything_of_a_damaged_bag_is_what_is_whole(tmp_path):
    from seg_node.sources.bag import Bag

    bag, _, places = chunked(tmp_path)
    whole = Bag(bag)
    assert len(list(whole.everything())) == 200
    data = bytearray((bag / "drive.mcap").read_bytes())
    data[places[0] : places[0] + 16] = b"\xff" * 16
    (bag / "drive.mcap").write_bytes(data)
    damaged = Bag(bag)
    found = [(c.topic, logged) for c, logged, _ in damaged.everything()]
    assert 50 < len(found) < 200 and found == sorted(found, key=lambda one: one[1])
    assert {topic for topic, _ in found} == {"/image", "/own"}


def test_an_sqlite_file_that_was_cut_off_gives_what_it_has_or_says_why_not(tmp_path):
    noise = np.random.default_rng(8).integers(0, 256, (30, 60, 80, 3), np.uint8)
    messages = [(at(i), image(n, at(i))) for i, n in enumerate(noise)]
    bag = write_bag(tmp_path / "drive", {"/image": (IMAGE, messages)}, storage="sqlite3")
    file = next(bag.glob("*.db3"))
    whole = file.read_bytes()
    for share in (0.9, 0.5, 0.01):
        cut = tmp_path / f"cut_{share}.db3"
        cut.write_bytes(whole[: int(len(whole) * share)])
        try:
            pictures, drive = seen(cut)
        except SourceError as error:
            assert str(cut) in str(error)
            continue
        assert len(pictures) < 30 and drive.notes
        assert all(np.array_equal(p.frame.image, n) for p, n in zip(pictures, noise, strict=False))
