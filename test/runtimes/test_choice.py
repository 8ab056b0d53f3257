"""Which backend "auto" takes, and how many threads a network gets. No network is loaded for it."""

from pathlib import Path

import pytest

from seg_node import runtimes
from seg_node.model_card import CardError, load_card
from seg_node.runtimes import CannotCompute, CannotLoad, _threads, choose, openvino

BF16 = {"path": "x.xml", "precision": "bf16"}
FP32 = {"path": "x.xml", "precision": "fp32"}
ANY = {"path": "x"}


def int8(lost: float | None = 0.004, truth: str = "labels", **notes: object) -> dict:
    return {"path": "x.xml", "precision": "int8", "calibration": {"truth": truth, "miou_lost": lost}, **notes}


WITH_CONFIDENCE = {"onnx": ANY, "onnx_confidence": ANY, "openvino_int8": int8()}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_GPUS", ())


@pytest.mark.parametrize(
    "files, precision, wanted",
    [
        ({"onnx": ANY, "torch": ANY}, "auto", "openvino"),  # it reads ONNX, too
        ({"onnx_tx2": ANY, "torch": ANY}, "auto", "onnx"),
        ({"torch": ANY}, "auto", "torch"),
        ({"onnx": FP32, "torch": ANY}, "bf16", "openvino"),
        ({"onnx": FP32, "onnx_fp16": {"path": "x", "precision": "fp16"}}, "fp16", "onnx"),  # OpenVINO may or may not
        ({"onnx": FP32, "openvino": {"path": "x", "precision": "fp16"}}, "fp16", "openvino"),
        ({"onnx": ANY}, "int8", "openvino"),  # none can: this one says why
        ({"torch": ANY}, "bf16", "torch"),
        ({"torch": ANY, "tensorrt": ANY}, "auto", "torch"),  # an engine by name only
        ({"torch": ANY, "openvino_int8": int8(lost=0.03)}, "auto", "torch"),  # not harmless
        ({"torch": ANY, "openvino_int8": int8(lost=0.03)}, "int8", "openvino"),
        (
            {"onnx_tx2": ANY, "openvino_int8": int8(weights="2" * 64), "torch": {"path": "x", "sha256": "1" * 64}},
            "auto",
            "onnx",
        ),
    ],
)
def test_which_backend(write_card, monkeypatch: pytest.MonkeyPatch, files: dict, precision: str, wanted: str) -> None:
    monkeypatch.setattr(runtimes, "is_installed", lambda name: True)
    assert choose(load_card(write_card(files=files)), precision) == wanted


@pytest.mark.parametrize(
    "builds, device, wanted",
    [
        (["onnx", "torch"], "auto", "onnx"),
        (["onnx", "torch"], "gpu", "onnx"),
        (["onnx", "torch"], "CPU", "openvino"),
        (["torch"], "auto", "openvino"),  # PyTorch has no file here
        ([], "auto", "openvino"),
    ],
)
def test_which_with_a_gpu(
    write_card, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, builds: list, device: str, wanted: str
) -> None:
    monkeypatch.setattr(runtimes, "is_installed", lambda name: True)
    monkeypatch.setattr(runtimes, "_is_for_gpus", lambda name: name in builds)
    monkeypatch.setattr(runtimes, "_GPUS", (str(tmp_path),))
    assert choose(load_card(write_card(files={"onnx": ANY, "openvino_int8": int8()})), "auto", device) == wanted


@pytest.mark.parametrize(
    "files, precision, can, wanted",
    [
        ({"onnx": ANY, "openvino_int8": int8()}, "auto", ["FP32", "INT8"], ("openvino_int8", "int8")),
        ({"onnx": ANY, "openvino_int8": int8()}, "auto", ["FP32"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": int8(lost=0.0051)}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": int8(truth="the network")}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": {"path": "x.xml"}}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": int8(lost=None)}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": int8(label_stride=2)}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": int8(batch=4)}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino_int8": int8(parity={"passed": False})}, "auto", ["FP32", "INT8"], ("onnx", "fp32")),
        (WITH_CONFIDENCE, "auto", ["FP32", "INT8"], ("onnx", "fp32")),  # or it would be gone
        (
            {**WITH_CONFIDENCE, "openvino_int8": int8(confidence=True)},
            "auto",
            ["FP32", "INT8"],
            ("openvino_int8", "int8"),
        ),
        (
            {"onnx": ANY, "torch": {"path": "x", "sha256": "1" * 64}, "openvino_int8": int8(weights="2" * 64)},
            "auto",
            ["FP32", "INT8"],
            ("onnx", "fp32"),
        ),
        ({"onnx": ANY, "openvino_int8": int8()}, "fp32", ["FP32", "INT8"], ("onnx", "fp32")),
        ({"onnx": ANY, "openvino": BF16, "openvino_int8": int8(lost=0.1)}, "auto", ["BF16"], ("openvino", "bf16")),
    ],
)
def test_what_openvino_takes(write_card, files: dict, precision: str, can: list, wanted: tuple) -> None:
    assert openvino._choose(load_card(write_card(files=files)), precision, can) == wanted


class Loads:
    """A backend's module that loads itself, or cannot."""

    RANK, REQUIRES = 1, "sys"

    def __init__(self, reads: dict, error: Exception | None) -> None:
        self.READS, self.error = reads, error

    def load(self, *how: object) -> "Loads":
        if self.error:
            raise self.error
        return self


@pytest.mark.parametrize(
    "first, raises",
    [
        (CannotLoad("x.onnx: no such operator", "onnx"), None),
        (CannotLoad("x.xml: no graph", "openvino"), "no graph"),  # which nothing else reads
        (CardError("x.onnx: sha256 differs"), "sha256 differs"),
        (ValueError("device 'nonsense' is not there"), "nonsense"),
    ],
)
def test_a_stranger_that_the_fastest_cannot_load(
    write_card, monkeypatch: pytest.MonkeyPatch, first: Exception, raises: str | None
) -> None:
    card, onnx = load_card(write_card(files={"onnx": ANY, "torch": ANY})), {"onnx": ("fp32",)}
    modules = {
        "one": Loads(onnx, first),
        "two": Loads({"torch": ("fp32",)}, None),
        "three": Loads(onnx, ValueError("cannot")),
        "four": Loads(onnx, None),
    }
    monkeypatch.setattr(runtimes, "names", lambda: list(modules))
    said: list[str] = []
    monkeypatch.setattr(runtimes, "backend", modules.get)
    monkeypatch.setattr(runtimes._log, "warning", lambda text, *what: said.append(text % what))
    if raises is None:
        assert runtimes.load_runtime(card) is modules["four"]
        assert said == ["x.onnx: no such operator; four runs it instead"]
        modules["four"].error = first
    with pytest.raises(ValueError, match=raises or "no such operator"):
        runtimes.load_runtime(card)


def test_a_precision_that_the_fastest_does_not_compute_in_here(write_card, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO reads files in fp16, but an ordinary CPU does not compute in it; PyTorch does."""
    card, both = load_card(write_card(files={"onnx": ANY, "torch": ANY})), {"onnx": ("fp32", "fp16")}
    modules = {
        "one": Loads(both, CannotCompute("precision 'fp16' is not possible here")),
        "two": Loads({"onnx": ("fp32",)}, None),
        "three": Loads({"torch": ("fp32", "fp16")}, None),
    }
    monkeypatch.setattr(runtimes, "names", lambda: list(modules))
    monkeypatch.setattr(runtimes, "backend", modules.get)
    assert runtimes.load_runtime(card, precision="fp16") is modules["three"]
    with pytest.raises(CannotCompute):
        runtimes.load_runtime(card, "one", precision="fp16")  # whoever is named explains itself
    modules["three"].error = ValueError("no")
    with pytest.raises(CannotCompute):
        runtimes.load_runtime(card, precision="fp16")


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
    assert _threads._quota(tmp_path) == most


def test_no_limit(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    assert _threads._quota(tmp_path) == _threads._quota(tmp_path / "gone") > 1000
    assert _threads.inference_threads() >= 1


@pytest.mark.parametrize(("quota", "most"), [("150000\n", 2), ("100000\n", 1), ("-1\n", 1 << 20)])
def test_the_limit_of_an_older_kernels_container(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert _threads._quota(tmp_path) == most
