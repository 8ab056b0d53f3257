"""Other people's ONNX files, with a card of ten lines, through every runtime that reads ONNX."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import strangers  # noqa: E402

from seg_node import runtimes  # noqa: E402
from seg_node.datasets.street import Street  # noqa: E402
from seg_node.model_card import CardError, load_card  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    street = Street(21, strangers.SIZE)
    return np.stack([street.render(index)[0][..., ::-1] for index in (10, 200, 400)])


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("kind", strangers.FILES)
def test_it_says_what_its_author_sees(kind: str, runtime: str, made, images: np.ndarray) -> None:
    if not runtimes.is_installed(runtime):
        pytest.skip(f"{runtime} is not installed")
    folder, stranger = made(kind)
    loaded = load_runtime(load_card(folder), runtime, "cpu")
    truth = strangers.answer(stranger, images)
    assert len(np.unique(truth)) > 1, "a network that says one thing proves nothing"
    together = loaded.infer(images).labels
    least = 0.98 if stranger.card.get("dtype") == "float16" else 0.999
    assert together.shape == truth.shape and np.mean(together == truth) >= least
    alone = np.concatenate([loaded.infer(image[None]).labels.copy() for image in images])
    assert np.mean(alone == truth) >= least
    loaded.close()


@pytest.mark.parametrize("kind", ["segformer", "softmax, normalises itself", "one plane of two"])
def test_its_confidence(kind: str, made, images: np.ndarray) -> None:
    import torch

    folder, stranger = made(kind)
    loaded = load_runtime(load_card(folder), "onnx", "cpu")
    loaded.wants_confidence = True
    got = loaded.infer(images).confidence
    mean, std = (torch.tensor(values) for values in strangers.IMAGENET)
    x = torch.from_numpy(images).float()
    x = x if "itself" in kind else (x / 255 - mean) / std
    with torch.inference_mode():
        y = stranger.network(x.permute(0, 3, 1, 2))
    if kind == "segformer":
        y = torch.nn.functional.interpolate(y, strangers.SIZE, mode="bilinear").softmax(1)
    wanted = torch.maximum(y, 1 - y)[:, 0] if y.shape[1] == 1 else y.amax(1)
    assert got is not None and np.abs(got.astype(int) - 255 * wanted.numpy()).max() < 2
    assert got.std() > 0


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"size": [96, 64]}, r"\(1, 3, 64, 96\); correct the card's input: \{size: \[64, 96\], layout: nchw"),
        ({"layout": "nhwc"}, "correct the card's input: .*layout: nchw"),
        ({"dtype": "uint8"}, "correct the card's input: .*dtype: float32"),
        (
            {"classes": 7},
            r"'logits' float32 \(1, 19, 16, 24\); correct .*network.classes.* kind logits with 19 classes",
        ),
        ({"kind": "labels"}, "correct output.kind.*kind logits with 19 classes"),
        ({"name": "scores"}, r"output.name is 'scores', but the graph gives 'logits'.*correct output.name"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_card_that_is_wrong_is_told_what_to_change(changes: dict, says: str, runtime: str, made, tmp_path) -> None:
    folder, stranger = made("segformer, new exporter")
    (tmp_path / "stranger.onnx").write_bytes((folder / "stranger.onnx").read_bytes())
    strangers.write_card(tmp_path, stranger, **changes)
    if "classes" in changes:
        (tmp_path / "labels.yaml").write_bytes((folder / "labels.yaml").read_bytes())
    with pytest.raises(CardError, match=rf"(?s)card\.yaml: .*{says}"):
        load_runtime(load_card(tmp_path), runtime, "cpu")


def test_the_named_output_is_taken(made, images: np.ndarray, tmp_path: Path) -> None:
    folder, stranger = made("torchvision")
    (tmp_path / "stranger.onnx").write_bytes((folder / "stranger.onnx").read_bytes())
    first = load_runtime(load_card(folder), "onnx", "cpu").infer(images).labels.copy()
    strangers.write_card(tmp_path, stranger, name="aux")
    for runtime in ("onnx", "openvino"):
        if runtimes.is_installed(runtime):
            side = load_runtime(load_card(tmp_path), runtime, "cpu").infer(images).labels
            assert 0 < np.mean(side == first) < 0.9


def test_a_network_of_two_inputs_is_refused_by_name(tmp_path: Path, made) -> None:
    from onnx import TensorProto, helper

    shape = [1, 3, *strangers.SIZE]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "depth")]
    got = [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)]
    graph = helper.make_graph([helper.make_node("Add", ["image", "depth"], ["out"])], "two", given, got)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "stranger.onnx"))
    strangers.write_card(tmp_path, made("segformer")[1], classes=3)
    with pytest.raises(CardError, match=r"2 inputs: 'image' .*'depth'"):
        load_runtime(load_card(tmp_path), "onnx", "cpu")


def test_unlabelled_ids_stay_unlabelled(tmp_path: Path, made) -> None:
    """int64 labels with -1, -100 and with ids beyond 255, as some graphs give them: 255, never a class."""
    from onnx import TensorProto, helper, numpy_helper

    values = np.full((1, *strangers.SIZE), 3, np.int64)
    values[0, 0, :4] = -1, 255, 256 + 3, -100
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["fixed"], value=numpy_helper.from_array(values)),
            helper.make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=0),
            helper.make_node("Cast", ["most"], ["none"], to=TensorProto.INT64),
            helper.make_node("Sub", ["none", "none"], ["zero"]),
            helper.make_node("Add", ["fixed", "zero"], ["labels"]),
        ],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *strangers.SIZE])],
        [helper.make_tensor_value_info("labels", TensorProto.INT64, values.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "stranger.onnx"))
    strangers.write_card(tmp_path, made("segformer")[1], kind="labels")
    image = np.zeros((1, *strangers.SIZE, 3), np.uint8)
    labels = load_runtime(load_card(tmp_path), "onnx", "cpu").infer(image).labels[0]
    assert labels[0, :5].tolist() == [255, 255, 255, 255, 3]
