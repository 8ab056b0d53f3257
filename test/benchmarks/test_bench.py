"""That the measurements work, and that their verdicts are right; how fast anything is, no test says."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import table, workers
from bench.field import Drive, delivered
from bench.items import gpu, node, peak
from bench.items.node import Bare
from bench.plan import PLANS
from bench.turns import in_turns, percentiles
from seg_node import commands
from seg_node.evaluation.benchmark import street
from seg_node.model_card import load_card
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import load_runtime

KEYS = {"name", "value", "unit", "baseline", "ratio", "hardware", "commit", "date"}
ROOT = Path(__file__).resolve().parents[2]


def test_both_nodes_are_measured_over_dds(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    words = ["node", "tutorial", "startup", "--tiny", "--json", "--model", str(exported), "--out", str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k not in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    (path,) = tmp_path.iterdir()
    assert rows == [json.loads(line) for line in path.read_text().splitlines()]
    assert all(set(row) >= KEYS and row["value"] is not None for row in rows)
    for item, endings in {
        "node": (
            "Hz: camera to label",
            "Hz: camera to overlay",
            "frames labelled",
            "processor",
            "time a frame",
            "memory",
        ),
        "startup": (
            "runtime auto: from its start to the first label",
            "runtime onnx: from its start to the first label",
        ),
        "tutorial": ("frames a second", "camera to label", "camera to overlay", "frames labelled"),
    }.items():
        names = [row["name"] for row in rows if row["item"] == item]
        assert all(any(name.endswith(ending) for name in names) for ending in endings), names
    shares = [row["value"] for row in rows if row["name"].endswith("frames labelled")]
    assert max(shares) > 0 and all(0 <= share <= 1 for share in shares)  # a label for each frame at most


def drive(rate: float, latency: list[float], sent: int) -> Drive:
    both = np.array(latency)
    return Drive(rate, sent, sent / rate, {"label": both}, np.diff(np.cumsum(both)), 50.0, 100.0, (len(both) / sent,))


BARE = Bare(np.full(20, 20.0), 30.0, 80.0, "onnx fp32 on cpu")  # 50 frames a second


def verdicts(rows) -> dict:
    return {row["name"].rpartition(": ")[2]: row.get("met") for row in rows}


def test_a_lost_frame_and_a_late_label_miss_their_goals() -> None:
    good = [drive(30.0, [23.0] * 10, 10)]
    assert verdicts(node.at_rate(good, BARE, "n")) == {
        "camera to label": True,
        "frames labelled": True,
        "processor": None,
    }
    late = [drive(30.0, [25.0] * 10, 10), drive(30.0, [25.0] * 9, 10)]
    assert verdicts(node.at_rate(late, BARE, "n")) == {
        "camera to label": False,
        "frames labelled": False,
        "processor": None,
    }
    assert delivered(late) == pytest.approx(0.95)


def test_at_more_than_the_network_can_there_is_no_verdict_on_losses() -> None:
    found = verdicts(node.at_rate([drive(60.0, [40.0] * 5, 10)], BARE, "n"))
    assert found["camera to label"] is None and found["frames labelled"] is None


@pytest.mark.parametrize(("age", "gap", "fresh", "fast"), [(35.0, 20.5, True, True), (70.0, 22.0, False, False)])
def test_saturated_a_node_must_be_fast_and_take_the_newest(age: float, gap: float, fresh: bool, fast: bool) -> None:
    it = drive(62.5, [age] * 10, 20)._replace(gaps=np.full(9, gap))
    found = verdicts(node.saturated([it], BARE, "n", 16.0))
    assert found["camera to label"] is fresh and found["time a frame"] is fast


def test_what_the_camera_did_not_saturate_has_no_verdict() -> None:
    it = drive(52.0, [35.0] * 10, 20)._replace(gaps=np.full(9, 20.5))
    found = verdicts(node.saturated([it], BARE, "n", 16.0))
    assert found["camera to label"] is None and found["time a frame"] is None


def test_more_is_sent_where_less_comes_out() -> None:
    plan = PLANS["full"]
    assert node.enough(plan, 10.0, 0.02) == plan.share()
    assert plan.share() < node.enough(plan, 100.0, 0.02) < node.enough(plan, 100.0, 5.0) == 4 * plan.share()


@pytest.mark.parametrize("capacity", [3.0, 17.0, 58.0])
def test_the_search_ends_at_the_highest_rate_that_is_kept_up_with(capacity: float) -> None:
    search = peak.Search(60.0)
    while not search.done:
        search.note(search.rate <= capacity)
    assert search.low <= capacity <= search.high and search.low > 0.94 * capacity


def test_things_take_turns_there_and_back() -> None:
    order: list[str] = []
    results = in_turns(3, {name: lambda name=name: order.append(name) or name for name in "ab"})
    assert order == ["a", "b", "b", "a", "a", "b"] and results == {"a": ["a"] * 3, "b": ["b"] * 3}
    assert percentiles(np.arange(101)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "frames": 101}
    assert percentiles(np.array([])) == {"frames": 0}


def test_an_items_rows_replace_its_old_ones_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    first, second = table.row("a", 1.0, "ms", 4.0), table.row("b", 12345.678, "ms", goal=">= 2 x", met=False)
    assert first["ratio"] == 0.25 and second["value"] == 12350 and second["baseline"] is None
    table.keep(path, "one", [{"item": "one", **first}, {"item": "one", **second}])
    table.keep(path, "two", [{"item": "two", **first}])
    table.keep(path, "one", [{"item": "one", **first}], others=True)
    assert [row["item"] for row in map(json.loads, path.read_text().splitlines())] == ["one", "two", "one"]
    table.keep(path, "one", [{"item": "one", **second}])
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["item"], row["name"]) for row in kept] == [("two", "a"), ("one", "b")]
    assert [each.name for each in path.parent.iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("AMD EPYC, 2 cores", "epyc_2core"),
        ("Intel(R) Core(TM) i7-9700K CPU @ 3.60GHz, 8 cores, NVIDIA H200", "core_i7_9700k_8core_h200"),
        ("NVIDIA Jetson AGX Orin Developer Kit, 12 cores", "jetson_agx_orin_developer_kit_12core"),
    ],
)
def test_a_machine_has_a_name_for_files(machine: str, name: str) -> None:
    assert table.slug(machine) == name


def test_what_was_not_measured_is_shown_with_its_reason(capsys: pytest.CaptureFixture) -> None:
    missed = table.row("slow", 1.0, "ms", 4.0, goal=">= 2 x", met=False)
    table.show([{"item": "i", **missed}, {"item": "i", **table.failure("gone", "no GPU here")}])
    assert table.failure("no file", f"make {ROOT}/models/mine")["skipped"] == "make models/mine"
    shown = capsys.readouterr().out
    assert "missed" in shown and "no GPU here" in shown


def test_a_worker_that_fails_says_why(exported: Path, tmp_path: Path) -> None:
    with workers.Worker("bench.bare", os.environ, tmp_path, str(exported)) as worker:
        answer = worker.ask("infer", frames=4)
        assert len(answer["ms"]) == 4 and answer["rss_mb"] > 10 and answer["runs"].startswith("o")
        assert workers.cpu_seconds(worker.pid) > 0 and workers.memory_mb(worker.pid) > 10
        with pytest.raises(workers.WorkerError, match="ZeroDivisionError"):
            worker.ask("infer", frames=0)
    worker = workers.Worker("bench.bare", os.environ, tmp_path, "no_such_model")
    with worker, pytest.raises(workers.WorkerError, match="no model 'no_such_model'"):
        worker.receive(60.0)


def test_the_tutorial_node_has_the_same_network(exported: Path) -> None:
    pytest.importorskip("rclpy")
    from bench.tutorial_node import Network

    card = load_card(exported)
    runtime = load_runtime(card, "torch")
    theirs, ours = Network(card), Segmenter(card, runtime)
    for image in street(card.size, count=3):
        assert np.mean(theirs.segment(image) == ours.segment(Frame(image, "bgr")).labels) > 0.999
    runtime.close()


def test_bytes_moved_are_those_of_the_convolutions(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from seg_node import networks

    monkeypatch.setattr(
        networks,
        "build",
        lambda name, classes, **options: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU()),
    )
    height, width = load_card(exported).size
    values = 3 * height * width + 4 * (height // 2) * (width // 2) + 4 * 3 * 9 + 4
    assert gpu.bytes_moved(load_card(exported)) == 2 * values
    assert gpu.bandwidth("cpu", 1) > 1e6


def test_seg_node_benchmark_prints_a_row_a_way(exported: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["benchmark", str(exported), "--runtime", "onnx", "--runtime", "torch", "--precision", "fp32"]
    assert commands.main([*words, "--precision", "int8", "--frames", "5", "--rounds", "2", "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["name"].rpartition(", ")[2] for row in rows] == ["torch fp32", "onnx fp32"]  # PyTorch is the baseline
    assert all(set(row) >= KEYS and row["frames"] == 6 and row["equal_labels"] > 0.99 for row in rows)
    assert rows[0]["ratio"] == 1.0 and rows[1]["ratio"] == pytest.approx(rows[0]["p50"] / rows[1]["p50"], rel=1e-3)
    assert "onnx int8" in captured.err and "torch int8" in captured.err  # asked for by name: why they are missing


def test_seg_node_benchmark_says_when_nothing_runs(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert commands.main(["benchmark", str(exported), "--runtime", "torch", "--precision", "int8"]) == 1
    assert "torch int8" in capsys.readouterr().err
    # the reason is told, and the models after it are measured
    words = ["--runtime", "onnx", "--frames", "2", "--rounds", "1", "--json"]
    plain = shutil.copytree(exported, tmp_path / "plain")
    (plain / load_card(plain).files["onnx"].path.name).unlink()
    assert commands.main(["benchmark", str(plain), str(exported), *words]) == 1
    captured = capsys.readouterr()
    assert "small.onnx" in captured.err and json.loads(captured.out)["name"].endswith("onnx fp32")


def test_what_was_measured_before_an_interruption_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import __main__ as bench

    def measure(plan: object, say: object) -> Iterator[table.Row]:
        yield table.row("first", 1.0, "ms")
        raise KeyboardInterrupt

    old = {"item": "models", **table.row("older", 2.0, "ms")}
    path = table.path_in(tmp_path, "tiny")
    table.keep(path, "models", [old])
    monkeypatch.setattr(bench.plugins, "load", lambda *_: SimpleNamespace(measure=measure))
    monkeypatch.setattr(sys, "argv", ["bench", "models", "--tiny", "--out", str(tmp_path)])
    assert bench.main() == 130
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["older", "first"]
