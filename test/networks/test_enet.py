import pytest

torch = pytest.importorskip("torch")

from seg_node.networks._unpool import pool, unpool  # noqa: E402
from seg_node.networks.enet import Bottleneck, build, from_authors  # noqa: E402

# each of the public code's years
FEBRUARY_2018 = {"slopes": "channel", "decoder_relu": False}
APRIL_2018: dict = {}
AUGUST_2019 = {"slopes": "layer", "window": 2}
MARCH_2021 = {"slopes": "layer", "window": 2, "late_activation": False}


@pytest.mark.parametrize(
    "options, parameters",
    [
        (FEBRUARY_2018, 360_932),
        (APRIL_2018, 358_134),
        ({"encoder_relu": True}, 358_111),
        ({"decoder_relu": False}, 358_139),
        (AUGUST_2019, 351_804),
        ({**AUGUST_2019, "decoder_relu": False}, 351_824),
        (MARCH_2021, 351_804),
        ({**MARCH_2021, "decoder_relu": False}, 351_822),
    ],
)
def test_parameters_as_the_public_codes(options: dict, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(20, **options).parameters()) == parameters


def test_table_one() -> None:
    """Output sizes and the kinds of the bottlenecks, at the paper's 512x512."""
    network = build(12).eval()
    shapes: list = []
    for layer in network.children():
        layer.register_forward_hook(
            lambda _, __, out: shapes.append(tuple((out[0] if isinstance(out, tuple) else out).shape[1:]))
        )
    with torch.inference_mode():
        network(torch.zeros(1, 3, 512, 512))
    assert shapes == [
        (16, 256, 256),
        *2 * [(64, 128, 128)],
        *3 * [(128, 64, 64)],
        *2 * [(64, 128, 128)],
        *2 * [(16, 256, 256)],
        (12, 512, 512),
    ]
    kinds = [block.middle[0] for block in network.stage2]
    assert [conv.dilation[0] if conv.kernel_size == (3, 3) else conv.kernel_size for conv in kinds] == [
        *(1, 2, (5, 1), 4, 1, 8, (5, 1), 16)
    ]


def test_another_layer_in_place_of_the_dilated() -> None:
    made = []

    def layer(channels: int, dilation: int) -> torch.nn.Module:
        made.append((channels, dilation))
        return torch.nn.Conv2d(channels, channels, 1, bias=False)

    network = build(20, dilated=layer)
    assert made == 2 * [(32, 2), (32, 4), (32, 8), (32, 16)]
    assert sum(p.numel() for p in network.parameters()) == 358_134 - 8 * 8 * 32 * 32
    assert network.eval()(torch.rand(1, 3, 32, 32)).shape == (1, 20, 32, 32)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("size", [(8, 12), (7, 9), (13, 6)], ids=str)
def test_pooling_and_unpooling_are_torchs(window: int, size: tuple[int, int]) -> None:
    """With many equal values, so that it matters which of them is the maximum."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, *size).round().relu()
    maxima, indices = torch.nn.functional.max_pool2d(
        x, window, stride=2, padding=window - 2, ceil_mode=window == 2, return_indices=True
    )
    ours, places = pool(x, window)
    assert torch.equal(ours, maxima)
    values = torch.randn_like(maxima)
    there = torch.zeros(2, 3, size[0] * size[1])
    for at in range(indices[0, 0].numel()):  # where windows overlap the last one counts; torch leaves it to its threads
        there.scatter_(2, indices.flatten(2)[:, :, at : at + 1], values.flatten(2)[:, :, at : at + 1])
    assert torch.equal(unpool(values, places, size, window), there.view(2, 3, *size))


def _authors_names(ours: str, old: bool) -> str:
    """Our tensor name in the public code's naming: before July 2019, or after August 2019."""
    block, rest = ours.split(".", 1)
    if block.startswith("stage"):
        number, rest = rest.split(".", 1)
        stage = block[-1]
        block = f"regular{stage}_{int(number) + (stage != '3')}"
    elif block == "initial":
        block = "initial_block"
        rest = rest.replace("conv.", "main_branch.").replace("norm.", "batch_norm.")
    elif block == "classify":
        return "transposed_conv." + rest
    upsample = block.startswith("up")
    block = block.replace("up4", "upsample4_0").replace("up5", "upsample5_0")
    block = block.replace("down1", "downsample1_0").replace("down2", "downsample2_0")
    parts = {"main": "main_conv1", "reduce": "ext_conv1", "middle": "ext_conv2", "expand": "ext_conv3"}
    if upsample and not old:
        transposed = {"middle.0": "ext_tconv1", "middle.1": "ext_tconv1_bnorm", "middle.2": "ext_tconv1_activation"}
        parts = {**transposed, "main": "main_conv1", "reduce": "ext_conv1", "expand": "ext_conv2"}
    parts["act"] = "out_prelu" if old else "out_activation"
    for part, theirs in parts.items():
        if rest.startswith(part + "."):
            return f"{block}.{theirs}{rest[len(part) :]}"
    return f"{block}.{rest}"


@pytest.mark.parametrize("options", [FEBRUARY_2018, APRIL_2018, {"encoder_relu": True}, {"decoder_relu": False}])
def test_weights_of_the_public_code_of_2018(options: dict) -> None:
    _adopts(options, old=True)


@pytest.mark.parametrize("options", [{**AUGUST_2019, "decoder_relu": False}, MARCH_2021])
def test_weights_of_the_public_code_since_2019(options: dict) -> None:
    _adopts(options, old=False)


def _adopts(options: dict, old: bool) -> None:
    with torch.device("meta"):
        state = build(12, **options).state_dict()
    adopted = from_authors("enet", {_authors_names(key, old): tensor for key, tensor in state.items()})
    assert adopted is not None
    assert {key: tensor.shape for key, tensor in adopted[0].items()} == {key: t.shape for key, t in state.items()}
    found = adopted[1]
    defaults = {"slopes": "block", "window": 3, "encoder_relu": False, "decoder_relu": True, "late_activation": True}
    assert {**defaults, **found} == {**defaults, **options}


def test_our_own_naming_is_not_the_authors() -> None:
    assert from_authors("enet", build(5).state_dict()) is None


def test_slopes_by_block_are_one_number() -> None:
    block = build(5).stage2[2]
    assert isinstance(block, Bottleneck)
    assert block.act is block.reduce[2] is block.middle[5] is block.expand[2]
    assert len({id(p) for p in build(5, slopes="layer").stage2[2].parameters() if p.shape == (1,)}) == 5


@pytest.mark.parametrize("options", [{"slopes": "mine"}, {"window": 4}])
def test_wrong_options(options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        build(5, **options)
