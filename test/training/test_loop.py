"""A real training, small: rendered streets, killed and gone on with."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: E402
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from seg_node.model_card import load_card  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402
from seg_node.training import data, loop  # noqa: E402
from seg_node.training.checkpoint import WholeCheckpoints  # noqa: E402
from seg_node.training.recipe import load_recipe  # noqa: E402

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
    assert all(line.startswith(("epoch ", "trained: ")) for line in weights["output"].splitlines())
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {"loss_step", "loss_epoch", "miou", "iou/Road", "lr-AdamW"} <= set(events.Tags()["scalars"])
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
    assert process.wait(60) == {signal.SIGKILL: -9, signal.SIGINT: 130}[how]
    resumed = finish(tmp_path)
    # an epoch's line is printed just before its checkpoint is written
    assert re.match("going on after epoch [12]/4\n", resumed["output"])
    assert "epoch 4/4" in resumed["output"] and "\nepoch 1/4" not in resumed["output"]
    for key, tensor in uninterrupted[1].items():
        if key != "output":
            assert torch.allclose(tensor.float(), resumed[key].float(), atol=1e-4), (
                f"{key} differs from an unbroken training's"
            )


def test_another_recipe_in_the_same_folder_is_refused(uninterrupted) -> None:
    folder, _ = uninterrupted
    done = subprocess.run(command(folder, "epochs=9"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "another recipe (other epochs)" in done.stderr


def test_a_finished_training_is_left_as_it_is(uninterrupted) -> None:
    folder, _ = uninterrupted
    card = folder / "run" / "card.yaml"
    before = card.read_text()
    card.write_text(before + "scores: {parity_onnx: 1.0}\n")  # as an export leaves it
    finish(folder)
    assert card.read_text() == before + "scores: {parity_onnx: 1.0}\n"
    card.write_text(before)


@pytest.fixture
def checkpoint(uninterrupted, tmp_path: Path) -> Path:
    """A copy of last.ckpt in another folder."""
    return Path(shutil.copy(uninterrupted[0] / "run" / "last.ckpt", tmp_path))


@pytest.mark.parametrize("kept", [0, 1000, -1000], ids=str)
def test_a_damaged_checkpoint_is_named(checkpoint: Path, kept: int) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged.*delete it"):
        WholeCheckpoints().load_checkpoint(checkpoint, weights_only=True)


def test_a_moved_folder_keeps_its_best_score(checkpoint: Path) -> None:
    states = WholeCheckpoints().load_checkpoint(checkpoint, weights_only=True)["callbacks"].values()
    best = next(state for state in states if state.get("monitor") == "miou")
    moved = ModelCheckpoint(checkpoint.parent, "best", monitor="miou", mode="max")
    moved.load_state_dict(best)
    assert moved.best_model_score == best["best_model_score"] is not None


def test_a_full_disk_keeps_the_checkpoint_before(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read_bytes()

    def full(self, state, path, options=None):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", full)
    with pytest.raises(OSError, match=r"last\.ckpt: cannot be written.*No space left.*make room"):
        WholeCheckpoints().save_checkpoint({}, checkpoint)
    assert checkpoint.read_bytes() == before and not list(checkpoint.parent.glob("*.partial"))


def test_a_training_shorter_than_validate_every_is_scored(tmp_path: Path) -> None:
    command(tmp_path)
    recipe = load_recipe(tmp_path / "tiny.yaml", ("epochs=1", "validate_every=2"))
    assert loop._trainer(recipe, tmp_path, loop.EpochLine()).check_val_every_n_epoch == 1


def test_a_data_set_of_other_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path)
    recipe = load_recipe(tmp_path / "tiny.yaml")
    monkeypatch.setattr(data, "label_set_of", lambda name: "cityscapes19")
    with pytest.raises(ValueError, match="tiny labels camvid11, but street has cityscapes19"):
        data.open_source(recipe.train[0], recipe, None)


def test_a_gradient_scaler_deals_with_its_own_overflows(tmp_path: Path) -> None:
    command(tmp_path)
    task = loop.Task(load_recipe(tmp_path / "tiny.yaml"), np.full(11, 1 / 11))
    task.network.classify.bias.grad = torch.full((11,), torch.inf)
    task.trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=None), global_step=0)
    with pytest.raises(FloatingPointError, match=r"classify\.bias"):
        task.on_before_optimizer_step(None)
    task.trainer.precision_plugin.scaler = object()
    task.on_before_optimizer_step(None)


def test_a_gradient_that_is_not_finite_stops_it(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "optimizer.lr=1e30", "precision=bf16-mixed"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "not finite" in done.stderr
