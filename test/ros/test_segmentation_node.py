"""The node as others meet it: over DDS, in another process, with cameras of all kinds."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from array import array
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from harness import SIZE, NodeProcess, environment, image_message, send, until, write_card  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402

from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.pipeline.network_input import resize  # noqa: E402
from seg_node.ros.health import DROPS, STAGES  # noqa: E402
from seg_node.ros.node import SegmentationNode  # noqa: E402
from seg_node.ros.stream import Arrival  # noqa: E402

OK, WARN, ERROR, STALE = 0, 1, 2, 3
KEYS = {
    "diagnostics_period",
    "model",
    "runtime",
    "device",
    "precision",
    "input_size",
    "state",
    "loading",
    "frames_in",
    "frames_out",
    "rate_in_hz",
    "rate_out_hz",
    "lost_before_arrival",
    "replaced_before_taken",
    "loading_progress",
    "last_error",
    *("dropped_" + cause for cause in DROPS),
    *(f"{stage}_{value}_ms" for stage in STAGES for value in ("p50", "p95", "p99", "max")),
}


@pytest.fixture(scope="module")
def fast(client, tmp_path_factory):
    """A node that takes no time; many tests share it."""
    node = NodeProcess(write_card(tmp_path_factory.mktemp("fast")))
    client.ready(node)
    node.labels, node.camera = client.listen(node), client.camera(node)
    yield node
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed, printed


@pytest.fixture
def start(client, tmp_path):
    """Start a node of one's own: ``start("parameter:=value", delay=0.1)``; it is killed if the test leaves it."""
    nodes = []

    def run(*arguments, ready=True, model=None, runtime="fake", remaps=(), **options):
        model = model or write_card(tmp_path / f"model{len(nodes)}", **options)
        nodes.append(NodeProcess(model, *arguments, runtime=runtime, remaps=remaps))
        return client.ready(nodes[-1]) if ready else nodes[-1]

    yield run
    for node in nodes:
        if node.alive():
            node.process.kill()
        node.process.communicate()


def scene(height=48, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def expected_labels(image):
    small = resize(image, SIZE)[..., 0] % 11
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)


def pixels(message):
    return (
        np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1).squeeze(-1)
        if message.encoding == "mono8"
        else np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    )


def label_of(node, message):
    """Send a message to the shared node and return its labels."""
    return send(node.camera, message, lambda: next((m for m in node.labels if m.header == message.header), None))


def test_labels_and_the_header_untouched(fast):
    image = scene()
    label = label_of(fast, image_message(image, stamp=(1234, 567890123), frame_id="front/cämera"))
    assert (label.header.stamp.sec, label.header.stamp.nanosec) == (1234, 567890123)
    assert label.header.frame_id == "front/cämera"
    assert (label.encoding, label.height, label.width, label.step) == ("mono8", 48, 64, 64)
    assert np.array_equal(pixels(label), expected_labels(image))


@pytest.mark.parametrize("height, width, pad", [(5, 1, 0), (1, 5, 0), (1, 1, 0), (37, 53, 0), (37, 53, 7), (*SIZE, 0)])
def test_odd_and_padded_images_are_labelled(fast, height, width, pad):
    image = scene(height, width, seed=height)
    label = label_of(fast, image_message(image, stamp=(height, width + pad), pad=pad))
    assert np.array_equal(pixels(label), expected_labels(image))


def test_colour_order_follows_the_encoding(fast):
    image = scene(seed=3)
    label = label_of(fast, image_message(np.ascontiguousarray(image[..., ::-1]), "rgb8", stamp=(3, 3)))
    assert np.array_equal(pixels(label), expected_labels(image))


def broken(change):
    message = image_message(scene())
    change(message)
    return message


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda m: setattr(m, "data", m.data[:-1]), "truncated: 9215 bytes of data"),
        (lambda m: setattr(m, "data", array("B")), "truncated: 0 bytes"),
        (lambda m: setattr(m, "width", 0), "the image is empty: 0x48"),
        (lambda m: (setattr(m, "height", 0), setattr(m, "data", array("B"))), "the image is empty: 64x0"),
        (lambda m: setattr(m, "encoding", "64FC9"), "unknown encoding '64FC9'"),
        (lambda m: setattr(m, "encoding", ""), "unknown encoding ''"),
        (lambda m: setattr(m, "step", 5), "step 5 is smaller than a row of 192 bytes"),
        (lambda m: setattr(m, "height", 2**32 - 1), "truncated"),
    ],
    ids=["truncated", "no data", "no width", "nothing", "encoding", "no encoding", "step", "huge"],
)
def test_bad_images_are_named_and_survived(client, fast, change, reason):
    before = int(client.status(fast)[2]["dropped_bad_image"])
    fast.camera.publish(broken(change))
    level, _, values = client.status(fast, lambda level, message, values: reason in message)
    assert level == WARN and reason in values["last_error"] and int(values["dropped_bad_image"]) > before
    client.status(fast, lambda level, message, values: level != WARN or "no image" in message)  # one period only
    label_of(fast, image_message(scene(), stamp=(7, before)))
    assert fast.alive()


def test_diagnostics_have_the_keys_that_others_read(client, fast):
    label_of(fast, image_message(scene(), stamp=(1, 1)))
    values = client.status(fast)[2]
    assert set(values) == KEYS
    assert (values["model"], values["runtime"], values["input_size"]) == ("pretend", "fake", "24x32")
    assert float(values["total_p50_ms"]) > 0 and float(values["age_p50_ms"]) > 1e9  # stamps of 1970


def test_only_what_is_subscribed_is_painted(client, fast):
    label_of(fast, image_message(scene(), stamp=(2, 1)))
    assert client.status(fast)[2]["overlay_p50_ms"] == "nan"
    image = scene(seed=9)
    overlays, colors = client.listen(fast, "overlay"), client.listen(fast, "color")
    label = label_of(fast, image_message(image, stamp=(2, 2)))
    overlay, color = until(lambda: overlays and colors and (overlays[-1], colors[-1]))
    assert overlay.header == color.header == label.header and overlay.encoding == color.encoding == "bgr8"
    assert np.abs(pixels(overlay) - (pixels(color) / 2 + image / 2)).max() <= 0.51
    assert client.status(fast)[2]["overlay_p50_ms"] != "nan"
    # and live
    assert client.set_double(fast, "overlay_alpha", 0.0).successful
    del overlays[:]
    label_of(fast, image_message(image, stamp=(2, 3)))
    assert np.array_equal(pixels(until(lambda: overlays and overlays[-1])), image)


def test_large_pictures_are_of_their_own_frame(client, start):
    """Painted beside the next inference, from memory that is reused: each is of one frame, and the right one."""
    node = start(delay=0.003)
    labels, overlays = client.listen(node), client.listen(node, "overlay")
    camera, sent = client.camera(node), {}
    for number in range(1, 60):
        sent[number] = 4 * number
        image = np.full((600, 800, 4), sent[number], np.uint8)
        message = image_message(image, "rgba8", stamp=(number, 0))
        if number % 10 == 7:  # fails between two that are painted
            message.encoding = "rgba8_of_nobody"
        camera.publish(message)
        time.sleep(0.004)
    until(lambda: overlays and overlays[-1].header.stamp.sec == 59, what="the last picture")
    palette = load_label_set("camvid11").palette
    assert len(overlays) > 5 and [m.header for m in overlays] == [m.header for m in labels]
    for message, label in zip(overlays, labels, strict=True):
        value = sent[message.header.stamp.sec]
        assert np.ptp(pixels(message), axis=(0, 1)).max() == 0 and set(np.unique(pixels(label))) == {value % 11}
        wanted = palette[value % 11].astype(float) / 2 + value / 2
        assert np.abs(pixels(message)[0, 0] - wanted).max() <= 0.51


def test_wrong_parameters_are_rejected_with_a_reason(client, fast):
    assert "out of range" in client.set_double(fast, "overlay_alpha", 1.5).reason
    assert not client.set_double(fast, "overlay_alpha", float("nan")).successful
    assert not client.set_double(fast, "max_age", -1.0).successful
    assert "read-only" in client.set_string(fast, "transport", "raw").reason
    for name, value, reason in (
        ("model", "/nowhere", "no model '/nowhere'"),
        ("runtime", "steam", "runtime is 'steam'; choose from auto,"),
        ("precision", "fp7", "choose from auto, fp32, fp16, bf16, int8"),
        ("fit", "crop", "choose from stretch, letterbox"),
        ("output_size", "large", "must be camera, network, or height and width"),
    ):
        result = client.set_string(fast, name, value)
        assert not result.successful and reason in result.reason, result
    assert client.status(fast)[2]["model"] == "pretend"


def test_frames_older_than_max_age_are_dropped(client, fast):
    before = int(client.status(fast)[2]["dropped_too_old"])
    assert client.set_double(fast, "max_age", 0.5).successful
    fast.camera.publish(image_message(scene(), stamp=(1, 0)))
    level, _, values = client.status(fast, lambda level, message, values: "too_old: " in message)
    assert level == WARN and int(values["dropped_too_old"]) > before
    now = time.time_ns()
    label_of(fast, image_message(scene(), stamp=(now // 10**9, now % 10**9)))
    assert client.set_double(fast, "max_age", 0.0).successful


@pytest.mark.parametrize(
    "qos",
    [
        qos_profile_sensor_data,
        QoSProfile(depth=1),
        QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    ],
    ids=["best effort", "reliable", "latched"],
)
def test_every_cameras_qos_is_met(client, fast, qos):
    camera = client.camera(fast, qos=qos)
    del fast.labels[:]
    send(camera, image_message(scene(), stamp=(50, 5)), lambda: fast.labels)
    client.node.destroy_publisher(camera)


def test_a_silent_camera_is_reported(client, fast):
    level, message, _ = client.status(fast, lambda level, message, values: "no image for" in message)
    assert level == STALE and f"{fast.namespace}/image (publishers: 1)" in message


CAMERA = """
    import sys, time
    from seg_node.ros.transport import prepare_transport
    if sys.argv[4] == "tuned":
        prepare_transport()
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image
    from array import array
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, sys.argv[1], qos_profile_sensor_data)
    height, width = int(sys.argv[3]) * 9 // 16, int(sys.argv[3])
    message = Image(height=height, width=width, encoding="mono8", step=width, data=array("B", bytes(height * width)))
    message.header.frame_id = sys.argv[2]
    while True:
        publisher.publish(message)
        time.sleep(0.02)
"""


def camera_process(node, frame_id, width=64, transport="tuned"):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CAMERA), f"{node.namespace}/image", frame_id, str(width), transport],
        env=environment(),
    )


def test_cameras_that_are_killed_and_come_back_ten_times(client, fast):
    """Discovery takes up to three seconds, so the next life begins while the last is watched."""
    lives = [camera_process(fast, f"life {life}") for life in range(3)]
    try:
        for life in range(10):
            until(lambda: any(m.header.frame_id == f"life {life}" for m in fast.labels), what=f"life {life}")  # noqa: B023
            lives[life].kill()
            if len(lives) < 10:
                lives.append(camera_process(fast, f"life {len(lives)}"))
    finally:
        for camera in lives:
            camera.kill()
            camera.wait()
    del fast.labels[:]
    label_of(fast, image_message(scene(), stamp=(10, 10)))
    assert fast.alive() and client.status(fast)[0] != ERROR


def test_images_lost_by_the_middleware_are_reported(client, fast):
    camera = camera_process(fast, "large", width=2560, transport="stock")
    try:
        level, message, values = client.status(fast, lambda level, message, _: "images lost" in message, seconds=15)
        assert level in (WARN, STALE) and "config/fastdds.xml" in message and int(values["lost_before_arrival"]) > 0
    finally:
        camera.kill()
        camera.wait()


def test_under_load_the_newest_frame_wins(client, start):
    node = start(delay=0.1)
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(scene()), lambda: labels)
    time.sleep(0.5)
    del labels[:]
    sent, got = {}, {}
    for number in range(1, 121):
        now = time.monotonic()
        camera.publish(image_message(scene(), stamp=(number, 0)))
        sent[number] = now
        while time.monotonic() < now + 0.0167:
            for label in labels:
                got.setdefault(label.header.stamp.sec, time.monotonic())
            time.sleep(0.002)
    until(lambda: labels and labels[-1].header.stamp.sec == 120, what="the last frame's labels")
    stamps = [label.header.stamp.sec for label in labels]
    assert stamps == sorted(set(stamps)) and 15 <= len(stamps) <= 30
    # Never queued: one inference to wait for and one of its own.
    assert np.median([got[n] - sent[n] for n in got]) < 0.25
    values = client.status(node)[2]
    assert int(values["frames_in"]) == int(values["frames_out"]) + int(values["dropped_newer_frame"])
    assert int(values["dropped_newer_frame"]) > 60
    assert values["last_error"] == ""  # and none was lost before it came
    assert 90 < float(values["infer_p50_ms"]) < 150


def test_failing_inferences_are_counted_and_survived(client, start):
    node = start(fail_every=3)
    labels, camera = client.listen(node), client.camera(node)

    def eight_failed(level, message, values):
        camera.publish(image_message(scene()))
        return int(values["dropped_inference_failed"]) >= 8

    level, _, values = client.status(node, eight_failed, seconds=20)
    assert level == WARN and len(labels) >= 12
    assert "inference_failed: the fake backend fails" in values["last_error"]


def test_what_a_hung_inference_says_after_all_is_not_published():
    class Hung:
        def place(self, frame):
            pass

        def segment_many(self, frames, settle):
            node._engine = None  # as deactivation does once it has waited long enough
            return [SimpleNamespace(timings={}) for _ in frames]

    said = []
    stream = SimpleNamespace(cloud=None, decode=lambda message: message, publish=lambda *what: said.append(what))
    stream.wants_confidence = lambda: False
    engine = SimpleNamespace(segmenter=Hung(), runtime=SimpleNamespace())
    node = SimpleNamespace(_engine=engine, _engine_lock=threading.Lock(), _streams=[stream], _painter=None)
    node._gate = threading.Lock()
    node._failed = lambda *what: said.append(what)
    node._decode = lambda *what: SegmentationNode._decode(node, *what)
    SegmentationNode._process(node, [(0, Arrival(image_message(scene()), 0.0))])
    assert said == []


def test_compressed_images(client, start):
    node = start("transport:=compressed")
    labels, camera = client.listen(node), client.camera(node, CompressedImage, "image/compressed")
    image = scene()
    message = CompressedImage(format="png", data=array("B", cv2.imencode(".png", image)[1].tobytes()))
    message.header.frame_id = "small"
    label = send(camera, message, lambda: labels and labels[0])
    assert label.header == message.header and np.array_equal(pixels(label), expected_labels(image))
    camera.publish(CompressedImage(format="jpeg", data=array("B", b"not a jpeg")))
    client.status(node, lambda level, message, values: "cannot decode 10 bytes" in message)


def test_a_compressed_image_that_claims_to_be_huge_costs_no_memory(client, start):
    """A TIFF, whose header nobody of ours reads."""
    node = client.ready(start("transport:=compressed"))
    node.labels = client.listen(node)
    camera = client.camera(node, CompressedImage, "image/compressed")
    message = CompressedImage(
        format="tiff", data=cv2.imencode(".tiff", np.zeros((20000, 20000), np.uint8))[1].tobytes()
    )
    client.status(node, lambda level, text, values: camera.publish(message) or "cannot decode" in text)
    message = CompressedImage(format="png", data=cv2.imencode(".png", scene())[1].tobytes())
    send(camera, message, lambda: node.labels)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{node.process.pid}/status").read_text()).group(1)
    assert int(peak) < 600_000


def test_lifecycle(client, start):
    node = start("autostart:=false", ready=False)
    assert client.state(node) == "unconfigured"
    assert client.status(node)[:2] == [OK, "unconfigured"]
    assert not client.transition(node, "activate")
    for _ in range(2):
        assert client.transition(node, "configure") and client.state(node) == "inactive"
        assert client.status(node)[:2] == [OK, "inactive"]
        for _ in range(2):
            assert client.transition(node, "activate") and client.state(node) == "active"
            labels, camera = client.listen(node), client.camera(node)
            send(camera, image_message(scene()), lambda: labels)  # noqa: B023
            assert client.transition(node, "deactivate") and client.state(node) == "inactive"
            until(lambda: camera.get_subscription_count() == 0)  # noqa: B023
        assert client.transition(node, "cleanup") and client.state(node) == "unconfigured"
    assert client.transition(node, "shutdown") and client.state(node) == "finalized"
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed


def test_a_transition_that_is_not_possible_now_is_refused(client, start):
    """By its id, too, which is what lifecycle managers send: rclpy's own answer ends the process."""
    possible = {
        "unconfigured": {Transition.TRANSITION_CONFIGURE},
        "inactive": {Transition.TRANSITION_CLEANUP, Transition.TRANSITION_ACTIVATE},
        "active": {Transition.TRANSITION_DEACTIVATE},
    }
    shutdowns = {
        "unconfigured": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
        "inactive": Transition.TRANSITION_INACTIVE_SHUTDOWN,
        "active": Transition.TRANSITION_ACTIVE_SHUTDOWN,
    }
    node = start("autostart:=false", ready=False)
    for state, wanted in (("unconfigured", "configure"), ("inactive", "activate"), ("active", None)):
        assert client.state(node) == state
        for number in set(range(9)) - possible[state] - {shutdowns[state]}:
            assert not client.transition(node, number), (state, number)
        assert client.state(node) == state
        if wanted:
            assert client.transition(node, wanted)
    assert client.transition(node, shutdowns["active"]) and client.state(node) == "finalized"
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed


def test_a_class_that_the_model_does_not_have_is_told(client, start):
    node = client.ready(start('classes:=["Raod", "Car"]'))
    values = client.status(node, lambda level, message, values: "Raod" in values["last_error"])[2]
    assert "classes: Raod are none of this model's" in values["last_error"] and "Road" in values["last_error"]


def test_remapped(client, start):
    node = start(remaps=["image:=/somewhere/else_" + str(os.getpid())])
    level, message, _ = client.status(node, lambda level, message, values: "no image for" in message)
    assert level == STALE and "/somewhere/else_" in message and "(publishers: 0)" in message


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"model": "/nowhere"}, "cannot load model '/nowhere': no model '/nowhere'"),
        ({"runtime": "onnx"}, "cannot load model"),
        ({"fail_every": 1}, "the fake backend fails every 1"),
    ],
    ids=["no model", "no file", "first inference"],
)
def test_a_model_that_does_not_load_is_reported(client, start, arguments, reason):
    node = start(ready=False, **arguments)
    _, message, values = client.status(node, lambda level, message, values: level == ERROR, seconds=20)
    assert reason in message and values["last_error"] == message
    assert client.state(node) == "inactive" and not client.transition(node, "activate")
    assert client.state(node) == "inactive"
    assert client.transition(node, "cleanup") and client.state(node) == "unconfigured"
    code, printed, _ = node.end(signal.SIGTERM)
    assert code == 0 and "Traceback" not in printed, printed


def test_a_lifecycle_manager_is_told_that_a_model_does_not_load(client, start):
    node = start("autostart:=false", ready=False, model="/nowhere")
    assert not client.transition(node, "configure") and client.state(node) == "unconfigured"


def test_a_model_that_loads_brings_it_up_after_one_that_did_not(client, start, tmp_path):
    node = start(ready=False, model="/nowhere")
    client.status(node, lambda level, message, values: level == ERROR)
    broken = write_card(tmp_path / "broken", fail_every=1)
    assert client.set_string(node, "model", str(broken)).successful
    client.status(node, lambda level, message, values: level == ERROR and "every 1" in message)
    assert client.set_string(node, "model", str(write_card(tmp_path / "good"))).successful
    client.status(node, lambda level, message, values: values["state"] == "active" and level != ERROR)
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(scene()), lambda: labels)


@pytest.mark.parametrize(
    "argument, reason",
    [
        ("transport:=carrier_pigeon", "choose from raw, compressed"),
        ("overlay_alpha:=2.0", "out of range"),
        ("max_age:=1", "decimal point"),
        ("device:=3", "device"),
    ],
)
def test_wrong_start_values_end_it_with_a_reason(start, argument, reason):
    node = start(argument, ready=False)
    node.process.wait(10)
    code, printed, _ = node.end()
    assert code == 2 and reason in printed and "Traceback" not in printed, printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_while_ros_is_imported(number):
    """Which takes seconds on a small computer."""
    program = f"""
import os, sys
class Importing:
    def find_spec(self, name, *_):
        if name == "rclpy":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Importing())
from seg_node.ros.segmentation_node import main
sys.exit(main())
"""
    words = [sys.executable, "-c", program]
    ended = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
@pytest.mark.parametrize("delay", [0, 0.5, 30])
def test_it_ends_within_a_second(client, start, signals, delay):
    """While idle, in the middle of an inference, and while a model loads (its first inference hangs)."""
    node = start(delay=delay, ready=delay < 1)
    if delay < 1:
        camera = client.camera(node)
        camera.publish(image_message(scene()))
        time.sleep(0.1)
    else:
        client.status(node, lambda level, message, values: message == "loading")
    code, printed, seconds = node.end(*signals)
    assert code == 0 and seconds < 1.5, (code, seconds, printed)
    assert "Traceback" not in printed and "terminate" not in printed, printed
