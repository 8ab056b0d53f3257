"""What is said of files whose makers are known, and that a first card of them works."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
import strangers  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from seg_node import runtimes  # noqa: E402
from seg_node.commands import main  # noqa: E402
from seg_node.datasets.street import Street  # noqa: E402
from seg_node.inspecting import inspect_file  # noqa: E402
from seg_node.inspecting.card import read_card  # noqa: E402
from seg_node.inspecting.first_card import write_first_card  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.model_card import CardError, load_card  # noqa: E402
from seg_node.runtimes import _engine_cache, load_runtime  # noqa: E402

# kind -> what is found: size, layout, dtype, output, classes, precision
FOUND = {
    "segformer": (None, "nchw", "float32", "logits", 19, "fp32"),
    "linear head": (strangers.SIZE, "nchw", "float32", "logits", 19, "fp32"),
    "torchvision": (strangers.SIZE, "nchw", "float32", "logits", 21, "fp32"),
    "mmdeploy": (strangers.SIZE, "nchw", "float32", "labels", 19, "fp32"),
    "argmax as float": (strangers.SIZE, "nchw", "float32", "labels", 11, "fp32"),
    "softmax, normalises itself": (strangers.SIZE, "nchw", "float32", "probabilities", 11, "fp32"),
    "keras": (strangers.SIZE, "nhwc", "float32", "logits", 12, "fp32"),
    "one plane of two": (strangers.SIZE, "nchw", "float32", "probabilities", 2, "fp32"),
    "half precision": (strangers.SIZE, "nchw", "float16", "logits", 19, "fp16"),
}


@pytest.mark.parametrize("kind", FOUND)
def test_what_a_strangers_file_is(kind: str, made) -> None:
    folder, stranger = made(kind)
    found = inspect_file(folder / "stranger.onnx")
    assert (found.size, found.layout, found.dtype, found.output, found.classes, found.precision) == FOUND[kind]
    assert found.opset == stranger.opset and "pytorch" in found.about
    assert [tensor.name for tensor in found.inputs] == stranger.names[0]
    assert [tensor.name for tensor in found.outputs] == stranger.names[1]
    assert found.feeding is not None and found.feeding.known == ("itself" in kind)
    assert "guess" in found.feeding.about or found.feeding.known
    own = sum(p.numel() for p in stranger.network.parameters())
    assert found.parameters is not None and 0.98 * own < found.parameters < 1.05 * own


@pytest.mark.parametrize("kind", FOUND)
def test_a_first_card_works_at_once(kind: str, made, tmp_path: Path) -> None:
    """Nothing but the file: with what was found and guessed, it says what PyTorch says so fed."""
    folder, stranger = made(kind)
    found = inspect_file(folder / "stranger.onnx")
    written = write_first_card(found, tmp_path / "first", size=strangers.SIZE if found.size is None else None)
    card = load_card(written)
    assert card.classes == stranger.classes and card.files["onnx"].sha256
    image = Street(4, strangers.SIZE).render(30)[0][None, ..., ::-1]
    got = load_runtime(card, "onnx", "cpu").infer(np.ascontiguousarray(image)).labels
    assert np.mean(got == strangers.answer(stranger, np.ascontiguousarray(image))) > 0.98


def test_the_shipped_graph_tells_its_cards_normalisation() -> None:
    card = load_card("rdsnet_camvid")
    found = inspect_file(card.file("onnx"))
    assert found.classes == 11 and found.label_sets == ["camvid11"] and found.output == "labels"
    assert found.dtype == "uint8" and found.layout == "nhwc" and found.size == card.size
    assert found.feeding is not None and found.feeding.known
    for values in (card.mean, card.std):
        assert "[" + ", ".join(f"{value:.4g}" for value in values) + "]" in found.feeding.about


def graph_that_begins_with(nodes: list, constants: dict, path: Path, shape=(1, 3, 8, 8)) -> Path:
    """Write a graph: ``nodes`` from x to y, and a convolution to 4 classes."""
    weights = np.ones((4, 3, 1, 1), np.float32)
    graph = helper.make_graph(
        [*nodes, helper.make_node("Conv", ["y", "weights"], ["out"])],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
        + [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def three(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 3, 1, 1)


BGR = (103.94, 116.78, 123.68)
NORMALISED = {
    "mean of bgr alone": (["Sub"], [three(*BGR)], "0 to 255", "bgr", "mean [0.4076, 0.458, 0.485]"),
    "shares": (["Div"], [np.float32(255)], "0 to 255", "rgb", "mean [0, 0, 0], std [1, 1, 1]"),
    "-1 to 1 of shares": (["Mul", "Sub"], [np.float32(2), np.float32(1)], "0 to 1", "rgb", "std [0.5, 0.5, 0.5]"),
    "-1 to 1 of bytes": (["Div", "Add"], [np.float32(127.5), np.float32(-1)], "0 to 255", "rgb", "std [0.5, 0.5, 0.5]"),
    "ImageNet of shares": (
        ["Sub", "Div"],
        [three(*strangers.IMAGENET[0]), three(*strangers.IMAGENET[1])],
        "0 to 1",
        "rgb",
        "std [0.229, 0.224, 0.225]",
    ),
}


@pytest.mark.parametrize("name", NORMALISED)
def test_normalisation_is_read_from_the_graph(name: str, tmp_path: Path) -> None:
    ops, numbers, takes, channels, says = NORMALISED[name]
    names = ["x", *(f"n{index}" for index in range(len(ops) - 1)), "y"]
    nodes = [helper.make_node(op, [names[i], f"c{i}"], [names[i + 1]]) for i, op in enumerate(ops)]
    path = graph_that_begins_with(nodes, {f"c{i}": number for i, number in enumerate(numbers)}, tmp_path / "g.onnx")
    feeding = inspect_file(path).feeding
    assert feeding is not None and feeding.known and feeding.channels == channels
    assert f"it takes {takes}" in feeding.about and says in feeding.about
    assert (feeding.mean, feeding.std) == ((0.0,) * 3, (1.0,) * 3)
    assert feeding.scale == (1.0 if takes == "0 to 255" else 255.0)


def test_a_batch_norm_on_the_image_is_its_normalisation(tmp_path: Path) -> None:
    node = helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mean", "var"], ["y"], epsilon=0.0)
    numbers = {"gamma": [1, 1, 1], "beta": [0, 0, 0], "mean": [120, 110, 100], "var": [3600, 3600, 3600]}
    feeding = inspect_file(graph_that_begins_with([node], numbers, tmp_path / "g.onnx")).feeding
    assert feeding is not None and feeding.known and feeding.scale == 1.0
    assert "mean [0.4706, 0.4314, 0.3922], std [0.2353, 0.2353, 0.2353]" in feeding.about


def test_a_graph_without_it_is_a_guess(tmp_path: Path) -> None:
    path = graph_that_begins_with([helper.make_node("Identity", ["x"], ["y"])], {}, tmp_path / "g.onnx")
    feeding = inspect_file(path).feeding
    assert feeding is not None and not feeding.known and "guess" in feeding.about


def test_an_openvino_network(made, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    kind = "softmax, normalises itself"
    folder, stranger = made(kind)
    model = openvino.convert_model(str(folder / "stranger.onnx"))
    openvino.save_model(model, str(tmp_path / "stranger.xml"), compress_to_fp16=True)
    found = inspect_file(tmp_path / "stranger.xml")
    assert (found.size, found.layout, found.dtype, found.output, found.classes) == FOUND[kind][:5]
    assert found.precision == "fp16" and found.feeding is not None and found.feeding.known
    card = write_first_card(found, tmp_path / "first")
    assert (tmp_path / "first" / "stranger.bin").is_file()
    assert load_card(card).files["openvino"].beside
    image = np.ascontiguousarray(Street(4, strangers.SIZE).render(30)[0][None, ..., ::-1])
    got = load_runtime(load_card(card), "openvino", "cpu").infer(image).labels
    assert np.mean(got == strangers.answer(stranger, image)) > 0.98


def test_weights_in_a_file_of_their_own(made, tmp_path: Path) -> None:
    folder, _ = made("segformer")
    model = onnx.load(str(folder / "stranger.onnx"))
    onnx.save(model, str(tmp_path / "big.onnx"), save_as_external_data=True, location="big.data", size_threshold=100)
    found = inspect_file(tmp_path / "big.onnx")
    assert found.beside == [tmp_path / "big.data"] and found.classes == 19
    card = write_first_card(found, tmp_path / "first", size=strangers.SIZE)
    image = np.zeros((1, *strangers.SIZE, 3), np.uint8)
    assert load_runtime(load_card(card), "onnx", "cpu").infer(image).labels.shape == (1, *strangers.SIZE)
    (tmp_path / "big.data").unlink()
    assert any("big.data" in note for note in inspect_file(tmp_path / "big.onnx").notes)


def test_an_engine_tells_its_version(tmp_path: Path) -> None:
    """As trtexec reads it: the tag, a version of the format, and the makers' four numbers at byte 24."""
    path = tmp_path / "net.engine"
    path.write_bytes(b"ftrt" + bytes(20) + bytes([8, 6, 1, 6]) + bytes(500))
    if runtimes.is_installed("tensorrt"):
        with pytest.raises(ValueError, match=r"net\.engine"):
            inspect_file(path)
        return
    found = inspect_file(path)
    assert found.kind == "tensorrt" and "TensorRT 8.6.1.6" in found.about
    with pytest.raises(ValueError, match="tensors are not known"):
        write_first_card(found, tmp_path / "first")
    kept = tmp_path / "kept.engine"
    _engine_cache.write(kept, {"gpu": "one"}, path.read_bytes())
    assert inspect_file(kept).about == found.about


def test_a_checkpoint_tells_its_network(exported: Path) -> None:
    found = inspect_file(exported / "weights.pt")
    assert (found.kind, found.network, found.classes, found.precision) == ("torch", "rdsnet", 11, "fp32")
    assert found.parameters is not None and found.parameters > 900_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript, which people still have
def test_a_strangers_weights_are_told_to_become_onnx(tmp_path: Path) -> None:
    torch.save({"segformer.encoder.weight": torch.zeros(3)}, tmp_path / "w.pth")
    found = inspect_file(tmp_path / "w.pth")
    assert found.network is None and "SegFormer" in found.notes[-1] and "torch.onnx.export" in found.notes[-1]
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)), str(tmp_path / "s.pt"))
    assert inspect_file(tmp_path / "s.pt").kind == "torchscript"


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("a.onnx", b"no network", "a.onnx: no ONNX"),
        ("a.onnx", b"", "a.onnx: is empty"),
        ("a.xml", b"<html></html>", "a.xml: no OpenVINO network"),
        ("a.xml", b"<net", "a.xml: no OpenVINO network"),
        ("a.engine", b"something else of some length", "a.engine: no TensorRT engine"),
        ("a.pth", b"something", "a.pth: no PyTorch weights"),
        ("a.zip.txt", b"something", "a.zip.txt: not known; a network is an .onnx"),
        ("a.bin", b"something", "Name the .xml"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("a.") else "",
)
def test_what_is_no_network_is_told_so(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, CardError), match=says):
        inspect_file(tmp_path / name)


def test_a_models_folder(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "m"))
    found = read_card(folder)
    assert not found.problems and set(found.files) == {"torch", "onnx"}
    assert {"onnx", "torch"} <= set(found.runs_with)
    (folder / "small.onnx").write_bytes((folder / "small.onnx").read_bytes()[:-50])
    [problem] = read_card(folder).problems
    assert "small.onnx" in problem and "sha256" in problem


def test_the_command(made, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, _ = made("mmdeploy")
    path, out = str(folder / "stranger.onnx"), tmp_path / "model"
    assert main(["inspect", path]) == 0
    said = capsys.readouterr().out
    assert "labels of 19 classes" in said and "guess" in said and "--labels cityscapes19" in said
    assert main(["inspect", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "onnx" and told["output"]["classes"] == 19 and told["label_sets"] == ["cityscapes19"]
    assert told["inputs"] == [{"name": "input", "dtype": "float32", "shape": [1, 3, *strangers.SIZE]}]

    assert main(["inspect", path, "--write-card", str(out), "--labels", "cityscapes19"]) == 0
    assert "runs it; on a rendered street it says" in capsys.readouterr().out
    assert not list(out.glob(".*"))
    before = (out / "card.yaml").read_bytes()
    assert main(["inspect", path, "--write-card", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err and (out / "card.yaml").read_bytes() == before
    assert main(["inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


@pytest.mark.parametrize(
    "words, says",
    [
        (["--labels", "camvid11"], "gives 19 classes, label set camvid11 has 11; those that fit: cityscapes19"),
        (["--size", "100x200"], "takes 64x96 only"),
        (["--labels", "nothing"], "no label set 'nothing'"),
        (["--classes", "11"], "gives 19 classes, not 11"),
        (["--classes", "-3"], "--classes -3: must be from 1 to 255"),
    ],
)
def test_a_card_that_cannot_be(words: list, says: str, made, tmp_path: Path, capsys) -> None:
    folder, _ = made("mmdeploy")
    out = tmp_path / "model"
    assert main(["inspect", str(folder / "stranger.onnx"), "--write-card", str(out), *words]) == 1
    assert says in capsys.readouterr().err
    assert not (out / "card.yaml").exists() and not (out.is_dir() and list(out.iterdir()))


def test_a_label_set_is_begun_where_none_fits(made, tmp_path: Path) -> None:
    folder, _ = made("torchvision")
    write_first_card(inspect_file(folder / "stranger.onnx"), tmp_path / "m")
    card = load_card(tmp_path / "m")
    table = yaml.safe_load(Path(card.label_set).read_text())
    assert len(table["classes"]) == 21 and len({tuple(each["color"]) for each in table["classes"]}) == 21
    assert card.output_name == "out"
    # names that somebody filled in are kept when the card is written anew; what does not fit is not overwritten
    names, found = tmp_path / "m" / "labels.yaml", inspect_file(folder / "stranger.onnx")
    names.write_text(names.read_text().replace("class 0", "road"))
    (tmp_path / "m" / "card.yaml").unlink()
    write_first_card(found, tmp_path / "m")
    assert load_label_set(load_card(tmp_path / "m").label_set).names[0] == "road"
    (tmp_path / "m" / "card.yaml").unlink()
    (tmp_path / "m" / "stranger.onnx").write_bytes(b"another")
    with pytest.raises(FileExistsError, match=r"stranger\.onnx: is there already, and is another"):
        write_first_card(found, tmp_path / "m")
    assert (tmp_path / "m" / "stranger.onnx").read_bytes() == b"another"
