"""Export to OpenVINO: the precisions of one IR, confidence in the same file, and INT8 with its loss measured."""

import builtins
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
openvino = pytest.importorskip("openvino")

from seg_node import commands, exporters  # noqa: E402
from seg_node.datasets import DatasetError, open_split  # noqa: E402
from seg_node.exporters import Wanted, _calibration, quantise  # noqa: E402
from seg_node.exporters.parity import ParityError  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.model_card import CardError, ModelCard, load_card, sha256  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402
from seg_node.runtimes.openvino import _choose  # noqa: E402

SMALL = (96, 128)
HAS = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """The small model with its weights alone."""
    return only_weights(Path(shutil.copytree(exported, tmp_path / "small")))


def only_weights(folder: Path) -> Path:
    table = yaml.safe_load((folder / "card.yaml").read_text())
    table["files"] = {"torch": {"path": "weights.pt", "sha256": sha256(folder / "weights.pt")}}
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return folder


def street(card: ModelCard, count: int) -> np.ndarray:
    split = open_split("street", "val", size=card.size)
    return np.stack([split[index][0] for index in range(count)])


@pytest.mark.parametrize("precision, share", [("fp32", 0.999), ("fp16", 0.99), ("bf16", 0.9)])
def test_a_model_of_an_ir_alone(model: Path, precision: str, share: float) -> None:
    wanted = Wanted(precision=precision, force=precision == "bf16")  # random weights: near ties
    if precision == "bf16" and "BF16" not in HAS:
        with pytest.raises(ValueError, match="CPU does not compute in bf16"):
            exporters.export(model, "openvino", wanted)
        return
    card = load_card(exporters.export(model, "openvino", wanted))
    batch = street(card, 3)
    truth = load_runtime(card, "torch", "cpu").infer(batch).labels.copy()
    alone = card._replace(files={"openvino": card.files["openvino"]})
    runtime = load_runtime(alone, "auto", "cpu")
    assert runtime.name == "openvino" and np.mean(runtime.infer(batch).labels == truth) >= share
    assert runtime.precision == (precision if precision.upper() in HAS else "fp32")
    runtime.wants_confidence = True
    assert runtime.infer(batch).confidence is None
    weights = card.file("openvino").with_suffix(".bin").stat().st_size / (model / "weights.pt").stat().st_size
    assert 0.45 < weights < 0.6 if precision == "fp16" else 0.9 < weights < 1.1


def test_one_ir_gives_confidence_where_it_is_wanted(model: Path) -> None:
    card = load_card(exporters.export(model, "openvino", Wanted(confidence=True, batch=2)))
    batch = street(card, 3)
    truth, runtime = load_runtime(card, "torch", "cpu"), load_runtime(card, "openvino", "cpu")
    plain = runtime.infer(batch)
    labels = plain.labels.copy()
    assert plain.confidence is None and runtime.batch == 2
    truth.wants_confidence = runtime.wants_confidence = True
    sure, wanted = runtime.infer(batch), truth.infer(batch)
    assert np.array_equal(sure.labels, labels)
    assert sure.confidence is not None and np.abs(sure.confidence.astype(int) - wanted.confidence).max() <= 1


def test_a_part_that_is_cut_short(model: Path) -> None:
    card = load_card(exporters.export(model, "openvino"))
    part = card.file("openvino").with_suffix(".bin")
    part.write_bytes(part.read_bytes()[:-1000])
    with pytest.raises(CardError, match=r"small\.bin: sha256 differs"):
        load_runtime(card, "openvino", "cpu")


@pytest.mark.parametrize(
    "held, asked, has, gives",
    [
        ({"openvino": "fp32", "onnx": ""}, "auto", ["FP32", "BF16"], ("openvino", "fp32")),
        ({"openvino": "bf16"}, "auto", ["FP32", "BF16"], ("openvino", "bf16")),
        ({"openvino": "bf16"}, "auto", ["FP32"], ("openvino", "fp32")),
        ({"openvino": "bf16"}, "bf16", ["FP32"], "choose auto, fp32$"),
        ({"openvino": "fp16"}, "auto", ["FP32", "FP16"], ("openvino", "fp16")),
        ({"openvino": "fp16"}, "fp32", ["FP32", "FP16"], ("openvino", "fp32")),
        ({"onnx": "", "openvino_int8": "int8"}, "auto", ["FP32"], ("onnx", "fp32")),
        ({"onnx": "", "openvino_int8": "int8"}, "int8", ["FP32"], ("openvino_int8", "int8")),
        ({"openvino_int8": "int8"}, "auto", ["FP32"], ("openvino_int8", "int8")),
        ({"openvino_int8": "int8"}, "fp32", ["FP32"], "choose auto, int8"),
        ({"openvino": "fp32"}, "int8", ["FP32"], "--to openvino --precision int8 --calibrate"),
    ],
)
def test_which_file_a_precision_means(model: Path, held: dict, asked: str, has: list, gives) -> None:
    table = yaml.safe_load((model / "card.yaml").read_text())
    table["files"] = {kind: {"path": kind, **({"precision": name} if name else {})} for kind, name in held.items()}
    (model / "card.yaml").write_text(yaml.safe_dump(table))
    card = load_card(model)
    if isinstance(gives, tuple):
        assert _choose(card, asked, has) == gives
    else:
        with pytest.raises(ValueError, match=gives):
            _choose(card, asked, has)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The shipped network for small images."""
    return shipped(tmp_path / "trained")


def shipped(folder: Path, name: str = "rdsnet_camvid") -> Path:
    only_weights(Path(shutil.copytree(load_card(name).folder, folder)))
    table = yaml.safe_load((folder / "card.yaml").read_text())
    table.update(name="trained", input={**table["input"], "size": list(SMALL)})
    table.pop("scores")
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return folder


@pytest.fixture
def some_camvid(camvid: Path, tmp_path: Path) -> Path:
    """Some of CamVid: 24 images to train on and 12 of val."""
    folder = tmp_path / "CamVid"
    for split, count in (("train", 24), ("val", 12)):
        for part in (split, f"{split}annot"):
            (folder / part).mkdir(parents=True)
            paths = sorted((camvid / part).glob("*.png"))
            for path in paths[:: len(paths) // count][:count]:
                (folder / part / path.name).symlink_to(path)
    return folder


def test_int8_of_a_trained_network(trained: Path, some_camvid: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every line of stdout is JSON; the loss was measured on images that the ranges do not come from."""
    pytest.importorskip("nncf")
    line = ["export", str(trained), "--to", "openvino", "--precision", "int8", "--calibrate", str(some_camvid)]
    assert commands.main([*line, "--confidence", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["calibration"]["calibrated_on"] == "camvid train, 18 images"
    assert said["calibration"]["measured_on"] == "camvid val, 12 images"

    card = load_card(trained)
    lost = card.notes["scores"]["openvino_int8_miou_lost"]
    about = card.files["openvino_int8"].notes["calibration"]
    assert lost == about["miou_lost"] == pytest.approx(about["miou_fp32"] - about["miou_int8"], abs=2e-5)
    assert lost <= quantise.MOST_LOST and about["truth"] == "labels" and about["quantisers"] > 20
    assert card.file("openvino_int8").with_suffix(".bin").stat().st_size < 0.3 * card.file("torch").stat().st_size

    runtime, truth = load_runtime(card, "openvino", "cpu", "int8"), load_runtime(card, "torch", "cpu")
    batch = street(card, 2)
    assert runtime.precision == "int8" and np.mean(runtime.infer(batch).labels == truth.infer(batch).labels) > 0.97
    runtime.wants_confidence = True
    assert runtime.infer(batch).confidence is not None
    only = card._replace(files={"openvino_int8": card.files["openvino_int8"]})
    assert load_runtime(only).precision == "int8"

    graph = openvino.compile_model(card.file("openvino_int8"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    nodes = [node.get_rt_info() for node in graph.get_runtime_model().get_ops()]
    computed = [n["runtimePrecision"].astype(str) for n in nodes if "Convolution" in n["layerType"].astype(str)]
    assert len(computed) == 20 and set(computed) <= {"u8", "i8"}  # the grouped ones too
    assert card.files["openvino_int8"].notes["confidence"] is True


@pytest.mark.skipif("BF16" not in HAS, reason="this CPU does not compute in bf16")
def test_bf16_that_would_never_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"c3net2_camvid.onnx: OpenVINO never ends"):
        load_runtime(load_card("c3net2_camvid"), "openvino", "cpu", "bf16")
    load_runtime(load_card("enet_camvid"), "openvino", "cpu", "bf16").close()


def test_int8_leaves_comparisons_alone(tmp_path: Path, some_camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENet's pooling compares a maximum with where it came from, behind a border of -infinity."""
    pytest.importorskip("nncf")
    for limit in ("MAY_LOSE", "MOST_LOST"):
        monkeypatch.setattr(quantise, limit, 1.0)  # no mixed precision
    wanted = Wanted(precision="int8", calibrate=some_camvid)
    made = exporters.make(shipped(tmp_path / "trained", "enet_camvid"), "openvino", wanted).files["openvino_int8"]
    assert made["calibration"]["miou_lost"] < 0.05 and made["calibration"]["miou_fp32"] > 0.2
    graph = openvino.Core().read_model(tmp_path / "trained" / made["path"])
    compared = [op for op in graph.get_ops() if op.get_type_name() == "Equal"]
    makers = {op.input(i).get_source_output().get_node().get_type_name() for op in compared for i in (0, 1)}
    assert len(compared) == 36 and "FakeQuantize" not in makers


def test_mixed_precision_saves_a_network_that_int8_ruins(
    trained: Path, some_camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels 500 times larger than their neighbours, undone by the next kernel: the same function in floats."""
    pytest.importorskip("nncf")
    monkeypatch.setattr(quantise, "_RANKED", 3)  # to be quick
    from seg_node.runtimes.torch import read_weights
    from seg_node.training.checkpoint import save_weights

    weights = read_weights(trained / "weights.pt")
    for name in ("norm1.weight", "norm1.bias"):
        weights[f"encoder.3.{name}"][:8] *= 500
    weights["encoder.3.conv.weight"][:, :8] /= 500
    save_weights(weights, trained / "weights.pt")
    only_weights(trained)
    said: list[str] = []
    wanted = Wanted(precision="int8", calibrate=some_camvid)
    made = exporters.make(trained, "openvino", wanted, say=said.append).files["openvino_int8"]["calibration"]
    assert any("trying mixed precision" in line for line in said)
    assert made["quantisers_left_out"] > 0 and made["miou_lost"] <= quantise.MAY_LOSE


def test_what_loses_more_is_refused_and_changes_nothing(
    trained: Path, some_camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    for limit in ("MAY_LOSE", "MOST_LOST"):
        monkeypatch.setattr(quantise, limit, -0.5)  # no network gains so much: mixed precision is tried, and refused
    monkeypatch.setattr(quantise, "_LAYERS", 1)
    monkeypatch.setattr(quantise, "_RANKED", 1)
    before = (trained / "card.yaml").read_bytes()
    wanted = Wanted(precision="int8", calibrate=some_camvid / "val")
    with pytest.raises(ParityError, match="points of mIoU on val 9 to 11"):
        exporters.export(trained, "openvino", wanted)
    assert (trained / "card.yaml").read_bytes() == before
    assert {path.name for path in trained.iterdir()} == {
        path.name for path in load_card("rdsnet_camvid").folder.iterdir()
    }


def test_images_without_labels(trained: Path, tmp_path: Path) -> None:
    """The network's own probabilities stand in for labels, and the card says so."""
    pytest.importorskip("nncf")
    (tmp_path / "images").mkdir()
    for index, image in enumerate(street(load_card(trained), 15)):
        cv2.imwrite(str(tmp_path / "images" / f"frame{index}.png"), image)
    wanted = Wanted(precision="int8", calibrate=tmp_path / "images")
    made = exporters.make(trained, "openvino", wanted).files["openvino_int8"]["calibration"]
    assert "probabilities" in made["truth"] and abs(made["miou_lost"]) <= quantise.MOST_LOST
    assert made["calibrated_on"] == "images 0 to 8, 9 images" and made["measured_on"] == "images 12 to 14, 3 images"


def test_no_image_is_in_two_parts(camvid: Path) -> None:
    eleven = load_label_set("camvid11")
    found = _calibration.find(camvid, eleven)
    assert found.label_set is not None and (len(found.calibrate), len(found.measure)) == (128, 101)
    assert not set(found.calibrate.indices) & set(found.tune.indices)
    names = {found.calibrate[index].name for index in range(0, 128, 16)}
    assert names.isdisjoint(found.measure[index].name for index in range(0, 101, 10))
    folder = _calibration.find(camvid / "val", eleven)
    parts = [set(part.indices) for part in (folder.calibrate, folder.tune, folder.measure)]
    assert sum(map(len, parts)) == len(set.union(*parts)) and max(parts[0]) < min(parts[1]) < min(parts[2])
    assert folder.label_set is not None and len(np.unique(folder.measure[0].label)) > 5
    assert _calibration.find(camvid / "val", load_label_set("cityscapes19")).label_set is None


def test_images_that_are_not_there(tmp_path: Path) -> None:
    labels = load_label_set("camvid11")
    with pytest.raises(FileNotFoundError, match=r"gone: no such folder; --calibrate"):
        _calibration.find(tmp_path / "gone", labels)
    with pytest.raises(DatasetError, match=r"holds no images and is no data set; .*camvid"):
        _calibration.find(tmp_path, labels)
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"holds 1 images; .* 5 at least"):
        _calibration.find(tmp_path, labels)


def test_what_int8_needs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="needs --calibrate DIR"):
        exporters.export(model, "openvino", Wanted(precision="int8"))
    with pytest.raises(ValueError, match="--target tx2 is for --to onnx"):
        exporters.export(model, "openvino", Wanted(target="tx2"))
    real = builtins.__import__

    def without(name: str, *rest, **more):
        if name == "nncf":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install nncf"):
        exporters.export(model, "openvino", Wanted(precision="int8", calibrate=tmp_path))
