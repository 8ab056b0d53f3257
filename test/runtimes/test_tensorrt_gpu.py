"""The TensorRT backend on a real GPU; test_tensorrt has what needs none. Elsewhere all of it skips, saying why."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from seg_node import exporters
from seg_node.exporters import Wanted
from seg_node.exporters._golden import golden_images
from seg_node.model_card import load_card
from seg_node.runtimes import _cuda, _engine_cache, load_runtime


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _cuda.Gpu:
    try:
        device = _cuda.open_device()
    except _cuda.CudaError as error:
        pytest.skip(f"needs an NVIDIA GPU: {error}")
    pytest.importorskip("tensorrt")
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "cache"))
    return device.gpu


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_export_agrees_with_pytorch_and_starts_again_without_a_build(tmp_path: Path, precision: str) -> None:
    model = Path(shutil.copytree(load_card("rdsnet_camvid").folder, tmp_path / "model"))
    done = exporters.make(model, "tensorrt", Wanted(precision=precision))
    assert done.files["tensorrt"]["parity"]["worst"] >= 0.995
    load_runtime(load_card(model), "tensorrt").close()
    assert not list(_engine_cache.folder().glob("*.engine"))


def test_a_kept_engine_is_used_and_a_damaged_one_is_built_anew(tmp_path: Path) -> None:
    model = Path(shutil.copytree(load_card("rdsnet_camvid").folder, tmp_path / "model"))
    exporters.export(model, "onnx", Wanted(precision="fp16"))  # from TensorRT 11 on, fp16 is the graph's
    card = load_card(model)
    images = golden_images(card).images[:2]
    first = load_runtime(card, "tensorrt", "auto", "fp16")
    truth = first.infer(images).labels.copy()
    first.close()
    (path,) = _engine_cache.folder().glob("*.engine")
    whole = path.stat()
    load_runtime(card, "tensorrt", "auto", "fp16").close()
    assert path.stat().st_mtime_ns == whole.st_mtime_ns
    path.write_bytes(path.read_bytes()[: whole.st_size // 2])
    again = load_runtime(card, "tensorrt", "auto", "fp16")
    assert path.stat().st_size > whole.st_size // 2
    assert np.mean(again.infer(images).labels == truth) > 0.995
    again.close()
