"""INT8 graphs with Q/DQ nodes, as TensorRT wants them; ONNX Runtime computes them here."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node import exporters
from seg_node.datasets import open_split
from seg_node.exporters import Wanted
from seg_node.model_card import load_card
from seg_node.runtimes import load_runtime

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model in INT8, calibrated on rendered streets."""
    folder = tmp_path_factory.mktemp("int8")
    split = open_split("street", "train", size=(360, 480))
    (folder / "frames").mkdir()
    for index in range(10):
        cv2.imwrite(str(folder / "frames" / f"{index}.png"), split[index][0])
    model = shutil.copytree(load_card("rdsnet_camvid").folder, folder / "rdsnet_camvid")
    wanted = Wanted(precision="int8", calibrate=folder / "frames")
    return exporters.export(model, "onnx", wanted).parent


def test_it_passes_the_gate_and_its_card_says_how_it_was_made(quantised: Path) -> None:
    notes = load_card(quantised).files["onnx_int8"].notes
    assert notes["parity"]["passed"] and notes["precision"] == "int8"
    assert notes["calibration"] == {"calibrated_on": "frames 0 to 5, 6 images"}  # no labels there, so no mIoU


def test_it_is_symmetric_and_in_a_form_that_tensorrt_reads(quantised: Path) -> None:
    model = onnx.load(str(load_card(quantised).file("onnx_int8")))
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 13
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    kernels = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in kernels:
        for source in node.input[:2]:  # activations and kernel: both through a pair
            dequantise = made[source]
            assert dequantise.op_type == "DequantizeLinear" and made[dequantise.input[0]].op_type == "QuantizeLinear"
            zero = constants[dequantise.input[2]]
            assert zero.data_type == onnx.TensorProto.INT8 and not onnx.numpy_helper.to_array(zero).any()
        assert constants[made[node.input[1]].input[1]].dims[0] > 1  # a scale for each output channel
    assert len(kernels) > 10


def test_a_robot_takes_it_only_where_int8_is_asked_for(quantised: Path) -> None:
    card = load_card(quantised)
    image = open_split("street", "val", size=(360, 480))[0][0][None]
    full, small = load_runtime(card, "onnx", "cpu"), load_runtime(card, "onnx", "cpu", "int8")
    assert (full.precision, small.precision) == ("fp32", "int8")
    same = np.mean(full.infer(image).labels == small.infer(image).labels)
    assert 0.97 < same < 1


def test_without_images_it_is_refused(tmp_path: Path) -> None:
    model = shutil.copytree(load_card("rdsnet_camvid").folder, tmp_path / "model")
    with pytest.raises(ValueError, match="--calibrate DIR"):
        exporters.export(model, "onnx", Wanted(precision="int8"))
