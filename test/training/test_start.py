from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from seg_node import networks  # noqa: E402
from seg_node.networks._deployed import Deployed  # noqa: E402
from seg_node.training.checkpoint import _card, save_weights  # noqa: E402
from seg_node.training.recipe import load_recipe, names  # noqa: E402
from seg_node.training.start import begin, hand_on, other_feeding  # noqa: E402
from seg_node.training.task import Segmentation  # noqa: E402


def seen(network: torch.nn.Module, size: tuple[int, int] = (48, 64)) -> torch.nn.Module:
    """The network after its batch norms have seen an image: so that none of its tensors is as it was built."""
    network.train()
    with torch.no_grad():
        network(torch.randn(2, 3, *size))
    return network.eval()


def grouped(form: str, part: str) -> torch.nn.Module:
    return networks.build("dg2_star", 5, layout="counted", form=form, part=part)


def test_the_encoder_goes_on_into_the_whole_network() -> None:
    """ESPNet's two stages: afterwards the encoder's features are those that were trained."""
    torch.manual_seed(1)
    alone, whole = seen(networks.build("espnet", 12, part="encoder")), networks.build("espnet", 12).eval()
    missing = hand_on(alone.state_dict(), whole)
    assert missing and not any(name.startswith("encoder.") for name in missing)
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.equal(alone.encoder(image).scores, whole.encoder(image).scores)


def test_a_dense_encoder_goes_on_as_the_grouped_one_that_computes_the_same() -> None:
    """Gradual grouping's third stage."""
    from seg_node.networks.grouped_erfnet import set_alpha

    torch.manual_seed(1)
    dense = seen(grouped("dense", "encoder"))
    whole = grouped("grouped", "whole").eval()
    with pytest.raises(ValueError, match="alpha"):  # alpha is still 1
        hand_on(dense.state_dict(), whole)
    set_alpha(dense, 0.0)
    missing = hand_on(dense.state_dict(), whole)
    assert missing and all(name.startswith("decoder.") for name in missing)
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.allclose(dense.encoder(image), whole.encoder(image), atol=1e-5)


def test_an_imagenet_encoder_goes_on_into_a_network_with_other_classes() -> None:
    classifier = seen(networks.build("erfnet_imagenet", 10))
    whole = networks.build("erfnet", 12)
    missing = hand_on(classifier.state_dict(), whole)
    assert {name.partition(".")[0] for name in missing} == {"decoder", "classify"}


def test_strange_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing fits"):
        hand_on(networks.build("ndnet45", 5).state_dict(), networks.build("rdsnet", 5))
    with pytest.raises(ValueError, match="nothing fits"):  # but for vectors of batch norm
        hand_on(networks.build("rdsnet", 5).state_dict(), networks.build("dg2_light", 20, layout="counted"))


def test_a_recipe_begins_with_an_earlier_trainings_folder(tmp_path: Path) -> None:
    save_weights(seen(networks.build("erfnet_imagenet", 10)).state_dict(), tmp_path / "weights.pt")
    recipe = load_recipe("erfnet_pretrained_cityscapes", (f"start={tmp_path}",))
    network = networks.build("erfnet", 20)
    assert "encoder.0.conv.weight" not in begin(recipe, network)
    kept = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert torch.equal(network.state_dict()["encoder.0.conv.weight"], kept["encoder.0.conv.weight"])


def test_a_recipe_begins_with_its_authors_checkpoint(data_folder: Path) -> None:
    """ESPNet's published CamVid weights, tensors named as its authors do."""
    path = data_folder / "checkpoints" / "espnet_p2_q8_camvid12.pth"
    if not path.is_file():
        pytest.skip(f"no {path}; set SEG_NODE_DATA to the folder that holds checkpoints/")
    recipe = load_recipe("espnet_camvid", (f"start={path}", "network.options.variant=train")).stages[0]
    network = networks.build("espnet", 12, variant="train")
    missing = begin(recipe, network)
    assert all(name.endswith("num_batches_tracked") for name in missing)  # files of that time have none


def test_weights_that_know_rgb_are_not_fed_bgr(tmp_path: Path) -> None:
    """DRN's ImageNet weights, tensors named as its authors do."""
    torch.manual_seed(1)
    state = seen(networks.build("drn_c26_imagenet", 10), (64, 64)).state_dict()
    path = tmp_path / "drn_c_26.pth"
    torch.save({key.replace("encoder.", ""): tensor for key, tensor in state.items()}, path)
    network = networks.build("drn_c26", 19)
    assert begin(load_recipe("drn_c26_cityscapes", (f"start={path}",)), network) == ["seg.weight", "seg.bias"]
    wrong = ("input.channels=bgr", "input.mean=[0.1,0.2,0.3]", "input.std=[1,1,2]")
    with pytest.raises(ValueError, match="RGB images, and this recipe gives BGR") as told:
        begin(load_recipe("drn_c26_cityscapes", (f"start={path}", *wrong)), network)
    assert "add input.channels=rgb 'input.mean=[0.3,0.2,0.1]' 'input.std=[2.0,1.0,1.0]'" in str(told.value)


def test_a_models_card_and_a_classifiers_recipe_say_what_their_weights_know(tmp_path: Path) -> None:
    rgb = ("input.channels=rgb", "input.mean=[0,0,0]", "input.std=[1,1,1]")
    with pytest.raises(ValueError, match=r"rdsnet_camvid/weights\.pt: was trained on BGR images"):
        begin(load_recipe("rdsnet_camvid", ("start=rdsnet_camvid", *rgb)), networks.build("rdsnet", 12))
    save_weights(seen(networks.build("erfnet_imagenet", 10)).state_dict(), tmp_path / "weights.pt")
    (tmp_path / "recipe.yaml").write_text(load_recipe("erfnet_imagenet", rgb).as_text())
    with pytest.raises(ValueError, match=r"weights\.pt: was trained on RGB images"):
        begin(load_recipe("erfnet_pretrained_cityscapes", (f"start={tmp_path}",)), networks.build("erfnet", 20))


def test_a_model_that_was_normalised_otherwise_is_told() -> None:
    told = other_feeding(load_recipe("modern_camvid_on", ("start=erfnet_camvid12", "network.name=erfnet")))
    assert "'input.mean=[0.0,0.0,0.0]' 'input.std=[1.0,1.0,1.0]' would keep it" in told
    assert other_feeding(load_recipe("modern_camvid_on")) == ""
    assert other_feeding(load_recipe("rdsnet_camvid")) == ""


@pytest.mark.parametrize("name", [name for name in names() if str(load_recipe(name).start).endswith(".pth")])
def test_what_begins_with_torchvisions_weights_is_fed_as_they_were(name: str) -> None:
    """torchvision's documented preprocessing: RGB, mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225."""
    given = load_recipe(name).input
    assert given.channels == "rgb" and given.mean == (0.485, 0.456, 0.406) and given.std == (0.229, 0.224, 0.225)


def test_a_network_is_trained_on_the_channels_that_its_card_says(tmp_path: Path) -> None:
    """What training computes is what the card's own normalisation gives on RGB images."""
    rgb = ("input.channels=rgb", "input.mean=[0.5,0.3,0.1]", "input.std=[0.2,0.3,0.4]")
    recipe = load_recipe("rdsnet_camvid", rgb)
    torch.manual_seed(1)
    task = Segmentation(recipe, np.full(12, 1 / 12), Path()).eval()
    bgr = torch.randint(0, 256, (1, 24, 32, 3), dtype=torch.uint8)
    deployed = Deployed(task.network, (0.5, 0.3, 0.1), (0.2, 0.3, 0.4), 255).eval()
    with torch.no_grad():
        assert torch.allclose(task(bgr), deployed.logits(bgr.flip(-1)), atol=1e-4)
        assert not torch.allclose(task(bgr), deployed.logits(bgr), atol=1e-2)
    save_weights(task.network.state_dict(), tmp_path / "weights.pt")
    assert _card(tmp_path, recipe, {})["input"]["channels"] == "rgb"


def test_nothing_to_begin_with() -> None:
    network = networks.build("rdsnet", 11)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert begin(load_recipe("rdsnet_camvid"), network) == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_name_of_a_recipe_and_of_a_shipped_model_is_the_model() -> None:
    network = networks.build("rdsnet", 11)
    assert begin(load_recipe("rdsnet_camvid", ("start=rdsnet_camvid", "label_set=camvid11")), network) == []


@pytest.mark.parametrize(
    "name, says",
    [
        ("erfnet_pretrained_cityscapes", "seg-node train erfnet_imagenet.*start=FOLDER"),
        ("mobilenetv2_dual_aspp_cityscapes", "mobilenet_v2-7ebf99e0.pth.*start=FILE"),
    ],
)
def test_what_is_missing_is_said(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=says):
        begin(load_recipe(name), networks.build("rdsnet", 19))


def test_a_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    save_weights(networks.build("ndnet45", 5).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth.*rdsnet"):
        begin(load_recipe("rdsnet_camvid", (f"start={tmp_path / 'other.pth'}",)), networks.build("rdsnet", 11))
