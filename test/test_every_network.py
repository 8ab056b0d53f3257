"""One contract for every network: names, shapes, classes, odd sizes, gradients, determinism."""

import pytest

torch = pytest.importorskip("torch")

from seg_node import networks  # noqa: E402


@pytest.fixture(params=networks.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("classes", [2, 19])
@pytest.mark.parametrize("size", [(48, 64), (97, 131)], ids=str)
def test_logits_have_the_images_size(name: str, classes: int, size: tuple[int, int]) -> None:
    network = networks.build(name, classes).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 3, *size)).shape == (2, classes, *size)


def test_every_weight_learns(name: str) -> None:
    torch.manual_seed(1)
    network = networks.build(name, 5).train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    for key, weight in network.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all() and weight.grad.abs().sum() > 0, key


def test_evaluation_is_deterministic_and_by_image(name: str) -> None:
    network = networks.build(name, 5).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        both = network(images)
        assert torch.allclose(both[:1], network(images[:1]), atol=1e-5)


def test_an_unknown_option_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="colour"):
        networks.build(name, 5, colour="red")


def test_an_unknown_network_lists_the_names() -> None:
    with pytest.raises(ValueError, match="rdsnet"):
        networks.build("rdsnett", 5)
