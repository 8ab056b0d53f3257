"""The doctor listens to real publishers over real DDS: who loses images, and who cannot hear whom."""

import contextlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from harness import environment

from seg_node.ros.doctor import ERROR, OK, WARNING
from seg_node.ros.doctor.topics import Heard, judge
from seg_node.ros.transport import sweep

_TALKER = """
import array, sys, time
name, width, height, listens, fits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True", sys.argv[5]
from seg_node.ros.transport import prepare_transport
if fits == "True":
    prepare_transport(3 * width * height)
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("talker_" + name)
camera = node.create_publisher(Image, "/doctor/" + name, QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
if listens:
    node.create_subscription(Image, "/doctor/" + name, id, QoSProfile(depth=5))
message = Image(width=width, height=height, step=3 * width, encoding="bgr8")
message.data = array.array("B", bytes(3 * width * height))
print("up", flush=True)
while True:
    camera.publish(message)
    time.sleep(0.1)
"""


@contextlib.contextmanager
def talking(name, width, height, fits, listens=False):
    words = [name, str(width), str(height), str(listens), str(fits)]
    child = subprocess.Popen([sys.executable, "-c", _TALKER, *words], env=environment(), stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"up\n"
        yield
    finally:
        child.kill()
        child.communicate()
        sweep()


def doctor(tmp_path):
    """Return {topic: findings} and the exit code."""
    (tmp_path / "root").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "seg_node.ros.doctor", "--json", "--listen", "3", "--root", str(tmp_path / "root")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, cwd=str(tmp_path))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [f for f in found if f["check"] == "topics" and "/doctor/" in f["says"]], done


def test_what_is_lost_is_told_and_what_fits_is_not(tmp_path):
    with talking("stock", 1920, 1080, fits=False), talking("fitting", 1920, 1080, fits=True):
        found, done = doctor(tmp_path)
    lost, well = sorted(found, key=lambda f: "fitting" in f["says"])
    assert lost["level"] == ERROR and "more were lost" in lost["says"], done
    assert "fastdds" in lost["type"][0]
    assert "1920x1080 bgr8, 6.2 MB" in well["says"] and well["level"] in (OK, WARNING)  # a busy machine may lose a few
    assert done.returncode == 1


def test_ends_that_cannot_hear_each_other_are_named(tmp_path):
    with talking("deaf", 32, 24, fits=True, listens=True):
        found, _ = doctor(tmp_path)
    silent = [f for f in found if "nothing is delivered" in f["says"]]
    assert len(silent) == 1, found
    assert silent[0]["level"] == ERROR and "/talker_deaf -> /talker_deaf" in silent[0]["says"]
    assert "subscribe best effort in /talker_deaf" in silent[0]["type"][0]


@pytest.mark.parametrize(
    ("count", "lost", "level"),
    [(0, 0, WARNING), (60, 0, OK), (60, 1, OK), (60, 2, WARNING), (50, 10, ERROR), (0, 60, ERROR)],
)
def test_what_is_made_of_counts(count, lost, level):
    heard = Heard()
    for _ in range(count):
        heard.take(SimpleNamespace(data=b"12", format="jpeg"))
    heard.miss(SimpleNamespace(total_count_change=lost))
    (finding,) = judge("/front/image", heard, 2.0)
    assert finding.level == level and "/front/image" in finding.says
