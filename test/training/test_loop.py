"""A real training, small: rendered streets, killed and gone on with."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from seg_node.model_card import load_card  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402

RECIPE = """
name: tiny
about: for tests
label_set: camvid11
network: {name: rdsnet}
input: {size: [48, 64], mean: [0.4, 0.4, 0.4], std: [0.3, 0.3, 0.3]}
train: [{dataset: street, split: train, per_epoch: 16}]
validate: {dataset: street, split: val, per_epoch: 8}
epochs: 4
batch_size: 4
optimizer: {name: adamw, lr: 3.0e-3}
schedule: {name: one_cycle}
loss: {class_weights: enet}
augment: {flip: true, scale: [0.8, 1.5]}
ema: 0.9
"""


def command(folder: Path, *more: str) -> list[str]:
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE)
    return [
        sys.executable,
        "-m",
        "seg_node",
        "train",
        str(recipe),
        "--out",
        str(folder / "run"),
        "--workers",
        "0",
        *more,
    ]


def finish(folder: Path) -> dict:
    done = subprocess.run(command(folder), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(torch.load(folder / "run" / "weights.pt", weights_only=True), output=done.stdout)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, finish(folder)


def test_what_a_training_leaves(uninterrupted) -> None:
    folder, weights = uninterrupted
    run = folder / "run"
    assert {"last.ckpt", "best.ckpt", "weights.pt", "card.yaml", "recipe.yaml", "run.yaml"} <= {
        p.name for p in run.iterdir()
    }
    assert "epoch 4/4" in weights["output"] and "mIoU" in weights["output"] and "waiting for data" in weights["output"]
    assert not list(run.glob("*.partial"))
    runtime = load_runtime(load_card(run), "torch", "cpu")  # the folder is a model
    runtime.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_goes_on_from_its_last_epoch(uninterrupted, tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen(
        command(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    for line in process.stdout:
        if "epoch 2/4" in line:
            process.send_signal(how)
            break
    assert process.wait(60) != 0
    resumed = finish(tmp_path)
    assert "epoch 4/4" in resumed["output"] and "epoch 1/4" not in resumed["output"]
    for key, tensor in uninterrupted[1].items():
        if key != "output":
            assert torch.allclose(tensor.float(), resumed[key].float(), atol=1e-4), (
                f"{key} differs from an unbroken training's"
            )


def test_another_recipe_in_the_same_folder_is_refused(uninterrupted) -> None:
    folder, _ = uninterrupted
    done = subprocess.run(command(folder, "epochs=9"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "another recipe" in done.stderr


def test_a_gradient_that_is_not_finite_stops_it(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "optimizer.lr=1e30", "precision=bf16-mixed"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "not finite" in done.stderr
