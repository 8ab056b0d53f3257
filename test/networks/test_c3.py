from functools import partial

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.evaluation.flops import complexity  # noqa: E402
from seg_node.networks.c3 import CLASSIFIERS, NETWORKS, c3_block, from_authors, rc3_block, separable  # noqa: E402
from seg_node.networks.espnet import Pyramid  # noqa: E402

ESP_MODULE = Pyramid
C3_MODULE = partial(Pyramid, layer=c3_block, dilations=(2, 4, 8, 16), fuse=False)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


class Alone(nn.Module):
    """Layers that all see the same features of the image's size."""

    def __init__(self, channels: int, *layers: nn.Module) -> None:
        super().__init__()
        self.channels, self.layers = channels, nn.ModuleList(layers)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [layer(image.new_zeros(1, self.channels, *image.shape[2:])) for layer in self.layers]


@pytest.mark.parametrize(
    "module, count_a, mega_a, count_b, mega_b",
    [(ESP_MODULE, 3_200, 104.9, 28_800, 943.7), (C3_MODULE, 4_096, 134.2, 9_472, 299.9)],
    ids=["ESP", "C3"],
)
def test_table_1(module: type[Pyramid], count_a: int, mega_a: float, count_b: int, mega_b: float) -> None:
    """Parameters and FLOPs of A, which reduces the channels, and B, the parallel layers, at 128x128x128."""

    def reduce() -> nn.Module:
        return Alone(128, module(128, 128, 1, True).reduce)

    def parallel() -> nn.Module:
        part = module(128, 128, 1, True)
        return Alone(part.reduce.out_channels, *part.branches)

    for build, count, mega in [(reduce, count_a, mega_a), (parallel, count_b, mega_b)]:
        counted = complexity(build, (128, 128))
        assert counted.parameters == count
        assert round(counted.flops_c3 / 1e6, 1) == mega


def test_table_1_totals() -> None:
    """C3's is A and B. ESP's 31,325 leaves out that its first layer gives the three channels that 5 x 25 lack."""
    norm_and_activation = 3 * 128  # not in the table
    assert parameters(C3_MODULE(128, 128, 1, True)) - norm_and_activation == 13_568
    esp = ESP_MODULE(128, 128, 1, True)
    assert parameters(esp) - norm_and_activation - 3 * 25 * 9 == 31_325


@pytest.mark.parametrize(
    "name, classes, count",
    [
        ("c3net1", 20, 198_434),
        ("c3net2", 20, 191_614),
        ("c3net2_v2", 20, 187_378),
        ("c3_espnet", 20, 214_753),
        ("ds_espnet", 20, 127_562),
        ("rc3", 20, 580_354),
        ("c3_no_concentration", 20, 153_422),
        ("c3_no_concentration_l", 20, 188_238),
        ("c3_no_concentration_c", 20, 182_246),
        ("c3_enet", 20, 303_350),
        ("c3_drn_a50", 19, 16_785_491),
        ("c3_drn_c26", 19, 7_342_563),
        ("c3_drn_a50_imagenet", 1000, 18_795_560),
        ("c3_drn_c26_imagenet", 1000, 7_845_816),
        ("c3_drn_c28_imagenet", 1000, 13_113_272),
        ("c3_drn_c42_imagenet", 1000, 9_635_000),
        ("c3_drn_c44_imagenet", 1000, 14_902_456),
    ],
)
def test_parameters(name: str, classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(networks.build(name, classes)) == count


def test_c3_erfnet() -> None:
    """Printed 1.45 M, from ERFNet's 2,066,836 with 20 classes: C3 takes 614,400 off its eight dilated pairs."""
    with torch.device("meta"):
        assert parameters(networks.build("erfnet", 20)) - parameters(networks.build("c3_erfnet", 20)) == 614_400


@pytest.mark.parametrize("dilation", [2, 3, 4, 7, 8, 13, 16])
def test_the_concentration_sees_what_the_holes_skip(dilation: int) -> None:
    """Section 3.2: (2d - 1)^2 pixels, in C3 as a column and a row, around each of the nine of the dilated kernel."""
    length = 2 * dilation - 1
    c3, rc3 = c3_block(8, 6, dilation), rc3_block(8, 6, dilation)
    assert parameters(c3[0]) + parameters(c3[3]) == 8 * 2 * length
    assert parameters(rc3[0]) == 8 * length**2
    side = 6 * dilation + 1
    x = torch.zeros(1, 8, side, side)
    x[:, :, side // 2, side // 2] = 1
    for block in (c3, rc3):
        for layer in block:
            if isinstance(layer, nn.Conv2d):
                nn.init.ones_(layer.weight)
        rows = block.eval()(x)[0, 0, side // 2].nonzero()
        assert rows.min() == side // 2 - (2 * dilation - 1) and rows.max() == side // 2 + (2 * dilation - 1)


def test_with_a_dilation_of_one_nothing_is_skipped() -> None:
    for block in (c3_block, rc3_block):
        assert isinstance(block(8, 6, 1), nn.Conv2d)


@pytest.mark.parametrize("block", [c3_block, rc3_block, separable])
def test_one_channel_is_padded_alike(block: type) -> None:
    """The decoder of few classes: on images lower than the concentration's column, forwards and backwards."""
    torch.manual_seed(1)
    wide = nn.Conv2d(1, 1, (31, 1), padding=(15, 0), bias=False)
    one = c3_block(1, 1, 16)[0]
    one.load_state_dict(wide.state_dict())
    x = torch.rand(2, 1, 12, 16)
    assert torch.allclose(one(x), wide(x), atol=1e-6)
    block(1, 2, 16)(x).sum().backward()


@pytest.mark.parametrize(
    "options",
    [{"p": 0}, {"q": 0}, {"dilations": []}, {"dilations": [0, 2]}, {"channels": [64]}, {"channels": [0, 128]}],
    ids=str,
)
@pytest.mark.parametrize("name", ["c3net1", "c3net2_v2"])
def test_wrong_options(name: str, options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        networks.build(name, 5, **options)


# clovaai/c3_sinet: their name of a tensor, ours, its shape
ENCODER = {
    "encoder.level1.conv.weight": ("encoder.level1.conv.weight", (16, 3, 3, 3)),
    "encoder.b2.act.weight": ("encoder.mix2.act.weight", (99,)),
    "encoder.level2_0.c1.conv.weight": ("encoder.down2.reduce.weight", (12, 19, 3, 3)),
    "encoder.level2_0.d1.conv.weight": ("encoder.down2.branches.0.weight", (12, 12, 3, 3)),
    "encoder.level2_0.d2.conv.0.weight": ("encoder.down2.branches.1.0.weight", (12, 1, 5, 1)),
    "encoder.level2_0.d2.conv.1.running_mean": ("encoder.down2.branches.1.1.running_mean", (12,)),
    "encoder.level2_0.d3.conv.0.weight": ("encoder.down2.branches.2.0.weight", (12, 1, 13, 1)),
    "encoder.level2_0.d4.conv.0.weight": ("encoder.down2.branches.3.0.weight", (12, 1, 25, 1)),
    "encoder.level2_0.d4.conv.6.weight": ("encoder.down2.branches.3.6.weight", (12, 12, 1, 1)),
    "encoder.level2_0.bn.weight": ("encoder.down2.norm.weight", (48,)),
    "encoder.level2.0.c1.conv.weight": ("encoder.level2.0.reduce.weight", (12, 48, 1, 1)),
    "encoder.level3_0.bn.weight": ("encoder.down3.norm.weight", (96,)),
    "encoder.level3.0.c1.conv.weight": ("encoder.level3.0.reduce.weight", (24, 96, 1, 1)),
    "encoder.level3.1.c1.conv.weight": ("encoder.level3.1.reduce.weight", (24, 96, 1, 1)),
    "encoder.level3.1.bn.bn.bias": ("encoder.level3.1.norm.bias", (96,)),
    "encoder.classifier.conv.weight": ("encoder.classify.weight", (20, 192, 1, 1)),
}
DECODER = {
    "level3_C.conv.weight": ("project2.weight", (20, 99, 1, 1)),
    "br.weight": ("norm3.weight", (20,)),
    "conv.conv.weight": ("combine1.conv.weight", (20, 39, 3, 3)),
    "combine_l2_l3.1.d3.conv.4.bias": ("combine2.branches.2.4.bias", (5,)),
    "up_l2.1.bn.weight": ("mix1.norm.weight", (20,)),
    "classifier.weight": ("up1.weight", (20, 20, 2, 2)),
}
DECODER_V2 = {
    "bn.weight": ("norm.weight", (20,)),
    "conv_l2.conv.0.weight": ("combine2.0.0.weight", (68, 1, 3, 3)),
    "conv_l2.conv.1.weight": ("combine2.0.1.weight", (20, 68, 1, 1)),
    "conv_l1.bn.running_var": ("combine1.1.norm.running_var", (20,)),
    "conv_l1.act.weight": ("combine1.1.act.weight", (20,)),
    "classifier.1.conv.weight": ("classify.weight", (20, 20, 1, 1)),
}


@pytest.mark.parametrize("name, decoder", [("c3net1", DECODER), ("c3net2", DECODER), ("c3net2_v2", DECODER_V2)])
def test_authors_tensors(name: str, decoder: dict) -> None:
    names = {**ENCODER, **decoder}
    if name == "c3net2_v2":  # as many channels at 1/2 as there are classes
        names["encoder.level1.conv.weight"] = ("encoder.level1.conv.weight", (20, 3, 3, 3))
        names["encoder.level2_0.c1.conv.weight"] = ("encoder.down2.reduce.weight", (12, 23, 3, 3))
    found = from_authors(name, {theirs: torch.zeros(shape) for theirs, (_, shape) in names.items()})
    assert found is not None
    state, options = found
    assert options == {"p": 1, "q": 2, "dilations": [1, 3, 7, 13], "channels": [48, 96]}
    built = networks.build(name, 20, **options).state_dict()
    assert {key: tensor.shape for key, tensor in state.items()} == {
        ours: built[ours].shape for ours, _ in names.values()
    }


@pytest.mark.parametrize("name", ["c3net1", "c3net2", "c3net2_v2", "c3_espnet"])
def test_our_own_tensors_are_not_the_authors(name: str) -> None:
    assert from_authors(name, networks.build(name, 5).state_dict()) is None


def test_the_other_decoder_is_not_taken_for_it() -> None:
    state = {theirs: torch.zeros(shape) for theirs, (_, shape) in {**ENCODER, **DECODER_V2}.items()}
    assert from_authors("c3net2", state) is None


@pytest.mark.parametrize("name", sorted({**NETWORKS, **CLASSIFIERS}))
def test_networks_of_c3_have_no_other_dilated_convolutions(name: str) -> None:
    with torch.device("meta"):
        network = networks.build(name, 5)
    dilated = [m for m in network.modules() if isinstance(m, nn.Conv2d) and max(m.dilation) > 1]
    assert dilated and all(m.groups == m.in_channels for m in dilated)
