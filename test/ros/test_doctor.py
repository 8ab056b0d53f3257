"""Every check on made-up files: a machine where all is well, and what is said where one thing is not."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from seg_node.ros.doctor import ERROR, OK, WARNING, Machine, machine, network, software, transport
from seg_node.ros.doctor.__main__ import examine, main, text_of
from seg_node.ros.fastdds import read_profile, write_profile

MB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]
CPU = "sys/devices/system/cpu/"
GPU = "sys/devices/gpu.0/"


@pytest.fixture
def write(tmp_path):
    def write(files):
        for path, text in files.items():
            file = tmp_path / "root" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    return write


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return a machine with changes to its environment and other fields."""
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "root").mkdir()
    (tmp_path / "start").mkdir()

    def make(environ=None, **changes):
        given = Machine(str(tmp_path / "root"), environ or {}, str(tmp_path / "start"))
        return given._replace(**changes)

    return make


def only(findings):
    (finding,) = findings
    return finding


# Fast DDS


def test_no_profile_is_an_error_that_says_what_to_export(here):
    found = only(transport.check_profile(here()))
    assert found.level == ERROR and "0.5 MB" in found.says
    assert found.type[0] == f"export FASTRTPS_DEFAULT_PROFILES_FILE={ROOT}/config/fastdds.xml"


def test_images_that_fit_anyway_need_none(here):
    assert only(transport.check_profile(here(size=(240, 320)))).level == OK


def test_our_profile_fits_1080p_and_not_4k(here, tmp_path):
    environ = dict.fromkeys(transport.PROFILE_VARIABLES, str(ROOT / "config" / "fastdds.xml"))
    assert only(transport.check_profile(here(environ))).level == OK
    found = only(transport.check_profile(here(environ, size=(2160, 3840))))
    assert found.level == WARNING
    path = found.type[0].partition("=")[2]
    assert path.startswith(str(tmp_path / "cache")) and read_profile(path).segment == 128 * MB
    assert only(transport.check_profile(here(dict.fromkeys(environ, path), size=(2160, 3840)))).level == OK
    assert only(transport.check_profile(here(environ, cameras=8))).level == ERROR


def test_a_profile_of_ours_holds_what_it_is_written_for(here, tmp_path):
    for cameras in (1, 6):
        given = here({}, size=(2160, 3840), cameras=cameras)
        path = transport.check_profile(given)[0].type[0].partition("=")[2]
        environ = dict.fromkeys(transport.PROFILE_VARIABLES, path)
        assert only(transport.check_profile(here(environ, size=(2160, 3840), cameras=cameras))).level == OK


def test_a_queue_too_short_for_4k(here, tmp_path):
    path = tmp_path / "mine.xml"
    write_profile(path, 256 * MB)
    path.write_text(path.read_text().replace("<port_queue_capacity>8192</port_queue_capacity>", ""))
    found = transport.check_profile(here({"FASTRTPS_DEFAULT_PROFILES_FILE": str(path)}, size=(2160, 3840)))
    assert [f.level for f in found] == [OK, WARNING] and "port_queue_capacity 512" in found[1].says


@pytest.mark.parametrize(
    ("environ", "level", "says"),
    [
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/nowhere.xml"}, ERROR, "/nowhere.xml: cannot be read"),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/x.xml", "ROS_DISTRO": "jazzy"}, ERROR, "only FASTDDS_"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/x.xml", "ROS_DISTRO": "kilted"}, ERROR, "reads FASTDDS_"),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}, ERROR, "UDPv4: no shared memory"),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA?max_msg_size=1MB"}, OK, "LARGE_DATA"),
        (
            {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
            ERROR,
            "do not find each other",
        ),
    ],
)
def test_the_users_own_settings(here, environ, level, says):
    found = only(transport.check_profile(here(environ)))
    assert (found.level, says in found.says) == (level, True), found
    assert found.type or level == OK


def test_a_profile_in_the_working_folder_counts(here, tmp_path):
    write_profile(tmp_path / "start" / "DEFAULT_FASTRTPS_PROFILES.xml", 32 * MB)
    assert only(transport.check_profile(here())).level == OK
    assert only(transport.check_profile(here({"ROS_DISTRO": "kilted"}))).level == ERROR


def test_a_middleware_that_is_not_installed(here):
    pytest.importorskip("rclpy")
    environ = {**os.environ, "RMW_IMPLEMENTATION": "rmw_nobody_cpp"}
    found = only(transport.check_middleware(here(environ, root="/")))
    assert found.level == ERROR and "rmw_nobody_cpp, which does not load here" in found.says
    assert found.type[0] == "unset RMW_IMPLEMENTATION"
    words = [sys.executable, "-m", "seg_node.ros.doctor", "--json"]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=120)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and len(told) > 5 and told[0]["check"] == "middleware"


def test_another_middleware_has_no_profile(here):
    given = here({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
    assert transport.check_profile(given) == [] and "sockets" in only(transport.check_middleware(given)).says


@pytest.mark.parametrize(
    ("size", "free", "docker", "level", "type_"),
    [
        (8 << 30, 4 << 30, False, OK, ""),
        (64 * MB, 64 * MB, True, ERROR, "--ipc host"),
        (64 * MB, 64 * MB, False, ERROR, "remount,size=1G"),
        (8 << 30, 10 * MB, False, WARNING, "ls -lS"),
        (8 << 30, 10 * MB, True, WARNING, "ls -lS"),
    ],
)
def test_room_in_shared_memory(here, write, monkeypatch, size, free, docker, level, type_):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: (size, size - free, free))
    write({".dockerenv": ""} if docker else {})
    found = only(transport.check_shared_memory(here()))
    assert found.level == level and type_ in " ".join(found.type)


@pytest.mark.parametrize("docker", [False, True])
def test_more_room_is_advised_than_there_is(here, write, monkeypatch, docker):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: (1500 * MB, 0, 1500 * MB))
    write({".dockerenv": ""} if docker else {})
    found = only(transport.check_shared_memory(here(size=(2160, 3840), cameras=6)))
    assert "2g" in found.type[0].lower() and found.level == ERROR


def test_no_shared_memory_at_all(here):
    assert only(transport.check_shared_memory(here())).level == ERROR


def test_what_killed_processes_left(here, write, tmp_path):
    names = ("fastrtps_0123456789abcdef", "fastrtps_fedcba9876543210")
    write({f"dev/shm/{name}{end}": "x" for name in names for end in ("", "_el")})
    with open(tmp_path / "root/dev/shm" / (names[1] + "_el"), "rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        found = only(transport.check_left_behind(here()))
    assert found.level == WARNING and " of 1 killed" in found.says
    assert len(list((tmp_path / "root/dev/shm").iterdir())) == 4, "nothing is taken away"


def test_other_users_processes(here, write, monkeypatch):
    write({"dev/shm/fastrtps_0123456789abcdef": "x"})
    assert transport.check_owners(here()) == []
    monkeypatch.setattr(os, "getuid", lambda: os.stat("/").st_uid + 12345)
    assert only(transport.check_owners(here())).level == WARNING


# The network


def test_socket_buffers(here, write):
    assert network.check_socket_buffers(here()) == []  # a container hides them
    write({"proc/sys/net/core/rmem_max": 212992, "proc/sys/net/core/rmem_default": 212992})
    found = only(network.check_socket_buffers(here()))
    assert found.level == WARNING
    assert found.type[0] == "sudo sysctl -w net.core.rmem_default=16777216 net.core.rmem_max=16777216"
    settings = subprocess.check_output(["sh", "-c", found.type[1].partition(" | ")[0]]).decode()
    assert settings == "net.core.rmem_default = 16777216\nnet.core.rmem_max = 16777216\n"
    write({"proc/sys/net/core/rmem_max": 2147483647, "proc/sys/net/core/rmem_default": 16777216})
    assert only(network.check_socket_buffers(here())).level == OK


def test_fragments(here, write):
    write({"proc/sys/net/ipv4/ipfrag_high_thresh": 4194304})
    assert only(network.check_fragments(here())).level == WARNING
    write({"proc/sys/net/ipv4/ipfrag_high_thresh": 134217728})
    assert network.check_fragments(here()) == []


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, OK),
        ({"ROS_DOMAIN_ID": "7"}, OK),
        ({"ROS_DOMAIN_ID": "150"}, WARNING),
        ({"ROS_DOMAIN_ID": "300"}, ERROR),
        ({"ROS_DOMAIN_ID": "seven"}, ERROR),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, ERROR),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost"}, OK),
    ],
)
def test_discovery(here, environ, level):
    assert only(network.check_discovery(here(environ))).level == level


# The machine


@pytest.mark.parametrize(
    ("governor", "driver", "level"),
    [("schedutil", "x", OK), ("powersave", "acpi-cpufreq", WARNING), ("powersave", "intel_pstate", OK)],
)
def test_governor(here, write, governor, driver, level):
    assert machine.check_governor(here()) == []
    folder = CPU + "cpufreq/policy0/"
    write({folder + "scaling_governor": governor, folder + "scaling_driver": driver})
    assert only(machine.check_governor(here())).level == level


@pytest.mark.parametrize(
    ("files", "level"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, OK),
        ({"sys/fs/cgroup/cpu.max": "50000 100000"}, WARNING),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, OK),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, WARNING),
    ],
)
def test_cores_that_a_container_leaves(here, write, files, level):
    write({CPU + "present": "0-7", CPU + "online": "0-7", **files})
    assert only(machine.check_cores(here())).level == level


def test_load_and_memory(here, write):
    write({CPU + "online": "0-1", "proc/loadavg": "9.31 8 7 1/2 3", "proc/meminfo": "MemAvailable:  102400 kB"})
    assert only(machine.check_load(here())).level == WARNING
    assert only(machine.check_memory(here())).level == WARNING
    write({"proc/loadavg": "0.5 8 7 1/2 3", "proc/meminfo": "MemTotal: 1 kB\nMemAvailable:  8102400 kB"})
    assert machine.check_load(here()) == [] and only(machine.check_memory(here())).level == OK


MODES = {
    "TX2": (
        "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=MAXQ >\n< POWER_MODEL ID=3 NAME=MAXP_CORE_ARM >",
        0,
    ),
    "Xavier NX": ("< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >\n< POWER_MODEL ID=8 NAME=MODE_20W_6CORE >", 8),
    "Orin Nano": (
        "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
        2,
    ),
}


@pytest.mark.parametrize("board", MODES)
def test_power_mode(here, write, board):
    text, best = MODES[board]
    assert machine.check_power_mode(here()) == []
    write({"etc/nvpmodel.conf": text, "var/lib/nvpmodel/status": "pmode:0001 fmode:fanNull"})
    assert only(machine.check_power_mode(here())).type == (f"sudo nvpmodel -m {best}",)
    write({"var/lib/nvpmodel/status": f"pmode:{best:04d}"})
    assert only(machine.check_power_mode(here())).level == OK


@pytest.mark.parametrize("board", MODES)
def test_cores_that_are_off(here, write, board):
    text, best = MODES[board]
    write({CPU + "present": "0-5", CPU + "online": "0,3-5"})
    found = only(machine.check_cores(here()))
    assert found.level == WARNING and "4 of 6" in found.says and "cpu*/online" in found.type[0]
    write({"etc/nvpmodel.conf": text, "var/lib/nvpmodel/status": "pmode:0001"})
    assert only(machine.check_cores(here())).type == (f"sudo nvpmodel -m {best}",)
    write({"var/lib/nvpmodel/status": f"pmode:{best:04d}"})  # it is not the mode that keeps them off
    assert "cpu*/online" in only(machine.check_cores(here())).type[0]


def test_clocks(here, write):
    assert machine.check_clocks(here()) == []
    folder = GPU + "devfreq/17000000.gp10b/"
    write({GPU + "load": "0", folder + "cur_freq": "114750000", folder + "max_freq": "1300500000"})
    write({folder + "min_freq": "114750000"})
    found = only(machine.check_clocks(here()))
    assert found.level == WARNING and found.type[0].startswith("sudo jetson_clocks")
    write({folder + "min_freq": "1300500000"})
    assert only(machine.check_clocks(here())).level == OK


def test_heat(here, write):
    assert machine.check_heat(here()) == []
    throttle = CPU + "cpu0/thermal_throttle/core_throttle_count"
    write({throttle: "0"})
    assert only(machine.check_heat(here())).level == OK
    write({throttle: "12"})
    assert "12 times" in only(machine.check_heat(here())).says
    cooling = "sys/class/thermal/cooling_device0/"
    write({"etc/nv_tegra_release": "# R32", cooling + "type": "GPU-throttle-alert", cooling + "cur_state": "1"})
    assert "by heat" in only(machine.check_heat(here())).says


def test_a_cache_that_cannot_be_written(here, tmp_path, monkeypatch):
    assert machine.check_writable(here()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "file" / "cache"))
    assert only(machine.check_writable(here())).level == ERROR


# Software


def test_ros_that_is_not_sourced(here, write, monkeypatch):
    monkeypatch.setattr(software, "find_spec", lambda name: None)
    assert "pip install" in only(software.check_ros(here())).type[0]
    write({"opt/ros/jazzy/setup.bash": ""})
    assert only(software.check_ros(here())).type == ("source /opt/ros/jazzy/setup.bash",)
    assert "another Python" in only(software.check_ros(here({"ROS_DISTRO": "jazzy"}))).says
    monkeypatch.setattr(software, "find_spec", lambda name: None if name == "lifecycle_msgs" else SimpleNamespace())
    assert only(software.check_ros(here({"ROS_DISTRO": "jazzy"}))).type == (
        "sudo apt install ros-jazzy-lifecycle-msgs",
    )


def test_runtimes_that_are_missing(here, monkeypatch):
    monkeypatch.setattr(software.runtimes, "is_installed", lambda name: False)
    assert only(software.check_runtimes(here())).level == ERROR


def test_the_shipped_model_runs(here):
    pytest.importorskip("onnxruntime")
    found = software.check_model(here())
    assert {f.level for f in found} <= {OK, WARNING} and " ms for " in found[-1].says


def test_a_model_that_is_not_there_or_damaged(here, tmp_path):
    found = only(software.check_model(here(model="nothing_of_the_kind")))
    assert found.level == ERROR and "nothing_of_the_kind" in found.says
    folder = shutil.copytree(str(ROOT / "models" / "rdsnet_camvid"), str(tmp_path / "copy"))
    for path in Path(folder).glob("*.onnx"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    errors = [f for f in software.check_model(here(model=folder)) if f.level == ERROR]
    assert errors and all("sha256 differs" in f.says for f in errors)


# The program


def test_a_check_that_fails_keeps_no_other_from_being_made(here, monkeypatch):
    def check_stars(given):
        raise KeyError("sirius")

    monkeypatch.setattr(network, "CHECKS", (check_stars, network.check_discovery))
    found = {f.check: f for f in examine(here(), None)}
    assert found["stars"].level == WARNING and "sirius" in found["stars"].says
    assert {"discovery", "model"} <= set(found)


def test_findings_as_text(here):
    found = only(transport.check_profile(here()))
    lines = text_of(found, colour=False).splitlines()
    assert lines[0].startswith("ERROR") and max(map(len, lines[:3])) <= 120
    assert found.type[0] in [line.strip() for line in lines], "to be copied whole"


def test_a_profile_to_write(tmp_path, capsys):
    path = tmp_path / "new" / "fastdds.xml"
    assert main(["--image", "2160x3840", "--cameras", "2", "--write-profile", str(path)]) == 0
    assert read_profile(str(path)).segment == 256 * MB
    assert f"export FASTRTPS_DEFAULT_PROFILES_FILE={path}" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert main(["--write-profile", str(tmp_path / "file" / "x.xml")]) == 1
    assert "name another place" in capsys.readouterr().err
    assert main(["--write-profile", str(path)]) == 0  # one of ours is replaced, the user's own is not
    path.write_text("<dds>mine</dds>")
    assert main(["--write-profile", str(path)]) == 1 and path.read_text() == "<dds>mine</dds>"
    assert "is a profile of your own" in capsys.readouterr().err
    assert main(["--image", "4320x7680", "--cameras", "8", "--write-profile", str(tmp_path / "big.xml")]) == 1
    assert "do not fit" in capsys.readouterr().err and not (tmp_path / "big.xml").exists()


@pytest.mark.parametrize("words", [["--image", "large"], ["--cameras", "0"], ["--listen", "-1"], ["--listen", "nan"]])
def test_wrong_arguments(words):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
