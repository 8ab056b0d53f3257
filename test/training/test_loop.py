"""A real training, small: rendered streets, killed and gone on with."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from layouts import write

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: E402
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from seg_node.commands import main  # noqa: E402
from seg_node.datasets import street  # noqa: E402
from seg_node.model_card import load_card, sha256  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402
from seg_node.training import data, loop, watch  # noqa: E402
from seg_node.training.checkpoint import WholeCheckpoints, save_weights  # noqa: E402
from seg_node.training.meeting import Meeting  # noqa: E402
from seg_node.training.recipe import Source, load_recipe  # noqa: E402
from seg_node.training.task import Segmentation  # noqa: E402

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


ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}  # networks this small lose time by more


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def here(folder: Path, *more: str) -> int:
    """The same command in this process: it starts in no time."""
    return main(command(folder, *more)[3:])


def finish(folder: Path, *more: str) -> dict:
    done = subprocess.run(command(folder, *more), capture_output=True, text=True, timeout=240, env=ALONE)
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


@pytest.mark.parametrize(
    "how, workers", [(signal.SIGKILL, "1"), (signal.SIGINT, "0")], ids=lambda value: getattr(value, "name", value)
)
def test_a_killed_training_goes_on_from_its_last_epoch(
    uninterrupted, tmp_path: Path, how: signal.Signals, workers: str
) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--workers", workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ALONE,
    )
    assert process.stdout
    for line in process.stdout:
        if "epoch 2/4" in line:
            process.send_signal(how)
            break
    assert process.wait(60) == {signal.SIGKILL: -9, signal.SIGINT: 130}[how]
    resumed = finish(tmp_path, "--workers", workers)
    # an epoch's line is printed just before its checkpoint is written
    assert re.match("going on after epoch [12]/4\n", resumed["output"])
    assert "epoch 4/4" in resumed["output"] and "\nepoch 1/4" not in resumed["output"]
    for key, tensor in uninterrupted[1].items():
        if key != "output":
            assert torch.allclose(tensor.float(), resumed[key].float(), atol=1e-4), (
                f"{key} differs from an unbroken training's"
            )


@pytest.fixture
def copied(uninterrupted, tmp_path: Path) -> Path:
    """A copy of the finished training, and of the folder that its recipe stands in."""
    shutil.copytree(uninterrupted[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_another_recipe_in_the_same_folder_is_refused(copied: Path, capsys: pytest.CaptureFixture) -> None:
    assert here(copied, "epochs=9") == 1
    assert "another recipe (other epochs)" in capsys.readouterr().err
    (copied / "run" / "last.ckpt").unlink()
    assert here(copied) == 1  # not over a model whose training is not there
    assert "no last.ckpt to go on from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("network.name=nope", "no network 'nope'"),
        ("network.options.foo=1", "foo"),
        ("schedule.name=linear", "linear"),
        ("optimizer.name=lion", "lion"),
        ("loss.class_weights=rare", "rare"),
        ("precision=fp16", "precision must be one of 32-true, bf16-mixed, 16-mixed"),
        ("start=/nowhere", "/nowhere"),
        ("augment.paste={probability: 0.5, classes: [Nope]}", "Nope"),
        ("teacher.model=/nowhere", "/nowhere"),
    ],
)
def test_what_cannot_be_built_is_told_before_images_are_read(tmp_path: Path, capsys, change: str, says: str) -> None:
    assert here(tmp_path, change) in (1, 2)
    told = capsys.readouterr()
    assert says in told.err and "looking through" not in told.out
    assert not (tmp_path / "run").exists()


def test_a_finished_training_is_left_as_it_is(copied: Path) -> None:
    card = copied / "run" / "card.yaml"
    before = card.read_text()
    card.write_text(before + "scores: {parity_onnx: 1.0}\n")  # as an export leaves it
    assert here(copied, "about=other words") == 0  # which change nothing
    assert card.read_text() == before + "scores: {parity_onnx: 1.0}\n"


def test_a_kill_while_the_model_is_written_leaves_the_rest_to_the_next_run(copied: Path) -> None:
    run = copied / "run"
    about = yaml.safe_load((run / "run.yaml").read_text())
    kept = about.pop("kept_epoch")
    (run / "run.yaml").write_text(yaml.safe_dump(about))
    (run / "card.yaml").unlink()
    assert here(copied) == 0
    load_runtime(load_card(run), "torch", "cpu").close()
    assert yaml.safe_load((run / "run.yaml").read_text())["kept_epoch"] == kept


def test_a_training_that_ends_by_steps_is_scored_there_and_goes_on(tmp_path: Path, capsys) -> None:
    """Killed after its first epoch (a copy of what that left), it trains the rest; finished, it stays so."""
    steps = ("steps=9", "epochs=30", "validate_every=5", "ema=null")

    class Killed(BaseException):
        pass

    class Kill(loop.RunRecord):
        def on_train_epoch_start(self, trainer, task) -> None:
            if trainer.current_epoch == 1:
                raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "RunRecord", Kill)
        here(tmp_path, *steps)
    assert here(tmp_path, *steps) == 0
    assert "going on after epoch 1/30" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "run" / "curve.jsonl").read_text().splitlines()]
    assert [(line["steps"], "miou" in line) for line in lines] == [(4, False), (8, False), (9, True)]
    about = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert about["kept_epoch"] == about["epochs"] == 3  # of those 30
    before = (tmp_path / "run" / "last.ckpt").stat().st_mtime_ns
    assert here(tmp_path, *steps) == 0 and (tmp_path / "run" / "last.ckpt").stat().st_mtime_ns == before


def test_a_plateau_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed after every epoch, the rate falls as it would have without."""
    plateau = ("schedule={name: plateau, patience: 0, factor: 0.5}", "optimizer.lr=1e-6", "epochs=4", "ema=null")
    plateau = (*plateau, "steps=null", "validate_every=4")

    class Killed(BaseException):
        pass

    class Kill(loop.RunRecord):
        begun = 0

        def on_train_epoch_start(self, trainer, task) -> None:
            Kill.begun += 1
            if Kill.begun % 2 == 0:
                raise Killed

    def rates(folder: Path) -> list[float]:
        return [json.loads(line)["lr"] for line in (folder / "run" / "curve.jsonl").read_text().splitlines()]

    (tmp_path / "killed").mkdir()
    (tmp_path / "whole").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "RunRecord", Kill)
        for _ in range(3):
            with pytest.raises(Killed):
                here(tmp_path / "killed", *plateau)
        assert here(tmp_path / "killed", *plateau) == 0
    assert here(tmp_path / "whole", *plateau) == 0
    assert rates(tmp_path / "killed") == rates(tmp_path / "whole")
    assert min(rates(tmp_path / "whole")) < 1e-6  # it fell


@pytest.fixture
def checkpoint(uninterrupted, tmp_path: Path) -> Path:
    """A copy of last.ckpt in another folder."""
    return Path(shutil.copy(uninterrupted[0] / "run" / "last.ckpt", tmp_path))


@pytest.mark.parametrize("kept", [0, 1000, -1000], ids=str)
def test_a_damaged_checkpoint_is_named(checkpoint: Path, kept: int) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged.*delete the folder"):
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


def test_a_full_disk_at_the_weights_is_an_oserror_and_leaves_nothing_half(tmp_path: Path) -> None:
    """Given a path, PyTorch tells of it as an error of its own."""
    (tmp_path / "weights.pt.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        save_weights({"w": torch.zeros(100_000)}, tmp_path / "weights.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOLCK, errno.ENOSYS])
def test_a_folder_that_cannot_be_locked_is_trained_in(tmp_path: Path, monkeypatch, number: int) -> None:
    """As many a shared one, which several machines need."""

    def lockf(file, how) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(loop.fcntl, "lockf", lockf)
    with loop._kept_for_us(tmp_path / "run"):
        pass


def test_two_trainings_do_not_share_a_folder(tmp_path: Path, capsys) -> None:
    (tmp_path / "run").mkdir()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    words = [sys.executable, "-c", hold, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "1\n"
        assert here(tmp_path) == 1
        assert f"{tmp_path / 'run'}: another training is at work there" in capsys.readouterr().err
        other.communicate("\n")
    assert here(tmp_path, "epochs=1") == 0 and not (tmp_path / "run" / ".lock").exists()


def test_a_disk_that_fills_at_an_epochs_line_is_named(tmp_path: Path, monkeypatch, capsys) -> None:
    def full(folder: Path, about: dict) -> None:
        if about.get("runs"):  # after the first epoch
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(watch.checkpoint, "write_run", full)
    assert here(tmp_path) == 1
    assert f"{tmp_path / 'run'}: its disk is full; make room" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_a_sentence(tmp_path: Path, capsys) -> None:
    assert here(tmp_path, "--accelerator", "gpu") == 1
    assert "see --accelerator" in capsys.readouterr().err
    assert main([*command(tmp_path)[3:-1], "-1"]) == 2 and "--workers is -1" in capsys.readouterr().err


def test_a_training_shorter_than_validate_every_is_scored(tmp_path: Path) -> None:
    command(tmp_path)
    recipe = load_recipe(tmp_path / "tiny.yaml", ("epochs=1", "validate_every=2"))
    assert loop._trainer(recipe, tmp_path, [], "miou", loop.Cluster()).check_val_every_n_epoch == 1


def test_a_data_set_of_other_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path)
    recipe = load_recipe(tmp_path / "tiny.yaml")
    monkeypatch.setattr(data, "label_set_of", lambda name, data=None: "cityscapes19")
    with pytest.raises(ValueError, match="tiny labels camvid11, but street has cityscapes19"):
        data.open_source(recipe.train[0], recipe, None)


def test_a_gradient_scaler_deals_with_its_own_overflows(tmp_path: Path) -> None:
    command(tmp_path)
    task = Segmentation(load_recipe(tmp_path / "tiny.yaml"), np.full(11, 1 / 11), tmp_path)
    task.network.classify.bias.grad = torch.full((11,), torch.inf)
    task.trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=None), global_step=0)
    with pytest.raises(FloatingPointError, match=r"classify\.bias"):
        task.on_before_optimizer_step(None)
    task.trainer.precision_plugin.scaler = object()
    task.on_before_optimizer_step(None)


def test_a_loss_that_is_not_a_number_stops_it_and_saves_the_batch(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "optimizer.lr=1e30", "precision=bf16-mixed"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "the loss is nan" in done.stderr and "lower optimizer.lr" in done.stderr
    path = tmp_path / "run" / "bad_batch_0.pt"
    assert str(path) in done.stderr
    saved = torch.load(path, weights_only=True)
    assert saved["images"].shape == (4, 48, 64, 3) and saved["labels"].shape == (4, 48, 64) and saved["step"] > 0
    assert not (tmp_path / "run" / "weights.pt").exists()


@pytest.mark.parametrize(("few", "said"), [("null", "looking through 9 samples\n"), ("2", "")])
def test_a_bad_file_is_named_without_a_traceback(tmp_path: Path, capfd, few: str, said: str) -> None:
    """Before the first epoch; where an epoch takes only some samples, by the loading process that comes upon it."""
    for split, count in (("train", 6), ("val", 3)):
        for index in range(count):
            write(tmp_path / "data" / split / f"{index}.png", np.full((48, 64, 3), 40 * index, np.uint8))
            write(tmp_path / "data" / f"{split}annot" / f"{index}.png", np.full((48, 64), index, np.uint8))
    bad = tmp_path / "data" / "valannot" / "1.png"
    write(bad, np.full((48, 64), 99, np.uint8))
    sources = [f"{{dataset: camvid, split: {split}, per_epoch: {few}}}" for split in ("train", "val")]
    words = ["--data", str(tmp_path / "data"), "--workers", "1", f"train=[{sources[0]}]", f"validate={sources[1]}"]
    assert here(tmp_path, *words, "batch_size=2") == 1
    out, err = capfd.readouterr()
    assert err.splitlines()[-1].endswith(f"{bad}: holds ids [99]; CamVid's are 0 to 11")
    assert "Traceback" not in err and out == said


def test_a_curve_and_the_runs_are_kept(uninterrupted) -> None:
    run = uninterrupted[0] / "run"
    lines = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4] and all(0 <= line["miou"] <= 1 for line in lines)
    about = yaml.safe_load((run / "run.yaml").read_text())
    assert [(r["after_epoch"], r["to_epoch"]) for r in about["runs"]] == [(0, 4)]
    assert about["best_score"] == pytest.approx(max(line["miou"] for line in lines))


def test_going_on_with_other_data_is_refused(copied: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(street, "SPLITS", {split: (number, 7) for split, (number, _) in street.SPLITS.items()})
    assert here(copied) == 1 and "was trained on other data" in capsys.readouterr().err


TOGETHER = ["network.name=espnet", "loss.class_weights=enet", "--accelerator", "cpu"]  # without dropout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    finish(folder, *TOGETHER)
    return folder / "run"


def test_two_processes_train_as_one(alone: Path, tmp_path: Path) -> None:
    """Over gloo: the same losses and scores, but for what sums in another order come to.

    Ended halfway by SIGTERM, of which Lightning's own handler may wait for the other process for ever; gone on with by
    torchrun.
    """
    words = command(tmp_path, *TOGETHER, "--devices", "2")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ALONE) as half:
        assert half.stdout
        epochs = (line for line in half.stdout if line.startswith("epoch "))
        next(epochs), next(epochs)  # a line comes before its checkpoint
        half.terminate()
        assert half.wait(60) == 130
    words = command(tmp_path, *TOGETHER)
    words[1:2] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=ALONE)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch 4/4") == done.stdout.count("trained:") == 1  # one of them prints
    run = tmp_path / "run"
    lines, one = (
        [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()] for folder in (run, alone)
    )
    assert [line["steps"] for line in lines] == [line["steps"] for line in one]  # each takes half of every batch
    for line, other in zip(lines, one, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert line["miou"] == pytest.approx(other["miou"], abs=0.005)
    runs = yaml.safe_load((run / "run.yaml").read_text())["runs"]
    assert [each["processes"] for each in runs] == [2, 2] and 1 <= runs[1]["after_epoch"] <= 2
    load_runtime(load_card(run), "torch", "cpu").close()


def test_a_machine_says_that_it_waits_for_the_others(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(loop.rank_zero_only, "rank", 0)  # a Trainer sets it: afterwards this is the first machine again
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    command(tmp_path)
    recipe = load_recipe(tmp_path / "tiny.yaml")
    with pytest.raises(ValueError, match="--num-nodes 2: set on every machine MASTER_ADDR"):
        Meeting().wait(loop._trainer(recipe, tmp_path, [], "miou", loop.Cluster(1, 2, "cpu")))

    for name, value in (("MASTER_ADDR", "10.0.0.1"), ("MASTER_PORT", "29500"), ("NODE_RANK", "1")):
        monkeypatch.setenv(name, value)
    trainer = loop._trainer(recipe, tmp_path, [], "miou", loop.Cluster(1, 2, "cpu"))
    heard, meeting = signal.getsignal(signal.SIGINT), Meeting()
    meeting.wait(trainer)
    assert capsys.readouterr().out == "machine 2 of 2: waiting for the others at 10.0.0.1:29500\n"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL  # PyTorch waits where Python's is not heard
    meeting.setup(trainer, None, "fit")
    assert signal.getsignal(signal.SIGINT) is heard


@pytest.mark.parametrize("network", ["espnet", "c3net2", "rdsnet"])
def test_gradients_in_half_precision_are_those_of_full_precision(tmp_path: Path, monkeypatch, network: str) -> None:
    """oneDNN's are not, for some dilated convolutions in channels last: ESPNet's and C3Net2's are among them."""
    gradients: dict[str, dict[str, torch.Tensor]] = {}

    def note(task: Segmentation, optimizer: torch.optim.Optimizer) -> None:
        named = task.network.named_parameters()
        gradients[task.recipe.precision] = {name: p.grad.clone() for name, p in named if p.grad is not None}

    monkeypatch.setattr(Segmentation, "on_before_optimizer_step", note)
    for precision in ("32-true", "bf16-mixed"):
        changes = [f"network.name={network}", f"precision={precision}", "epochs=1", "ema=null", "augment.scale=[1, 1]"]
        changes += ["train=[{dataset: street, split: train, per_epoch: 4}]", "input.size=[96, 128]"]
        assert main([*command(tmp_path)[3:-3], str(tmp_path / precision), "--workers", "0", *changes]) == 0
    half = gradients["bf16-mixed"]
    dilated = [name for name, p in gradients["32-true"].items() if p.ndim == 4 and p.shape[-1] == p.shape[-2] == 3]
    assert len(dilated) > 10
    errors = [float((half[n] - g).norm() / g.norm()) for n, g in gradients["32-true"].items() if n in dilated]
    assert np.median(errors) < 0.3 and max(errors) < 1.0, dict(zip(dilated, errors, strict=True))


def test_processes_share_every_batch_out() -> None:
    recipe = SimpleNamespace(batch_size=4, seed=1, train=[Source("street", "train")])
    one = list(data.EpochSampler([range(12)], recipe, lambda: 9))
    two = [list(data.EpochSampler([range(12)], recipe, lambda: 9, rank, 2)) for rank in (0, 1)]
    assert len(one) == 12 and len(two[0]) == len(two[1]) == 6
    for batch in range(3):
        together = two[0][2 * batch : 2 * batch + 2] + two[1][2 * batch : 2 * batch + 2]
        assert set(together) == set(one[4 * batch : 4 * batch + 4])
    with pytest.raises(ValueError, match="batch_size 4 cannot be shared by 3 processes"):
        data.EpochSampler([range(12)], recipe, lambda: 9, 0, 3)


def test_a_later_stages_batch_that_cannot_be_shared_is_told_at_once(tmp_path: Path) -> None:
    recipe = load_recipe("dg2_star_gradual_camvid")
    odd = replace(recipe, stages=[*recipe.stages[:-1], replace(recipe.stages[-1], batch_size=3)])
    with pytest.raises(ValueError, match="batch_size 3 cannot be shared by 2 processes"):
        loop.train(odd, tmp_path / "CamVid", tmp_path / "run", 0, loop.Cluster(2, 1, "cpu"))
    assert not (tmp_path / "run").exists()


def test_stages_follow_one_another(tmp_path: Path, capsys) -> None:
    stages = "stages: [{name: first, epochs: 1}, {name: second, epochs: 2, trains: [{of: all, lr_times: 0.1}]}]\n"
    words = command(tmp_path)[3:]
    (tmp_path / "tiny.yaml").write_text(RECIPE + stages)
    assert main(words) == 0
    out = capsys.readouterr().out
    assert (
        out.index("stage 1/2: first") < out.index("epoch 1/1") < out.index("stage 2/2: second") < out.index("epoch 2/2")
    )
    run = tmp_path / "run"
    weights = [torch.load(run / name / "weights.pt", weights_only=True) for name in ("first", "second", ".")]
    moved = (weights[1]["classify.weight"] - weights[0]["classify.weight"]).abs().max()
    assert 0 < moved < 0.05  # the second stage began with the first one's
    assert all(torch.equal(weights[1][key], weights[2][key]) for key in weights[1])
    load_runtime(load_card(run), "torch", "cpu").close()
    card = yaml.safe_load((run / "card.yaml").read_text())
    assert (card["name"], card["training"]["recipe"], card["training"]["stages"]) == (
        "run",
        "tiny",
        ["first", "second"],
    )
    # the second stage anew, with other weights: the folder's model is renewed
    for name in ("last.ckpt", "weights.pt"):
        (run / "second" / name).unlink()
    assert main([*words, "stages.second.seed=2"]) == 1  # of another recipe, as a whole
    (run / "recipe.yaml").unlink()
    capsys.readouterr()
    assert main([*words, "stages.second.seed=2"]) == 0
    out = capsys.readouterr().out
    assert "epoch 1/1" not in out and "epoch 2/2" in out
    again = [torch.load(run / name / "weights.pt", weights_only=True) for name in ("second", ".")]
    assert all(torch.equal(again[0][key], again[1][key]) for key in again[0])
    assert not torch.equal(again[1]["classify.weight"], weights[2]["classify.weight"])
    load_runtime(load_card(run), "torch", "cpu").close()


def test_an_unfinished_training_in_stages_is_kept_from_another_recipe(tmp_path: Path, capsys) -> None:
    words = command(tmp_path)[3:]
    (tmp_path / "tiny.yaml").write_text(RECIPE + "stages: [{name: first, epochs: 1}, {name: second, epochs: 2}]\n")
    assert main(words) == 0
    run = tmp_path / "run"
    shutil.rmtree(run / "second")  # as a kill leaves it
    for name in ("weights.pt", "card.yaml", "run.yaml"):
        (run / name).unlink()
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    capsys.readouterr()
    assert main(words) == 1
    assert "holds a training of another recipe (other stages)" in capsys.readouterr().err


def test_weights_from_elsewhere_are_on_record(uninterrupted, tmp_path: Path, capsys) -> None:
    first = shutil.copytree(uninterrupted[0] / "run", tmp_path / "first")
    words = (f"start={first}", f"teacher.model={first}", "epochs=2")
    assert here(tmp_path, *words) == 0
    about = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    same = sha256(first / "weights.pt")
    assert about["weights"] == {"start": same, "teacher": same} and about["versions"]["opencv"] == cv2.__version__
    assert about["runs"][0]["versions"] == about["versions"]
    # half trained, with another teacher under that name
    (tmp_path / "run" / "weights.pt").unlink()
    weights = torch.load(first / "weights.pt", weights_only=True)
    torch.save({key: value * 2 for key, value in weights.items()}, first / "weights.pt")
    card = yaml.safe_load((first / "card.yaml").read_text())
    card["files"]["torch"]["sha256"] = sha256(first / "weights.pt")
    (first / "card.yaml").write_text(yaml.safe_dump(card))
    capsys.readouterr()
    assert here(tmp_path, *words) == 1
    assert "was taught by other weights" in capsys.readouterr().err


def test_samples_are_kept_at_the_size_that_is_trained_on(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    image, label = np.zeros((720, 960, 3), np.uint8), np.zeros((720, 960), np.uint8)
    cv2.imwrite(str(tmp_path / "train" / "a.png"), image)
    cv2.imwrite(str(tmp_path / "trainannot" / "a.png"), label)
    recipe = load_recipe("rdsnet_camvid")
    kept = data.open_source(recipe.train[0], recipe, tmp_path)
    for _ in range(2):
        assert kept[0].image.shape == (360, 480, 3) and kept[0].label.shape == (360, 480)
