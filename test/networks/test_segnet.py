import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402

from seg_node.networks.segnet import NETWORKS, build, build_basic  # noqa: E402


def _convolutions(network: torch.nn.Module) -> list:
    return [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]


def test_thirteen_convolutions_down_and_their_mirror_image_up() -> None:
    with torch.device("meta"):
        network = build(11)
    down, up = _convolutions(network.encoder), _convolutions(network.decoder)
    assert [conv.out_channels for conv in down] == 2 * [64] + 2 * [128] + 3 * [256] + 6 * [512]
    assert [conv.in_channels for conv in up] == [conv.out_channels for conv in reversed(down)]
    assert up[-1].out_channels == 11
    # VGG16's convolutions have 14,714,688 with 4,224 biases; two of batch norm stand in place of each
    assert sum(p.numel() for p in network.encoder.parameters()) == 14_714_688 + 4_224
    assert sum(p.numel() for p in network.parameters()) == 29_441_419


def test_segnet_basic_is_four_and_four() -> None:
    with torch.device("meta"):
        network = build_basic(11)
    assert [conv.kernel_size[0] for conv in _convolutions(network)] == 8 * [7] + [1]
    assert sum(p.numel() for p in network.parameters()) == 1_416_075
    assert not any(isinstance(module, torch.nn.ReLU) for module in network.decoder.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_as_max_unpooling_by_indices(name: str) -> None:
    torch.manual_seed(1)
    network = NETWORKS[name](5).eval()
    image = torch.rand(1, 3, 50, 45)
    x, taken = image, []
    with torch.inference_mode():
        for stage in network.encoder:
            x = stage(x)
            size = x.shape[2:]
            x, indices = functional.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
            taken.append((indices, size))
        for stage in network.decoder:
            indices, size = taken.pop()
            x = stage(functional.max_unpool2d(x, indices, 2, output_size=size))
        assert torch.equal(network(image), x)
