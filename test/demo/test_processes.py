"""The demo's child processes: a clean environment, and nothing left behind."""

import os
import subprocess
import sys
import time

from seg_node.demo.processes import Child, child_environment, end, free_domain


def test_environment_is_private_unless_the_user_chose_a_domain(tmp_path):
    private = child_environment(tmp_path, {})
    assert 1 <= int(private["ROS_DOMAIN_ID"]) <= 101 and private["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    chosen = child_environment(tmp_path, {"ROS_DOMAIN_ID": "42"})
    assert chosen["ROS_DOMAIN_ID"] == "42" and "ROS_AUTOMATIC_DISCOVERY_RANGE" not in chosen


def test_traces_of_the_ros_wheels_are_removed_and_nothing_else(tmp_path):
    ours, theirs = os.path.join(sys.prefix, "lib"), "/opt/cuda/lib"
    wheels = child_environment(
        tmp_path, {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "LD_LIBRARY_PATH": f"{ours}:{theirs}", "HOME": "/home/me"}
    )
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in wheels and wheels["LD_LIBRARY_PATH"] == theirs
    assert wheels["HOME"] == "/home/me"
    sourced = child_environment(tmp_path, {"LD_LIBRARY_PATH": f"{ours}:/opt/ros/jazzy/lib"})
    assert sourced["LD_LIBRARY_PATH"] == f"{ours}:/opt/ros/jazzy/lib"


def test_a_domain_in_use_is_not_chosen():
    import socket

    taken = free_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", 7410 + 250 * taken))
        assert all(free_domain() != taken for _ in range(300))


def module(folder, text):
    (folder / "child_under_test.py").write_text(text)
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_end_kills_what_ignores_an_interrupt(tmp_path):
    environment = module(
        tmp_path,
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)\n",
    )
    child = Child("stubborn", "child_under_test", [], environment, tmp_path)
    deadline = time.monotonic() + 10
    while "up" not in child.end_of_log() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.code is None
    end([child], patience=0.2)
    assert child.code == -9


def test_the_end_of_a_log_says_why_a_child_died(tmp_path):
    child = Child("broken", "child_under_test", [], module(tmp_path, "raise SystemExit('no luck')"), tmp_path)
    child.process.wait(10)
    assert child.code == 1 and child.end_of_log() == "no luck"
    end([child])  # has ended: no complaint


def test_a_killed_parent_takes_its_children_along(tmp_path):
    environment = module(tmp_path, "import time; time.sleep(60)")
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import time
from pathlib import Path
from seg_node.demo.processes import Child
child = Child("sleeper", "child_under_test", [], {environment!r}, Path({str(tmp_path)!r}))
print(child.process.pid, flush=True)
time.sleep(60)
""",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(parent.stdout.readline())
    assert os.path.exists(f"/proc/{pid}")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(pid)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # a zombie waits for an init that reaps
    except FileNotFoundError:
        return False
