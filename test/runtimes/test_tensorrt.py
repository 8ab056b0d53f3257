"""The TensorRT backend around a FAKE TensorRT and a FAKE CUDA driver (fake_vendor): which graph is taken, how an engine
is asked for and kept, how its tensors are found, memory, errors. Polygraphy and the processes are real. What needs a
GPU is in test_tensorrt_gpu."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from seg_node.model_card import CardError, load_card, sha256
from seg_node.runtimes import _cuda, _engine, _engine_builder, _engine_cache, _progress, load_runtime
from seg_node.runtimes import tensorrt as backend

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("polygraphy")

FAKE = Path(__file__).resolve().parent / "fake_vendor"
VERSIONS = ["8.2", "8.6", "10.13", "11.4"]


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that installs the fakes: a version of TensorRT, and a GPU."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_cuda, "_devices", {})

    def install(version: str = "8.6", **gpu: object):
        import fake_cuda

        monkeypatch.setenv("FAKE_TENSORRT", version)
        for name in [name for name in sys.modules if name == "tensorrt" or name.split(".")[0] == "polygraphy"]:
            monkeypatch.delitem(sys.modules, name)
        cuda = fake_cuda.FakeCuda(**gpu)
        monkeypatch.setattr(_cuda, "open_driver", lambda: _cuda.Driver(cuda))
        monkeypatch.setattr(_cuda, "_devices", {})
        return cuda

    yield install
    sys.modules.pop("tensorrt", None)


@pytest.fixture(scope="session")
def graphs(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a graph of every kind; what they compute is the same."""
    from onnx import TensorProto, helper

    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("graphs") / "small"))
    table = yaml.safe_load((folder / "card.yaml").read_text())
    model = onnx.load(str(folder / table["files"]["onnx"]["path"]))
    graph = model.graph
    pixels, labels = graph.input[0].name, graph.output[0].name
    for node in graph.node:
        node.input[:] = ["pixels" if name == pixels else name for name in node.input]
        node.output[:] = ["ids" if name == labels else name for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", [pixels], ["pixels"], to=TensorProto.UINT8))
    graph.node.append(helper.make_node("Cast", ["ids"], [labels], to=TensorProto.INT32))
    graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    onnx.checker.check_model(model, full_check=True)
    for kind in ("onnx_tx2", "onnx_int8"):
        model.doc_string = kind
        onnx.save(model, str(folder / f"{kind}.onnx"))
        table["files"][kind] = {"path": f"{kind}.onnx", "sha256": sha256(folder / f"{kind}.onnx")}
        table["files"][kind].update(layout="nhwc", dtype="float32", output="labels", fused=True)
    table["files"]["onnx_fp16"] = {**table["files"]["onnx"], "precision": "fp16"}
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return folder


@pytest.fixture(scope="session")
def first_builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def built_once(vendor, graphs, first_builds):
    """Return a function that installs the fakes with an engine in the cache: a build takes a process and a second."""

    def install(version: str = "8.6", **gpu: object):
        cuda = vendor(version, **gpu)
        kept = first_builds / version
        if not kept.exists():
            load_runtime(load_card(graphs), "tensorrt").close()
            shutil.copytree(_engine_cache.folder(), kept)
        shutil.copytree(kept, _engine_cache.folder(), dirs_exist_ok=True)
        return cuda

    return install


@pytest.fixture
def model(graphs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(graphs, tmp_path / "small"))


def change(folder: Path, change_table) -> Path:
    table = yaml.safe_load((folder / "card.yaml").read_text())
    change_table(table)
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return folder


def images(count: int = 1) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 48, 64, 3), np.uint8)


def engines() -> list[Path]:
    return sorted(_engine_cache.folder().glob("*.engine"))


def built(path: Path) -> dict:
    """What the fake was asked to build."""
    return json.loads(path.read_bytes().split(b"\n")[1])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_every_generation_builds_and_labels_as_onnx_does(vendor, graphs, version, precision) -> None:
    vendor(version)
    card = load_card(graphs)
    heard = []
    with _progress.heard_by(heard.append):
        runtime = load_runtime(card, "tensorrt", "auto", precision)
    truth = load_runtime(card, "onnx", "cpu")
    for count in (1, 3):
        batch = images(count)
        assert np.array_equal(runtime.infer(batch).labels, truth.infer(batch).labels)
    assert runtime.precision == ("fp32" if precision == "auto" else precision)
    about, weak = built(engines()[0]), version != "11.4"
    assert ("FP16" in about["flags"]) == (weak and precision != "auto")
    assert ("INT8" in about["flags"]) == (weak and precision == "int8")
    assert about["typed"] == (not weak and precision != "auto")
    assert "TF32" not in about["flags"]
    assert any("building small: TensorRT" in text for text in heard) and heard[-1] == ""
    if version in ("10.13", "11.4"):
        assert any("Building Engine 100 %" in text for text in heard)
    runtime.close()


@pytest.mark.parametrize(
    "version, precision, kind",
    [
        ("8.2", "fp32", "onnx_tx2"),
        ("8.2", "fp16", "onnx_tx2"),
        ("8.6", "fp16", "onnx_tx2"),
        ("10.13", "fp16", "onnx"),
        ("11.4", "fp16", "onnx_fp16"),
        ("8.6", "int8", "onnx_int8"),
        ("11.4", "fp32", "onnx"),
    ],
)
def test_the_graph_that_is_taken_is_one_that_this_tensorrt_takes(vendor, graphs, version, precision, kind) -> None:
    vendor(version)
    import tensorrt as fake

    card = load_card(graphs)
    graph = next(backend._graphs(card, precision, _engine_builder.Abilities.of(fake), []))
    assert graph.path == card.files[kind].path and graph.card.dtype == card.for_file(kind).dtype


def test_a_second_start_builds_nothing(built_once, graphs, monkeypatch) -> None:
    built_once()
    load_runtime(load_card(graphs), "tensorrt").close()
    monkeypatch.setenv("FAKE_TENSORRT_BREAK", "build")
    load_runtime(load_card(graphs), "tensorrt").close()
    assert len(engines()) == 1 and not list(_engine_cache.folder().glob("*.partial"))


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "another model", "another version", "no json"])
def test_a_poisoned_cache_is_built_anew(built_once, graphs, damage) -> None:
    built_once()
    card = load_card(graphs)
    runtime = load_runtime(card, "tensorrt")
    truth = runtime.infer(images()).labels.copy()
    runtime.close()
    path = engines()[0]
    good = path.read_bytes()
    head, _, plan = good.partition(b"\n")
    about = json.loads(head)
    flipped = bytearray(good)
    flipped[-1] ^= 1
    about["key"]["onnx"] = "0" * 64
    other = plan.replace(b'"8.6.0"', b'"8.5.3"')
    newer = {**json.loads(head), "sha256": hashlib.sha256(other).hexdigest()}
    path.write_bytes(
        {
            "truncated": good[: len(good) // 2],
            "empty": b"",
            "one bit": bytes(flipped),
            "another model": json.dumps(about).encode() + b"\n" + plan,
            "another version": json.dumps(newer).encode() + b"\n" + other,  # whole, but TensorRT does not take it
            "no json": b"\x80\xff" + good,
        }[damage]
    )
    runtime = load_runtime(card, "tensorrt")
    assert np.array_equal(runtime.infer(images()).labels, truth)
    runtime.close()
    assert path.read_bytes() == good


@pytest.mark.parametrize(
    "what", ["version", "gpu", "capability", "precision", "weights"], ids=lambda what: "other " + what
)
def test_a_changed_key_builds_another(vendor, built_once, model, what) -> None:
    built_once("8.6")
    first = engines()
    if what == "version":
        vendor("10.13")
    elif what == "gpu":
        vendor("8.6", name="Fake Xavier")
    elif what == "capability":
        vendor("8.6", capability=(7, 2))
    elif what == "weights":
        path = load_card(model).files["onnx_tx2"].path
        graph = onnx.load(str(path))
        graph.doc_string = "trained again"
        onnx.save(graph, str(path))
        change(model, lambda table: table["files"]["onnx_tx2"].update(sha256=sha256(path)))
    load_runtime(load_card(model), "tensorrt", "auto", "fp16" if what == "precision" else "fp32").close()
    assert len(engines()) == 2 and set(first) < set(engines())


def test_old_engines_of_a_model_are_dropped(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "cache"))
    for number in range(9):
        for name in ("small", "small-2"):
            path = _engine_cache.path_for(name, {"number": number})
            with _engine_cache.lock(path, lambda: None):
                _engine_cache.write(path, {"number": number}, b"plan")
            os.utime(path, (number, number))
    for name in ("small", "small-2"):
        kept = [_engine_cache.read(_engine_cache.path_for(name, {"number": n}), {"number": n}) for n in range(9)]
        assert kept == [None] * 3 + [b"plan"] * 6


def test_a_build_that_fails_or_is_killed_leaves_nothing_and_says_why(vendor, graphs, monkeypatch) -> None:
    vendor()
    for how, says in (("build", "cannot build it"), ("crash", "SIGKILL, as the system does where memory is short")):
        monkeypatch.setenv("FAKE_TENSORRT_BREAK", how)
        with pytest.raises(CardError, match=says):
            load_runtime(load_card(graphs), "tensorrt")
        assert not engines() and not list(_engine_cache.folder().glob("*.partial"))


def test_a_killed_process_takes_its_build_with_it(vendor, graphs, tmp_path, monkeypatch) -> None:
    vendor()
    monkeypatch.setenv("FAKE_TENSORRT_BREAK", "600 s")
    program = (
        "import sys; from seg_node.runtimes._engine_builder import Order, build\n"
        f"order = Order({str(load_card(graphs).file('onnx_tx2'))!r}, 'fp32', (1, 48, 64, 3))\n"
        "build(order, lambda text: print(text, flush=True))"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(FAKE), *filter(None, sys.path)]))
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True)
    assert parent.stdout is not None
    for line in parent.stdout:  # a heartbeat, though the fake says nothing
        if not line.startswith("0 s"):
            break
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 1
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{children[0]}").exists()


def test_two_at_once_build_once(vendor, graphs) -> None:
    vendor()
    card = load_card(graphs)
    heard: list[list[str]] = [[], []]

    def start(number: int) -> None:
        with _progress.heard_by(heard[number].append):
            load_runtime(card, "tensorrt").close()

    threads = [threading.Thread(target=start, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(any("building" in text for text in texts) for texts in heard) == 1
    assert len(engines()) == 1


def test_polygraphy_missing_says_what_to_install(vendor, graphs, monkeypatch, tmp_path) -> None:
    vendor()
    (tmp_path / "none" / "polygraphy").mkdir(parents=True)
    (tmp_path / "none" / "polygraphy" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'polygraphy'\")"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "none"))
    with pytest.raises(ImportError, match="pip install polygraphy"):
        load_runtime(load_card(graphs), "tensorrt")


def test_a_cache_that_cannot_be_written(vendor, graphs, monkeypatch, tmp_path) -> None:
    vendor()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="SEG_NODE_CACHE"):
        load_runtime(load_card(graphs), "tensorrt")


def test_a_node_tells_diagnostics_that_an_engine_is_built(vendor, graphs, monkeypatch) -> None:
    """Each second, though this TensorRT itself says nothing; and in the end that nothing goes on any more."""
    from seg_node.ros.engine import Engine, Loader, Wanted
    from seg_node.ros.health import Condition, Health

    vendor("8.2")
    monkeypatch.setenv("FAKE_TENSORRT_BREAK", "3 s")
    condition, messages = Condition(), []
    condition.state = "loading"
    health = Health(condition)
    loaded: list[Engine] = []

    def say(progress: str) -> None:
        condition.progress = progress
        messages.append(health.report(lambda: "")[1])

    loader = Loader(loaded.append, lambda wanted, error: pytest.fail(str(error)), say)
    loader.load(Wanted(str(graphs), "tensorrt", "auto", "fp16"))
    end = time.monotonic() + 60
    while loader.busy and time.monotonic() < end:
        time.sleep(0.05)
    told = re.compile(r"loading: building small: TensorRT fp16 engine for Fake Orin, [1-9]\d* s")
    assert any(told.fullmatch(message) for message in messages)
    assert messages[-1] == "loading"
    assert ("precision", "fp16") in loaded[0].about()
    loaded[0].close()


# What cannot be


def test_int8_on_a_tx2_is_refused_with_the_reason(vendor, graphs) -> None:
    vendor("8.2", name="NVIDIA Tegra X2", capability=(6, 2))
    with pytest.raises(ValueError, match=r"6\.2, has no 8-bit integer arithmetic.*TX2.*fp16"):
        load_runtime(load_card(graphs), "tensorrt", "auto", "int8")
    load_runtime(load_card(graphs), "tensorrt", "auto", "fp16").close()


def test_no_gpu_and_no_driver(vendor, graphs, monkeypatch) -> None:
    vendor(count=0)
    with pytest.raises(ValueError, match=r"^device 'auto' is not available to TensorRT here: .*no CUDA-capable device"):
        load_runtime(load_card(graphs), "tensorrt")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setattr(_cuda, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    monkeypatch.setattr(_cuda, "_devices", {})
    with pytest.raises(ValueError, match="no NVIDIA driver"):
        load_runtime(load_card(graphs), "tensorrt")


@pytest.mark.parametrize("device", ["nonsense", "cpu", "gpu:1", "dla:x", ""])
def test_a_device_that_is_not_there(vendor, graphs, device) -> None:
    vendor()
    with pytest.raises(ValueError, match=f"^device '{device}' is not available to TensorRT"):
        load_runtime(load_card(graphs), "tensorrt", device)


def test_dla(vendor, graphs, monkeypatch) -> None:
    vendor()
    with pytest.raises(ValueError, match=r"fp32.*DLA; choose fp16 or int8"):
        load_runtime(load_card(graphs), "tensorrt", "dla")
    with pytest.raises(CardError, match="this board has 0 DLA cores"):
        load_runtime(load_card(graphs), "tensorrt", "dla", "fp16")
    monkeypatch.setenv("FAKE_TENSORRT_DLA", "2")
    runtime = load_runtime(load_card(graphs), "tensorrt", "dla:1", "fp16")
    assert runtime.device == "dla:1"
    assert built(engines()[0])["dla"] == 1 and "GPU_FALLBACK" in built(engines()[0])["flags"]
    runtime.close()


def test_bf16_where_this_tensorrt_has_none(vendor, graphs) -> None:
    vendor("8.6")
    with pytest.raises(ValueError, match="bf16"):
        load_runtime(load_card(graphs), "tensorrt", "auto", "bf16")


def test_no_graph_for_it_says_what_to_export(vendor, model) -> None:
    for version, precision, says in (
        ("8.2", "fp32", "--to onnx --target tx2"),
        ("11.4", "fp16", "--to onnx --precision fp16"),
        ("8.6", "int8", "--to onnx --precision int8"),
    ):
        vendor(version)
        change(
            model, lambda table: table.update(files={k: v for k, v in table["files"].items() if k in ("torch", "onnx")})
        )
        with pytest.raises(CardError, match=f"seg-node export .*{says}"):
            load_runtime(load_card(model), "tensorrt", "auto", precision)


# One's own engine


def own_engine(model: Path, version: str, **entry: object) -> Path:
    """Leave the card one engine alone, as somebody else's trtexec would have made it."""
    load_runtime(load_card(model), "tensorrt").close()
    (model / "mine.plan").write_bytes(engines()[0].read_bytes().partition(b"\n")[2])
    shutil.rmtree(_engine_cache.folder())
    return change(model, lambda table: table.update(files={"tensorrt": {"path": "mine.plan", **entry}}))


@pytest.mark.parametrize("version", VERSIONS)
def test_ones_own_engine_runs_and_its_border_is_discovered(built_once, graphs, model, version) -> None:
    built_once(version)
    own_engine(model, version, fused=True)  # the card says uint8 and knows no better; the older ones' takes float32
    runtime = load_runtime(load_card(model), "tensorrt")
    truth = load_runtime(load_card(graphs), "onnx", "cpu")
    assert np.array_equal(runtime.infer(images()).labels, truth.infer(images()).labels)
    assert not engines()
    runtime.close()


def test_ones_own_engine_of_logits_in_nchw_with_a_free_batch(vendor, write_card) -> None:
    """Float NCHW in and logits out, though the card says neither."""
    from onnx import TensorProto, helper, numpy_helper

    levels = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["pixels", "axis"], ["grey"], keepdims=1),
            helper.make_node("Sub", ["grey", "levels"], ["off"]),
            helper.make_node("Mul", ["off", "off"], ["square"]),
            helper.make_node("Neg", ["square"], ["scores"]),
        ],
        "own",
        [value("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("scores", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [numpy_helper.from_array(levels, "levels"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    for version in VERSIONS:
        vendor(version)
        folder = write_card(
            network={"name": "external", "classes": 3},
            input={"size": [8, 8], "channels": "rgb", "scale": 1, "std": [50, 50, 50]},
            files={"tensorrt": {"path": "own.engine"}},
        )
        release = __import__("tensorrt").__version__
        (folder / "own.engine").write_bytes(json.dumps({"fake": release}).encode() + b"\n" + content)
        runtime = load_runtime(load_card(folder), "tensorrt")
        image = np.zeros((1, 8, 8, 3), np.uint8)
        image[:, :, 3:6], image[:, :, 6:] = 50, 100  # normalised: 0, 1, 2
        runtime.wants_confidence = True
        prediction = runtime.infer(image)
        assert (prediction.labels[0, 0] == [0, 0, 0, 1, 1, 1, 2, 2]).all() and prediction.confidence is not None
        runtime.close()


def test_an_engine_that_does_not_fit_its_card_lists_its_tensors(built_once, model) -> None:
    built_once("8.6")
    own_engine(model, "8.6")
    change(model, lambda table: table["input"].update(size=[64, 64]))
    with pytest.raises(
        CardError, match=r"card\.yaml.*inputs: .*float32 \(1, 48, 64, 3\); outputs: .*int32 \(1, 48, 64\)"
    ):
        load_runtime(load_card(model), "tensorrt")


def test_a_packed_format_is_refused(built_once, model) -> None:
    built_once("8.6")
    own_engine(model, "8.6")
    path = model / "mine.plan"
    head, _, content = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(head), "format": "CHW32"}).encode() + b"\n" + content)
    with pytest.raises(CardError, match="packed format"):
        load_runtime(load_card(model), "tensorrt")


@pytest.mark.parametrize("content", [b"", b"not an engine", None], ids=["empty", "text", "another version"])
def test_an_own_engine_that_tensorrt_does_not_take(built_once, model, content) -> None:
    built_once("8.6")
    own_engine(model, "8.6")
    if content is None:
        built_once("10.13")
    else:
        (model / "mine.plan").write_bytes(content)
    with pytest.raises(CardError, match=r"mine\.plan: TensorRT .* does not take it"):
        load_runtime(load_card(model), "tensorrt")


def test_an_exported_engine_of_another_machine_is_built_again_from_its_graph(vendor, graphs, model) -> None:
    vendor("8.6")
    graph = model / "mine.onnx"
    shutil.copy(load_card(model).file("onnx_tx2"), graph)
    own_engine(model, "8.6", beside={"mine.onnx": sha256(graph)}, precision="fp16", fused=True)
    runtime = load_runtime(load_card(model), "tensorrt")
    assert not engines() and runtime.precision == "fp16"
    runtime.close()
    vendor("10.13")
    runtime = load_runtime(load_card(model), "tensorrt")
    assert runtime.precision == "fp16" and built(engines()[0])["flags"] == ["FP16"]
    truth = load_runtime(load_card(graphs), "onnx", "cpu")
    assert np.array_equal(runtime.infer(images()).labels, truth.infer(images()).labels)
    runtime.close()


@pytest.mark.parametrize("settings", ["0" * 16, None], ids=["another card", "this card"])
def test_the_graph_beside_an_engine_is_taken_only_if_it_is_of_this_card(vendor, graphs, model, settings) -> None:
    """Else a mean that was put right would not count."""
    vendor("8.6")
    graph = model / "mine.onnx"
    shutil.copy(load_card(model).file("onnx_tx2"), graph)
    of = {"settings": settings} if settings else {}
    own_engine(model, "8.6", beside={"mine.onnx": sha256(graph)}, precision="fp32", fused=True, **of)
    if settings:
        with pytest.raises(CardError, match=r"mine\.plan was made when card\.yaml said otherwise"):
            load_runtime(load_card(model), "tensorrt", "auto", "fp16")
        return
    load_runtime(load_card(model), "tensorrt", "auto", "fp16").close()
    with pytest.raises(CardError, match="int8 engine is built here from onnx_int8, and the card names none"):
        load_runtime(load_card(model), "tensorrt", "auto", "int8")  # and not from a graph of floats


@pytest.mark.parametrize("version, precision", [("8.2", "fp16"), ("11.4", "fp16")])
def test_an_export_is_proven_and_starts_without_a_build(vendor, exported, tmp_path, version, precision) -> None:
    from seg_node import exporters

    model = Path(shutil.copytree(exported, tmp_path / "small"))
    vendor(version)
    done = exporters.make(model, "tensorrt", exporters.Wanted(precision=precision))
    entry = done.files["tensorrt"]
    assert entry["parity"]["passed"] and entry["precision"] == precision and entry["gpu"] == "Fake Orin"
    assert (model / entry["path"]).is_file() and (model / next(iter(entry["beside"]))).suffix == ".onnx"
    card = load_card(model)
    runtime, truth = load_runtime(card, "tensorrt"), load_runtime(card, "torch", "cpu")
    assert runtime.precision == precision and not engines()
    assert np.mean(runtime.infer(images()).labels == truth.infer(images()).labels) > 0.995
    runtime.close()


def test_an_export_without_a_gpu_says_what_to_do(vendor, exported, tmp_path) -> None:
    from seg_node import exporters

    model = Path(shutil.copytree(exported, tmp_path / "small"))
    before = (model / "card.yaml").read_bytes()
    vendor(count=0)
    with pytest.raises(ValueError, match=r"built where it runs.*--to onnx.*--target tx2"):
        exporters.make(model, "tensorrt", exporters.Wanted())
    assert (model / "card.yaml").read_bytes() == before and not list(model.glob(".export-*"))


# Memory and speed


def test_memory_is_taken_once_and_given_back(built_once, graphs) -> None:
    cuda = built_once()
    runtime = load_runtime(load_card(graphs), "tensorrt")
    taken = set(cuda.memory)
    first = runtime.infer(images()).labels
    for _ in range(5):
        runtime.infer(images())
    assert set(cuda.memory) == taken and len(taken) == 4  # two tensors, each on the GPU and pinned
    assert first.shape == (1, 48, 64)
    runtime.close()
    runtime.close()
    assert not cuda.memory and cuda.streams == 0


def test_memory_is_given_back_where_loading_fails(built_once, model) -> None:
    cuda = built_once()
    own_engine(model, "8.6")
    change(model, lambda table: table["input"].update(size=[64, 64]))
    with pytest.raises(CardError):
        load_runtime(load_card(model), "tensorrt")
    assert not cuda.memory and cuda.streams == 0


@pytest.mark.parametrize("seconds, taken", [([2.0, 1.0], True), ([1.0, 2.0], False)], ids=["faster", "slower"])
def test_a_graph_is_kept_where_it_is_faster(built_once, graphs, monkeypatch, seconds, taken) -> None:
    cuda = built_once()
    measured = iter(seconds)
    monkeypatch.setattr(_engine.Engine, "_time", lambda self: next(measured))
    runtime = load_runtime(load_card(graphs), "tensorrt")
    truth = load_runtime(load_card(graphs), "onnx", "cpu")
    cuda.calls.clear()
    batch = images(2)
    assert np.array_equal(runtime.infer(batch).labels, truth.infer(batch).labels)
    assert cuda.calls.count("cuGraphLaunch") == 2 * taken
    runtime.close()


def test_without_graphs_it_runs_all_the_same(built_once, graphs) -> None:
    built_once(graphs=False)
    runtime = load_runtime(load_card(graphs), "tensorrt")
    assert not runtime._engine.uses_graph  # type: ignore[attr-defined]
    truth = load_runtime(load_card(graphs), "onnx", "cpu")
    assert np.array_equal(runtime.infer(images()).labels, truth.infer(images()).labels)
    runtime.close()


def test_an_inference_that_fails_says_so(built_once, graphs, monkeypatch) -> None:
    built_once(graphs=False)
    runtime = load_runtime(load_card(graphs), "tensorrt")
    monkeypatch.setenv("FAKE_TENSORRT_BREAK", "run")
    with pytest.raises(RuntimeError, match="TensorRT could not run"):
        runtime.infer(images())
    runtime.close()
