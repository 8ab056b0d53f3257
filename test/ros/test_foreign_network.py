"""Somebody else's ONNX in the real node, over DDS: a trained network, as others export theirs, and a ten-line card."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)
torch = pytest.importorskip("torch")

from harness import NodeProcess, image_message, send, until  # noqa: E402

from seg_node import runtimes  # noqa: E402
from seg_node.datasets import open_split  # noqa: E402
from seg_node.datasets.street import Street  # noqa: E402
from seg_node.evaluation.score import evaluate  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.model_card import load_card  # noqa: E402
from seg_node.pipeline.frame import Frame  # noqa: E402
from seg_node.pipeline.segmenter import Segmenter  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402
from seg_node.runtimes.torch import load_network  # noqa: E402

MODEL = "rdsnet_camvid"


class ArgMax(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x).argmax(1, keepdim=True)


def foreign(folder: Path, kind: str) -> Path:
    """Write the shipped network without anything of ours: float NCHW in, logits or int64 (N, 1, H, W) out."""
    card = load_card(MODEL)
    network = load_network(card)
    names = (["pixel_values"], ["logits"]) if kind == "logits" else (["input"], ["output"])
    free = {names[0][0]: {0: "batch"}, names[1][0]: {0: "batch"}} if kind == "logits" else None
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network if kind == "logits" else ArgMax(network).eval(),
            (torch.zeros(1, 3, *card.size),),
            buffer,
            input_names=names[0],
            output_names=names[1],
            dynamic_axes=free,
            opset_version=13,
            dynamo=False,
        )
    folder.mkdir()
    (folder / "theirs.onnx").write_bytes(buffer.getvalue())
    (folder / "card.yaml").write_text(
        "name: theirs\n"
        "network: {name: external, classes: 11}\n"
        "label_set: camvid11\n"
        f"input: {{size: [360, 480], channels: bgr, layout: nchw, dtype: float32, mean: {list(card.mean)},\n"
        f"        std: {list(card.std)}, scale: 255}}\n"
        f"output: {{kind: {kind}}}\n"
        "files: {onnx: {path: theirs.onnx}}\n"
    )
    return folder


@pytest.fixture(scope="module", params=["logits", "labels"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign(tmp_path_factory.mktemp("foreign") / "theirs", request.param)


@pytest.fixture
def node(client, model):
    node = NodeProcess(model, runtime="auto")
    client.ready(node)
    yield node
    assert node.end()[0] == 0


def segmenter(model, runtime="auto"):
    card = load_card(model)
    return Segmenter(card, load_runtime(card, runtime, "cpu"))


def test_the_robot_sees_what_pytorch_says(client, node):
    size = 271, 333
    image, truth = Street(seed=5, size=size).render(40)
    expected = segmenter(MODEL, "torch").segment(Frame(image, "bgr")).labels.copy()
    labels, camera = client.listen(node), client.camera(node)
    send(camera, image_message(image, "bgr8"), lambda: labels)
    got = until(lambda: labels and labels[-1])
    seen = np.frombuffer(got.data, np.uint8).reshape(size)
    assert np.mean(seen == expected) > 0.999
    assert np.mean(seen == truth) > 0.8, "a trained network knows its street"


class First:
    """The first few of a split."""

    def __init__(self, split, count):
        self.split, self.count = split, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.split[index]


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_it_is_scored_as_ours_is(model, runtime):
    if not runtimes.is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    split, truth = First(open_split("street", "test"), 3), load_label_set("camvid11")
    ours = evaluate(segmenter(MODEL, "onnx"), split, truth).as_dict("ignored")["miou"]
    theirs = evaluate(segmenter(model, runtime), split, truth).as_dict("ignored")["miou"]
    assert theirs == pytest.approx(ours, abs=0.001) and theirs > 0.7


@pytest.mark.parametrize("model", ["logits"], indirect=True)
def test_a_card_that_is_wrong_is_told_by_the_node(client, model, tmp_path):
    """The node waits, inactive, and says on /diagnostics which file to correct and how."""
    for name in ("card.yaml", "theirs.onnx"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    text = (tmp_path / "card.yaml").read_text()
    (tmp_path / "card.yaml").write_text(text.replace("layout: nchw", "layout: nhwc"))
    node = NodeProcess(tmp_path, runtime="onnx")
    try:
        level, message, _ = client.status(node, lambda level, text, values: "correct the card's input" in text, 30)
        assert level > 0 and str(tmp_path / "card.yaml") in message
    finally:
        assert "layout: nchw" in node.end()[1], "and in its log"
