"""What `export --to onnx` can write besides its plain file: for a TX2, in half precision, of another size or batch."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from seg_node import commands, exporters  # noqa: E402
from seg_node.datasets import open_split  # noqa: E402
from seg_node.exporters import Wanted  # noqa: E402
from seg_node.model_card import CardError, ModelCard, load_card, sha256  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402
from seg_node.share import share_path  # noqa: E402

FLOAT, INT32, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64


@pytest.fixture(scope="module")
def model(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with all that is tried here."""
    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("flavours") / "small"))
    exporters.export(folder, "onnx", Wanted(target="tx2", confidence=True))
    exporters.export(folder, "onnx", Wanted(precision="fp16"))
    return folder


@pytest.fixture
def card(model: Path) -> ModelCard:
    return load_card(model)


def only(card: ModelCard, *kinds: str) -> ModelCard:
    return card._replace(files={kind: card.files[kind] for kind in kinds})


def images(card: ModelCard, count: int) -> np.ndarray:
    split = open_split("street", "val", size=card.size)
    return np.stack([split[index][0] for index in range(count)])


def border(path: Path) -> list[tuple[str, int, list[int]]]:
    graph = onnx.load(str(path)).graph
    return [
        (value.name, value.type.tensor_type.elem_type, [side.dim_value for side in value.type.tensor_type.shape.dim])
        for value in (*graph.input, *graph.output)
    ]


def test_a_tx2s_graph_is_one_that_it_reads(card: ModelCard) -> None:
    graph = onnx.load(str(card.file("onnx_tx2")))
    onnx.checker.check_model(graph, full_check=True)
    assert (graph.opset_import[0].version, graph.ir_version) == (13, 7) and len(graph.opset_import) == 1
    image, label = ("image", FLOAT, [1, 48, 64, 3]), ("label", INT32, [1, 48, 64])
    assert border(card.file("onnx_tx2")) == [image, label]
    assert border(card.file("onnx_tx2_confidence")) == [image, label, ("confidence", INT32, [1, 48, 64])]
    assert {"dtype": "float32", "layout": "nhwc", "fused": True}.items() <= card.files["onnx_tx2"]._asdict().items()


@pytest.mark.parametrize("kind, share", [("onnx_tx2", 0.999), ("onnx_fp16", 0.99)])
def test_each_says_what_pytorch_says(card: ModelCard, kind: str, share: float) -> None:
    batch = images(card, 2)
    truth = load_runtime(card, "torch", "cpu").infer(batch).labels.copy()
    labels = load_runtime(only(card, kind), "onnx", "cpu").infer(batch).labels
    assert labels.dtype == np.uint8 and np.mean(labels == truth) >= share
    assert card.files[kind].notes["parity"]["passed"]


def test_a_tx2s_confidence(card: ModelCard) -> None:
    truth, runtime = (
        load_runtime(card, "torch", "cpu"),
        load_runtime(only(card, "onnx_tx2", "onnx_tx2_confidence"), "onnx"),
    )
    truth.wants_confidence = runtime.wants_confidence = True
    wanted, got = truth.infer(images(card, 1)).confidence, runtime.infer(images(card, 1)).confidence
    assert wanted is not None and got is not None and got.dtype == np.uint8
    assert np.abs(wanted.astype(int) - got).max() <= 1


def test_half_is_inside_only(card: ModelCard) -> None:
    weights = onnx.load(str(card.file("onnx_fp16"))).graph.initializer
    half = sum(np.prod(w.dims) for w in weights if w.data_type == onnx.TensorProto.FLOAT16)
    full = sum(np.prod(w.dims) for w in weights if w.data_type == FLOAT)
    assert half > 100_000 and full <= 6, "mean and std"
    assert border(card.file("onnx_fp16")) == border(card.file("onnx"))


def test_a_precision_picks_its_file(card: ModelCard) -> None:
    assert load_runtime(card, "onnx", "cpu").precision == "fp32"
    assert load_runtime(card, "onnx", "cpu", "fp16").precision == "fp16"
    assert load_runtime(only(card, "onnx_fp16"), "onnx", "cpu").precision == "fp16"
    with pytest.raises(ValueError, match="choose auto, fp16"):
        load_runtime(only(card, "onnx_fp16"), "onnx", "cpu", "fp32")
    with pytest.raises(ValueError, match="--to onnx --precision fp16"):
        load_runtime(only(card, "onnx"), "onnx", "cpu", "fp16")


def test_where_only_a_tx2s_can_be_read_it_is(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As ONNX Runtime 1.10 does it; `make test-py36` runs the real one."""
    session = onnxruntime.InferenceSession

    def old(path: str, *rest: object, **options: object) -> object:
        if onnx.load(path).opset_import[0].version > 15:
            raise RuntimeError("Unsupported model IR version: 10, max supported IR version: 8")
        return session(path, *rest, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", old)
    truth = load_runtime(card, "torch", "cpu").infer(images(card, 1)).labels
    with caplog.at_level(logging.WARNING):
        runtime = load_runtime(card, "onnx", "cpu")
    assert "runs small.tx2.onnx instead" in caplog.text
    assert np.mean(runtime.infer(images(card, 1)).labels == truth) >= 0.999
    with pytest.raises(CardError, match=r"small\.onnx: ONNX Runtime cannot load it: Unsupported"):
        load_runtime(only(card, "onnx"), "onnx", "cpu")


def test_a_damaged_file_is_not_replaced_by_another(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "small"))
    (folder / "small.onnx").write_bytes(b"damaged")
    with pytest.raises(CardError, match=r"small\.onnx: sha256 differs"):
        load_runtime(load_card(folder), "onnx", "cpu")


def test_a_gpu_that_does_not_load_is_said(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A build for CUDA without CUDA's libraries: ONNX Runtime itself goes on on the CPU."""
    session = onnxruntime.InferenceSession
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, providers: session(path, options, providers=both[1:])
    )
    with pytest.raises(ValueError, match=r"device 'gpu' is not available.*CUDA"):
        load_runtime(card, "onnx", "gpu")
    with caplog.at_level(logging.WARNING):
        assert load_runtime(card, "onnx", "auto").device == "cpu"
    assert "it runs on the CPU" in caplog.text


def test_another_size_is_another_model(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By the command, which prints JSON alone."""
    out = tmp_path / "wide"
    before = {path.name: sha256(path) for path in model.iterdir()}
    words = ["export", str(model), "--to", "onnx", "--size", "40x96", "--batch", "2", "--out", str(out), "--json"]
    assert commands.main(words) == 0
    [line] = capfd.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["kind"], told["batch"], told["parity"]["passed"]) == ("onnx", 2, True)
    assert Path(told["file"]).parent == out and Path(told["file"]).stat().st_size == told["bytes"]
    card = load_card(out)
    assert (card.name, card.size, set(card.files)) == ("wide", (40, 96), {"torch", "onnx"})
    assert border(card.file("onnx"))[0][2] == [2, 40, 96, 3]
    assert load_runtime(card, "onnx", "cpu").infer(images(card, 3)).labels.shape == (3, 40, 96)
    assert before == {path.name: sha256(path) for path in model.iterdir()} and not list(tmp_path.glob(".*"))
    with pytest.raises(FileExistsError, match="is another model"):
        exporters.export(model, "onnx", Wanted(size=(48, 96)), out)
    with pytest.raises(ValueError, match="another size is another model"):
        exporters.export(out, "onnx", Wanted(size=(48, 96)), out)
    assert load_card(out).file("onnx")


def test_a_new_model_that_fails_the_gate_is_not_left_behind(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seg_node.exporters import onnx as onnx_exporter
    from seg_node.exporters import parity

    verdict = parity.Verdict(0.5, 0.4, False, None, 8, False)
    monkeypatch.setattr(parity, "gate", lambda *arguments: verdict)
    monkeypatch.setattr(onnx_exporter, "trace", lambda *arguments: onnx.load(str(model / "small.onnx")))
    with pytest.raises(parity.ParityError):
        exporters.export(model, "onnx", Wanted(), tmp_path / "bad")
    assert not list(tmp_path.iterdir())
    exporters.export(model, "onnx", Wanted(force=True), tmp_path / "forced")
    assert load_card(tmp_path / "forced").files["onnx"].notes["parity"]["passed"] is False


@pytest.mark.parametrize(
    "words, says",
    [
        (["--precision", "bf16"], "--to onnx has no precision 'bf16'; choose from fp32, fp16, int8"),
        (["--precision", "int8"], "needs --calibrate DIR"),
        (["--target", "tx2", "--precision", "int8"], "its GPU has no 8-bit integer arithmetic"),
        (["--target", "tx2", "--precision", "fp16"], "TensorRT 8 makes its fp16 engine of that"),
    ],
)
def test_what_cannot_be_says_what_can(model: Path, capfd: pytest.CaptureFixture[str], words: list, says: str) -> None:
    assert commands.main(["export", str(model), "--to", "onnx", *words]) == 1
    assert says in capfd.readouterr().err


def test_a_model_without_weights(model: Path, write_card) -> None:
    table = yaml.safe_load((model / "card.yaml").read_text())
    folder = write_card(files={"onnx": {**table["files"]["onnx"], "path": str(model / "small.onnx")}})
    with pytest.raises(CardError, match="names no 'torch' file"):
        exporters.export(folder, "onnx", Wanted())


def test_a_file_that_fails_is_drawn_in_the_colours_of_the_models_own_labels(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie beside the card; the file that is tried lies in a folder of its own."""
    from seg_node.exporters import parity

    model = Path(shutil.copytree(exported, tmp_path / "small"))
    card = yaml.safe_load((model / "card.yaml").read_text())
    shutil.copy(share_path(f"config/labels/{card['label_set']}.yaml"), model / "mine.yaml")
    (model / "card.yaml").write_text(yaml.safe_dump({**card, "label_set": "mine.yaml"}))
    monkeypatch.setattr(parity, "_passes", lambda *arguments: (False, "more than can be"))
    with pytest.raises(parity.ParityError, match="more than can be"):
        exporters.export(model, "onnx", Wanted())
    assert list(model.glob("*.png"))
    exporters.export(model, "onnx", Wanted(force=True))
    assert load_card(model).files["onnx"].notes["parity"]["passed"] is False


def test_confidence_may_come_from_a_file_of_another_batch(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "small"))
    exporters.export(folder, "onnx", Wanted(confidence=True))
    exporters.export(folder, "onnx", Wanted(batch=4))
    card = load_card(folder)
    runtime = load_runtime(card, "onnx", "cpu")
    assert runtime.batch == 4
    pixels = np.zeros((3, *card.size, 3), np.uint8)
    labels = runtime.infer(pixels).labels.copy()
    runtime.wants_confidence = True
    answer = runtime.infer(pixels)
    assert np.array_equal(answer.labels, labels) and answer.confidence is not None
    assert answer.confidence.shape == labels.shape


def test_what_onnx_runtime_raises_is_told_with_the_file(card: ModelCard) -> None:
    """Its classes are no RuntimeErrors: commands would end in a traceback."""
    runtime = load_runtime(card, "onnx", "cpu")
    with pytest.raises(RuntimeError, match=r"small\.onnx: ONNX Runtime cannot run it: "):
        runtime._plain.run(np.zeros((1, 1), np.uint8))
