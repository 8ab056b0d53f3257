"""The training loop, on Lightning: a recipe and a data folder to checkpoints, weights and a card.

Resumes by itself from ``last.ckpt`` in the output folder.
"""

import logging
import sys
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassConfusionMatrix

from seg_node import networks
from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.model_card import CARD_NAME
from seg_node.training import checkpoint
from seg_node.training.data import EpochSampler, TrainingSamples, open_source
from seg_node.training.losses import build_loss, class_frequency
from seg_node.training.recipe import Optimizer, Recipe, Schedule, load_recipe


class Task(pl.LightningModule):
    """One network under one recipe. Batches: images uint8 (N, H, W, 3) BGR, labels int64 (N, H, W)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, recipe: Recipe, frequency: np.ndarray) -> None:
        super().__init__()
        self.recipe = recipe
        label_set = load_label_set(recipe.label_set)
        self.names = label_set.names
        self.scored = [index for index in range(label_set.class_count) if index != label_set.void]
        self.network = networks.build(recipe.network.name, len(frequency), **recipe.network.options)
        self.network.to(memory_format=torch.channels_last)
        self.loss = build_loss(recipe.loss, frequency)
        self.confusion = MulticlassConfusionMatrix(len(frequency), ignore_index=UNLABELLED)
        self.register_buffer("mean", torch.tensor(recipe.input.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(recipe.input.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        # channels last: a tenth to a fifth faster on CPUs and tensor cores
        return self.network(x.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        # dropout follows from the step, so that a resumed training draws what an unbroken one would have drawn
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.global_step) * 1_009 + self.global_rank)
        images, labels = batch
        loss: torch.Tensor = self.loss(self(images).float(), labels)
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return  # 16-mixed: its scaler leaves such steps out, and its first ones always are
        for name, parameter in self.network.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise FloatingPointError(
                    f"gradient of {name} is not finite at step {self.global_step}; train anew, into another --out, "
                    "with a lower optimizer.lr, gradient_clip=1 or precision=32-true"
                )

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        images, labels = batch
        self.confusion.update(self(images).argmax(1), labels)

    def on_validation_epoch_end(self) -> None:
        matrix = self.confusion.compute().double()
        self.confusion.reset()
        hit = matrix.diag()
        iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
        self.log("miou", torch.nanmean(iou[self.scored]).float(), prog_bar=True)  # void, where a class, is counted
        self.log_dict({f"iou/{name}": value for name, value in zip(self.names, iou.float(), strict=True)})

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.network, self.recipe.optimizer)
        steps = int(self.trainer.estimated_stepping_batches)
        return build_schedule(optimizer, self.recipe.schedule, self.recipe.optimizer.lr, steps)


def build_optimizer(network: nn.Module, how: Optimizer) -> torch.optim.Optimizer:
    """Build the recipe's optimizer. Raises ValueError for one that there is not."""
    parameters = network.parameters()
    if how.name == "adam":
        return torch.optim.Adam(parameters, how.lr, weight_decay=how.weight_decay)
    if how.name == "adamw":
        return torch.optim.AdamW(parameters, how.lr, weight_decay=how.weight_decay)
    if how.name == "sgd":
        return torch.optim.SGD(parameters, how.lr, how.momentum, weight_decay=how.weight_decay)
    raise ValueError(f"optimizer.name is {how.name!r}; choose from adam, adamw, sgd")


def build_schedule(optimizer: torch.optim.Optimizer, how: Schedule, lr: float, steps: int) -> Any:
    """Return what Lightning's configure_optimizers returns. Raises ValueError for an unknown schedule."""
    if how.name == "constant":
        return optimizer
    if how.name == "plateau":
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=how.factor, patience=how.patience)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss_epoch"}}
    if how.name == "one_cycle":
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=how.warm_up)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}
    raise ValueError(f"schedule.name is {how.name!r}; choose from constant, plateau, one_cycle")


class EpochLine(Callback):
    """Prints a line an epoch: loss, mIoU, seconds waited for data, and the time left."""

    def __init__(self) -> None:
        self.first: int | None = None  # epoch of this run
        self._waited = 0.0

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        if trainer.current_epoch:
            print(f"going on after epoch {trainer.current_epoch}/{trainer.max_epochs}", flush=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        if self.first is None:
            self.first, self._begun = trainer.current_epoch, time.monotonic()
        self._waited, self._epoch_begun = 0.0, time.monotonic()
        self._ready = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, index: int) -> None:
        self._waited += time.monotonic() - self._ready

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self._ready = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        now, done = time.monotonic(), trainer.current_epoch + 1
        total = trainer.max_epochs or done
        left = (now - self._begun) / (done - (self.first or 0)) * (total - done)
        metrics = trainer.callback_metrics
        miou = (
            f"mIoU {100 * float(metrics['miou']):.2f} %  " if done % (trainer.check_val_every_n_epoch or 1) == 0 else ""
        )
        print(
            f"epoch {done}/{total}  loss {float(metrics['loss_epoch']):.4f}  {miou}{now - self._epoch_begun:.0f} s, "
            f"{self._waited:.1f} s of them waiting for data  {left / 60:.0f} min left",
            flush=True,
        )


def train(recipe: Recipe, data: Path | None, out: Path, workers: int = 1) -> Path:
    """Train until the recipe's last epoch and return the folder, which then holds

    ``last.ckpt``, ``best.ckpt`` (highest validation mIoU), ``weights.pt`` (the best epoch's weights, tensors
    only) with its ``card.yaml``, ``recipe.yaml``, ``run.yaml`` and TensorBoard's logs. A folder with a ``last.ckpt``
    is gone on with; a finished one is left as it is.
    Raises ValueError where the folder holds another recipe or a damaged ``last.ckpt``, DatasetError for bad data,
    KeyboardInterrupt after Ctrl-C.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it says much that is not about this training
    warnings.filterwarnings("ignore", module="lightning")
    out.mkdir(parents=True, exist_ok=True)
    last = out / "last.ckpt"
    if last.exists():
        _check_same(recipe, out / "recipe.yaml")
    pl.seed_everything(recipe.seed, verbose=False)
    classes = load_label_set(recipe.label_set).class_count
    splits = [open_source(source, recipe, data) for source in recipe.train]
    frequency = np.full(classes, 1 / classes)
    if recipe.loss.class_weights:  # the first source's: it is the one that is scored
        frequency = class_frequency((splits[0][i].label for i in range(len(splits[0]))), classes)
    about = checkpoint.provenance(recipe, data)
    if not last.exists():
        checkpoint.write_provenance(out, recipe, about)

    epochs = EpochLine()
    trainer = _trainer(recipe, out, epochs)
    begun = time.monotonic()
    try:
        trainer.fit(
            Task(recipe, frequency),
            _loader(recipe, splits, workers, trainer),
            _validation(recipe, data, workers),
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
    about["hours_of_last_run"] = round((time.monotonic() - begun) / 3600, 2)
    if (
        epochs.first is not None or not (out / CARD_NAME).exists()
    ):  # else it was finished, and may have been exported since
        checkpoint.publish(out, recipe, about)
    return out


def _check_same(recipe: Recipe, written: Path) -> None:
    """Raise ValueError where ``written``, the recipe of an earlier run of the folder, is not ``recipe``."""
    earlier = load_recipe(written)
    changed = [f.name for f in fields(Recipe) if getattr(earlier, f.name) != getattr(recipe, f.name)]
    if changed:
        raise ValueError(
            f"{written.parent}: holds a training of another recipe (other {', '.join(changed)}); choose another --out, "
            "or delete it"
        )


def _trainer(recipe: Recipe, out: Path, epochs: EpochLine) -> pl.Trainer:
    best = ModelCheckpoint(out, "best", monitor="miou", mode="max", enable_version_counter=False)
    last = ModelCheckpoint(out, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks: list[Callback] = [epochs, LearningRateMonitor(), best, last]
    if recipe.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
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
    )


def _loader(recipe: Recipe, splits: list[Any], workers: int, trainer: pl.Trainer) -> DataLoader[Any]:
    samples = TrainingSamples(splits, recipe.input.size, recipe.augment, recipe.seed)
    sampler = EpochSampler(splits, recipe.train, recipe.batch_size, recipe.seed, lambda: trainer.current_epoch)
    return DataLoader(
        samples, recipe.batch_size, sampler=sampler, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )


def _validation(recipe: Recipe, data: Path | None, workers: int) -> DataLoader[Any]:
    split = open_source(recipe.validate, recipe, data)
    samples = TrainingSamples([split], recipe.input.size, None, recipe.seed)
    places = [(0, 0, index) for index in range(recipe.validate.per_epoch or len(split))]
    return DataLoader(
        samples, min(recipe.batch_size, 4), sampler=places, num_workers=workers, persistent_workers=workers > 0
    )
