"""Graphs said shorter: the same labels, and the nodes that were to go are gone."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from seg_node import exporters, networks  # noqa: E402
from seg_node.exporters import Wanted  # noqa: E402
from seg_node.exporters import onnx as exporter  # noqa: E402
from seg_node.exporters._lean import UPSAMPLING, label_every, lean  # noqa: E402
from seg_node.model_card import load_card  # noqa: E402
from seg_node.networks._deployed import Deployed  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402


class Head(nn.Module):
    """A convolution to 5 classes at 1/4 of the size, and back as told."""

    def __init__(self, **how: object) -> None:
        super().__init__()
        self.conv, self.how = nn.Conv2d(3, 5, 3, stride=4, padding=1), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(self.conv(x), size=x.shape[2:], **self.how)


def lively(network: nn.Module) -> nn.Module:
    """Give the normalisations values that a wrong fold would show in."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, -1.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
            ):
                nn.init.uniform_(tensor, low, high)
    return network


def both(network: nn.Module, size: tuple[int, int], batch: int = 1) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the traced graph and the lean one; both give their logits too."""
    deployed = Deployed(network, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4], 255.0).eval()
    traced = exporter.trace(deployed, torch.zeros((batch, *size, 3), dtype=torch.uint8))
    short = lean(copy.deepcopy(traced))
    onnx.checker.check_model(short, full_check=True)
    for model in (traced, short):
        [argmax] = [node for node in model.graph.node if node.op_type == "ArgMax"]
        flattened = [node for node in model.graph.node if argmax.input[0] in node.output and node.op_type == "Reshape"]
        model.graph.output.add().name = flattened[0].input[0] if flattened else argmax.input[0]
    return traced, short


def answers(model: onnx.ModelProto, size: tuple[int, int], batch: int = 1) -> list[np.ndarray]:
    images = np.random.default_rng(3).integers(0, 256, (batch, *size, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"image": images})
    return found


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("order", ["paper", "authors"])
def test_rdsnet(order: str) -> None:
    """The paper's shuffle stands behind a convolution and goes; the authors' does not, and stays."""
    torch.manual_seed(2)
    traced, short = both(lively(networks.build("rdsnet", 7, order=order)), (48, 64), batch=2)
    for model in (traced, short):
        assert len(np.unique(answers(model, (48, 64), 2)[0])) > 2
    (labels, logits), (labels_too, logits_too) = (answers(model, (48, 64), 2) for model in (traced, short))
    assert np.mean(labels == labels_too) > 0.999
    assert np.abs(logits - logits_too).max() < 1e-4 * np.abs(logits).max()
    assert "Resize" in kinds(traced) and "Resize" not in kinds(short)
    shuffles = {"paper": 0, "authors": 8}[order]
    assert sum(list(node.attribute[0].ints) == [0, 2, 1, 3, 4] for node in of(short, "Transpose")) == shuffles


def of(model: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == kind]


def test_convolution_beside_pooling_is_normalised_apart() -> None:
    torch.manual_seed(2)
    traced, short = both(lively(networks.build("rdsnet", 7)), (48, 64))
    for model in (traced, short):
        assert [len(node.input) for node in of(model, "Concat")] == [2, 2, 2]
    makers = {node.output[0]: node.op_type for node in short.graph.node}
    assert all([makers[name] for name in node.input] == ["Relu", "Relu"] for node in of(short, "Concat"))
    normalised = {makers[node.input[0]] for node in of(short, "BatchNormalization")}
    assert normalised == {"MaxPool"}  # the convolutions' are in their kernels


@pytest.mark.parametrize("size", [(32, 48), (36, 48), (8, 8), (12, 40)])
def test_bilinear_by_a_whole_number(size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    traced, short = both(Head(mode="bilinear", align_corners=False), size)
    (labels, logits), (labels_too, logits_too) = (answers(model, size) for model in (traced, short))
    assert np.abs(logits - logits_too).max() < 1e-5 and np.mean(labels == labels_too) > 0.999
    assert "Resize" not in kinds(short)
    added = [node.name for node in short.graph.node if node.name.startswith(UPSAMPLING)]
    assert len(added) > 5 and len(set(added)) == len(added)


@pytest.mark.parametrize(
    "size, how",
    [
        ((30, 48), {"mode": "bilinear", "align_corners": False}),  # 8 rows to 30
        ((32, 48), {"mode": "bilinear", "align_corners": True}),
        ((32, 48), {"mode": "nearest"}),
        ((32, 48), {"mode": "bicubic", "align_corners": False}),
    ],
)
def test_what_is_something_else_stays(size: tuple[int, int], how: dict) -> None:
    torch.manual_seed(2)
    traced, short = both(Head(**how), size)
    assert set(kinds(short)) - set(kinds(traced)) <= {"Reshape"}  # the argmax's
    assert "Resize" in kinds(short)
    assert np.array_equal(answers(traced, size)[0], answers(short, size)[0])


def test_argmax_of_planes() -> None:
    """Ties too: the first class wins."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 5, 2, stride=2))
    network[1].weight.data[:, 3], network[1].bias.data[3] = network[1].weight.data[:, 1], network[1].bias.data[1]
    traced, short = both(network, (32, 48), batch=2)
    [argmax] = of(short, "ArgMax")
    assert argmax.input[0].endswith(".flat") and len(of(short, "Reshape")) == 2
    (labels, _), (labels_too, _) = (answers(model, (32, 48), 2) for model in (traced, short))
    assert np.array_equal(labels, labels_too) and labels_too.shape == (2, 32, 48)
    assert len(np.unique(labels)) > 2 and 3 not in labels


def test_a_graph_for_a_gpu_keeps_its_upsampling(exported: Path) -> None:
    deployed = Deployed(Head(mode="bilinear", align_corners=False), [0.5] * 3, [0.5] * 3, 255.0).eval()
    traced = exporter.trace(deployed, torch.zeros((1, 32, 48, 3), dtype=torch.uint8))
    assert "Resize" in kinds(lean(traced, upsampling=False))
    assert "Resize" not in kinds(onnx.load(str(exported / "small.onnx")))


def test_labels_of_every_other_pixel() -> None:
    """Each square has the label of the scores at its middle."""
    torch.manual_seed(2)
    head = Head(mode="bilinear", align_corners=False)
    deployed = Deployed(head, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4], 255.0).eval()
    deployed.confidence = True
    for stride in (2, 4):
        model = lean(label_every(exporter.trace(deployed, torch.zeros((1, 32, 48, 3), dtype=torch.uint8)), stride))
        onnx.checker.check_model(model, full_check=True)
        labels, sure = answers(model, (32, 48))
        images = np.random.default_rng(3).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
        with torch.inference_mode():
            x = torch.from_numpy(images).permute(0, 3, 1, 2).float() * deployed.gain + deployed.offset
            scores = functional.interpolate(head.conv(x), scale_factor=4 // stride, mode="bilinear")
        middle = scores.argmax(1).numpy()
        assert len(np.unique(middle)) > 2 and labels.shape == sure.shape == (1, 32, 48)
        assert np.array_equal(labels, middle.repeat(stride, 1).repeat(stride, 2))


@pytest.mark.parametrize(
    "stride, network, why",
    [
        (8, Head(mode="bilinear"), "at most 4"),
        (5, Head(mode="bilinear"), "divide"),
        (2, Head(mode="nearest"), "does not end with"),
    ],
)
def test_strides_that_cannot_be(stride: int, network: nn.Module, why: str) -> None:
    deployed = Deployed(network, [0.5] * 3, [0.5] * 3, 255.0).eval()
    traced = exporter.trace(deployed, torch.zeros((1, 32, 48, 3), dtype=torch.uint8))
    with pytest.raises(ValueError, match=why):
        label_every(traced, stride)


def test_the_card_says_what_a_stride_costs(exported: Path, tmp_path: Path) -> None:
    exported = Path(shutil.copytree(exported, tmp_path / "model"))
    card = load_card(exporters.export(str(exported), "onnx", Wanted(label_stride=2, force=True)))
    about = card.files["onnx"].notes
    assert about["label_stride"] == 2 and "miou_lost" in about["parity"] and 0.3 < about["parity"]["agreement"] < 1
    image = np.random.default_rng(1).integers(0, 256, (1, *card.size, 3), dtype=np.uint8)
    labels = load_runtime(card, "onnx", "cpu").infer(image).labels
    assert np.array_equal(labels[:, ::2, ::2].repeat(2, 1).repeat(2, 2), labels)
    with pytest.raises(ValueError, match="--label-stride is for CPUs"):
        exporters.export(str(exported), "onnx", Wanted(label_stride=2, precision="int8"))
