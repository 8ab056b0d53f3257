"""Which backend "auto" takes, and how many threads a network gets. No network is loaded for it."""

from pathlib import Path

import pytest

from seg_node import runtimes
from seg_node.model_card import load_card
from seg_node.runtimes import _threads, choose

BF16 = {"path": "x.xml", "precision": "bf16"}
FP32 = {"path": "x.xml", "precision": "fp32"}
ANY = {"path": "x"}


@pytest.mark.parametrize(
    "files, precision, wanted",
    [
        ({"onnx": ANY, "torch": ANY}, "auto", "onnx"),
        ({"onnx": ANY, "openvino": FP32}, "auto", "onnx"),
        ({"onnx": ANY, "openvino": BF16}, "auto", "openvino"),  # who exported so wants it
        ({"onnx": ANY, "openvino_int8": ANY}, "auto", "onnx"),  # without a loss
        ({"onnx": ANY, "torch": ANY}, "bf16", "openvino"),  # it reads ONNX, too
        ({"onnx": ANY}, "int8", "onnx"),  # none can: this one says why
        ({"torch": ANY}, "bf16", "torch"),
    ],
)
def test_which_backend(write_card, monkeypatch: pytest.MonkeyPatch, files: dict, precision: str, wanted: str) -> None:
    monkeypatch.setattr(runtimes, "is_installed", lambda name: True)
    assert choose(load_card(write_card(files=files)), precision) == wanted


@pytest.mark.parametrize("cores, quota, threads", [(1, 9, 1), (2, 9, 2), (3, 9, 2), (8, 9, 7), (8, 2, 2), (8, 1, 1)])
def test_a_core_is_left_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, cores: int, quota: int, threads: int
) -> None:
    monkeypatch.setattr(_threads, "_cores", lambda cpus, allowed: cores)
    monkeypatch.setattr(_threads, "_quota", lambda limit: quota)
    assert _threads.inference_threads() == threads


def test_hardware_threads_of_a_core_count_once(tmp_path: Path) -> None:
    for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        (tmp_path / f"cpu{number}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}" / "topology" / "thread_siblings_list").write_text(siblings + "\n")
    assert _threads._cores(tmp_path, {0, 1, 2, 3}) == 2 and _threads._cores(tmp_path, {0, 2}) == 1
    assert _threads._cores(tmp_path / "gone", {0, 1, 5}) == 3


@pytest.mark.parametrize("text, most", [("150000 100000\n", 2), ("200000 100000", 2), ("50000 100000", 1)])
def test_a_containers_limit(tmp_path: Path, text: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert _threads._quota(tmp_path / "cpu.max") == most


def test_no_limit(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    assert _threads._quota(tmp_path / "cpu.max") == _threads._quota(tmp_path / "gone") > 1000
    assert _threads.inference_threads() >= 1
