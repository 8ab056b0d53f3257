from functools import partial

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.networks.espnet import Pyramid, build, from_authors  # noqa: E402

# sacmehta/ESPNet: their name of a tensor, ours
NAMES = {
    "encoder.level1.conv.weight": "encoder.level1.conv.weight",
    "encoder.level1.bn.running_mean": "encoder.level1.norm.running_mean",
    "encoder.b1.bn.bias": "encoder.mix1.norm.bias",
    "encoder.level2_0.c1.conv.weight": "encoder.down2.reduce.weight",
    "encoder.level2_0.bn.weight": "encoder.down2.norm.weight",
    "encoder.level2_0.act.weight": "encoder.down2.act.weight",
    "encoder.level2.0.c1.conv.weight": "encoder.level2.0.reduce.weight",
    "encoder.level3_0.d16.conv.weight": "encoder.down3.branches.4.weight",
    "encoder.level3.0.c1.conv.weight": "encoder.level3.0.reduce.weight",
    "encoder.level3.1.c1.conv.weight": "encoder.level3.1.reduce.weight",
    "encoder.level3.1.d1.conv.weight": "encoder.level3.1.branches.0.weight",
    "encoder.level3.1.bn.bn.running_var": "encoder.level3.1.norm.running_var",
    "encoder.level3.1.bn.act.weight": "encoder.level3.1.act.weight",
    "encoder.classifier.conv.weight": "encoder.classify.weight",
    "level3_C.conv.weight": "project2.weight",
    "br.bias": "norm3.bias",
    "conv.bn.weight": "combine1.norm.weight",
    "up_l3.0.weight": "up3.weight",
    "combine_l2_l3.0.bn.weight": "mix2.norm.weight",
    "combine_l2_l3.1.d8.conv.weight": "combine2.branches.3.weight",
    "combine_l2_l3.1.bn.act.weight": "combine2.act.weight",
    "up_l2.0.weight": "up2.weight",
    "up_l2.1.act.weight": "mix1.act.weight",
    "classifier.weight": "up1.weight",
}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    "name, classes, options, count",
    [
        ("espnet", 20, {}, 364_569),
        ("espnet", 20, {"q": 5}, 267_417),
        ("espnet", 20, {"variant": "train"}, 365_109),
        ("espnet", 12, {"variant": "train"}, 354_517),
        ("espnet_tiny", 20, {}, 202_649),
        ("espnet_c", 20, {}, 349_449),
        ("espnet_c", 20, {"q": 3}, 187_529),
    ],
)
def test_parameters(name: str, classes: int, options: dict, count: int) -> None:
    with torch.device("meta"):
        assert parameters(networks.build(name, classes, **options)) == count


def test_sums_are_hierarchical() -> None:
    """Each branch gives 1 at a dilation of 1, 2, 4, ...: the first stays alone, the others add up."""

    class Constant(nn.Module):
        def __init__(self, channels: int, value: int) -> None:
            super().__init__()
            self.channels, self.value = channels, float(value)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((x.shape[0], self.channels, *x.shape[2:]), self.value)

    make = partial(Pyramid, 8, 12, 1, False, layer=lambda _, channels, dilation: Constant(channels, dilation))
    x = torch.rand(1, 8, 3, 3)
    for fuse, values in [(True, [1, 2, 6, 14, 30]), (False, [1, 2, 4, 8, 16])]:
        module = make(fuse=fuse).eval()
        module.norm = nn.Identity()
        first, *others = values
        assert module(x)[0, :, 0, 0].tolist() == 4 * [first] + [v for value in others for v in 2 * [value]]


def test_a_module_of_fewer_channels_than_branches_leaves_out_the_widest_dilations() -> None:
    module = Pyramid(4, 2, 1, False)
    assert [branch.dilation[0] for branch in module.branches] == [1, 2]
    assert module(torch.rand(2, 4, 5, 5)).shape == (2, 2, 5, 5)


@pytest.mark.parametrize("options", [{"p": 0}, {"q": 0}, {"q": 2.5}, {"p": "two"}, {"variant": "mine"}])
def test_wrong_options(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        build(5, **options)


@pytest.mark.parametrize("variant, channels", [("test", 21), ("train", 24)])
def test_authors_tensors(variant: str, channels: int) -> None:
    theirs = {name: torch.zeros(()) for name in NAMES}
    theirs["conv.conv.weight"] = torch.zeros(5, channels, 3, 3)
    found = from_authors("espnet", theirs)
    assert found is not None
    ours, options = found
    assert options == {"p": 1, "q": 2, "variant": variant}
    assert list(ours) == [*NAMES.values(), "combine1.conv.weight"]
    assert set(ours) <= set(build(5, **options).state_dict())


def test_authors_tensors_of_the_encoder_alone() -> None:
    prefix = "encoder."
    theirs = {name[len(prefix) :]: torch.zeros(()) for name in NAMES if name.startswith(prefix)}
    found = from_authors("espnet_c", theirs)
    assert found is not None
    ours, options = found
    assert options == {"p": 1, "q": 2}
    assert list(ours) == [name for name in NAMES.values() if name.startswith(prefix)]
    assert set(ours) <= set(networks.build("espnet_c", 5, **options).state_dict())
    assert from_authors("espnet", theirs) is None


@pytest.mark.parametrize("name", ["espnet", "espnet_tiny", "espnet_c"])
def test_our_own_tensors_are_not_the_authors(name: str) -> None:
    assert from_authors(name, networks.build(name, 5).state_dict()) is None
