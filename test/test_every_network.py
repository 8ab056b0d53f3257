"""One contract for every network: names, shapes, classes, odd sizes, gradients, half precision, export."""

import contextlib
import copy
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from seg_node import networks  # noqa: E402
from seg_node.networks._deployed import Deployed  # noqa: E402

CLASSES = 7
SIZES = [(96, 128), (97, 131)]
EVERY = bool(os.environ.get("SEG_NODE_EVERY_EXPORT"))
# One of each file's is exported with every run of the tests; `make test-export` exports all of them.
OLD_PYTHON = Path(__file__).resolve().parent.parent / ".venv-py36" / "bin" / "python"  # of `make test-py36`
EXPORTED = networks.names() if EVERY else sorted({networks.relatives(name)[0] for name in networks.names()})


@pytest.fixture(scope="module", params=networks.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(name: str) -> torch.nn.Module:
    """The network in eval mode, after a step in train mode: its batch norms have seen images."""
    torch.manual_seed(1)
    network = networks.build(name, CLASSES).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, *SIZES[1]))
    return network.eval()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_logits_have_the_images_size_whatever_the_batch(network: torch.nn.Module, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        both = network(images)
        assert both.shape == (2, CLASSES, *size)
        alone = network(images[:1])
    assert torch.allclose(both[:1], alone, atol=1e-5 * float(both.abs().max()) + 1e-6)


@pytest.mark.parametrize("classes", [2, 19, 150])
def test_any_number_of_classes(name: str, classes: int) -> None:
    with torch.device("meta"), torch.no_grad():
        assert networks.build(name, classes).eval()(torch.empty(1, 3, 65, 97)).shape == (1, classes, 65, 97)


def test_every_weight_learns(network: torch.nn.Module) -> None:
    """On one image as odd as can be, and large enough for the widest dilation to see more than its centre."""
    network = copy.deepcopy(network).train()
    network(torch.randn(1, 3, *SIZES[1])).square().mean().backward()
    for key, weight in network.named_parameters():
        if not weight.requires_grad:  # of another stage of training, and says so
            continue
        assert weight.grad is not None and torch.isfinite(weight.grad).all() and weight.grad.abs().sum() > 0, key


def test_half_precision_is_finite(network: torch.nn.Module) -> None:
    half = copy.deepcopy(network).half()
    with torch.inference_mode():
        assert torch.isfinite(half(torch.randn(1, 3, 64, 96).half())).all()


def test_torch_export_takes_it(network: torch.nn.Module) -> None:
    image = torch.randn(1, 3, *SIZES[1])
    program = torch.export.export(network, (image,))
    with torch.inference_mode():
        truth = network(image)
        assert torch.allclose(program.module()(image), truth, atol=1e-4 * float(truth.abs().max()) + 1e-6)


@pytest.mark.filterwarnings("ignore")
def test_onnx_says_the_same_labels(name: str, network: torch.nn.Module, tmp_path: Path) -> None:
    """In the current opset and in the one for older libraries, which `make test-export` runs with such, too."""
    if name not in EXPORTED:
        pytest.skip("exported by `make test-export`")
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from seg_node.exporters import _older_opset
    from seg_node.exporters._lean import lean
    from seg_node.exporters.onnx import trace

    images = torch.randint(0, 256, (1, *SIZES[1], 3), dtype=torch.uint8)
    deployed = Deployed(_Balanced(network), [0.5] * 3, [0.25] * 3, 255.0).eval()
    with contextlib.redirect_stdout(io.StringIO()):
        model = lean(trace(deployed, images))
    with torch.inference_mode():
        truth = deployed(images).numpy()
    assert truth.shape == (1, *SIZES[1]) and len(np.unique(truth)) > CLASSES / 2

    def agreement(model: "onnx.ModelProto") -> float:
        onnx.checker.check_model(model, full_check=True)
        [labels] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": images.numpy()})
        return float(np.mean(labels == truth))

    assert agreement(model) >= 0.999
    older = _older_opset.convert(model)
    assert older.opset_import[0].version == 13 and agreement(older) >= 0.999
    if EVERY and OLD_PYTHON.exists():
        assert _agreement_on_a_tx2(older, images.numpy(), truth, tmp_path) >= 0.999


def _agreement_on_a_tx2(model: Any, images: np.ndarray, truth: np.ndarray, folder: Path) -> float:
    """Run the graph in Python 3.6 with ONNX Runtime 1.10."""
    (folder / "older.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "images.npz", images=images, truth=truth)
    code = (
        "import numpy, onnxruntime; assert onnxruntime.__version__ == '1.10.0'; data = numpy.load('images.npz'); "
        "session = onnxruntime.InferenceSession('older.onnx', providers=['CPUExecutionProvider']); "
        "print(numpy.mean(session.run(None, {'image': data['images']})[0] == data['truth']))"
    )
    done = subprocess.run([OLD_PYTHON, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


class _Balanced(torch.nn.Module):
    """Logits that each vary as much, so that labels do: an untrained network has one class everywhere."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            logits = network(torch.randn(2, 3, *SIZES[1]))
        self.register_buffer("mean", logits.mean((0, 2, 3), keepdim=True))
        self.register_buffer("std", logits.std((0, 2, 3), keepdim=True).clamp_min(1e-12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.network(x) - self.mean) / self.std


@pytest.mark.parametrize("classes", [0, -1, 2.5, "3", True, None])
def test_a_number_of_classes_that_is_none_is_named(classes: object) -> None:
    with pytest.raises(ValueError, match="classes is"):
        networks.build("rdsnet", classes)


def test_an_unknown_option_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="colour") as error:
        networks.build(name, 5, colour="red")
    assert "are: options" not in str(error.value)


def test_an_unknown_option_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"its options are: dropout, order$"):
        networks.build("rdsnet", 5, colour="red")
    with pytest.raises(ValueError, match=r"its options are: none$"):
        networks.build("segnet", 5, colour="red")


@pytest.mark.parametrize("classifier", networks.classifiers())
def test_classifiers_give_one_row_an_image(classifier: str) -> None:
    with torch.device("meta"), torch.no_grad():
        assert networks.build(classifier, 7).eval()(torch.empty(2, 3, 65, 97)).shape == (2, 7)


def test_an_unknown_network_lists_the_names() -> None:
    with pytest.raises(ValueError, match="rdsnet"):
        networks.build("rdsnett", 5)
