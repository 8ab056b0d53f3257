"""A classifier's training, as its users meet it: trained, scored and explained."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from seg_node.__main__ import main  # noqa: E402
from seg_node.training import loop  # noqa: E402
from seg_node.training.recipe import load_recipe  # noqa: E402

COLOURS = {"n01": (200, 40, 40), "n02": (40, 40, 200)}  # BGR: what is which is a matter of the order
RGB = ("input.channels=rgb", "input.mean=[0.1,0.2,0.3]", "input.std=[0.5,0.6,0.7]")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with images/ of two colours and run/, what was trained on them."""
    rng, root = np.random.default_rng(1), tmp_path_factory.mktemp("classifier")
    for split, count in (("train", 8), ("val", 3)):
        for name, colour in COLOURS.items():
            folder = root / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-30, 30, (70, 90 + i, 3))
                cv2.imwrite(str(folder / f"{i}.png"), np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))
    recipe = load_recipe(
        "erfnet_imagenet",
        ("input.size=[64, 64]", "input.shorter_side=70", "epochs=6", "batch_size=4", "optimizer.lr=0.002", *RGB),
    )
    loop.train(recipe, root / "images", root / "run", 0, loop.Cluster(accelerator="cpu"))
    return root


def curve(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "run" / "curve.jsonl").read_text().splitlines()]


def test_it_learns_and_leaves_weights_and_the_names_of_its_classes(run: Path) -> None:
    out, lines = run / "run", curve(run)
    assert len(lines) == 6 and all(0 <= line["top1"] <= line["top5"] <= 1 for line in lines)
    assert max(line["top1"] for line in lines) == 1  # with BGR for RGB it is 0
    assert torch.load(out / "weights.pt", weights_only=True) and not (out / "card.yaml").exists()
    assert (out / "classes.txt").read_text().split() == list(COLOURS)


def test_it_is_scored_as_it_was_validated(run: Path, tmp_path, capsys) -> None:
    shutil.copytree(run / "images", tmp_path / "images")
    out, lines = run / "run", curve(run)
    data = ["--dataset", "imagenet", "--data", str(tmp_path / "images")]
    capsys.readouterr()
    assert main(["evaluate", str(out), *data, "--json"]) == 0
    score, best = json.loads(capsys.readouterr().out), max(line["top1"] for line in lines)
    assert score["images"] == 6 and score["top1"] == pytest.approx(best) and score["top5"] == 1
    assert np.mean(list(score["top1_of_class"].values())) == pytest.approx(best)
    assert main(["evaluate", str(out), *data, "--limit", "1"]) == 0
    assert "top 1" in capsys.readouterr().out
    assert main(["evaluate", str(out), *data, "--runtime", "onnx"]) == 2
    assert "--runtime or --precision: is for networks that label pixels" in capsys.readouterr().err
    images = tmp_path / "images"
    for split in ("train", "val"):
        (images / split / "n02").rename(images / split / "n03")
    assert main(["evaluate", str(out), *data]) == 1
    assert "its classes are not the data's ('n02' where they have 'n03')" in capsys.readouterr().err
    shutil.copytree(images / "train" / "n01", images / "train" / "n02")
    assert main(["evaluate", str(out), *data]) == 1
    assert "knows 2 classes, and the data have 3" in capsys.readouterr().err
    assert main(["evaluate", "rdsnet_camvid", *data]) == 1
    assert "rdsnet_camvid: holds no recipe.yaml" in capsys.readouterr().err


def test_it_is_explained_by_its_logits_of_every_place(run: Path, tmp_path, capsys) -> None:
    image, out = run / "images" / "val" / "n02" / "0.png", tmp_path / "why"
    assert main(["explain", str(run / "run"), str(image), "--out", str(out), "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["model"] == "run" and [one["class"] for one in model["classes"]] == ["n02", "n01"]
    assert sum(one["of_image"] for one in model["classes"]) == pytest.approx(1, abs=1e-4)
    for name in ("explanation.jpg", "classes_run.jpg", "run/n01_logit.jpg", "run/n02_grad_cam.jpg"):
        assert cv2.imread(str(out / name)) is not None
    argv = ["explain", str(run / "run"), str(image), "--out", str(out)]
    assert main([*argv, "--class", "n02"]) == 0
    assert "n02" in capsys.readouterr().out
    assert main([*argv, "--class", "dog"]) == 1
    assert "no class 'dog': choose from n01, n02" in capsys.readouterr().err


def test_a_training_that_has_not_ended_is_told(run: Path, tmp_path, capsys) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(run / "run" / "recipe.yaml", tmp_path / "run")
    image = next((run / "images" / "val" / "n01").iterdir())
    assert main(["explain", str(tmp_path / "run"), str(image), "--out", str(tmp_path / "why")]) == 1
    assert "holds no weights.pt: its training has not ended yet" in capsys.readouterr().err
