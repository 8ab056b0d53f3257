import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.evaluation.flops import parameters  # noqa: E402
from seg_node.networks import drn  # noqa: E402


@pytest.mark.parametrize(
    ("name", "classes", "options", "count"),
    [
        ("drn_a50", 19, {}, 23_546_963),
        ("drn_c26", 19, {}, 20_623_331),
        ("drn_a34_imagenet", 1000, {}, 21_797_672),
        ("drn_a50_imagenet", 1000, {}, 25_557_032),
        ("drn_c26_imagenet", 1000, {}, 21_126_584),
        ("drn_c42_imagenet", 1000, {}, 31_234_744),
        # one undilated and one dilated block of two 3x3 convolutions, 512 to 512 channels, more
        ("drn_c26_imagenet", 1000, {"degridding_blocks": 2}, 21_126_584 + 2 * 2 * (512 * 512 * 9 + 2 * 512)),
    ],
)
def test_parameters_are_those_of_the_authors_code(name: str, classes: int, options: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        assert parameters(networks.build(name, classes, **options)) == count


def test_every_dilated_convolution_can_be_replaced_and_no_other() -> None:
    made = []

    def dilated(channels_in: int, channels_out: int, dilation: int) -> nn.Module:
        made.append((channels_in, channels_out, dilation))
        return nn.Conv2d(channels_in, channels_out, 1)

    with torch.device("meta"):
        for name in networks.classifiers():
            if name.startswith("drn_"):
                networks.build(name, 10, dilated=dilated)
        made.clear()
        network = networks.build("drn_c26", 19, dilated=dilated)
    # levels 5, 6 and 7; level 8 is not dilated
    expected = [(128, 256, 2), *3 * [(256, 256, 2)], (256, 512, 4), *3 * [(512, 512, 4)], *2 * [(512, 512, 2)]]
    assert made == expected
    assert all(module.dilation == (1, 1) for module in network.modules() if isinstance(module, nn.Conv2d))


def _authors_segmentation(classes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = {name: number for number, name in drn._BASE_C.items()}
    state = {}
    for key, tensor in networks.build("drn_c26", classes).state_dict().items():
        if key.startswith("encoder."):
            _, name, rest = key.split(".", 2)
            state[f"base.{base[name]}.{rest}"] = tensor
        else:
            state[key] = tensor
    state["up.weight"] = drn._bilinear_kernel().repeat(classes, 1, 1, 1)
    return state


def test_the_authors_fixed_deconvolution_is_reproduced() -> None:
    adopted = networks.adopt("drn_c26", _authors_segmentation(3))
    assert adopted is not None
    state, options = adopted
    assert options == {"upsampling": "deconvolution", "degridding_blocks": 1}
    network = networks.build("drn_c26", 3, **options).eval()
    network.load_state_dict(state)
    up = nn.ConvTranspose2d(3, 3, 16, stride=8, padding=4, groups=3, bias=False)
    up.load_state_dict({"weight": _authors_segmentation(3)["up.weight"]})
    plain = networks.build("drn_c26", 3).eval()
    plain.load_state_dict(state)
    with torch.inference_mode():
        image = torch.randn(1, 3, 48, 64)
        scores = network.seg(network.encoder(image))
        assert torch.allclose(network(image), up(scores), atol=1e-5)
        assert torch.equal(plain(image).argmax(1), network(image).argmax(1))
        inner = (..., slice(4, -4), slice(4, -4))
        assert torch.allclose(plain(image)[inner], network(image)[inner], atol=1e-5)


def test_without_a_deconvolution_the_corners_are_aligned() -> None:
    authors = _authors_segmentation(3)
    del authors["up.weight"]
    adopted = networks.adopt("drn_c26", authors)
    assert adopted is not None and adopted[1] == {"upsampling": "aligned", "degridding_blocks": 1}
    network = networks.build("drn_c26", 3, upsampling="aligned").eval()
    with torch.inference_mode():
        image = torch.randn(1, 3, 48, 64)
        scores = network.seg(network.encoder(image))
        assert torch.equal(network(image), nn.UpsamplingBilinear2d(scale_factor=8)(scores))


def test_a_learnt_deconvolution_is_refused() -> None:
    state = _authors_segmentation(3)
    state["up.weight"] = state["up.weight"] + 0.01
    with pytest.raises(ValueError, match="bilinear"):
        networks.adopt("drn_c26", state)


def test_a_checkpoint_of_the_other_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="architecture"):
        networks.adopt("drn_a50", _authors_segmentation(3))


def test_imagenet_weights_go_into_classifiers_and_into_encoders() -> None:
    classifier = networks.build("drn_c26_imagenet", 4)
    authors = {key.replace("encoder.", ""): tensor for key, tensor in classifier.state_dict().items()}
    authors["fc.weight"] = authors["fc.weight"][:, :, None, None]
    adopted = networks.adopt("drn_c26_imagenet", authors)
    assert adopted is not None and adopted[1] == {"degridding_blocks": 1}
    classifier.load_state_dict(adopted[0])
    encoder = networks.adopt("drn_c26", authors)
    assert encoder is not None
    result = networks.build("drn_c26", 19).load_state_dict(encoder[0], strict=False)
    assert set(result.missing_keys) == {"seg.weight", "seg.bias"} and not result.unexpected_keys


def test_our_own_names_are_left_alone() -> None:
    with torch.device("meta"):
        assert networks.adopt("drn_a50", networks.build("drn_a50", 2).state_dict()) is None


@pytest.mark.parametrize("options", [{"upsampling": "nearest"}, {"degridding_blocks": 0}])
def test_wrong_options_are_named(options: dict[str, object]) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=next(iter(options))):
        networks.build("drn_c26", 2, **options)
