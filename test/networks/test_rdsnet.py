import pytest

torch = pytest.importorskip("torch")

from seg_node.networks.rdsnet import RDSBlock, build, channel_shuffle  # noqa: E402


@pytest.mark.parametrize("classes, parameters", [(12, 919_960), (19, 928_031)])
@pytest.mark.parametrize("order", ["paper", "authors"])
def test_parameters(classes: int, parameters: int, order: str) -> None:
    assert sum(p.numel() for p in build(classes, order=order).parameters()) == parameters


def test_table_one() -> None:
    """Output sizes, dilations and dropouts of the paper's Table I, at its 1024x512."""
    network = build(19)
    shapes, x = [], torch.zeros(1, 3, 512, 1024)
    with torch.inference_mode():
        for layer in network.eval().encoder:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 256, 512)] + 4 * [(64, 128, 256)] + 6 * [(128, 64, 128)]
    blocks = [layer for layer in network.encoder if isinstance(layer, RDSBlock)]
    assert [block.conv.dilation[0] for block in blocks] == [1, 1, 1, 1, 2, 4, 8, 16]
    assert [block.dropout.p for block in blocks] == [0.5] * 3 + [0.3] * 5


def test_channel_shuffle_interleaves_groups() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert channel_shuffle(x, 4).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_the_orders_differ() -> None:
    torch.manual_seed(1)
    paper = build(5).eval()
    authors = build(5, order="authors").eval()
    authors.load_state_dict(paper.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.allclose(paper(x), authors(x))


@pytest.mark.parametrize("options", [{"order": "mine"}, {"dropout": [0.5]}, {"dropout": [0.5, 1.0]}])
def test_wrong_options(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        build(5, **options)
