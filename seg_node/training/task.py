"""What Lightning trains: a network under a recipe, with its loss, its optimizer and its validation score.

Knows nothing of files but the one that a batch is saved to when its loss is not a number.
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from seg_node import networks
from seg_node.label_set import UNLABELLED, load_label_set
from seg_node.networks._layout import needs_contiguous
from seg_node.training.checkpoint import save
from seg_node.training.distillation import Distillation
from seg_node.training.losses import build_loss
from seg_node.training.recipe import Recipe
from seg_node.training.schedules import build_optimizer, build_schedule
from seg_node.training.together import share_batch_norm

Batch = tuple[torch.Tensor, torch.Tensor]


class Task(pl.LightningModule):
    """One network under one recipe. Batches: images uint8 (N, H, W, 3) BGR and labels int64.

    ``bad_batches``: the folder that a batch is written to whose loss is not finite.
    """

    monitor = ""  # the score that decides which epoch is best
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, recipe: Recipe, frequency: np.ndarray, bad_batches: Path) -> None:
        """``frequency``: of each class among labelled pixels, float (classes,)."""
        super().__init__()
        self.recipe, self.bad_batches = recipe, bad_batches
        network = networks.build(recipe.network.name, len(frequency), **recipe.network.options)
        build_optimizer(network, recipe.optimizer, recipe.trains)  # freezes now: DDP counts parameters before its time
        self.network, self._layout = network, torch.contiguous_format
        self._flips = recipe.input.channels == "rgb"
        void = load_label_set(recipe.label_set).void if recipe.label_set else None
        ignored = len(frequency) if recipe.task == "classification" else UNLABELLED
        self.loss = build_loss(recipe.loss, frequency, void, ignored)
        self.distillation = Distillation(recipe) if recipe.teacher else None
        self.register_buffer("mean", torch.tensor(recipe.input.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(recipe.input.std).view(1, 3, 1, 1), persistent=False)
        self._last: tuple[torch.Tensor, Batch] | None = None  # the loss and its batch

    def setup(self, stage: str) -> None:
        half = self.recipe.precision != "32-true" and self.trainer.strategy.root_device.type == "cpu"
        if not (half and needs_contiguous(self.network)):
            self._layout = torch.channels_last  # a tenth to a fifth faster on CPUs and tensor cores
        self.network.to(memory_format=self._layout)  # type: ignore[call-overload]
        if self.trainer.world_size > 1 and self.trainer.strategy.root_device.type == "cpu":
            share_batch_norm(self.network)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (images.flip(-1) if self._flips else images).permute(0, 3, 1, 2).float()
        x = (x / 255 - self.mean) / self.std
        return self.network(x.contiguous(memory_format=self._layout))  # type: ignore[no-any-return]

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        # dropout follows from the step, so that a resumed training draws what an unbroken one would have drawn
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.global_step) * 1_009 + self.global_rank)
        images, labels = batch
        logits = self(images).float()
        loss: torch.Tensor = self.loss(logits, labels)
        if self.distillation is not None:
            loss = loss + self.distillation(images, logits, labels)
        self._last = (loss.detach(), batch)
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True, sync_dist=True, batch_size=len(images))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise FloatingPointError where the gradient is not finite; the batch is saved if it is to blame.

        Looked at here and not when the loss is known: gradients have been averaged, so that every process stops.
        """
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            if self._last is None or torch.isfinite(self._last[0]):
                return  # 16-mixed: its scaler leaves out steps that overflow, and its first ones always do
        else:
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            if torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
                return
        named = self.network.named_parameters()
        bad = [name for name, p in named if p.grad is not None and not torch.isfinite(p.grad).all()]
        raise FloatingPointError(
            f"{self._blame()} at step {self.global_step} (gradient of {', '.join(bad[:3]) or 'none'}); train anew, "
            "into another --out, with a lower optimizer.lr, gradient_clip=1 or precision=32-true"
        )

    def _blame(self) -> str:
        if self._last is None or torch.isfinite(self._last[0]):
            return "the gradient is not finite, though the loss is,"
        loss, (images, labels) = self._last
        path = self.bad_batches / f"bad_batch_{self.global_rank}.pt"
        about = {"epoch": self.current_epoch, "step": self.global_step, "loss": float(loss)}
        try:
            save({"images": images.cpu(), "labels": labels.cpu(), **about}, path)
        except OSError as error:  # a full disk: what stopped the training is the greater news
            return f"the loss is {float(loss)} (its batch could not be saved: {error})"
        return f"the loss is {float(loss)} (its batch is saved: {path})"

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.network, self.recipe.optimizer, self.recipe.trains)
        return build_schedule(optimizer, self.recipe.schedule, self.steps())

    def steps(self) -> int:
        """Return how many steps the whole training has.

        Not asked of Lightning, which would begin to load, and so draw the first epoch, before it knows where to go on.
        """
        return int(self.trainer.datamodule.steps)  # type: ignore[attr-defined]


class Segmentation(Task):
    """Labels int64 (N, H, W), 255 ignored; scored by the mean IoU of a label set's classes, void apart.

    Void ground truth, where void is a class, is ignored or counted as the recipe's ``counts_void`` says.
    """

    monitor = "miou"

    def __init__(self, recipe: Recipe, frequency: np.ndarray, bad_batches: Path) -> None:
        super().__init__(recipe, frequency, bad_batches)
        label_set = load_label_set(recipe.label_set)
        self.names = label_set.names
        self._ignored = None if recipe.counts_void else label_set.void
        self.scored = [index for index in range(label_set.class_count) if index != label_set.void]
        self.confusion = MulticlassConfusionMatrix(label_set.class_count, ignore_index=UNLABELLED)

    def validation_step(self, batch: Batch, index: int) -> None:
        images, labels = batch
        self.confusion.update(self(images).argmax(1), labels)

    def on_validation_epoch_end(self) -> None:
        matrix = self.confusion.compute().double()  # of all processes
        self.confusion.reset()
        if self._ignored is not None:
            matrix[self._ignored] = 0  # a row is what was said where the ground truth is this
        hit = matrix.diag()
        iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
        self.log("miou", torch.nanmean(iou[self.scored]).float(), prog_bar=True)
        self.log_dict({f"iou/{name}": value for name, value in zip(self.names, iou.float(), strict=True)})


class Classification(Task):
    """Labels int64 (N,); scored by the share of images whose class is the best of the network's, or among its five."""

    monitor = "top1"

    def __init__(self, recipe: Recipe, frequency: np.ndarray, bad_batches: Path) -> None:
        super().__init__(recipe, frequency, bad_batches)
        classes = len(frequency)
        self.top1 = MulticlassAccuracy(classes, average="micro")
        self.top5 = MulticlassAccuracy(classes, average="micro", top_k=min(5, classes))

    def validation_step(self, batch: Batch, index: int) -> None:
        images, labels = batch
        logits = self(images)
        self.top1.update(logits, labels)
        self.top5.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({"top1": self.top1.compute(), "top5": self.top5.compute()}, prog_bar=True)
        self.top1.reset()
        self.top5.reset()
