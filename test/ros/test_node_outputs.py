"""What the node offers beside labels, over DDS: other sizes, compressed images, camera_info, several cameras."""

import subprocess
import sys
import time
from array import array

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from harness import RELIABLE, SIZE, NodeProcess, environment, image_message, send, until, write_card  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest  # noqa: E402

from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.ros.outputs import scaled_info  # noqa: E402

OK, WARN, ERROR, STALE = 0, 1, 2, 3
LABELS = load_label_set("camvid11")


@pytest.fixture
def start(client, tmp_path):
    """Start a node of one's own: ``start("parameter:=value", delay=0.1)``; it is killed if the test leaves it."""
    nodes = []

    def run(*arguments, **options):
        nodes.append(NodeProcess(write_card(tmp_path / f"model{len(nodes)}", **options), *arguments))
        return nodes[-1]

    yield run
    for node in nodes:
        code, printed, _ = node.end()
        assert code == 0 and "Traceback" not in printed, printed


@pytest.fixture
def node(client, start):
    return client.ready(start())


def scene(height=48, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def listen(client, topic, kind):
    received = []
    client.node.create_subscription(kind, topic, received.append, RELIABLE)
    until(lambda: client.node.count_publishers(topic), what=topic)
    time.sleep(0.3)
    return received


def now():
    stamp = time.time_ns()
    return stamp // 10**9, stamp % 10**9


def test_labels_and_overlay_compressed_as_image_transport_writes_them(client, node):
    labels, camera = client.listen(node), client.camera(node)
    overlays = client.listen(node, "overlay")
    png = listen(client, f"{node.name}/label/compressed", CompressedImage)
    jpeg = listen(client, f"{node.name}/overlay/compressed", CompressedImage)
    image = cv2.GaussianBlur(scene(), (0, 0), 5)  # smooth, and without the labels' edges: JPEG is good at that
    assert client.set(node, "overlay_alpha", 0.0).successful
    send(camera, image_message(image, stamp=(5, 6), frame_id="eye"), lambda: labels and png and jpeg and overlays)
    assert png[-1].format == "mono8; png compressed mono8" and jpeg[-1].format == "bgr8; jpeg compressed bgr8"
    assert png[-1].header == jpeg[-1].header == labels[-1].header and labels[-1].header.frame_id == "eye"
    decoded = cv2.imdecode(np.frombuffer(png[-1].data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(decoded, pixels(labels[-1])[..., 0])
    decoded = cv2.imdecode(np.frombuffer(jpeg[-1].data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - pixels(overlays[-1])).mean() < 8
    # the quality is live
    size = len(jpeg[-1].data)
    assert client.set(node, "jpeg_quality", 5).successful
    del jpeg[:]
    send(camera, image_message(image, stamp=(5, 7)), lambda: jpeg)
    assert len(jpeg[-1].data) < size
    assert "out of range" in client.set(node, "jpeg_quality", 0).reason


def test_camera_info_fits_the_label(client, node):
    labels, camera = client.listen(node), client.camera(node)
    calibration = client.node.create_publisher(CameraInfo, f"{node.namespace}/camera_info", RELIABLE)
    send(camera, image_message(scene()), lambda: labels)
    assert calibration.get_subscription_count() == 0  # nobody wants it yet
    infos = listen(client, f"{node.name}/camera_info", CameraInfo)
    k = [100.0, 0.0, 32.0, 0.0, 90.0, 24.0, 0.0, 0.0, 1.0]
    p = [100.0, 0.0, 32.0, 7.0, 0.0, 90.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = CameraInfo(height=48, width=64, distortion_model="plumb_bob", d=[0.1] * 5, k=k, p=p)

    def both():
        calibration.publish(info)
        return labels and infos and infos[-1].header == labels[-1].header

    send(camera, image_message(scene(), stamp=(8, 9), frame_id="eye"), both)
    assert (infos[-1].height, infos[-1].width) == (48, 64) and list(infos[-1].k) == k and list(infos[-1].p) == p
    assert client.set(node, "output_size", "network").successful
    del infos[:], labels[:]
    send(camera, image_message(scene(), stamp=(8, 10)), both)
    assert (infos[-1].height, infos[-1].width) == (labels[-1].height, labels[-1].width) == SIZE
    assert list(infos[-1].k) == [50.0, 0.0, 16.0, 0.0, 45.0, 12.0, 0.0, 0.0, 1.0]
    assert list(infos[-1].p) == [50.0, 0.0, 16.0, 3.5, 0.0, 45.0, 12.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert list(infos[-1].d) == [0.1] * 5


def test_camera_info_of_a_sensors_window_and_binning():
    k = [100.0, 0.0, 32.0, 0.0, 90.0, 24.0, 0.0, 0.0, 1.0]
    p = [100.0, 0.0, 32.0, 7.0, 0.0, 90.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = CameraInfo(height=48, width=64, k=k, p=p, binning_x=2, binning_y=2)
    info.roi = RegionOfInterest(x_offset=12, y_offset=4, width=40, height=32)
    scaled = scaled_info(info, info.header, (16, 20))  # the window, binned by two
    assert list(scaled.k) == [50.0, 0.0, 10.0, 0.0, 45.0, 10.0, 0.0, 0.0, 1.0]
    assert list(scaled.p) == [50.0, 0.0, 10.0, 3.5, 0.0, 45.0, 10.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    assert (scaled.height, scaled.width, scaled.roi.width, scaled.binning_x) == (16, 20, 0, 0)
    assert not any(scaled_info(CameraInfo(), info.header, (16, 20)).k)  # uncalibrated stays so


def test_who_waits_for_a_confidence_that_does_not_exist_is_told(client, start):
    node = client.ready(start(confidence="false"))
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(scene()), lambda: labels)
    assert "confidence" not in client.status(node)[2]["last_error"]
    waiting = client.node.create_subscription(Image, f"{node.name}/confidence", lambda message: None, RELIABLE)

    def told(level, message, values):
        camera.publish(image_message(scene()))
        return level == WARN and "somebody waits for confidence, but the file that runs gives none" in message

    client.status(node, told)
    client.node.destroy_subscription(waiting)


def test_a_latched_camera_info_is_met(client, node):
    camera = client.camera(node)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    calibration = client.node.create_publisher(CameraInfo, f"{node.namespace}/camera_info", latched)
    calibration.publish(CameraInfo(height=48, width=64))
    infos = listen(client, f"{node.name}/camera_info", CameraInfo)
    send(camera, image_message(scene(), stamp=(8, 9)), lambda: infos)
    assert (infos[-1].height, infos[-1].width) == (48, 64)


def test_confidence_is_made_only_for_who_asks_and_has_the_labels_header(client, node):
    labels, camera = client.listen(node), client.camera(node)
    image = cv2.resize(scene(4, 4), (64, 48), interpolation=cv2.INTER_NEAREST)
    send(camera, image_message(image, stamp=(1, 1)), lambda: labels)
    confidences = client.listen(node, "confidence")
    send(camera, image_message(image, stamp=(1, 2), frame_id="eye"), lambda: confidences)
    assert confidences[-1].header == labels[-1].header and confidences[-1].encoding == "mono8"
    assert pixels(confidences[-1]).shape == pixels(labels[-1]).shape
    assert abs(int(pixels(confidences[-1])[30, 40, 0]) - int(image[30, 40, 1])) < 40  # the fake backend's: green


def test_a_region_of_interest_is_live_and_the_rest_is_unlabelled(client, node):
    labels, camera = client.listen(node), client.camera(node)
    assert client.set(node, "roi", [16, 8, 32, 24]).successful
    send(camera, image_message(scene(), stamp=(1, 1)), lambda: labels)
    label = pixels(labels[-1])[..., 0]
    inside = label[8:32, 16:48]
    assert label.shape == (48, 64) and (inside < 11).all()
    assert (label == 255).sum() == label.size - inside.size
    for wrong in ([1, 2, 3], [0, 0, 0, 5], ["a", "b", "c", "d"]):
        assert "roi" in client.set(node, "roi", wrong).reason
    # one that is not in this camera's image: bad frames, named, and the node goes on
    assert client.set(node, "roi", [500, 500, 10, 10]).successful

    def named(level, message, values):
        camera.publish(image_message(scene(), stamp=(1, 2)))
        return level == WARN and "lies outside the camera image" in message

    client.status(node, named)
    assert client.set(node, "roi", []).successful
    del labels[:]
    send(camera, image_message(scene(), stamp=(1, 3)), lambda: labels)
    assert (pixels(labels[-1]) < 11).all()


def test_topics_are_offered_and_withdrawn_live(client, node):
    topic = f"{node.name}/overlay"
    until(lambda: client.node.count_publishers(topic) == 1)
    assert client.set(node, "publish_overlay", False).successful
    until(lambda: client.node.count_publishers(topic) == 0)
    assert client.node.count_publishers(topic + "/compressed") == 0
    assert client.set(node, "publish_overlay", True).successful
    until(lambda: client.node.count_publishers(topic) == 1)
    overlays, camera = client.listen(node, "overlay"), client.camera(node)
    send(camera, image_message(scene()), lambda: overlays)


def test_only_the_classes_that_are_asked_for_are_shown(client, node):
    labels, colors, camera = client.listen(node), client.listen(node, "color"), client.camera(node)
    assert client.set(node, "classes", ["Road", "Car"]).successful
    send(camera, image_message(scene(), stamp=(1, 1)), lambda: labels and colors and colors[-1].header.stamp.sec == 1)
    shown = np.isin(pixels(labels[-1])[..., 0], [LABELS.names.index("Road"), LABELS.names.index("Car")])
    assert np.array_equal(pixels(colors[-1]).any(axis=2), shown) and shown.any() and not shown.all()
    result = client.set(node, "classes", ["Road", "Unicorn"])
    assert not result.successful and "Unicorn" in result.reason and "Bicyclist" in result.reason


def test_no_more_frames_a_second_than_asked_for(client, start):
    node = client.ready(start("max_rate:=10.0"))
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(scene()), lambda: labels)
    del labels[:]
    begin = time.monotonic()
    while time.monotonic() < begin + 2.0:
        camera.publish(image_message(scene()))
        time.sleep(0.02)
    assert 17 <= len(labels) <= 23
    values = client.status(node)[2]
    assert int(values["dropped_max_rate"]) > 50
    drops = sum(int(value) for key, value in values.items() if key.startswith("dropped_"))
    assert int(values["frames_in"]) == int(values["frames_out"]) + drops


def test_a_camera_that_offers_less_than_is_asked_for_is_met_and_named(client, start):
    node = client.ready(start("qos_input_reliability:=reliable"))
    labels = client.listen(node)
    program = f"""
import rclpy, time
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("eye")
camera = node.create_publisher(Image, "{node.namespace}/image", qos_profile_sensor_data)
message = Image(width=4, height=3, step=12, encoding="bgr8", data=bytes(36))
while True:
    camera.publish(message)
    time.sleep(0.05)
"""
    # in a process that nobody has met, whose name comes after its topics
    camera = subprocess.Popen([sys.executable, "-c", program], env=environment())
    try:
        until(lambda: client.node.count_publishers(f"{node.namespace}/image"))
        begin = time.monotonic()
        values = client.status(node, lambda level, message, values: "/eye" in values["last_error"], seconds=5)[2]
        assert "subscribed as best_effort instead" in values["last_error"] and time.monotonic() - begin < 2.5
        until(lambda: labels)
    finally:
        camera.kill()
        camera.wait()


def test_a_latency_over_budget_warns(client, start):
    node = client.ready(start("latency_budget:=0.02", delay=0.05))
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(scene()), lambda: labels)

    def over(level, message, values):
        camera.publish(image_message(scene()))
        return level == WARN and "latency_budget is 20.0 ms" in message

    client.status(node, over)
    assert client.set(node, "latency_budget", 1.0).successful

    def within(level, message, values):
        camera.publish(image_message(scene()))
        return level == OK

    client.status(node, within)


# Several cameras

CAMERAS = ("front", "left", "rear")


@pytest.fixture(params=[None, 1], ids=["any batch", "one at a time"])
def several(client, start, request):
    options = {"batch": request.param} if request.param else {}
    return start_several(client, start, **options)


def start_several(client, start, **options):
    node = start(f"cameras:=[{','.join(CAMERAS)}]", **options)
    for name in CAMERAS:
        client.status(node, lambda level, message, values: values["state"] == "active", camera=name)
    return node


def test_cameras_have_topics_and_figures_of_their_own(client, several):
    labels = {name: client.listen(several, f"{name}/label") for name in CAMERAS}
    cameras = {name: client.camera(several, topic=f"{name}/image") for name in CAMERAS}
    images = {name: scene(40 + 2 * i, 60 + 4 * i, seed=i) for i, name in enumerate(CAMERAS)}
    for name in CAMERAS:
        send(cameras[name], image_message(images[name], frame_id=name, stamp=(3, 4)), lambda: labels[name])  # noqa: B023
    for name in CAMERAS:
        assert all(m.header.frame_id == name for m in labels[name])
        assert (labels[name][-1].height, labels[name][-1].width) == images[name].shape[:2]
    for name in CAMERAS[:2]:  # two go on, one is silent
        del labels[name][:]
        send(cameras[name], image_message(images[name]), lambda: labels[name])  # noqa: B023
    _, message, values = client.status(several, lambda level, *_: level == STALE, camera="rear")
    assert "/rear/image (publishers: 1)" in message and values["frames_out"] == values["frames_in"]


def test_a_fast_camera_leaves_the_slow_ones_their_turn(client, start):
    node = start_several(client, start, delay=0.05, batch=1)
    labels = {name: client.listen(node, f"{name}/label") for name in CAMERAS}
    cameras = {name: client.camera(node, topic=f"{name}/image") for name in CAMERAS}
    send(cameras["rear"], image_message(scene()), lambda: labels["rear"])
    for received in labels.values():
        del received[:]
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + 3.0:
        count += 1
        cameras["front"].publish(image_message(scene()))  # 50 a second
        if count % 10 == 0:
            cameras["left"].publish(image_message(scene()))
            cameras["rear"].publish(image_message(scene()))
        time.sleep(0.02)
    time.sleep(0.3)
    slow = count // 10
    # 20 inferences a second for 60 frames: the slow ones get all of theirs
    assert len(labels["left"]) >= slow - 1 and len(labels["rear"]) >= slow - 1 and len(labels["front"]) > slow


def test_one_cameras_bad_images_do_not_touch_the_others(client, several):
    labels = client.listen(several, "front/label")
    front, left = (client.camera(several, topic=f"{name}/image") for name in ("front", "left"))
    bad = image_message(scene())
    bad.data = array("B", b"short")

    def named(level, message, values):
        left.publish(bad)
        front.publish(image_message(scene()))
        return level == WARN and "truncated" in message

    values = client.status(several, named, camera="left")[2]
    assert int(values["dropped_bad_image"]) > 0 and values["frames_out"] == "0"
    until(lambda: labels)
    assert client.status(several, camera="front")[2]["dropped_bad_image"] == "0"
