import pytest

torch = pytest.importorskip("torch")

from seg_node.networks.ndnet import NETWORKS, Residual, build, from_authors  # noqa: E402


def _parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    "name, backbone, whole",
    [
        ("ndnet29", 492_016, 521_411),
        ("ndnet45", 379_896, 399_947),
        ("ndnet61", 292_096, 307_475),
        ("ndnet29_wide", 3_308_216, 3_384_331),
        ("ndnet45_encoder_decoder", 379_896, 482_379),
    ],
)
def test_parameters_as_the_authors_code(name: str, backbone: int, whole: int) -> None:
    with torch.device("meta"):
        network = NETWORKS[name](19)
    assert (_parameters(network.backbone), _parameters(network)) == (backbone, whole)


@pytest.mark.parametrize(
    "name, layers, width",
    [
        ("ndnet29", 29, 384),
        ("ndnet29_e2", 29, 192),
        ("ndnet45", 45, 256),
        ("ndnet45_e2", 45, 128),
        ("ndnet61", 61, 192),
        ("ndnet61_e2", 61, 96),
        ("ndnet29_wide", 29, 1024),
    ],
)
def test_the_name_is_the_depth_and_table_two_has_the_width(name: str, layers: int, width: int) -> None:
    """Two layers a residual layer, and the first convolution (section II-C)."""
    with torch.device("meta"):
        backbone = NETWORKS[name](19).backbone
    residual = [module for module in backbone.modules() if isinstance(module, Residual)]
    assert 1 + 2 * len(residual) == layers
    assert residual[-1].expand[1].out_channels == width


def test_residual_layers_have_as_many_parameters_as_equation_six() -> None:
    """Of the convolutions: 9 e n + e n^2 + 9 n + e n^2."""
    layer = Residual(64, 16, 4, 1, 1, shortcut=False)
    assert sum(p.numel() for p in layer.parameters() if p.dim() == 4) == 9 * 64 + 4 * 16**2 + 9 * 16 + 4 * 16**2


@pytest.mark.parametrize("decoder, last", [(False, (4, 8)), (True, (8, 16))])
def test_feature_sizes(decoder: bool, last: tuple[int, int]) -> None:
    backbone = build(19, decoder=decoder).backbone.eval()
    with torch.inference_mode():
        sizes = [tuple(x.shape[2:]) for x in backbone(torch.zeros(1, 3, 128, 256))]
    assert sizes == [(16, 32), (8, 16), last]


_AUTHORS = {"block1": "block3", "block2": "block4", "block3": "block5"}


def _authors_name(ours: str) -> str:
    parts = ours.split(".")
    if parts[0] == "head":
        number, rest = parts[1], ".".join(parts[2:])
        return f"seg.score.{rest}" if number == "4" else f"seg.transform.{_layer(number)}.{rest}"
    if parts[0] == "fuse":
        return f"fusion.{('conv', 'bn')[int(parts[1])]}.{parts[2]}"
    if parts[1] == "stem":
        return f"features.conv1.{('conv', 'bn')[int(parts[2])]}.{parts[3]}"
    branch = {"reduce": "conv1", "expand": "conv2", "shortcut": "shortcut"}[parts[3]]
    return f"features.{_AUTHORS[parts[1]]}.{parts[2]}.{branch}.{_layer(parts[4])}.{parts[5]}"


def _layer(number: str) -> str:
    return ("dwconv", "pwconv", "bn")[int(number)]


@pytest.mark.parametrize("name", ["ndnet61", "ndnet45_encoder_decoder"])
def test_the_authors_weights(name: str) -> None:
    with torch.device("meta"):
        state = NETWORKS[name](19).state_dict()
    theirs = {_authors_name(key): tensor for key, tensor in state.items()}
    theirs["aux_seg.score.bias"] = torch.zeros(19)  # for a loss in training
    adopted = from_authors(name, theirs)
    assert adopted is not None and adopted[1] == {}
    assert {key: t.shape for key, t in adopted[0].items()} == {key: t.shape for key, t in state.items()}
    assert from_authors(name, state) is None


@pytest.mark.parametrize("options", [{"channels": (8, 16)}, {"depths": (3, 8, 0)}, {"expansion": 0}])
def test_wrong_options(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        build(5, **options)
