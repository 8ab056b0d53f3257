import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from seg_node.ros import transport

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in (*transport.PROFILE_VARIABLES, transport.OWN_SIZE, "FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transport, "tune_malloc", lambda: True)  # for good, and this is the tests' own process
    monkeypatch.setattr(transport, "sweep", lambda: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))


SWEEP = transport.sweep


def profiles():
    return [os.environ.get(name) for name in transport.PROFILE_VARIABLES]


def test_both_names_point_at_the_shipped_profile():
    path = transport.prepare_transport()
    assert profiles() == [path, path]
    tree = ElementTree.parse(path)
    sizes = [int(element.text) for element in tree.iter() if element.tag.endswith("segment_size")]
    assert sizes and min(sizes) >= 16 << 20


def test_a_child_of_ours_keeps_it():
    path = transport.prepare_transport()
    assert transport.prepare_transport() == path


@pytest.mark.parametrize(
    "name, value",
    [
        ("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml"),
        ("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml"),
        ("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
        ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp"),
    ],
)
def test_the_users_own_choice_stands(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    before = profiles()
    assert transport.prepare_transport() is None
    assert profiles() == before


def test_the_users_own_file_stands(tmp_path):
    (tmp_path / "DEFAULT_FASTRTPS_PROFILES.xml").write_text("<dds/>")
    assert transport.prepare_transport() is None and profiles() == [None, None]


def test_a_small_shared_memory_is_left_alone(monkeypatch):
    monkeypatch.setattr(transport, "sweep", lambda: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=64 << 20))
    assert transport.prepare_transport() is None and profiles() == [None, None]


def test_fast_dds_is_named_by_hand(monkeypatch):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    assert transport.prepare_transport() is not None


def test_the_memory_of_the_dead_is_swept_and_of_the_living_kept(tmp_path):
    dead, living, others = "fastrtps_0123456789abcdef", "fastdds_fedcba9876543210", "fastrtps_port7411"
    for name in (dead, living, others):
        (tmp_path / name).write_bytes(b"segment")
        (tmp_path / (name + "_el")).touch()
    with open(tmp_path / (living + "_el"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert SWEEP(str(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living, living + "_el", others, others + "_el"])


@pytest.mark.parametrize(
    ("frame", "asked", "free", "segment"),
    [
        (3 * 3840 * 2160, "", 8 << 30, 128),
        (0, "200", 8 << 30, 200),
        (3 * 3840 * 2160, "4", 8 << 30, 32),  # less than the shipped one is of no use
        (3 * 3840 * 2160, "much", 8 << 30, 128),
        (3 * 3840 * 2160, "", 256 << 20, 64),  # better than what a full /dev/shm leaves: none
    ],
)
def test_memory_for_what_is_sent(monkeypatch, frame, asked, free, segment):
    monkeypatch.setenv(transport.OWN_SIZE, asked)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    path = transport.prepare_transport(frame)
    assert profiles() == [path, path] and transport.segment_in_force() == segment << 20


def test_more_than_it_wants_where_its_parent_says_so():
    large = transport.prepare_transport(3 * 3840 * 2160)
    assert transport.prepare_transport() == large


def test_what_others_programs_are_given(monkeypatch):
    given = transport.environment_for(3 * 3840 * 2160)
    assert set(given) == set(transport.PROFILE_VARIABLES) and profiles() == [None, None]
    assert transport.read_profile(given[transport.PROFILE_VARIABLES[0]]).segment == 128 << 20
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml")
    assert transport.environment_for(3 * 3840 * 2160) == {}


def test_what_is_not_known_is_not_judged(monkeypatch):
    assert transport.segment_in_force() == 0
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    transport.prepare_transport()
    assert transport.segment_in_force() == 0


def test_nothing_of_ros_is_imported_and_malloc_takes_it():
    code = (
        "import sys; from seg_node.ros import transport; transport.prepare_transport();"
        "assert 'rclpy' not in sys.modules; print(transport.tune_malloc())"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=str(ROOT)).decode().strip()
    if sys.platform == "linux" and os.confstr("CS_GNU_LIBC_VERSION"):
        assert printed == "True"
