"""Every recipe trains: two steps of each stage on rendered streets, through the real loop.

`make test` trains one recipe of each kind; SEG_NODE_EVERY_RECIPE=1 (`make test-recipes`) all of them.
"""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from seg_node import networks  # noqa: E402
from seg_node.datasets import Sample, street  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.model_card import load_card  # noqa: E402
from seg_node.networks.grouped_erfnet import to_grouped  # noqa: E402
from seg_node.runtimes.torch import load_network  # noqa: E402
from seg_node.training.data import TrainingSamples  # noqa: E402
from seg_node.training.loop import train  # noqa: E402
from seg_node.training.recipe import Recipe, load_recipe, names  # noqa: E402
from seg_node.training.schedules import build_optimizer, build_schedule  # noqa: E402
from seg_node.training.task import Segmentation  # noqa: E402

KINDS = ["c3_drn_c26_imagenet", "c3net2_camvid", "ndnet45_cityscapes"]  # and those of the tests below
TRAINED = list(names()) if os.environ.get("SEG_NODE_EVERY_RECIPE") else KINDS
SIZE = (64, 96)


def tiny(name: str) -> Recipe:
    """The recipe with all that it says of the training, on two batches of two small streets."""
    recipe = load_recipe(name)
    changes = ["batch_size=2", "epochs=1", "start=null", "precision=32-true", "validate_every=1"]
    changes += [f"steps={min(recipe.steps, 2)}"] if recipe.steps else []
    if recipe.task == "classification":
        return load_recipe(name, (*changes, "input.size=[48, 48]", "input.shorter_side=56"))
    with_void = load_label_set(recipe.label_set).void is not None
    changes += [
        f"label_set={'camvid12' if with_void else 'camvid11'}",
        "train=[{dataset: street, split: train, per_epoch: 4}]",
        "validate={dataset: street, split: val, per_epoch: 1}",
        f"input.size={list(SIZE)}",
    ]
    changes += ["augment.crop=[48, 64]"] if recipe.augment.crop else []
    changes += ["augment.paste.classes=[Pole, Car]"] if recipe.augment.paste else []
    return load_recipe(name, tuple(changes))


@pytest.fixture(autouse=True)
def small_and_alone(monkeypatch: pytest.MonkeyPatch):
    """A street of few samples, whose classes are soon counted; one thread: networks this small lose time by more."""
    monkeypatch.setattr(street, "SPLITS", {split: (number, 6) for split, (number, _) in street.SPLITS.items()})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet's layout, with two classes of two images."""
    root = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        for wnid in ("n01", "n02"):
            folder = root / split / wnid
            folder.mkdir(parents=True)
            for i in range(2):
                cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 256, (60, 80, 3), np.uint8))
    return root


@pytest.mark.parametrize("name", TRAINED)
def test_two_steps_of_every_stage(name: str, tmp_path: Path, folders: Path) -> None:
    recipe = tiny(name)
    classifies = recipe.task == "classification"
    out = train(recipe, folders if classifies else None, tmp_path / "run", workers=0)
    for stage in recipe.stages or (recipe,):
        folder = out / stage.name if recipe.stages else out
        weights = torch.load(folder / "weights.pt", weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in weights.values()), stage.name
        losses = [row["loss"] for row in _curve(folder)]
        assert len(losses) == 1 and np.isfinite(losses[0]), stage.name
    if not classifies:
        network = load_network(load_card(out))
        with torch.no_grad():
            logits = network(torch.zeros(1, 3, *SIZE))
        assert logits.shape == (1, load_label_set(recipe.label_set).class_count, *SIZE)


def _curve(folder: Path) -> list[dict]:
    return [yaml.safe_load(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_gradual_grouping_ends_grouped_and_the_decoder_begins_alone(tmp_path: Path) -> None:
    """Section 4.3, the four stages as one training runs them."""
    out = train(tiny("dg2_star_gradual_camvid"), None, tmp_path / "run", workers=0)
    kept = {
        stage: torch.load(out / stage / "weights.pt", weights_only=True)
        for stage in ("gradual", "settle", "decoder", "both")
    }
    for stage in ("gradual", "settle"):  # at its last step alpha was 0
        assert all(torch.equal(t, torch.eye(2)) for key, t in kept[stage].items() if key.endswith(".alpha"))
    settled = to_grouped(kept["settle"])
    learnt = [key for key in settled if key.startswith("encoder.") and key.endswith((".weight", ".bias"))]
    for key in learnt:  # 5e-20: as good as frozen
        assert torch.allclose(kept["decoder"][key], settled[key], rtol=0, atol=1e-12), key
    assert any(not torch.equal(kept["both"][key], settled[key]) for key in learnt)  # then it learns again


def test_a_larger_network_teaches(exported: Path, tmp_path: Path) -> None:
    recipe = load_recipe("modern_camvid_all", (f"teacher.model={exported}", "teacher.weight=5"))
    small = tiny("modern_camvid_all")
    out = train(replace(small, teacher=recipe.teacher), None, tmp_path / "taught", workers=0)
    alone = train(small, None, tmp_path / "alone", workers=0)
    assert _curve(out)[0]["loss"] > _curve(alone)[0]["loss"]
    assert set(torch.load(out / "weights.pt", weights_only=True)) == set(
        torch.load(alone / "weights.pt", weights_only=True)
    )


@pytest.mark.parametrize("name", names())
def test_every_stage_can_be_built_and_handed_on(name: str) -> None:
    """Without data: networks, options, rates, schedules; and each stage gives the next all of its encoder."""
    recipe = load_recipe(name)
    before: set[str] = set()
    for stage in recipe.stages or (recipe,):
        classes = 1000 if stage.task == "classification" else load_label_set(stage.label_set).class_count
        with torch.device("meta"):
            network = networks.build(stage.network.name, classes, **stage.network.options)
        optimizer = build_optimizer(network, stage.optimizer, stage.trains)
        build_schedule(optimizer, stage.schedule, 1000)
        ours = {key for key in network.state_dict() if not key.endswith(".alpha")}
        if before and any(key.startswith("encoder.") for key in ours):
            assert {key for key in ours if key.startswith("encoder.")} <= before
        before = ours


def test_void_weighs_what_the_recipe_says(tmp_path: Path) -> None:
    """ERFNet's, ENet's and C3's void is an output that costs nothing."""
    stage = tiny("erfnet_cityscapes").stages[0]
    assert stage.label_set == "camvid12"
    weight = Segmentation(stage, np.full(12, 1 / 12), tmp_path).loss.weight
    assert weight[11] == 0 and (weight[:11] > 1).all()


def test_pasted_pixels_lie_in_the_light_of_the_image() -> None:
    """An image of one grey with another's poles on it: one gain and offset turn both."""
    how = ("augment.paste={probability: 1, classes: [Pole]}", "augment.brightness=0.3", "augment.contrast=0.5")
    recipe = replace(
        load_recipe("rdsnet_camvid", (*how, "augment.flip=false", "augment.translate=0")),
        input=tiny("modern_camvid").input,
    )
    grey, pole = np.full((*SIZE, 3), 100, np.uint8), np.full((*SIZE, 3), 140, np.uint8)
    labels = np.zeros((2, *SIZE), np.uint8)
    labels[1, :, :10] = 2
    split = [Sample(grey, labels[0], "road"), Sample(pole, labels[1], "pole")]
    pasted = 0
    for epoch in range(20):
        image, label = TrainingSamples([split], recipe, train=True)[(epoch, 0, 0)]
        if (label == 2).any():
            pasted += 1
            assert 20 <= int(image[label == 2].max()) - int(image[label == 0].min()) <= 60  # 40, times 0.5 to 1.5
        assert len(image[label == 0].unique()) == 1
    assert 3 < pasted < 17  # the other sample is drawn, and may be the same


def test_a_class_that_there_is_not_cannot_be_pasted() -> None:
    recipe = load_recipe("modern_camvid_all", ("augment.paste.classes=[pole]",))
    with pytest.raises(ValueError, match=r"paste\.classes: pole.*Pole"):
        TrainingSamples([], recipe, train=True)
