"""`seg-node top` as a person runs it: another process, on a terminal and off it, over real DDS."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from harness import NodeProcess, environment, until, write_card  # noqa: E402

from seg_node.commands import main  # noqa: E402
from seg_node.ros.health import STAGES  # noqa: E402
from seg_node.ros.top_view import Board  # noqa: E402

OK, WARN, ERROR, STALE = 0, 1, 2, 3
FIGURES = {
    "model": "rdsnet_camvid",
    "runtime": "onnx",
    "device": "cpu",
    "precision": "fp32",
    "input_size": "512x1024",
    "frames_in": "1234",
    "frames_out": "1219",
    "rate_in_hz": "30.25",
    "rate_out_hz": "29.75",
    "dropped_newer_frame": "12",
    "dropped_too_old": "3",
    "dropped_bad_image": "0",
    "lost_before_arrival": "4",
    **{
        f"{stage}_{p}_ms": f"{10 * i + j}.5"
        for i, stage in enumerate(STAGES)
        for j, p in enumerate(("p50", "p95", "p99"))
    },
}


def status(name, level=OK, message="29.8 frames a second", values=FIGURES, **more):
    pairs = [KeyValue(key=key, value=value) for key, value in {**values, **more}.items()]
    return DiagnosticStatus(name=name, level=bytes([level]), message=message, values=pairs)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Heard:
    """A board that is told what to hear, and when."""

    def __init__(self, *wanted):
        self.clock = Clock()
        self.board = Board(wanted, self.clock)

    def hear(self, *statuses, after=0.0):
        self.clock.now += after
        self.board.take(DiagnosticArray(status=list(statuses)))
        return self

    def text(self, width=80):
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self.board.lines(width))

    def styles(self, words):
        return {style for line in self.board.lines() for text, style in line if words in text}


def row(text, name):
    """Return the cells behind a name, of the first line that begins with it."""
    return next(line.split()[1:] for line in text.splitlines() if line.strip().startswith(name + " "))


def test_figures_stand_in_their_columns():
    lines = Heard().hear(status("robot/seg_node: front")).text().splitlines()
    assert lines[0].split() == ["robot/seg_node", "active"]
    assert lines[1].strip() == "rdsnet_camvid 512x1024, onnx on cpu, fp32"
    value = {key: FIGURES[key] for key in FIGURES if key.endswith("_ms")}
    latencies = [value[key + "_ms"] for key in ("age_p50", "age_p95", "total_p50", "total_p95", "total_p99")]
    assert lines[4].split() == ["front", "30.2", "29.8", *latencies, "15"]
    stages = lines[5].split()[3:]
    assert set(stages) == set(STAGES) - {"age", "total"}
    assert lines[6].split() == ["front", *(value[stage + "_p95_ms"] for stage in stages)]
    assert lines[7].split(maxsplit=2) == ["front", "OK", "29.8 frames a second"]
    assert lines[8].strip() == "dropped: 12 newer frame, 3 too old; lost before arrival: 4"
    for head, cells in ((lines[3], lines[4]), (lines[5], lines[6])):  # each under its head
        ends = [match.end() for match in re.finditer(r"\S+", cells)][1:]
        assert all(end == len(head) or (head[end] == " " and head[end - 1] != " ") for end in ends)


def test_nothing_is_wider_than_eighty_columns():
    long = "n" * 60 + "/seg_node"
    huge = dict.fromkeys((key for key in FIGURES if key.endswith(("_ms", "_hz"))), "1763625600123.456")
    heard = Heard().hear(
        status(long + ": " + "camera" * 9, WARN, "word " * 60, **huge),
        status(long + ": " + "unbroken" * 40, ERROR, "x" * 300, **{**huge, "model": "m" * 100}),
    )
    assert max(map(len, heard.text().splitlines())) <= 80
    assert max(map(len, heard.text(120).splitlines())) <= 120
    assert heard.text().count("x" * 55) >= 5  # a long message is whole


def test_unknown_keys_are_not_shown_and_missing_ones_are_dashes():
    heard = Heard().hear(status("a/seg_node: c", values={"frames_in": "1", "runtime": "onnx"}, novel_p95_ms="77.7"))
    text = heard.text()
    assert "novel" not in text and "77.7" not in text
    assert row(text, "c") == ["-"] * 8
    assert "- -, onnx on -, -" in text and "dropped: -; lost before arrival: -" in text


@pytest.mark.parametrize("value", ["nan", "", "inf", "soon"])
def test_what_is_no_number_is_a_dash(value):
    assert row(Heard().hear(status("n: c", age_p95_ms=value)).text(), "c")[3] == "-"


def test_causes_of_drops_are_those_the_node_knows():
    text = Heard().hear(status("n: c", dropped_max_rate="7", dropped_newer_frame="0")).text()
    assert "dropped: 3 too old, 7 max rate;" in text and row(text, "c")[7] == "10"
    none = dict.fromkeys((key for key in FIGURES if key.startswith("dropped_")), "0")
    assert "dropped: none;" in Heard().hear(status("n: c", **none)).text()


def test_nodes_and_cameras_are_sorted_and_other_programs_left_out():
    heard = Heard().hear(
        status("b/seg_node: right"), status("joy: driver", values={"runtime": "3"}), status("laser", values={})
    )
    heard.hear(status("b/seg_node: left"), status("a/seg_node: segmentation"))
    text = heard.text()
    assert list(heard.board.nodes()) == ["a/seg_node", "b/seg_node"]
    assert text.index("a/seg_node") < text.index("left") < text.index("right")
    assert "joy" not in text and "laser" not in text


def test_a_jetson_stands_under_its_node():
    values = {"gpu_load_percent": "63.7", "temperature_gpu_c": "45.0", "throttled": "heat", "source": "sysfs"}
    heard = Heard().hear(status("b: jetson", message="", values=values), status("a: c"))
    assert "jetson" not in heard.text()  # of no seg_node that is known
    heard.hear(status("b: c"))
    assert heard.text().splitlines()[-1].split(maxsplit=2) == ["jetson", "OK", "GPU 63.7 %, 45.0 C, throttled: heat"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], ["a/seg_node", "b/seg_node", "seg_node"]),
        (["seg_node"], ["a/seg_node", "b/seg_node", "seg_node"]),
        (["/seg_node"], ["seg_node"]),
        (["a/seg_node"], ["a/seg_node"]),
        (["/a/seg_node", "b/seg_node"], ["a/seg_node", "b/seg_node"]),
        (["node"], []),
    ],
)
def test_nodes_are_chosen_by_name(wanted, found):
    heard = Heard(*wanted).hear(status("a/seg_node: c"), status("b/seg_node: c"), status("seg_node: c"))
    assert list(heard.board.nodes()) == found
    assert set(heard.board.unwanted()) == {"a/seg_node", "b/seg_node", "seg_node"} - set(found)


@pytest.mark.parametrize(("level", "style"), [(OK, "green"), (WARN, "yellow"), (ERROR, "bold red"), (STALE, "magenta")])
def test_levels_have_colours(level, style):
    heard = Heard().hear(status("n: c", level, "the message"))
    assert style in heard.styles(("OK", "WARN", "ERROR", "STALE")[level])


@pytest.mark.parametrize(
    ("message", "values", "state"),
    [
        ("29.8 frames a second", {}, "active"),
        ("inactive", {}, "inactive"),
        ("loading", {}, "loading"),
        ("no image for 3 s", {"state": "inactive"}, "inactive"),
    ],
)
def test_state(message, values, state):
    assert Heard().hear(status("n: c", WARN, message, **values)).text().splitlines()[0].split() == ["n", state]


def test_a_model_that_loads_beside_is_named():
    assert Heard().hear(status("n: c", loading="erfnet")).text().splitlines()[0].endswith("active  loading erfnet")
    assert Heard().hear(status("n: c", loading="")).text().splitlines()[0].endswith("active")


def test_messages_cannot_move_the_cursor():
    text = Heard().hear(status("n: c", message="a\nb\x1b[2Jc\td\x07", model="m\x1b[31m")).text()
    assert "\x1b" not in text and "\x07" not in text and "a b[2Jc d" in text


@pytest.mark.parametrize("period", [0.5, 1.0, 10.0])
def test_silent_nodes_are_gone_then_removed(period):
    heard = Heard()
    for _ in range(4):
        heard.hear(status("n: c"), after=period)
    heard.clock.now += 2.9 * period
    assert "GONE" not in heard.text()
    heard.clock.now += 0.2 * period
    assert f"GONE  silent for {3.1 * period:.0f} s" in heard.text() and heard.styles("GONE") == {"bold red"}
    heard.clock.now += 9.8 - 0.1 * period
    assert "GONE" in heard.text()
    heard.hear(status("n: c"))
    assert "GONE" not in heard.text()
    heard.clock.now += 3.1 * period + 10
    assert heard.text() == "" and heard.board.nodes() == {}


def test_a_node_that_speaks_seldom_says_so():
    heard = Heard().hear(status("n: c", diagnostics_period="16"))
    heard.clock.now += 40
    assert "GONE" not in heard.text()
    heard.clock.now += 10
    assert "GONE" in heard.text()


def test_json_of_a_status():
    heard = Heard().hear(status("r/seg_node: front", WARN, "slow", infer_p95_ms="nan", model="7"))
    (one,) = heard.board.news()
    told = json.loads(json.dumps(one.json(), allow_nan=False))
    assert (told["node"], told["camera"], told["level"], told["message"]) == ("r/seg_node", "front", "WARN", "slow")
    values = told["values"]
    assert (values["frames_in"], values["rate_in_hz"], values["infer_p95_ms"], values["model"]) == (
        1234,
        30.25,
        None,
        "7",
    )
    assert heard.board.news() == []
    assert len(heard.hear(status("r/seg_node: front")).board.news()) == 1


# The command


@pytest.fixture
def robot(client):
    """A name under which two cameras and a Jetson speak, five times a second."""
    name = f"t{os.getpid()}_{time.monotonic_ns()}/seg_node"
    publisher = client.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    state = SimpleNamespace(name=name, speaks=True, message="29.8 frames a second")
    ended = threading.Event()

    def speak():
        while not ended.wait(0.2):
            if state.speaks:
                statuses = [status(f"{name}: right", message=state.message), status(f"{name}: left", WARN, "slow")]
                statuses.append(status(f"{name}: jetson", values={"power_mw": "8105"}, message=""))
                publisher.publish(DiagnosticArray(status=statuses))

    thread = threading.Thread(target=speak)
    thread.start()
    yield state
    ended.set()
    thread.join()
    client.node.destroy_publisher(publisher)


def top(*words, **changes):
    words = [sys.executable, "-m", "seg_node", "top", *words]
    return subprocess.run(words, env={**environment(), **changes}, capture_output=True, text=True, timeout=60)


def once(*words):
    """Run top --once where somebody speaks; on a busy machine DDS may need longer than its patience to find them."""
    for _ in range(3):
        ran = top("--once", *words)
        if "no seg_node says anything" not in ran.stderr:
            break
    return ran


def test_once(robot):
    ran = once(robot.name)
    assert ran.returncode == 0 and ran.stderr == ""
    assert ran.stdout.count(robot.name) == 1 and "\x1b" not in ran.stdout
    assert row(ran.stdout, "left")[:2] == ["30.2", "29.8"] and "8105 mW" in ran.stdout


def test_once_as_json(robot):
    ran = once("--json", robot.name)
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0 and ran.stderr == ""
    assert [one["camera"] for one in told] == ["left", "right", "jetson"]
    assert [one["level"] for one in told] == ["WARN", "OK", "OK"]


def test_once_of_the_real_node(client, tmp_path):
    node = NodeProcess(write_card(tmp_path / "model"))
    try:
        client.ready(node)
        ran = once(node.name)
        told = once("--json", node.name)
    finally:
        node.process.kill()
        node.process.communicate()
    assert ran.returncode == 0, ran.stderr
    assert node.name[1:] in ran.stdout and "pretend 24x32, fake on cpu" in ran.stdout
    values = json.loads(told.stdout.splitlines()[0])["values"]
    assert values["frames_in"] == 0 and values["infer_p95_ms"] is None


def test_once_without_a_node_says_what_to_check():
    start = time.monotonic()
    ran = top("--once", ROS_DOMAIN_ID="101")
    assert ran.returncode == 1 and ran.stdout == "" and time.monotonic() - start < 15
    assert "no seg_node says anything" in ran.stderr and "Traceback" not in ran.stderr
    for word in ("ros2 node list", "ROS_DOMAIN_ID: here it is 101", "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"):
        assert word in ran.stderr


def test_once_with_a_wrong_name_says_the_right_ones(robot):
    ran = once("nobody")
    assert ran.returncode == 1 and "/" + robot.name in ran.stderr and ran.stdout == ""


def test_json_is_a_stream_that_a_pipe_may_close(robot):
    words = [sys.executable, "-m", "seg_node", "top", "--json", "--period", "0.1", robot.name]
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told = [json.loads(process.stdout.readline()) for _ in range(9)]
        assert sum(one["camera"] == "left" for one in told) == 3
        process.stdout.close()
        assert process.wait(10) == 0 and process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def terminal(*words, module="seg_node", blocked=False, **changes):
    """Run top in a terminal of its own; yields the process and a function that returns what it drew so far."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    command = [sys.executable, "-m", *([module, "top"] if module == "seg_node" else [module]), *words]
    whole = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT] if blocked else [])
    process = subprocess.Popen(
        command,
        env={**environment(), "TERM": "xterm-256color", **changes},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    signal.pthread_sigmask(signal.SIG_SETMASK, whole)
    os.close(follower)
    drawn = bytearray()

    def read():
        with contextlib.suppress(OSError):  # the last program has left the terminal
            while True:
                drawn.extend(os.read(leader, 65536))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield process, lambda: drawn.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        thread.join(5)
        os.close(leader)


def plain(drawn):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_on_a_terminal_until_a_signal(robot, number):
    with terminal("--period", "0.1", robot.name) as (process, drawn):
        until(lambda: "8105 mW" in drawn(), what="the table")
        assert "\x1b[33m" in drawn()  # WARN is yellow
        robot.message = "another message"
        until(lambda: "another message" in drawn(), 10)
        assert "\x1b[1A" in drawn()  # in place
        robot.speaks = False
        until(lambda: "GONE" in drawn(), 10)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert "Traceback" not in drawn() and drawn().count("\x1b[?25h") == 1  # and the cursor is back
    assert max(map(len, plain(drawn()).splitlines())) <= 80


@pytest.mark.parametrize("wait", [0.02, 0.1, 0.3, 0.6, 1.0])
def test_an_early_ctrl_c_is_kept_until_it_can_be_heard(wait):
    """The command blocks signals before it becomes the listener, which ROS's wheels make start twice."""
    with terminal(module="seg_node.ros.top", blocked=True) as (process, drawn):
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0 and "Traceback" not in drawn()


def test_live_waits_for_a_node_and_says_what_to_check(client):
    with terminal("nobody_at_all", "--period", "0.1") as (process, drawn):
        until(lambda: "waiting for /diagnostics" in drawn())
        until(lambda: "ros2 node list" in drawn() or "these are" in drawn(), 15)
        assert process.poll() is None


def test_live_on_a_terminal_without_rich(robot, tmp_path):
    (tmp_path / "rich.py").write_text("raise ImportError('not on this robot')")
    path = f"{environment()['PYTHONPATH']}:{tmp_path}"
    with terminal("--period", "0.1", robot.name, PYTHONPATH=path) as (process, drawn):
        until(lambda: drawn().count("8105 mW") > 2, what="the table")
        assert "\x1b[H\x1b[2J" in drawn() and "\x1b[33m" not in drawn()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0 and "Traceback" not in drawn()


def test_live_off_a_terminal_is_plain(robot):
    words = [sys.executable, "-m", "seg_node", "top", "--period", "0.1", robot.name]
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    heads = 0
    for line in process.stdout:
        assert "\x1b" not in line
        heads += robot.name in line
        if heads == 3:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(10) == 0 and "Traceback" not in rest


@pytest.mark.parametrize("words", [["--period", "0"], ["--period", "nan"], ["--period", "soon"], ["--nonsense"]])
def test_wrong_arguments_exit_with_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["top", *words])
    assert caught.value.code == 2 and capsys.readouterr().err


def test_missing_ros_says_how_to_get_it(monkeypatch, capsys):
    from seg_node.commands import top as command

    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["top"]) == 1
    assert "source /opt/ros" in capsys.readouterr().err


def test_a_domain_that_is_not_set_stays_so(monkeypatch):
    """The demo's children get a domain of their own; this one must see the robot."""
    started = []
    monkeypatch.setattr(os, "execve", lambda *words: started.append(words))
    monkeypatch.delenv("ROS_DOMAIN_ID")
    try:
        main(["top", "a", "--once"])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    ((_, words, given),) = started
    assert given["ROS_DOMAIN_ID"] == "0" and words[-3:] == ["--once", "--", "a"]
    assert "ROS_LOCALHOST_ONLY" not in given or "ROS_LOCALHOST_ONLY" in os.environ
