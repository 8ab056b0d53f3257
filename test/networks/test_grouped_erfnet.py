import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.networks.erfnet import NonBottleneck1d  # noqa: E402
from seg_node.networks.grouped_erfnet import (  # noqa: E402
    ChannelShuffle,
    GradualConv2d,
    LightUpsampler,
    network,
    separable_pair,
    set_alpha,
    to_grouped,
)


def as_the_paper_counts(counted: nn.Module) -> tuple[int, int]:
    """Convolution weights and multiply-adds at 1024x512, those of all upsampling but the last at its output's size."""
    weights, macs = 0, 0

    def count(layer: nn.Module, images: tuple, out: torch.Tensor) -> None:
        nonlocal weights, macs
        places = out[0, 0].numel()
        if layer is counted.decoder[-1]:
            places = images[0][0, 0].numel()
        elif layer in enlarged:
            places *= 4
        weights += layer.weight.numel()
        macs += places * layer.weight.numel()

    enlarged = [layer.conv for layer in counted.modules() if isinstance(layer, LightUpsampler)]
    for layer in counted.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(count)
    counted.eval()(torch.empty(1, 3, 512, 1024, device="meta"))
    return weights, macs


TABLES = {
    "d_star": (547_120, "10.597"),
    "dg2_star": (395_568, "8.852"),
    "dg4_star": (319_792, "7.980"),
    "dg8_star": (281_904, "7.543"),
    "d_light": (431_312, "5.773"),
    "dg2_light": (279_760, "4.029"),
    "dg4_light": (203_984, "3.156"),
    "d": (1_312_688, "19.803"),  # printed: 1291648 and 19.025
    "dg2": (1_238_960, "18.998"),
    "dg4": (1_202_096, "18.595"),
    "dg8": (1_183_664, "18.394"),
}
# Shuffling costs nothing
TABLES.update({f"dg{g}s{end}": TABLES[f"dg{g}{end}"] for g in (2, 4, 8) for end in ("_star", "")})


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_figures_to_the_last_digit_as_the_paper_counts(name: str) -> None:
    with torch.device("meta"):
        weights, macs = as_the_paper_counts(networks.build(name, 20, layout="counted"))
    assert (weights, f"{macs / 1e9:.3f}") == TABLES[name]


def test_erfnets_own_figures_as_the_paper_counts() -> None:
    with torch.device("meta"):
        erfnet = network(20, (5, 8), separable_pair, light=False, part="whole", layout="counted")
        weights, macs = as_the_paper_counts(erfnet)
    assert (weights, f"{macs / 1e9:.3f}") == (2_038_448, "27.705")


@pytest.mark.parametrize(
    "name, fewer",
    [
        ("d_star", 2_038_448 - 547_120),
        ("dg2_star", 2_038_448 - 395_568),
        ("dg4s_star", 2_038_448 - 319_792),
        ("dg8_star", 2_038_448 - 281_904),
        ("d", 2_038_448 - 1_312_688),
        ("dg2", 2_038_448 - 1_238_960),
        ("dg4s", 2_038_448 - 1_202_096),
        ("dg8", 2_038_448 - 1_183_664),
    ],
)
def test_as_printed_too_they_are_smaller_than_erfnet_by_the_tables_differences(name: str, fewer: int) -> None:
    """Biases and batch norm of a Conv-module are as many as those of the block that it replaces."""
    with torch.device("meta"):
        erfnet, ours = networks.build("erfnet", 20), networks.build(name, 20)
    assert sum(w.numel() for w in erfnet.parameters()) - sum(w.numel() for w in ours.parameters()) == fewer


@pytest.mark.parametrize("name, kept", [("dg2_star", []), ("dg2", [0, 1, 2, 5, 6, 7, 8])], ids=["Table 1", "Table 2"])
def test_which_blocks_are_conv_modules(name: str, kept: list[int]) -> None:
    blocks = [layer for layer in networks.build(name, 5).encoder if isinstance(layer, NonBottleneck1d)]
    assert [i for i, block in enumerate(blocks) if block.plain[0].groups == block.dilated[0].groups == 1] == kept
    grouped = [i for i, block in enumerate(blocks) if block.plain[2].groups == block.dilated[2].groups == 2]
    assert sorted(kept + grouped) == list(range(13))
    assert [block.dilated[0].dilation[0] for block in blocks] == [1] * 5 + [2, 4, 8, 16] * 2


@pytest.mark.parametrize("end", ["star", "light"])
def test_groups_are_in_the_encoder_only(end: str) -> None:
    shapes = {key: value.shape for key, value in networks.build(f"dg2_{end}", 5).decoder.state_dict().items()}
    assert shapes == {key: value.shape for key, value in networks.build(f"d_{end}", 5).decoder.state_dict().items()}


def test_shuffling_interleaves_groups() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert ChannelShuffle(2)(x).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    shuffles = [layer for layer in networks.build("dg4s_star", 5).modules() if isinstance(layer, ChannelShuffle)]
    assert [layer.groups for layer in shuffles] == 26 * [4]  # after each of the encoder's pointwise convolutions


def test_enlarging_after_the_1x1_convolution_is_enlarging_before_it() -> None:
    upsampler = LightUpsampler(8, 4).eval()
    x = torch.rand(1, 8, 5, 6)
    enlarged = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        before = torch.relu(upsampler.norm(upsampler.conv(enlarged)))
        assert torch.allclose(upsampler(x), before, atol=1e-6)


def shaken(name: str, **options: object) -> nn.Module:
    """A network in eval mode whose batch norms do something."""
    torch.manual_seed(1)
    made = networks.build(name, 5, **options).eval()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return made


IMAGES = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ["dg2_star", "dg8_star", "dg4s_star", "dg2s", "dg4_light"])
def test_at_alpha_0_the_grouped_form_computes_the_same(name: str) -> None:
    dense, grouped = shaken(name, form="dense"), networks.build(name, 5).eval()
    with pytest.raises(ValueError, match="alpha"):
        to_grouped(dense.state_dict())
    set_alpha(dense, 0)
    grouped.load_state_dict(to_grouped(dense.state_dict()))
    with torch.inference_mode():
        assert torch.allclose(grouped(IMAGES), dense(IMAGES), atol=1e-5)


def test_at_alpha_1_the_dense_form_is_the_network_without_groups() -> None:
    dense, d_star = shaken("dg2_star", form="dense"), networks.build("d_star", 5).eval()
    missing, unexpected = d_star.load_state_dict(dense.state_dict(), strict=False)
    assert not missing and all(key.endswith(".alpha") for key in unexpected)
    with torch.inference_mode():
        assert torch.equal(d_star(IMAGES), dense(IMAGES))


def test_alpha_weakens_what_is_between_groups_only() -> None:
    layer = GradualConv2d(4, 6, 3, groups=2)
    x = torch.rand(1, 4, 5, 5)
    within = layer.weight.detach().clone()
    within[:3, 2:] = within[3:, :2] = 0
    outputs = {}
    with torch.inference_mode():
        for alpha in (1, 0.25, 0):
            set_alpha(layer, alpha)
            outputs[alpha] = layer(x)
        assert torch.allclose(outputs[0], nn.functional.conv2d(x, within, layer.bias, padding=1), atol=1e-6)
        assert torch.allclose(outputs[0.25], 0.25 * outputs[1] + 0.75 * outputs[0], atol=1e-6)


def test_at_alpha_0_weights_between_groups_learn_nothing() -> None:
    layer = GradualConv2d(4, 6, 1, groups=2)
    set_alpha(layer, 0)
    layer(torch.rand(1, 4, 5, 5)).square().sum().backward()
    between = torch.zeros(6, 4, dtype=torch.bool)
    between[:3, 2:] = between[3:, :2] = True
    gradient = layer.weight.grad[:, :, 0, 0]
    assert (gradient[between] == 0).all() and (gradient[~between] != 0).all()


def test_alpha_is_saved_and_not_learnt() -> None:
    dense, again = networks.build("dg2_star", 5, form="dense"), networks.build("dg2_star", 5, form="dense")
    set_alpha(dense, 0.5)
    again.load_state_dict(dense.state_dict())
    alphas = [layer.alpha for layer in again.modules() if isinstance(layer, GradualConv2d)]
    assert len(alphas) == 26 and all(alpha.tolist() == [[1, 0.5], [0.5, 1]] for alpha in alphas)
    assert not any(key.endswith("alpha") for key, _ in again.named_parameters())


@pytest.mark.parametrize("name", ["dg2_star", "dg2_light", "dg4s"])
def test_the_encoder_is_trained_first_and_goes_into_the_whole(name: str) -> None:
    alone, whole = networks.build(name, 5, form="dense", part="encoder"), networks.build(name, 5)
    assert alone.eval()(IMAGES).shape == (2, 5, 40, 56)
    set_alpha(alone, 0)
    missing, unexpected = whole.load_state_dict(to_grouped(alone.state_dict()), strict=False)
    assert not unexpected and all(key.startswith("decoder.") for key in missing)


def test_what_is_not_gradual_says_so() -> None:
    grouped = networks.build("dg2_star", 5)
    with pytest.raises(ValueError, match="form='dense'"):
        set_alpha(grouped, 0)
    with pytest.raises(ValueError, match="form='dense'"):
        to_grouped(grouped.state_dict())
    with pytest.raises(ValueError, match="alpha"):
        set_alpha(networks.build("dg2_star", 5, form="dense"), 1.5)


@pytest.mark.parametrize(
    "name, options, says",
    [
        ("dg2_star", {"form": "sparse"}, "grouped, dense"),
        ("dg2_star", {"part": "decoder"}, "whole, encoder"),
        ("dg2_star", {"layout": "mine"}, "printed, counted"),
        ("dg2_star", {"groups": 3}, "1, 2, 4, 8"),
        ("d_star", {"form": "dense"}, "groups is 1"),
    ],
)
def test_wrong_options(name: str, options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        networks.build(name, 5, **options)
