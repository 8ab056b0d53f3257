"""Another model while the node runs: loaded beside, taken between two frames, refused without a loss."""

import signal
import threading
import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

import rcl_interfaces.msg  # noqa: E402
from harness import NodeProcess, image_message, send, until, write_card  # noqa: E402
from rcl_interfaces.srv import SetParameters, SetParametersAtomically  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from test_node_outputs import pixels, scene  # noqa: E402

from seg_node.ros.engine import Loader, Wanted  # noqa: E402

OK, WARN = 0, 1


@pytest.fixture
def node(client, tmp_path):
    node = client.ready(NodeProcess(write_card(tmp_path / "first")))
    node.labels, node.camera = client.listen(node), client.camera(node)
    send(node.camera, image_message(scene()), lambda: node.labels)
    yield node
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed, printed


class Load:
    """A camera of 50 frames a second, each of one colour."""

    def __init__(self, node):
        self.node, self.sent, self._on = node, 0, True
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        image = np.full((48, 64, 3), 3, np.uint8)
        while self._on:
            self.sent += 1
            self.node.camera.publish(image_message(image, stamp=(self.sent, 0), frame_id="load"))
            time.sleep(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._on = False
        self._thread.join()


def test_a_model_is_swapped_under_load_without_a_lost_frame(client, node, tmp_path):
    second = write_card(tmp_path / "second", shift=1, load_delay=1.0)
    (second / "card.yaml").write_text((second / "card.yaml").read_text().replace("pretend", "second"))
    del node.labels[:]
    with Load(node) as load:
        until(lambda: len(node.labels) > 20)
        begun = time.monotonic()
        assert client.set_string(node, "model", str(second)).successful
        assert time.monotonic() - begun < 0.9  # answered before it is loaded
        values = client.status(node, lambda level, message, values: "loading model" in message)[2]
        assert (values["model"], values["loading"]) == ("pretend", str(second))
        client.status(node, lambda level, message, values: values["model"] == "second" and level == OK)
        time.sleep(0.5)
    until(lambda: node.labels[-1].header.stamp.sec == load.sent, what="the last frame")
    values = [int(pixels(m)[0, 0, 0]) for m in node.labels]
    assert set(values) == {3, 4} and values == sorted(values)  # one swap, no going back
    stamps = [m.header.stamp.sec for m in node.labels]
    gaps = np.diff(stamps)
    assert stamps == sorted(stamps) and (gaps > 1).sum() <= 1 and gaps.max() <= 2  # at most the one in work


@pytest.mark.parametrize(
    "options, reason", [({"fail_every": 1, "load_delay": 0.3}, "the fake backend fails every 1"), ({}, "onnx")]
)
def test_a_model_that_does_not_load_leaves_the_old_one_running(client, node, tmp_path, options, reason):
    second = write_card(tmp_path / "second", **options)
    del node.labels[:]
    with Load(node):
        if options:
            assert client.set_string(node, "model", str(second)).successful
        else:
            assert client.set_string(node, "runtime", "onnx").successful  # which this model has no file for
        values = client.status(node, lambda level, message, values: "stays" in values["last_error"])[2]
        assert reason in values["last_error"] and "'pretend' stays" in values["last_error"]
        count = len(node.labels)
        until(lambda: len(node.labels) > count + 20)
    assert values["model"] == "pretend" and values["runtime"] == "fake"
    # and the parameters say what runs
    until(lambda: client.get_string(node, "model").endswith("first"))
    until(lambda: client.get_string(node, "runtime") == "fake")


def test_of_many_changes_the_last_one_counts(client, node, tmp_path):
    models = []
    for shift in range(1, 5):
        models.append(write_card(tmp_path / f"m{shift}", shift=shift, load_delay=0.3))
        text = (models[-1] / "card.yaml").read_text()
        (models[-1] / "card.yaml").write_text(text.replace("pretend", f"m{shift}"))
    with Load(node):
        for model in models:
            assert client.set_string(node, "model", str(model)).successful
        client.status(node, lambda level, message, values: values["model"] == "m4" and "loading" not in message)
        until(lambda: int(pixels(node.labels[-1])[0, 0, 0]) == 3 + 4)


def test_back_to_what_runs_while_another_loads(client, node, tmp_path):
    second = write_card(tmp_path / "second", shift=1, load_delay=0.6)
    with Load(node):
        assert client.set_string(node, "model", str(second)).successful
        assert client.set_string(node, "model", str(tmp_path / "first")).successful
        time.sleep(1.0)  # by now it would have been loaded
        _, message, values = client.status(node)
        assert values["model"] == "pretend" and "loading" not in message
        assert int(pixels(node.labels[-1])[0, 0, 0]) == 3


def test_a_failed_change_of_two_parameters_is_taken_back_in_one(client, node, tmp_path):
    second = write_card(tmp_path / "second", fail_every=1, load_delay=0.3)
    changes = [Parameter("model", value=str(second)), Parameter("device", value="cpu")]
    request = SetParametersAtomically.Request(parameters=[change.to_parameter_msg() for change in changes])
    with Load(node):
        answer = client.call(SetParametersAtomically, f"{node.name}/set_parameters_atomically", request)
        assert answer.result.successful
        client.status(node, lambda level, message, values: "stays" in values["last_error"])
        until(lambda: client.get_string(node, "device") == "auto")
        assert client.get_string(node, "model").endswith("first")
        time.sleep(0.3)
        assert "loading" not in client.status(node)[1]
    node.process.send_signal(signal.SIGINT)
    assert node.process.stderr.read().count("beside") == 1  # and no mixture of old and new was loaded


def test_a_change_while_inactive_and_unconfigured(client, node, tmp_path):
    second = write_card(tmp_path / "second", shift=2)
    assert client.transition(node, "deactivate")
    assert client.set_string(node, "model", str(second)).successful
    time.sleep(0.5)
    assert client.transition(node, "cleanup")
    assert client.set_string(node, "model", str(tmp_path / "first")).successful
    assert client.set_string(node, "model", str(second)).successful
    assert client.transition(node, "configure") and client.transition(node, "activate")
    del node.labels[:]
    image = np.full((48, 64, 3), 3, np.uint8)
    send(node.camera, image_message(image), lambda: node.labels)
    assert int(pixels(node.labels[-1])[0, 0, 0]) == 5


def test_a_model_that_cannot_be_closed_is_no_hindrance(client, tmp_path):
    """As an engine on a GPU that has failed: who sets another model must get it, and the one after it."""
    node = client.ready(NodeProcess(write_card(tmp_path / "first", close_fails="true")))
    for shift in (1, 2):
        name = f"m{shift}"
        model = write_card(tmp_path / name, shift=shift, close_fails="true")
        (model / "card.yaml").write_text((model / "card.yaml").read_text().replace("pretend", name))
        assert client.set_string(node, "model", str(model)).successful
        client.status(
            node, lambda level, message, values, name=name: values["model"] == name and "loading" not in message
        )
    assert client.transition(node, "deactivate") and client.transition(node, "cleanup")
    assert client.state(node) == "unconfigured"
    assert client.transition(node, "configure") and client.transition(node, "shutdown")
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed and printed.count("cannot be closed") >= 3, printed


def test_models_are_changed_while_an_inference_that_was_given_up_hangs(client, tmp_path):
    node = client.ready(
        NodeProcess(write_card(tmp_path / "first", delay=4.0), before="from seg_node.ros import node; node._HUNG = 0.3")
    )
    labels, camera = client.listen(node), client.camera(node)
    image = image_message(np.full((48, 64, 3), 3, np.uint8))
    send(camera, image, lambda: client.status(node)[2]["frames_in"] != "0")
    hangs_until = time.monotonic() + 4.0
    second, third = (write_card(tmp_path / f"m{shift}", shift=shift) for shift in (1, 2))
    (third / "card.yaml").write_text((third / "card.yaml").read_text().replace("pretend", "third"))
    assert client.set_string(node, "model", str(second)).successful
    client.status(node, lambda level, message, values: "loading" in message)  # it waits for the frame at work
    client.transition(node, "deactivate")
    assert client.state(node) == "unconfigured"
    assert client.transition(node, "configure") and client.transition(node, "activate")
    del labels[:]
    send(camera, image, lambda: labels)
    assert int(pixels(labels[-1])[0, 0, 0]) == 4
    assert client.set_string(node, "model", str(third)).successful
    client.status(node, lambda level, message, values: values["model"] == "third" and "loading" not in message)
    assert time.monotonic() < hangs_until, "this machine is too slow to see it"
    time.sleep(max(0.0, hangs_until - time.monotonic()) + 0.5)  # what waited for the hung frame goes on now
    del labels[:]
    for _ in range(3):
        count = len(labels)
        send(camera, image, lambda count=count: len(labels) > count)
    assert {int(pixels(label)[0, 0, 0]) for label in labels} == {5}
    assert "closed" not in client.status(node)[2]["last_error"]
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed, printed


def test_of_a_model_that_two_load_at_once_none_is_left_open(client, tmp_path):
    """Activated by hand while the model loads that was set in place of a broken one."""
    counts = """
from seg_node.runtimes import fake
def counted(what, method):
    def call(*arguments):
        print(what, flush=True)
        return method(*arguments)
    return call
fake.FakeRuntime.__init__ = counted("opened", fake.FakeRuntime.__init__)
fake.FakeRuntime.close = counted("closed", fake.FakeRuntime.close)
"""
    node = NodeProcess(write_card(tmp_path / "broken", fail_every=1), before=counts)
    client.status(node, lambda level, message, values: "cannot load" in message)
    assert client.set_string(node, "model", str(write_card(tmp_path / "good", load_delay=0.7))).successful
    assert client.transition(node, "activate")
    node.labels = client.listen(node)
    send(client.camera(node), image_message(scene()), lambda: node.labels)
    time.sleep(1.0)
    code, printed, _ = node.end()
    assert code == 0 and "Traceback" not in printed, printed
    assert printed.count("opened") == printed.count("closed") == 3, printed


CARDS = {
    "keys of two types": "options: {table: {1: a, b: c}}",
    "a tag": "options: {when: !!timestamp x}",
    "brackets without end": "options: {deep: " + "[" * 2000 + "]" * 2000 + "}",
}


@pytest.mark.parametrize("what", CARDS)
def test_a_strangers_card_is_refused_and_the_node_stays(client, node, tmp_path, what):
    model = write_card(tmp_path / "theirs")
    text = (model / "card.yaml").read_text().replace("options: {}", CARDS[what])
    (model / "card.yaml").write_text(text)
    answer = client.set_string(node, "model", str(model))
    assert not answer.successful and answer.reason.startswith("model: ")
    del node.labels[:]
    send(node.camera, image_message(scene()), lambda: node.labels)


def test_a_parameter_of_no_type_is_refused_and_the_node_stays(client, node):
    odd = rcl_interfaces.msg.Parameter(name="model", value=rcl_interfaces.msg.ParameterValue(type=42))
    answer = client.call(SetParameters, f"{node.name}/set_parameters", SetParameters.Request(parameters=[odd]))
    assert not any(result.successful for result in answer.results)
    request = SetParametersAtomically.Request(parameters=[odd])
    assert not client.call(SetParametersAtomically, f"{node.name}/set_parameters_atomically", request).result.successful
    del node.labels[:]
    send(node.camera, image_message(scene()), lambda: node.labels)


def test_the_loader_reports_each_failure_and_ends_its_thread(tmp_path):
    failures = []
    loader = Loader(lambda engine: None, lambda wanted, error: failures.append((wanted.model, str(error))))
    loader.load(Wanted(str(tmp_path / "none"), "fake", "auto", "auto"))
    until(lambda: failures and not loader.busy)
    assert "none" in failures[0][0] and "no model" in failures[0][1]
