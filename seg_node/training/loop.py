"""The training loop, on Lightning: a recipe and a data folder to checkpoints, weights and a card.

Resumes by itself from ``last.ckpt`` in the output folder. Several processes, on one machine or more, train one network
together: each takes its share of every batch.
"""

import contextlib
import errno
import fcntl
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from seg_node.datasets import DatasetError
from seg_node.training import checkpoint, start
from seg_node.training.averaging import Averaged
from seg_node.training.data import Data, check_shares
from seg_node.training.gradual_grouping import GradualGrouping
from seg_node.training.losses import class_frequency
from seg_node.training.meeting import Meeting
from seg_node.training.recipe import Recipe, load_recipe
from seg_node.training.schedules import StepPlateau, build_optimizer, build_schedule
from seg_node.training.task import Classification, Segmentation, Task
from seg_node.training.watch import EpochLine, RunRecord

# of file systems, above all shared ones, that cannot lock
_NO_LOCKS = (errno.EACCES, errno.EPERM, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Cluster:
    """Where to train. What torchrun says of its processes goes before ``devices`` and ``num_nodes``."""

    devices: int | str = "auto"  # processes on this machine, one a GPU; auto: every GPU, or one on the CPU
    num_nodes: int = 1
    accelerator: str = "auto"  # cpu, gpu

    def arguments(self) -> dict[str, Any]:
        """Return Lightning's Trainer arguments."""
        devices, nodes = self._shape()
        several = self.processes > 1
        return {
            "accelerator": self.accelerator,
            "devices": devices,
            "num_nodes": nodes,
            "strategy": "ddp" if several else "auto",
            "sync_batchnorm": several and self._gpu,  # PyTorch has none for CPUs
        }

    @property
    def processes(self) -> int:
        """How many there are, on all machines together."""
        devices, nodes = self._shape()
        every = devices in ("auto", -1)
        return max(torch.cuda.device_count() if every and self._gpu else 1 if every else int(devices), 1) * nodes

    @property
    def _gpu(self) -> bool:
        return self.accelerator == "gpu" or (self.accelerator == "auto" and torch.cuda.is_available())

    def _shape(self) -> tuple[int | str, int]:
        """Return devices a machine, and machines."""
        if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun's
            devices = int(os.environ["LOCAL_WORLD_SIZE"])
            return devices, int(os.environ["WORLD_SIZE"]) // devices
        return self.devices if self.devices == "auto" else int(self.devices), self.num_nodes


class StopAfter(Callback):
    """Ends the training after so many steps, in the middle of an epoch, which is then scored and saved as any other.

    Lightning's own max_steps does not score it, and does not go on from the end of an epoch.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        trainer.should_stop = trainer.global_step >= self._steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if trainer.global_step >= self._steps:
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1


def train(
    recipe: Recipe,
    data: Path | None,
    out: Path,
    workers: int = 1,
    cluster: Cluster | None = None,
    cache: Path | None = None,
) -> Path:
    """Train until the recipe's last epoch, or its stages one after another, and return the folder. It then holds

    ``last.ckpt``, ``best.ckpt`` (highest validation score), ``weights.pt`` (the kept epoch's weights, tensors
    only) with its ``card.yaml``, ``recipe.yaml``, ``run.yaml``, ``curve.jsonl`` and TensorBoard's logs; a stage all
    that in a folder of its name, and ``out`` the last one's weights and card. A folder with a ``last.ckpt``
    is gone on with; a finished one is left as it is. ``cache``: a folder for decoded samples of splits that are too
    large for memory.
    Raises ValueError where another training is at work there, the folder holds another recipe or a damaged
    ``last.ckpt``, or was trained on other data, DatasetError for bad data, FloatingPointError where the loss is no
    longer a number, OSError for a full disk, KeyboardInterrupt after Ctrl-C.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it says much that is not about this training
    warnings.filterwarnings("ignore", module="lightning")
    cluster = cluster or Cluster()

    def open_data(each: Recipe) -> Data:
        return Data(each, data, workers, cache)

    begun = any(out.glob("last.ckpt")) or any(out.glob("*/last.ckpt"))
    if begun and (out / "recipe.yaml").exists():
        _check_same(recipe, out / "recipe.yaml")
    # a misspelt name is found before images are read, and before a stage has taken its hours
    stages = recipe.stages or (recipe,)
    for each in stages:
        if not checkpoint.is_finished(out / each.name if recipe.stages else out):
            check_shares(each, cluster.processes)
    for number, each in enumerate(stages):
        _try(open_data(each), begins=not begun and number == 0)
    with _kept_for_us(out), _full_disk_told(out):
        if recipe.stages:
            _train_stages(recipe, open_data, out, cluster)
        else:
            _train(recipe, open_data(recipe), out, cluster, None)
    return out


def _try(samples: Data, begins: bool) -> None:
    """Build what a recipe names; ``begins``: with its ``start``. Raises what building raises."""
    recipe = samples.recipe
    task = _kind(recipe)(recipe, np.full(samples.classes, 1 / samples.classes), Path())
    samples.training()
    build_schedule(build_optimizer(task.network, recipe.optimizer, recipe.trains), recipe.schedule, samples.steps)
    if begins:
        start.begin(recipe, task.network)


def _train_stages(recipe: Recipe, open_data: Callable[[Recipe], Data], out: Path, cluster: Cluster) -> None:
    if is_first():
        checkpoint.write_recipe(out, recipe)
    before: Path | None = None
    for number, stage in enumerate(recipe.stages, 1):
        _say(f"stage {number}/{len(recipe.stages)}: {stage.name}")
        _train(stage, open_data(stage), out / stage.name, cluster, before)
        before = out / stage.name / checkpoint.WEIGHTS
    if is_first():
        checkpoint.lift(out / recipe.stages[-1].name, out, recipe)


@contextlib.contextmanager
def _kept_for_us(out: Path) -> Iterator[None]:
    """Hold a folder against another training, which would mix its checkpoints with ours.

    The lock is the process's own: it ends with it, whatever kills it, and loading processes do not inherit it.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not is_first():
        yield
        return
    with (out / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{out}: another training is at work there; choose another --out, or end it") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        try:
            yield
        finally:
            (out / ".lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _full_disk_told(out: Path) -> Iterator[None]:
    """Name the folder where a library says no more than that there is no space left."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        raise OSError(f"{out}: its disk is full; make room, then run the same command again") from error


def _train(recipe: Recipe, samples: Data, out: Path, cluster: Cluster, before: Path | None) -> None:
    """Train one stage, or a recipe without stages; ``before``: weights of the stage before."""
    out.mkdir(parents=True, exist_ok=True)
    last = out / "last.ckpt"
    about = checkpoint.provenance(recipe, samples.fingerprint())
    about["weights"] = start.digests(recipe, begins=before is None and not last.exists())
    if not last.exists() and (out / checkpoint.WEIGHTS).exists():
        raise ValueError(f"{out}: holds a model, and no last.ckpt to go on from; choose another --out, or delete it")
    if last.exists():
        _check_same(recipe, out / "recipe.yaml")
        about = checkpoint.go_on(out, about)
    if checkpoint.is_finished(out):
        _say(f"{out}: is trained already; for more epochs begin another one with its weights, start={out}")
        return
    pl.seed_everything(recipe.seed, verbose=False)
    samples.look_through(_say)
    task = _task(recipe, samples, out)
    if not last.exists():
        _begin(task, recipe, before)
        if is_first():
            checkpoint.write_provenance(out, recipe, about, samples.class_names)

    record, meeting = RunRecord(out, about), Meeting()
    try:
        trainer = _trainer(recipe, out, [meeting, EpochLine(out, task.monitor), record], task.monitor, cluster)
    except MisconfigurationException as error:
        raise ValueError(f"{error}: see --accelerator, --devices and the recipe's precision") from error
    meeting.wait(trainer)
    try:
        trainer.fit(task, samples, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
    except DatasetError as error:  # from a loading process it comes with that one's traceback in its text
        raise DatasetError(str(error).strip().rpartition(f"{DatasetError.__name__}: ")[2]) from error
    if trainer.is_global_zero:
        checkpoint.publish(out, recipe, about)
    trainer.strategy.barrier()  # the next stage reads what was published


def _task(recipe: Recipe, samples: Data, out: Path) -> Task:
    classes = samples.classes
    frequency = np.full(classes, 1 / classes)
    if recipe.loss.class_weights:  # the first source's: it is the one that is scored
        split = samples.splits[0]
        labels = (split[i].label for i in range(len(split)))
        frequency = class_frequency(labels, classes, where_it_occurs=recipe.loss.class_weights == "median")
    return _kind(recipe)(recipe, frequency, out)


def _kind(recipe: Recipe) -> type[Task]:
    return Classification if recipe.task == "classification" else Segmentation


def _begin(task: Task, recipe: Recipe, before: Path | None) -> None:
    """Give a network that has not been trained yet the weights that it begins with."""
    if before is not None:
        left = start.hand_on(torch.load(before, map_location="cpu", weights_only=True), task.network)
    else:
        left = start.begin(recipe, task.network)
        if words := start.other_feeding(recipe):
            _say(words)
    if left:
        names = f"{', '.join(left[:4])}{' ...' if len(left) > 4 else ''}"
        _say(f"{len(left)} of {len(task.network.state_dict())} tensors got nothing, and are as drawn: {names}")


def _check_same(recipe: Recipe, written: Path) -> None:
    """Raise ValueError where ``written``, the recipe of an earlier run of the folder, is not ``recipe``."""
    earlier = load_recipe(written)
    one, other = earlier.without_words(), recipe.without_words()
    changed = [f.name for f in fields(Recipe) if getattr(one, f.name) != getattr(other, f.name)]
    if changed:
        raise ValueError(
            f"{written.parent}: holds a training of another recipe (other {', '.join(changed)}); give what it says, in "
            "recipe.yaml, choose another --out, or delete it"
        )


def _trainer(recipe: Recipe, out: Path, watchers: list[Callback], monitor: str, cluster: Cluster) -> pl.Trainer:
    best = ModelCheckpoint(out, "best", monitor=monitor, mode="max", enable_version_counter=False)
    last = ModelCheckpoint(out, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    # who watches stands before the checkpoints: an epoch that is saved is also written down
    callbacks: list[Callback] = [*watchers, StepPlateau(), LearningRateMonitor(), best, last]
    if recipe.ema:
        callbacks.append(Averaged(recipe.ema))
    if recipe.alpha:
        callbacks.append(GradualGrouping(recipe.alpha))
    if recipe.steps:
        callbacks.append(StopAfter(recipe.steps))
    return pl.Trainer(
        max_epochs=recipe.epochs,
        precision=recipe.precision,  # type: ignore[arg-type]
        callbacks=callbacks,
        default_root_dir=out,
        plugins=[checkpoint.WholeCheckpoints()],
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        check_val_every_n_epoch=min(recipe.validate_every, recipe.epochs),  # at least once: best.ckpt is needed
        gradient_clip_val=recipe.gradient_clip,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_progress_bar=sys.stdout.isatty(),
        enable_model_summary=False,
        use_distributed_sampler=False,  # ours share the batches out
        **cluster.arguments(),
    )


def is_first() -> bool:
    """Whether this is the first of the processes, also before a Trainer is there to ask."""
    return getattr(rank_zero_only, "rank", 0) == 0 and os.environ.get("NODE_RANK", "0") == "0"


def _say(text: str) -> None:
    if is_first():
        print(text, flush=True)
