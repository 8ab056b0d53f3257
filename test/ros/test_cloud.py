"""Label clouds as others meet them: over DDS, from another process, with depth cameras of all kinds."""

import os
import random
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from harness import RELIABLE, NodeProcess, environment, image_message, until, write_card  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField  # noqa: E402

from seg_node.pipeline.label_cloud import POINT  # noqa: E402

HEIGHT, WIDTH = 12, 16
FOCAL, MIDDLE = 20.0, (7.5, 5.5)


class CloudProcess(NodeProcess):
    """The node of ``cloud_node.py``; everything else of it is as of the real one."""

    def __init__(self, *arguments, remaps=()):
        NodeProcess.count += 1
        self.namespace = f"/c{os.getpid()}_{NodeProcess.count}"
        self.name = self.namespace + "/cloud_node"
        words = ["-r", f"__ns:={self.namespace}"]
        words += [word for argument in arguments for word in ("-p", argument)]
        words += [word for remap in remaps for word in ("-r", remap)]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "cloud_node.py"), "--ros-args", *words],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Rig:
    """An RGB-D camera's publishers and one subscriber of the cloud, of one node."""

    def __init__(self, client, node, camera="", source="depth", info_qos=RELIABLE, topics=None):
        self.client, self.node = client, node
        prefix = camera + "/" if camera else ""
        self.topics = topics or {name: f"{node.namespace}/{prefix}{name}" for name in ("image", source, "camera_info")}
        self.cloud_topic = f"{node.name}/{prefix}label_cloud"
        self.status_of = type("Named", (), {"name": f"{node.name}/{camera}".rstrip("/")})
        create = client.node.create_publisher
        self.images = create(Image, self.topics["image"], RELIABLE)
        kind = PointCloud2 if source == "points" else Image
        self.depths = create(kind, self.topics[source], qos_profile_sensor_data)
        self.infos = create(CameraInfo, self.topics["camera_info"], info_qos) if source == "depth" else None
        self.clouds, self.labels, self.stamp = [], [], 10_000
        self._subscription = None
        client.node.create_subscription(Image, f"{node.name}/{prefix}label", self.labels.append, RELIABLE)
        until(self.images.get_subscription_count, what="images")

    def listen(self, info=True):
        """Subscribe to the cloud and wait until the node listens to depth; then tell it the camera."""
        assert self._subscription is None
        self._subscription = self.client.node.create_subscription(
            PointCloud2, self.cloud_topic, self.clouds.append, RELIABLE
        )
        until(self.depths.get_subscription_count, what="the node must subscribe to depth")
        if self.infos is not None:
            until(self.infos.get_subscription_count)
        time.sleep(0.3)  # its side of the discovery, which we cannot see
        if info and self.infos is not None:
            self.infos.publish(info_message())
            time.sleep(0.1)
        return self

    def ignore(self):
        self.client.node.destroy_subscription(self._subscription)
        self._subscription = None

    def next(self):
        """Return the next stamp, a tenth of a second on."""
        self.stamp += 1
        return (self.stamp // 10, self.stamp % 10 * 10**8 + 50_000_000)

    def send_image(self, stamp, seed=None):
        """Send an image; returns its pixels."""
        generator = np.random.default_rng(self.stamp if seed is None else seed)
        image = generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        self.images.publish(image_message(image, stamp=stamp, frame_id="optical"))
        return image

    def labelled(self, stamp):
        until(lambda: any(stamp_of(label) == stamp for label in list(self.labels)), what=f"label {stamp}")
        time.sleep(0.05)

    def cloud(self, stamp, seconds=10.0):
        until(lambda: any(stamp_of(cloud) == stamp for cloud in list(self.clouds)), seconds, f"cloud {stamp}")
        return next(cloud for cloud in self.clouds if stamp_of(cloud) == stamp)

    def values(self, condition=lambda values: True):
        return self.client.status(self.status_of, lambda level, message, values: condition(values))[2]


def stamp_of(message):
    return (message.header.stamp.sec, message.header.stamp.nanosec)


def info_message(focal=FOCAL, width=WIDTH, height=HEIGHT, p=True):
    info = CameraInfo(width=width, height=height)
    info.k = [focal, 0.0, MIDDLE[0], 0.0, focal, MIDDLE[1], 0.0, 0.0, 1.0]
    if p:
        info.p = [focal, 0.0, MIDDLE[0], 0.0, 0.0, focal, MIDDLE[1], 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def depth_message(stamp, metres=2.0, encoding="16UC1", big=False, pad=0, frame_id="depth_optical"):
    kind = (">" if big else "<") + ("f4" if encoding == "32FC1" else "u2")
    depth = np.full((HEIGHT, WIDTH), metres if encoding == "32FC1" else metres * 1000).astype(kind)
    depth[0, 0] = 0
    rows = [row.tobytes() + b"\xaa" * pad for row in depth]
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=len(rows[0]), is_bigendian=int(big))
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = frame_id
    message.data = array("B", b"".join(rows))
    return message


def points_of(cloud):
    """Read a cloud by what its fields say, as anyone must."""
    kinds = {PointField.FLOAT32: "<f4", PointField.UINT32: "<u4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [kinds[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    assert not cloud.is_bigendian and not cloud.is_dense
    assert cloud.row_step == cloud.width * cloud.point_step and len(cloud.data) == cloud.row_step * cloud.height
    return np.frombuffer(cloud.data, dtype).reshape(cloud.height, cloud.width)


def check(cloud, image, metres=2.0):
    """Check all of a cloud against what was sent."""
    points = points_of(cloud)
    assert points.shape == image.shape[:2] and points.dtype.names == POINT.names
    assert np.isnan([points[axis][0, 0] for axis in "xyz"]).all()
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    seen = np.isfinite(points["z"])
    assert seen.sum() == HEIGHT * WIDTH - 1
    expected = {"x": (columns - MIDDLE[0]) * metres / FOCAL, "y": (rows - MIDDLE[1]) * metres / FOCAL}
    expected["z"] = np.full(image.shape[:2], metres)
    for axis, values in expected.items():
        np.testing.assert_allclose(points[axis][seen], values[seen], rtol=1e-5)
    assert (points["label"] == image[..., 0]).all()
    np.testing.assert_allclose(points["confidence"], image[..., 1] / 255, atol=1e-6)
    wide = image.astype(np.uint32)
    assert (points["rgb"].copy().view(np.uint32) == (wide[..., 2] << 16) | (wide[..., 1] << 8) | wide[..., 0]).all()


def end(node):
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed, printed


@pytest.fixture(scope="module")
def rig(client):
    node = CloudProcess()
    yield Rig(client, node).listen()
    end(node)


@pytest.mark.parametrize(
    "options",
    [{}, {"encoding": "mono16"}, {"encoding": "32FC1"}, {"encoding": "32FC1", "big": True}, {"big": True, "pad": 3}],
)
def test_depth_and_image_of_one_stamp_make_a_cloud(rig, options):
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp, **options))
    time.sleep(0.05)
    image = rig.send_image(stamp)
    cloud = rig.cloud(stamp)
    check(cloud, image)
    assert cloud.header.frame_id == "depth_optical"


def test_depth_that_comes_late_finds_its_image(rig):
    stamps = [rig.next() for _ in range(3)]
    images = []
    for stamp in stamps:
        images.append(rig.send_image(stamp))
        rig.labelled(stamp)
    for stamp, image, metres in zip(stamps, images, (1.0, 2.0, 3.0), strict=True):
        rig.depths.publish(depth_message(stamp, metres))
        check(rig.cloud(stamp), image, metres)


def test_the_nearest_depth_within_20_ms_is_taken_and_none_further_away(rig):
    second, middle = rig.next()
    for offset, metres in ((-18, 1.0), (-4, 2.0), (7, 3.0)):
        rig.depths.publish(depth_message((second, middle + offset * 10**6), metres))
    time.sleep(0.1)
    image = rig.send_image((second, middle))
    check(rig.cloud((second, middle)), image, 2.0)

    before = int(rig.values()["cloud_unmatched"])
    second, middle = rig.next()
    for offset in (-30, 25):
        rig.depths.publish(depth_message((second, middle + offset * 10**6)))
    time.sleep(0.1)
    rig.send_image((second, middle))
    values = rig.values(lambda values: int(values["cloud_unmatched"]) == before + 1)
    assert "no depth within 20 ms of an image; the nearest is +25.0 ms away" in values["cloud_reason"]
    assert (second, middle) not in [stamp_of(cloud) for cloud in rig.clouds]


def test_a_near_depth_does_not_keep_out_the_right_one_that_comes_late(rig):
    second, middle = stamp = rig.next()
    rig.depths.publish(depth_message((second, middle - 15 * 10**6), 1.0))
    time.sleep(0.1)
    image = rig.send_image(stamp)
    rig.labelled(stamp)
    time.sleep(0.2)
    rig.depths.publish(depth_message(stamp, 3.0))
    check(rig.cloud(stamp), image, 3.0)


def test_images_without_depth_are_counted_and_do_not_pile_up(rig):
    before = int(rig.values()["cloud_unmatched"])
    stamps = [rig.next() for _ in range(9)]
    for stamp in stamps:
        rig.send_image(stamp)
        rig.labelled(stamp)
    rig.values(lambda values: int(values["cloud_unmatched"]) == before + 4)  # five may still be met
    stamp = stamps[-1]
    rig.depths.publish(depth_message(stamp))
    rig.cloud(stamp)
    rig.values(lambda values: int(values["cloud_unmatched"]) == before + 8)


def test_time_may_jump_back_as_when_a_bag_begins_anew(rig):
    for _ in range(10):
        rig.depths.publish(depth_message(rig.next()))
    time.sleep(0.1)
    rig.stamp = 10
    for late in (False, True):
        stamp = rig.next()
        if not late:
            rig.depths.publish(depth_message(stamp))
            time.sleep(0.05)
        image = rig.send_image(stamp)
        if late:
            rig.labelled(stamp)
            rig.depths.publish(depth_message(stamp))
        check(rig.cloud(stamp), image)


def test_malformed_messages_are_counted_and_the_next_is_fine(rig):
    def spoil(message, **changes):
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    stamp = rig.next()
    good = depth_message(stamp)
    wrong = {
        "truncated, 100 bytes": spoil(depth_message(stamp), data=good.data[:100]),
        "encoding 'bgr8'": spoil(depth_message(stamp), encoding="bgr8"),
        "encoding ''": spoil(depth_message(stamp), encoding=""),
        "empty, 16x0": spoil(depth_message(stamp), height=0),
        "empty, 0x12": spoil(depth_message(stamp), width=0),
        "truncated, 0 bytes": spoil(depth_message(stamp), data=array("B")),
        "step 8, smaller": spoil(depth_message(stamp), step=8),
        "truncated, 384 bytes": spoil(depth_message(stamp), height=2**32 - 1),
        "smaller than a row of 4294967295": spoil(depth_message(stamp), width=2**32 - 1),
    }
    for count, (reason, message) in enumerate(wrong.items(), int(rig.values()["cloud_bad"]) + 1):
        rig.depths.publish(message)
        values = rig.values(lambda values, count=count: int(values["cloud_bad"]) == count)
        assert reason in values["cloud_reason"]
    generator = random.Random(1)
    for _ in range(300):
        message = depth_message(rig.next())
        message.encoding = generator.choice(["16UC1", "32FC1", "mono16", "rgb8", "é"])
        message.height, message.width = generator.choice([0, 1, 12, 2**31]), generator.choice([0, 1, 16, 10**6])
        message.step = generator.choice([0, 1, 32, 33, 2**32 - 1])
        message.data = message.data[: generator.randrange(400)]
        rig.depths.publish(message)
        if generator.random() < 0.1:
            rig.send_image(rig.next())
    time.sleep(0.5)
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp))
    time.sleep(0.1)
    image = rig.send_image(stamp)
    check(rig.cloud(stamp), image)


def test_a_camera_that_is_not_calibrated_makes_no_cloud_until_it_is(rig):
    rig.infos.publish(info_message(focal=0.0))
    values = rig.values(lambda values: "not calibrated" in values["cloud_reason"])
    before, stamp = values, rig.next()
    rig.depths.publish(depth_message(stamp))
    rig.send_image(stamp)
    rig.values(lambda values: int(values["cloud_unmatched"]) == int(before["cloud_unmatched"]) + 1)
    for info, metres in ((info_message(p=False), 1.0), (info_message(2 * FOCAL), 2.0)):
        rig.infos.publish(info)
        time.sleep(0.1)
        stamp = rig.next()
        rig.depths.publish(depth_message(stamp, metres))
        rig.send_image(stamp)
        x = points_of(rig.cloud(stamp))["x"]  # K where P is not filled in, otherwise P
        assert x[3, 15] == pytest.approx(7.5 / FOCAL, rel=1e-5)
    rig.infos.publish(info_message(width=WIDTH, height=WIDTH))
    time.sleep(0.1)
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp))
    rig.send_image(stamp)
    rig.values(lambda values: "camera_info is for 16x16" in values["cloud_reason"])
    rig.infos.publish(info_message())
    time.sleep(0.1)


def test_nobody_listens_and_nothing_is_done(client):
    node = CloudProcess()
    rig = Rig(client, node)
    rig.values()
    stamp = rig.next()
    rig.send_image(stamp)
    rig.labelled(stamp)
    time.sleep(0.7)
    assert not rig.depths.get_subscription_count() and not rig.infos.get_subscription_count()
    rig.listen(info=False)
    rig.values(lambda values: "depth (publishers: 1); on this machine" in values["cloud_reason"])
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp))
    time.sleep(0.1)
    rig.send_image(stamp)
    rig.values(lambda values: "camera_info (publishers: 1)" in values["cloud_reason"])
    rig.infos.publish(info_message())
    rig.ignore()
    until(lambda: not rig.depths.get_subscription_count(), what="the node must leave depth alone again")
    rig.listen()
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp))
    time.sleep(0.1)
    image = rig.send_image(stamp)
    check(rig.cloud(stamp), image)

    threads = rig.values()["threads"]
    for _ in range(3):
        assert client.transition(node, "deactivate")
        until(lambda: not rig.depths.get_subscription_count())
        assert int(rig.values(lambda values: True)["threads"]) < int(threads)
        assert client.transition(node, "activate")
        until(rig.depths.get_subscription_count)
    assert rig.values(lambda values: values["threads"] == threads)
    time.sleep(0.3)
    rig.infos.publish(info_message())
    time.sleep(0.1)
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp))
    time.sleep(0.1)
    image = rig.send_image(stamp)
    check(rig.cloud(stamp), image)
    end(node)


def test_depth_of_another_type_is_named(client):
    node = CloudProcess(remaps=["depth:=cloudy"])
    wrong = client.node.create_publisher(PointCloud2, f"{node.namespace}/cloudy", 1)
    wanted = client.node.create_subscription(PointCloud2, f"{node.name}/label_cloud", print, RELIABLE)
    said = "cloudy (publishers: 1); they send sensor_msgs/msg/PointCloud2, not Image"
    client.status(node, lambda level, message, values: said in values["cloud_reason"])
    client.node.destroy_publisher(wrong)
    client.node.destroy_subscription(wanted)
    end(node)


def test_a_slow_network_finds_the_depth_of_its_image_among_many_that_came_since(client):
    node = CloudProcess("work:=2.5")
    rig = Rig(client, node).listen()
    second, nanoseconds = rig.next()
    stamp = (second, nanoseconds)
    image = rig.send_image(stamp)
    time.sleep(1.0)  # the network has it now, on a busy machine too
    for number in range(40):  # one second at 40 Hz, four times as many as are kept
        rig.depths.publish(depth_message((second, nanoseconds + number * 10**7), 2.0 if number == 0 else 3.0))
        time.sleep(0.02)
    check(rig.cloud(stamp), image, 2.0)
    end(node)


def test_cameras_have_their_own_topics_remaps_and_clouds(client):
    node = CloudProcess("cameras:=[left, right]", remaps=["left/depth:=aligned", "left/camera_info:=calibration"])
    names = {"image": "left/image", "depth": "aligned", "camera_info": "calibration"}
    topics = {name: f"{node.namespace}/{topic}" for name, topic in names.items()}
    left, right = Rig(client, node, "left", topics=topics).listen(), Rig(client, node, "right").listen()
    right.stamp = left.stamp
    stamp = left.next()
    left.depths.publish(depth_message(stamp, 1.0, frame_id=""))
    right.depths.publish(depth_message(stamp, 4.0))
    time.sleep(0.1)
    image = left.send_image(stamp, seed=1)
    left.labelled(stamp)
    other = right.send_image(stamp, seed=2)
    cloud = left.cloud(stamp)
    check(cloud, image, 1.0)
    assert cloud.header.frame_id == "optical"  # of the image, where depth has none
    check(right.cloud(stamp), other, 4.0)
    end(node)


def test_a_camera_info_that_was_sent_once_for_all_is_met(client):
    node = CloudProcess()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    rig = Rig(client, node, info_qos=latched)
    rig.infos.publish(info_message())  # before anyone listens, and never again
    time.sleep(0.3)
    rig.listen(info=False)
    time.sleep(1.0)  # twice as long as it takes to look at the camera's QoS again and to subscribe anew
    stamp = rig.next()
    rig.depths.publish(depth_message(stamp))
    time.sleep(0.1)
    image = rig.send_image(stamp)
    check(rig.cloud(stamp), image)
    end(node)


def points_message(stamp, big=False, double=False, row_pad=0, flat=False, **changes):
    """Build an organised cloud with other fields between ours, at odd offsets."""
    order = ">" if big else "<"
    kind = order + ("f8" if double else "f4")
    dtype = np.dtype(
        {
            "names": ["z", "intensity", "x", "y"],
            "formats": [kind, "u1", kind, kind],
            "offsets": [1, 9, 10, 19],
            "itemsize": 29,
        }
    )
    points = np.zeros((HEIGHT, WIDTH), dtype)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    points["x"], points["y"] = (columns - MIDDLE[0]) * 2.0 / FOCAL, (rows - MIDDLE[1]) * 2.0 / FOCAL
    points["z"] = 2.0
    for axis in "xyz":
        points[axis][0, 0] = np.nan
    lines = [row.tobytes() + b"\xaa" * row_pad for row in points]
    message = PointCloud2(height=HEIGHT, width=WIDTH, point_step=29, row_step=len(lines[0]), is_bigendian=big)
    if flat:
        message.height, message.width, message.row_step = 1, HEIGHT * WIDTH, HEIGHT * WIDTH * 29
    code = PointField.FLOAT64 if double else PointField.FLOAT32
    codes = {"x": code, "y": code, "z": code, "intensity": PointField.UINT8}
    message.fields = [
        PointField(name=name, offset=offset, datatype=codes[name], count=1)
        for name, (_, offset) in dtype.fields.items()
    ]
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = "lidar"
    message.data = array("B", b"".join(lines))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_points_are_labelled_where_they_are(client):
    node = CloudProcess("cloud:=points")
    rig = Rig(client, node, source="points").listen()
    for options in ({}, {"big": True}, {"double": True, "row_pad": 5}, {"flat": True}):
        stamp = rig.next()
        rig.depths.publish(points_message(stamp, **options))
        time.sleep(0.05)
        image = rig.send_image(stamp)
        cloud = rig.cloud(stamp)
        check(cloud, image)
        assert cloud.header.frame_id == "lidar"
    stamp = rig.next()
    good = points_message(stamp)
    only = [field for field in good.fields if field.name != "y"]
    outside = [PointField(name=name, offset=26, datatype=PointField.FLOAT32, count=1) for name in "xyz"]
    integers = [PointField(name=name, offset=4, datatype=PointField.INT32, count=1) for name in "xyz"]
    wrong = {
        "no field 'y'": {"fields": only},
        "no field 'x'": {"fields": []},
        "does not fit in a point of 29": {"fields": outside},
        "of FLOAT32 or FLOAT64": {"fields": integers},
        "truncated": {"data": good.data[:-1]},
        "row_step 10, smaller": {"row_step": 10},
        "does not fit in a point of 0": {"point_step": 0},
        "empty": {"width": 0},
    }
    for count, (reason, changes) in enumerate(wrong.items(), 1):
        rig.depths.publish(points_message(stamp, **changes))
        values = rig.values(lambda values, count=count: int(values["cloud_bad"]) == count)
        assert reason in values["cloud_reason"]
    message = points_message(stamp, flat=True)
    message.width -= 1
    rig.depths.publish(message)
    time.sleep(0.05)
    rig.send_image(stamp)
    rig.values(lambda values: "not organised: one row of 191" in values["cloud_reason"])
    end(node)


def test_it_ends_while_clouds_are_being_made(client):
    for number in (signal.SIGINT, signal.SIGTERM):
        node = CloudProcess()
        rig = Rig(client, node).listen()
        for _ in range(20):
            stamp = rig.next()
            rig.depths.publish(depth_message(stamp))
            rig.send_image(stamp)
        code, printed, seconds = node.end(number)
        assert "Traceback" not in printed and seconds < 3, printed
        assert code == 0, printed


@pytest.mark.parametrize("again", range(3))
def test_the_node_ends_while_clouds_of_large_images_are_made(client, tmp_path, again):
    """A thread that Python ends within OpenCV takes the process down with it, every other time."""
    node = NodeProcess(write_card(tmp_path), "cloud:=depth")
    rig = Rig(client, node).listen(info=False)
    rig.infos.publish(info_message(width=1280, height=720))
    image, metres = np.zeros((720, 1280, 3), np.uint8), np.full((720, 1280), 2.0, "<f4").tobytes()

    def send_pair():
        stamp = rig.next()
        depth = Image(height=720, width=1280, encoding="32FC1", step=4 * 1280, data=array("B", metres))
        depth.header.stamp.sec, depth.header.stamp.nanosec = stamp
        rig.depths.publish(depth)
        rig.images.publish(image_message(image, stamp=stamp, frame_id="optical"))

    until(lambda: send_pair() or time.sleep(0.05) or len(rig.clouds) > 7, seconds=60.0)
    for number in range(12):
        if number == 8:
            node.process.send_signal(signal.SIGINT)
        send_pair()
    code, printed, seconds = node.end()
    assert code == 0 and "terminate called" not in printed and seconds < 3, printed
