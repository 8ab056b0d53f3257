"""One contract for every backend: the same image gives the same labels, and bad input gives a clear error."""

import contextlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from seg_node import runtimes
from seg_node.datasets import open_split
from seg_node.model_card import CardError, ModelCard, load_card
from seg_node.runtimes import Runtime, _cuda, load_runtime

READING = [name for name in runtimes.names() if runtimes.backend(name).READS]
GPU_ONLY = {"tensorrt"}


def usable(name: str) -> str:
    """Return ``name``, or skip where its hardware or its library is not here."""
    if name in GPU_ONLY:
        try:
            _cuda.open_device()
        except _cuda.CudaError as error:
            pytest.skip(f"{name} needs an NVIDIA GPU: {error}")
    if not runtimes.is_installed(name):
        pytest.skip(f"{runtimes.backend(name).REQUIRES} is not installed")
    return name


def device_of(name: str) -> str:
    return "gpu" if name in GPU_ONLY else "cpu"


@pytest.fixture(params=runtimes.names())
def backend(request: pytest.FixtureRequest) -> str:
    return usable(request.param)


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A copy of the small model, to damage."""
    return Path(shutil.copytree(exported, tmp_path / "small"))


@pytest.fixture
def runtime(exported: Path, backend: str):
    loaded = load_runtime(load_card(exported), backend, device_of(backend))
    yield loaded
    loaded.close()


def images(card: ModelCard, count: int) -> np.ndarray:
    split = open_split("street", "val", size=card.size)
    return np.stack([split[index][0] for index in range(count)])


def test_labels_are_uint8_of_the_cards_size(runtime: Runtime) -> None:
    labels = runtime.infer(images(runtime.card, 1)).labels
    assert labels.dtype == np.uint8 and labels.shape == (1, *runtime.card.size)
    assert labels.max() < runtime.card.classes


def test_a_batch_is_its_images(runtime: Runtime) -> None:
    batch = images(runtime.card, 3)
    together = runtime.infer(batch).labels.copy()
    apart = np.concatenate([runtime.infer(image[None]).labels.copy() for image in batch])
    assert np.mean(together == apart) >= 0.999


def test_an_image_that_is_a_view_with_gaps(runtime: Runtime) -> None:
    batch = images(runtime.card, 1)
    padded = np.zeros((1, batch.shape[1], batch.shape[2] + 5, 3), np.uint8)
    padded[:, :, :-5] = batch
    truth = runtime.infer(batch).labels.copy()
    assert np.array_equal(truth, runtime.infer(padded[:, :, :-5]).labels)


@pytest.mark.filterwarnings("error")
def test_images_may_be_read_only(runtime: Runtime) -> None:
    """A frame that fits as it is lies in the message that it came with."""
    given = images(runtime.card, 1)
    expected = runtime.infer(given).labels.copy()
    given.flags.writeable = False
    assert np.array_equal(runtime.infer(given).labels, expected)


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        (lambda x: x.astype(np.float32), TypeError, "uint8"),
        (lambda x: x.tolist(), TypeError, "uint8"),
        (lambda x: x[0], ValueError, "48, 64, 3"),
        (lambda x: x[:, :, :-1], ValueError, "48, 64, 3"),
        (lambda x: x[..., :2], ValueError, "48, 64, 3"),
        (lambda x: np.concatenate([x, x[..., :1]], -1), ValueError, "48, 64, 3"),
        (lambda x: x[:0], ValueError, "48, 64, 3"),
    ],
    ids=["float", "list", "no batch", "narrow", "two channels", "four channels", "empty"],
)
def test_wrong_images(runtime: Runtime, wrong, error, says) -> None:
    with pytest.raises(error, match=says):
        runtime.infer(wrong(np.zeros((1, 48, 64, 3), np.uint8)))


def card_with(folder: Path, kind: str, **entry: object) -> ModelCard:
    table = yaml.safe_load((folder / "card.yaml").read_text())
    table["files"] = {kind: {**table["files"].get(kind, {"path": "x"}), **entry}}
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return load_card(folder)


@pytest.fixture(params=READING)
def reading(request: pytest.FixtureRequest, exported: Path) -> tuple[str, str]:
    """A backend that reads a file, and the kind of file that it reads here."""
    name = usable(request.param)
    return name, str(runtimes.file_kind(load_card(exported), name))


def test_a_missing_file(model: Path, reading: tuple[str, str]) -> None:
    name, kind = reading
    card = card_with(model, kind, path="gone.bin", sha256=None)
    with pytest.raises(FileNotFoundError, match=r"gone\.bin"):
        load_runtime(card, name, device_of(name))


@pytest.mark.parametrize("content", [b"", b"not a network", None], ids=["empty", "text", "truncated"])
def test_a_corrupt_file(model: Path, reading: tuple[str, str], content) -> None:
    name, kind = reading
    path = load_card(model).files[kind].path
    path.write_bytes(path.read_bytes()[:20_000] if content is None else content)
    with pytest.raises(CardError, match=path.name):
        load_runtime(card_with(model, kind, sha256=None), name, device_of(name))


@pytest.mark.parametrize("old", [False, True], ids=["weights_only", "torch before 1.13"])
def test_weights_run_nothing(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    """Tensors are read, and code that a file brings along is not run, in old versions of PyTorch too."""
    torch = pytest.importorskip("torch")
    from seg_node.runtimes.torch import read_weights

    if old:
        new_load = torch.load

        def load(f, map_location=None, pickle_module=pickle, **pickle_load_args):
            return new_load(f, map_location, pickle_module, weights_only=False, **pickle_load_args)

        monkeypatch.setattr(torch, "load", load)
    weights = read_weights(exported / "weights.pt")
    assert weights["classify.bias"].shape == (11,)

    class Runs:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"classify.bias": Runs()}, tmp_path / "bad.pt")
    with pytest.raises(CardError, match=r"bad\.pt"):
        read_weights(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


def test_damaged_bytes_in_weights(exported: Path, tmp_path: Path) -> None:
    """A pickle whose bytes are changed raises all kinds of errors: CardError to the caller."""
    torch = pytest.importorskip("torch")
    from seg_node.runtimes.torch import read_weights

    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(2)}, path)
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    start = whole.index(b"\x80\x02")
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[int(rng.integers(start, start + 100))] = int(rng.integers(256))
        path.write_bytes(damaged)
        with contextlib.suppress(CardError):
            read_weights(path)


def test_options_that_the_network_does_not_know_name_the_card(model: Path) -> None:
    pytest.importorskip("torch")
    table = yaml.safe_load((model / "card.yaml").read_text())
    table["network"]["options"] = {"colour": "red"}
    (model / "card.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(CardError, match=r"card\.yaml: network 'rdsnet'.*colour"):
        load_runtime(load_card(model), "torch", "cpu")


def test_a_wrong_sha256(model: Path, reading: tuple[str, str]) -> None:
    name, kind = reading
    with pytest.raises(CardError, match="sha256"):
        load_runtime(card_with(model, kind, sha256="0" * 64), name, device_of(name))


def test_a_device_that_is_not_there(exported: Path, reading: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^device 'nonsense' is not available"):
        load_runtime(load_card(exported), reading[0], "nonsense")


def test_a_card_that_does_not_fit_its_file(model: Path, reading: tuple[str, str]) -> None:
    name, _ = reading
    table = yaml.safe_load((model / "card.yaml").read_text())
    table["input"]["size"] = [64, 48]
    table["network"]["classes"] = 7
    (model / "card.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(CardError, match=r"card\.yaml|classes"):
        load_runtime(load_card(model), name, device_of(name))


def test_an_unknown_backend_lists_the_names(exported: Path) -> None:
    with pytest.raises(ValueError, match="onnx, openvino"):
        load_runtime(load_card(exported), "onxx")


def test_auto_takes_an_installed_one_that_reads_the_cards_files(exported: Path) -> None:
    loaded = load_runtime(load_card(exported), "auto", "cpu")
    assert loaded.name in runtimes.names() and loaded.name != "fake"
    loaded.close()


@pytest.mark.parametrize(
    "files, precision, name",
    [
        ("onnx openvino_int8 torch", "auto", "openvino"),
        ("onnx openvino_int8 torch", "int8", "openvino"),
        ("onnx onnx_int8 openvino_int8", "int8", "openvino"),
        ("onnx_tx2 torch", "bf16", "torch"),
        ("onnx torch", "int8", "openvino"),  # none has it: the fastest says what to do
    ],
)
def test_auto_takes_one_that_has_the_precision(
    exported: Path, monkeypatch: pytest.MonkeyPatch, files: str, precision: str, name: str
) -> None:
    monkeypatch.setattr(runtimes, "_GPUS", ())
    for needed in ("onnx", "openvino", "torch"):
        if not runtimes.is_installed(needed):
            pytest.skip(f"{needed} is not installed")
    card = load_card(exported)
    card = card._replace(files=dict.fromkeys(files.split(), card.files["onnx"]))
    assert runtimes.choose(card, precision) == name


@pytest.mark.parametrize("name", READING)
def test_all_backends_say_the_same_on_a_trained_network(name: str) -> None:
    """At least 99.9 % of the pixels of the shipped network, against ONNX Runtime."""
    from seg_node.model_card import names as shipped

    if "rdsnet_camvid" not in shipped():
        pytest.fail("models/rdsnet_camvid is part of the package")
    usable(name)
    card = load_card("rdsnet_camvid")
    batch = images(card, 4)
    reference, other = load_runtime(card, "onnx", "cpu"), load_runtime(card, name, device_of(name), "fp32")
    for image in batch[:, None]:
        assert np.mean(reference.infer(image).labels == other.infer(image).labels) >= 0.999


def test_a_strangers_graph(tmp_path: Path, write_card) -> None:
    """Float NCHW in, logits at a quarter of the size out, other names: adapted from what its card says."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    # logits of class k: -(mean of channel 0 of the normalised 4x4 cell - k)^2, so labels follow the first channel
    levels = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["pixels"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
            helper.make_node("Slice", ["cells", "zero", "one", "axis"], ["red"]),
            helper.make_node("Sub", ["red", "levels"], ["off"]),
            helper.make_node("Mul", ["off", "off"], ["square"]),
            helper.make_node("Neg", ["square"], ["scores"]),
        ],
        "stranger",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 2, 2])],
        [
            numpy_helper.from_array(levels, "levels"),
            *(numpy_helper.from_array(np.array([v], np.int64), n) for n, v in (("zero", 0), ("one", 1), ("axis", 1))),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "stranger.onnx"))
    folder = write_card(
        network={"name": "external", "classes": 3},
        output={"kind": "logits"},
        files={"onnx": {"path": "stranger.onnx"}},
        input={
            "size": [8, 8],
            "channels": "rgb",
            "layout": "nchw",
            "dtype": "float32",
            "mean": [10, 10, 10],
            "std": [50, 1, 1],
            "scale": 1,
        },
    )
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, :4, :4, 0], image[0, :4, 4:, 0], image[0, 4:, :, 0] = 10, 60, 110  # normalised: 0, 1, 2
    cells = np.array([[0, 1], [2, 2]], np.float32)  # logits are stretched, bilinear, and then compared
    logits = -((cells - np.arange(3).reshape(1, 3, 1, 1)) ** 2)
    stretched = torch.nn.functional.interpolate(torch.from_numpy(logits), (8, 8), mode="bilinear")
    truth = stretched.argmax(1)[0].numpy()
    for name in ("onnx", "openvino"):
        if runtimes.is_installed(name):
            assert np.array_equal(load_runtime(load_card(folder), name, "cpu").infer(image).labels[0], truth)


@pytest.mark.parametrize("name", [name for name in runtimes.names() if name not in {"fake"} | GPU_ONLY])
def test_a_precision_that_it_cannot_compute_in_is_refused(name: str, exported: Path) -> None:
    if not runtimes.is_installed(name):
        pytest.skip(f"{name} is not installed")
    with pytest.raises(ValueError, match="precision 'int8' is not possible here; choose auto, fp32"):
        runtimes.load_runtime(load_card(exported), name, "cpu", "int8")


def test_torch_computes_in_half_precision_where_asked(exported: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3), np.uint8)
    full = runtimes.load_runtime(load_card(exported), "torch", "cpu")
    half = runtimes.load_runtime(load_card(exported), "torch", "cpu", "bf16")
    assert (full.precision, half.precision) == ("fp32", "bf16")
    assert np.mean(full.infer(images).labels == half.infer(images).labels) > 0.8  # random weights: near ties


@pytest.mark.parametrize("name", ["torch", "onnx", "openvino"])
def test_confidence_is_given_where_it_is_wanted(name: str, confident: ModelCard) -> None:
    """The label's share of the softmax; the labels are as they are without it."""
    if not runtimes.is_installed(name):
        pytest.skip(f"{name} is not installed")
    images = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3), np.uint8)
    runtime, truth = load_runtime(confident, name, "cpu"), load_runtime(confident, "torch", "cpu")
    plain = runtime.infer(images)
    labels = plain.labels.copy()
    assert plain.confidence is None
    runtime.wants_confidence = truth.wants_confidence = True
    sure = runtime.infer(images)
    assert sure.confidence is not None and sure.confidence.shape == (2, 48, 64) and sure.confidence.dtype == np.uint8
    assert np.mean(sure.labels == labels) > 0.999
    wanted = truth.infer(images).confidence
    assert wanted is not None and np.abs(sure.confidence.astype(int) - wanted).max() <= 1
    assert 255 / 11 < sure.confidence.mean() < 255  # 11 classes, untrained: more than even, less than certain
    runtime.wants_confidence = False
    assert runtime.infer(images).confidence is None


def test_a_model_without_the_file_for_it_gives_none(exported: Path) -> None:
    runtime = load_runtime(load_card(exported), "onnx", "cpu")
    runtime.wants_confidence = True
    assert runtime.infer(np.zeros((1, 48, 64, 3), np.uint8)).confidence is None


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_labels_go_on_where_the_file_for_it_is_damaged(name: str, confident: ModelCard, tmp_path: Path) -> None:
    if not runtimes.is_installed(name):
        pytest.skip(f"{name} is not installed")
    folder = shutil.copytree(confident.folder, tmp_path / "damaged")
    file = next(folder.glob("*confidence.onnx"))
    file.write_bytes(file.read_bytes()[:1000])
    runtime = load_runtime(load_card(folder), name, "cpu")
    images = np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3), np.uint8)
    labels = runtime.infer(images).labels.copy()
    runtime.wants_confidence = True
    for _ in range(2):
        answer = runtime.infer(images)
        assert np.array_equal(answer.labels, labels) and answer.confidence is None
    assert runtime.why_unsure.startswith("no confidence: ") and file.name in runtime.why_unsure


@pytest.fixture(scope="module")
def confident(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """The exported model with the file that gives confidence, too."""
    pytest.importorskip("onnx")
    from seg_node import exporters

    folder = shutil.copytree(exported, tmp_path_factory.mktemp("confident") / "small")
    exporters.export(folder, "onnx", exporters.Wanted(confidence=True))
    return load_card(folder)


def test_half_precision_of_grouped_dilated_convolutions_ends_on_a_cpu() -> None:
    """In channels-last order oneDNN never ended with one of these."""
    card = load_card("c3net2_camvid")
    given = images(card, 1)
    half = runtimes.load_runtime(card, "torch", "cpu", "bf16")
    assert np.mean(half.infer(given).labels == runtimes.load_runtime(card, "torch", "cpu").infer(given).labels) > 0.97
