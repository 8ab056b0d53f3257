"""One contract for every network: names, shapes, classes, odd sizes, gradients, half precision, export."""

import pytest

torch = pytest.importorskip("torch")

from seg_node import networks  # noqa: E402

SIZES = [(48, 64), (97, 131)]


@pytest.fixture(params=networks.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("classes", [2, 19])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_logits_have_the_images_size(name: str, classes: int, size: tuple[int, int]) -> None:
    network = networks.build(name, classes).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, *size)).shape == (2, classes, *size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_weight_learns(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    network = networks.build(name, 5).train()
    network(torch.rand(2, 3, *size)).square().mean().backward()
    for key, weight in network.named_parameters():
        if not weight.requires_grad:  # of another stage of training, and says so
            continue
        assert weight.grad is not None and torch.isfinite(weight.grad).all() and weight.grad.abs().sum() > 0, key


def test_evaluation_is_deterministic_and_by_image(name: str) -> None:
    network = networks.build(name, 5).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        both = network(images)
        assert torch.allclose(both[:1], network(images[:1]), atol=1e-5)


def test_half_precision_is_finite(name: str) -> None:
    network = networks.build(name, 5).eval().half()
    with torch.inference_mode():
        assert torch.isfinite(network(torch.randn(1, 3, 64, 96).half())).all()


def test_torch_export_takes_it(name: str) -> None:
    network = networks.build(name, 5).eval()
    image = torch.rand(1, 3, 64, 96)
    program = torch.export.export(network, (image,))
    with torch.inference_mode():
        assert torch.allclose(program.module()(image), network(image), atol=1e-4)


def test_an_unknown_option_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="colour"):
        networks.build(name, 5, colour="red")


@pytest.mark.parametrize("classifier", networks.classifiers())
def test_classifiers_give_one_row_an_image(classifier: str) -> None:
    network = networks.build(classifier, 7).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 65, 97)).shape == (2, 7)


def test_an_unknown_network_lists_the_names() -> None:
    with pytest.raises(ValueError, match="rdsnet"):
        networks.build("rdsnett", 5)
