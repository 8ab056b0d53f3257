import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.evaluation.flops import complexity, parameters  # noqa: E402
from seg_node.networks import deeplab  # noqa: E402
from seg_node.networks._mobilenet import ConvNorm  # noqa: E402

RELU6, SWISH = nn.ReLU6, nn.Hardswish


@pytest.mark.parametrize(
    ("encoder", "last", "classifier", "published"),
    [
        ("mobilenetv2", ConvNorm(320, 1280, 1, RELU6), [(1280, 1000)], 3_504_872),
        ("mobilenetv3_large", ConvNorm(160, 960, 1, SWISH), [(960, 1280), (1280, 1000)], 5_483_032),
        ("mobilenetv3_small", ConvNorm(96, 576, 1, SWISH), [(576, 1024), (1024, 1000)], 2_542_856),
        ("resnet101", None, [(2048, 1000)], 44_549_160),
    ],
)
def test_an_encoder_and_a_classifier_have_torchvisions_parameters(
    encoder: str, last: nn.Module | None, classifier: list[tuple[int, int]], published: int
) -> None:
    with torch.device("meta"):
        count = parameters(networks.build(encoder + "_dual_aspp", 19).encoder)
    count += parameters(last) if last else 0
    assert count + sum(inputs * outputs + outputs for inputs, outputs in classifier) == published


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "mobilenetv2",
            {
                "features.0.0.weight": (32, 3, 3, 3),
                "features.0.1.running_var": (32,),
                "features.1.conv.0.0.weight": (32, 1, 3, 3),
                "features.1.conv.1.weight": (16, 32, 1, 1),
                "features.1.conv.2.bias": (16,),
                "features.17.conv.0.0.weight": (960, 160, 1, 1),
                "features.17.conv.1.0.weight": (960, 1, 3, 3),
                "features.17.conv.2.weight": (320, 960, 1, 1),
                "features.17.conv.3.weight": (320,),
            },
        ),
        (
            "mobilenetv3_large",
            {
                "features.1.block.0.0.weight": (16, 1, 3, 3),
                "features.1.block.1.0.weight": (16, 16, 1, 1),
                "features.4.block.1.0.weight": (72, 1, 5, 5),
                "features.4.block.2.fc1.weight": (24, 72, 1, 1),
                "features.4.block.2.fc2.bias": (72,),
                "features.4.block.3.1.weight": (40,),
                "features.15.block.2.fc1.weight": (240, 960, 1, 1),
                "features.15.block.3.0.weight": (160, 960, 1, 1),
            },
        ),
        (
            "mobilenetv3_small",
            {
                "features.1.block.1.fc1.weight": (8, 16, 1, 1),
                "features.2.block.1.0.weight": (72, 1, 3, 3),
                "features.11.block.2.fc2.weight": (576, 144, 1, 1),
                "features.11.block.3.0.weight": (96, 576, 1, 1),
            },
        ),
        (
            "resnet101",
            {
                "conv1.weight": (64, 3, 7, 7),
                "bn1.weight": (64,),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer1.0.downsample.1.running_mean": (256,),
                "layer3.22.conv2.weight": (256, 256, 3, 3),
                "layer4.2.bn3.weight": (2048,),
            },
        ),
    ],
)
def test_encoders_have_torchvisions_names(name: str, keys: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        state = networks.build(name + "_dual_aspp", 19).encoder.state_dict()
    assert {key: tuple(state[key].shape) for key in keys} == keys


def _imagenet(name: str) -> dict[str, torch.Tensor]:
    """Return what torchvision's checkpoint holds, as far as it matters here."""
    with torch.device("meta"):
        state = dict(networks.build(name + "_dual_aspp", 2).encoder.state_dict())
    last = {"mobilenetv2": 18, "mobilenetv3_large": 16, "mobilenetv3_small": 12}
    left_out = ["fc.weight"] if name == "resnet101" else [f"features.{last[name]}.0.weight", "classifier.1.weight"]
    state.update({key: torch.empty(1, device="meta") for key in left_out})
    return state


@pytest.mark.parametrize("head", ["", "_deeplabv3plus", "_dual_aspp"])
@pytest.mark.parametrize("encoder", ["mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "resnet101"])
def test_imagenet_weights_fit_the_encoder_whole(encoder: str, head: str) -> None:
    adopted = networks.adopt(encoder + head, _imagenet(encoder))
    assert adopted is not None
    state, options = adopted
    with torch.device("meta"):
        network = networks.build(encoder + head, 19, **options)
        result = network.load_state_dict(state, strict=False)
    assert not result.unexpected_keys and all(key.startswith("head.") for key in result.missing_keys)


def test_our_own_names_are_left_alone() -> None:
    with torch.device("meta"):
        for name in ("mobilenetv2_dual_aspp", "resnet101", "xception65"):
            assert networks.adopt(name, networks.build(name, 2).state_dict()) is None


@pytest.mark.parametrize(("head", "stride"), [("", 16), ("_deeplabv3plus", 16), ("_dual_aspp", 32)])
@pytest.mark.parametrize("encoder", list(deeplab._ENCODERS))
def test_the_output_stride_is_the_papers(encoder: str, head: str, stride: int) -> None:
    assert complexity(lambda: networks.build(encoder + head, 19), (256, 512)).output_stride == stride


def test_the_papers_classifier_of_resnet_is_the_difference_to_its_count() -> None:
    with torch.device("meta"):
        count = parameters(networks.build("resnet101_deeplabv3plus", 19))
    assert count + 2048 * 1000 + 1000 == 47_736_747  # 47.73 M printed


def test_dual_aspp_fuses_128_channels_and_the_classes() -> None:
    with torch.device("meta"):
        head = networks.build("mobilenetv2_dual_aspp", 19).head
        maps = tuple(torch.empty(2, *shape) for shape in ((24, 64, 128), (32, 32, 64), (320, 8, 16)))
        assert head.fuse(maps).shape == (2, 147, 32, 64)


def test_mobilenetv3_keeps_its_tail_at_stride_32_and_halves_it_at_16() -> None:
    with torch.device("meta"):

        def tail(name: str, **options: bool) -> int:
            channels: int = networks.build(name, 19, **options).encoder.channels[2]
            return channels

        assert (tail("mobilenetv3_large_dual_aspp"), tail("mobilenetv3_large")) == (160, 80)
        assert (tail("mobilenetv3_small_dual_aspp"), tail("mobilenetv3_small_deeplabv3plus")) == (96, 48)
        assert tail("mobilenetv3_small", reduced_tail=False) == 96
        assert tail("mobilenetv3_small_dual_aspp", reduced_tail=True) == 48
        with pytest.raises(ValueError, match="reduced_tail"):
            networks.build("mobilenetv3_small", 19, reduced_tail="half")
        with pytest.raises(ValueError, match="reduced_tail"):
            networks.build("mobilenetv2", 19, reduced_tail=True)


def test_one_image_trains_by_what_the_image_pooling_saw_before() -> None:
    """And two images as batch norm does: by what they have in common."""
    torch.manual_seed(1)
    aspp = deeplab.ASPP(4, 3, (1,)).train()
    norm, plain = aspp.image[1], nn.BatchNorm2d(3)
    means = torch.randn(2, 3, 1, 1)
    assert torch.equal(norm(means), plain(means)) and torch.equal(norm.running_var, plain.running_var)
    assert torch.equal(norm(means[:1]), plain.eval()(means[:1])) and torch.equal(norm.running_mean, plain.running_mean)
