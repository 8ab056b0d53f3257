"""Grad-CAM against what can be worked out by hand, and sensible layers in real networks."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from seg_node import networks  # noqa: E402
from seg_node.evaluation import grad_cam  # noqa: E402
from seg_node.evaluation.grad_cam import Explainer  # noqa: E402
from seg_node.model_card import ModelCard, load_card  # noqa: E402

WEIGHTS = torch.tensor([[1.0, 0.0, -2.0], [0.5, 3.0, 0.0]])  # of two classes over three features


class Linear(nn.Module):
    """Features at a quarter, an activation in place, and two classes linear in the features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.AvgPool2d(4)
        self.act = nn.LeakyReLU(0.5, inplace=True)
        self.classify = nn.Conv2d(3, 2, 1, bias=False)
        self.classify.weight.data = WEIGHTS[:, :, None, None].clone()
        self.unused = nn.AvgPool2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.unused(x)
        scores = self.classify(self.act(self.features(x)))
        return nn.functional.interpolate(scores, size=x.shape[2:], mode="nearest")


@pytest.fixture(autouse=True)
def one_thread():
    """So small networks are faster by themselves, and much faster beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def card(write_card) -> ModelCard:
    table = {"name": "rdsnet", "classes": 2}
    normal = {"size": [48, 64], "channels": "bgr", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    return load_card(write_card(network=table, input=normal))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def by_hand(image: np.ndarray, class_id: int) -> np.ndarray:
    """ReLU of the class's weights times the features: its gradient is the same everywhere. Float (12, 16), to 1."""
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    features = nn.functional.leaky_relu(nn.functional.avg_pool2d(x, 4), 0.5)
    cam = torch.relu((WEIGHTS[class_id][:, None, None] * features[0]).sum(0))
    return (cam / cam.max()).numpy()


@pytest.mark.parametrize("class_id", [0, 1])
def test_a_linear_network_is_explained_by_its_weights(card, image, monkeypatch, class_id) -> None:
    monkeypatch.setattr(grad_cam, "load_network", lambda card: Linear())
    cam = Explainer.of_model(card, image).grad_cam(class_id, "act")
    assert cam.shape == (48, 64) and cam.min() >= 0
    small = cv2.resize(by_hand(image, class_id), (64, 48), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(cam, small / small.max(), atol=1e-4)


def test_what_is_asked_about_does_not_change_the_answers_shape_only_its_weights(card, image, monkeypatch) -> None:
    """In a linear network with uniform gradients every pixel is explained alike."""
    monkeypatch.setattr(grad_cam, "load_network", lambda card: Linear())
    explainer, one = Explainer.of_model(card, image), np.zeros((48, 64), bool)
    one[7, 9] = True
    assert np.allclose(explainer.grad_cam(1, "act"), explainer.grad_cam(1, "act", one), atol=1e-5)


def test_an_activation_in_place_does_not_reach_what_was_kept(card, image, monkeypatch) -> None:
    """The features before the activation have negative values, which it would halve."""
    monkeypatch.setattr(grad_cam, "load_network", lambda card: Linear())
    explainer = Explainer.of_model(card, image)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    features = nn.functional.avg_pool2d(x, 4)
    slope = torch.where(features > 0, 1.0, 0.5)
    weights = (WEIGHTS[0][None, :, None, None] * slope).mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * features).sum(1))[0].numpy()
    expected = cv2.resize(cam, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(explainer.grad_cam(0, "features"), expected / expected.max(), atol=1e-4)


def test_layers_that_are_not_there_or_lead_nowhere_are_refused(card, image, monkeypatch) -> None:
    monkeypatch.setattr(grad_cam, "load_network", lambda card: Linear())
    explainer = Explainer.of_model(card, image)
    with pytest.raises(ValueError, match="no layer 'nose'"):
        explainer.grad_cam(0, "nose")
    with pytest.raises(ValueError, match="'unused' has no influence"):
        explainer.grad_cam(0, "unused")


def test_maps_of_the_classes_are_the_networks(card, image, monkeypatch) -> None:
    monkeypatch.setattr(grad_cam, "load_network", lambda card: Linear())
    view = Explainer.of_model(card, image).view()
    assert view.logits.shape == (2, 48, 64) and np.allclose(view.probabilities.sum(0), 1, atol=1e-5)
    assert (view.labels == view.logits.argmax(0)).all() and (view.of(0) | view.of(1)).all()


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("rdsnet", "encoder", (6, 8)),
        ("espnet", "encoder.mix3", (6, 8)),
        ("erfnet", None, (6, 8)),
        ("segnet", "encoder.4", (3, 4)),
    ],
)
def test_the_default_layer_is_where_the_encoder_ends(write_card, image, monkeypatch, name, layer, size) -> None:
    torch.manual_seed(0)
    network = networks.build(name, 11)
    monkeypatch.setattr(grad_cam, "load_network", lambda card: network)
    explainer = Explainer.of_model(load_card(write_card()), image)
    chosen = next(known for known in explainer.layers if known.name == explainer.default_layer())
    assert chosen.size == size and chosen.channels > 11 and layer in (None, chosen.name)
    cam = explainer.grad_cam(3, chosen.name)
    assert np.isfinite(cam).all() and cam.min() >= 0 and cam.max() <= 1


def test_grad_cam_of_a_classifier() -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    explainer = Explainer(networks.build(networks.classifiers()[0], 7).eval(), [0.5] * 3, [0.5] * 3, 255, image)
    cam = explainer.grad_cam(2, explainer.default_layer())
    assert cam.shape == (48, 64) and np.isfinite(cam).all() and cam.max() == pytest.approx(1)


@pytest.mark.parametrize("name", networks.classifiers())
def test_a_classifiers_maps_have_the_logits_that_it_decides_by_as_their_mean(name) -> None:
    torch.manual_seed(0)
    network = networks.build(name, 7).eval()
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.allclose(network.dense(x).mean((2, 3)), network(x), rtol=1e-4, atol=1e-5)
        view = Explainer(network, [0.0] * 3, [1.0] * 3, 255, (255 * x[0].permute(1, 2, 0)).byte().numpy()).view()
        seen = (255 * x[:1]).byte().float() / 255
        expected, places = network(seen)[0], nn.functional.interpolate(network.dense(seen), (64, 96), mode="bilinear")
    assert view.logits.shape == (7, 64, 96) and np.allclose(view.logits, places[0].numpy(), rtol=1e-3, atol=1e-4)
    assert np.allclose(view.logits.mean((1, 2)), expected.numpy(), rtol=1e-3, atol=1e-4)
