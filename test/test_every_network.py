"""One contract for every network: names, shapes, classes, odd sizes, gradients, half precision, export."""

import contextlib
import copy
import io
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from seg_node import networks  # noqa: E402
from seg_node.networks._deployed import Deployed  # noqa: E402

CLASSES = 7
SIZES = [(96, 128), (97, 131)]
EVERY = bool(os.environ.get("SEG_NODE_EVERY_EXPORT"))
# One of each file's is exported with every run of the tests; `make test-export` exports all of them.
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
def test_onnx_says_the_same_labels(name: str, network: torch.nn.Module) -> None:
    if name not in EXPORTED:
        pytest.skip("exported by `make test-export`")
    onnxruntime = pytest.importorskip("onnxruntime")
    images = torch.randint(0, 256, (1, *SIZES[1], 3), dtype=torch.uint8)
    deployed = Deployed(_Balanced(network), [0.5] * 3, [0.25] * 3, 255.0).eval()
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(deployed, (images,), dynamo=True, opset_version=18, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    [labels] = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        truth = deployed(images).numpy()
    assert labels.shape == truth.shape == (1, *SIZES[1]) and len(np.unique(truth)) > CLASSES / 2
    assert np.mean(labels == truth) >= 0.999


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
    with pytest.raises(ValueError, match="colour"):
        networks.build(name, 5, colour="red")


@pytest.mark.parametrize("classifier", networks.classifiers())
def test_classifiers_give_one_row_an_image(classifier: str) -> None:
    with torch.device("meta"), torch.no_grad():
        assert networks.build(classifier, 7).eval()(torch.empty(2, 3, 65, 97)).shape == (2, 7)


def test_an_unknown_network_lists_the_names() -> None:
    with pytest.raises(ValueError, match="rdsnet"):
        networks.build("rdsnett", 5)
