"""Costs of layers small enough to count by hand."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from seg_node.evaluation.flops import complexity  # noqa: E402


def cost(layer: nn.Module):
    return complexity(lambda: layer.to("meta"), (8, 10))


def test_a_convolution_by_table_5() -> None:
    found = cost(nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=True))
    assert found.parameters == 6 * 9 + 6
    assert found.macs == 4 * 5 * 9 * 3 * 6 // 3 and found.flops_c3 == 2 * found.macs
    assert found.output_stride == 2


def test_a_transposed_convolution_counts_its_inputs() -> None:
    assert cost(nn.ConvTranspose2d(3, 4, 3, stride=2)).macs == 8 * 10 * 9 * 3 * 4


def test_a_linear_layer() -> None:
    found = cost(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7)))
    assert found.macs == 21 and found.flops_c3 == 42 + 240 and found.output_stride == 1


@pytest.mark.parametrize(
    "layer, flops",
    [
        (nn.BatchNorm2d(3), 2 * 240),
        (nn.ReLU(), 240),
        (nn.ReLU(inplace=True), 240),
        (nn.PReLU(3), 240),
        (nn.ReLU6(), 240),
        (nn.Hardswish(), 240),
        (nn.AvgPool2d(2), 240),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 3 * 240),
        (nn.Upsample(scale_factor=2, mode="nearest"), 0),
        (nn.Dropout2d(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_layers_by_table_5(layer: nn.Module, flops: int) -> None:
    found = cost(layer)
    assert found.macs == 0 and found.flops_c3 == flops


def test_memory_is_what_is_alive_at_a_time() -> None:
    image = 3 * 80 * 4
    assert cost(nn.ReLU(inplace=True)).activation_bytes == image
    # three maps in a row: the input and at most two of them at a time
    row = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(3)))
    assert cost(row).activation_bytes == 3 * image
