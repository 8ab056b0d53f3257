import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.networks.erfnet import NonBottleneck1d, from_authors  # noqa: E402


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("classes, authors", [(19, 2_066_642), (20, 2_066_836)])
def test_parameters_are_the_authors(classes: int, authors: int) -> None:
    with torch.device("meta"):
        assert count(networks.build("erfnet", classes)) == authors


def test_table_one() -> None:
    """Output sizes, dilations and dropouts of ERFNet's Table I, at its 1024x512."""
    with torch.device("meta"):
        network = networks.build("erfnet", 19)
        shapes, x = [], torch.zeros(1, 3, 512, 1024)
        for layer in [*network.encoder, *network.decoder]:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    at_4, at_2 = (64, 128, 256), (16, 256, 512)
    assert shapes == [at_2] + 6 * [at_4] + 9 * [(128, 64, 128)] + 3 * [at_4] + 3 * [at_2] + [(19, 512, 1024)]
    blocks = [layer for layer in network.modules() if isinstance(layer, NonBottleneck1d)]
    assert [block.dilated[0].dilation[0] for block in blocks] == [1] * 5 + [2, 4, 8, 16] * 2 + [1] * 4
    assert [block.dropout.p for block in blocks] == [0.03] * 5 + [0.3] * 8 + [0.0] * 4


def test_layers_can_stand_in_place_of_the_dilated_pairs() -> None:
    asked = []

    def depthwise(channels: int, dilation: int) -> nn.Module:
        asked.append((channels, dilation))
        return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)

    network = networks.build("erfnet", 5, dilated=depthwise).eval()
    assert asked == [(128, dilation) for dilation in (2, 4, 8, 16, 2, 4, 8, 16)]
    pair, instead = 2 * (128 * 128 * 3 + 128), 128 * 9 + 128
    assert count(networks.build("erfnet", 5)) - count(network) == 8 * (pair - instead)
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 33, 40)).shape == (1, 5, 33, 40)


def test_the_encoder_alone_names_its_tensors_as_in_the_whole() -> None:
    alone, whole = networks.build("erfnet_encoder", 5), networks.build("erfnet", 5)
    missing, unexpected = whole.load_state_dict(alone.state_dict(), strict=False)
    assert not unexpected and all(key.startswith("decoder.") for key in missing)


AUTHORS = {
    "encoder.0.conv.weight": "encoder.initial_block.conv.weight",
    "encoder.0.norm.running_var": "encoder.initial_block.bn.running_var",
    "encoder.1.conv.bias": "encoder.layers.0.conv.bias",
    "encoder.2.plain.0.weight": "encoder.layers.1.conv3x1_1.weight",
    "encoder.2.plain.2.weight": "encoder.layers.1.conv1x3_1.weight",
    "encoder.2.norm1.weight": "encoder.layers.1.bn1.weight",
    "encoder.15.dilated.0.weight": "encoder.layers.14.conv3x1_2.weight",
    "encoder.15.dilated.2.bias": "encoder.layers.14.conv1x3_2.bias",
    "encoder.15.norm2.bias": "encoder.layers.14.bn2.bias",
    "decoder.0.conv.weight": "decoder.layers.0.conv.weight",
    "decoder.5.norm2.running_mean": "decoder.layers.5.bn2.running_mean",
    "decoder.6.weight": "decoder.output_conv.weight",
    "classify.weight": "encoder.output_conv.weight",
}


def authors_state() -> dict:
    """Some tensors in the authors' names; each of one value, its place in AUTHORS."""
    return {theirs: torch.tensor(float(place)) for place, theirs in enumerate(AUTHORS.values())}


def test_the_authors_names_are_read() -> None:
    read, options = from_authors("erfnet", authors_state())
    assert options == {}
    assert {key: float(value) for key, value in read.items()} == {ours: place for place, ours in enumerate(AUTHORS)}
    assert set(read) < set(networks.build("erfnet", 5).state_dict())


def test_the_encoder_alone_keeps_its_classifier_and_no_decoder() -> None:
    read, _ = from_authors("erfnet_encoder", authors_state())
    assert set(read) == {key for key in AUTHORS if not key.startswith("decoder.")}


def test_the_imagenet_encoder_is_read() -> None:
    state = {"features." + key: value for key, value in authors_state().items() if key.startswith("encoder.l")}
    state["features.encoder.initial_block.conv.weight"] = torch.rand(13, 3, 3, 3)
    state["classifier.linear.weight"], state["classifier.linear.bias"] = torch.rand(1000, 128), torch.rand(1000)
    read, _ = from_authors("erfnet_encoder", state)
    network = networks.build("erfnet_encoder", 1000)
    assert set(read) < set(network.state_dict())
    assert read["classify.weight"].shape == network.classify.weight.shape
    with pytest.raises(ValueError, match="erfnet_encoder"):
        from_authors("erfnet", state)


def test_our_own_names_are_left_alone() -> None:
    assert from_authors("erfnet", networks.build("erfnet", 5).state_dict()) is None
