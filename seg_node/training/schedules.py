"""Optimizers and learning-rate schedules, as a recipe names them."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import lr_scheduler

from seg_node.training.recipe import Optimizer, Schedule, Trains

OPTIMIZERS = ("adam", "adamw", "sgd")
_NEVER = 1 << 40  # epochs
SCHEDULES = ("constant", "plateau", "one_cycle", "step", "poly", "cosine")


def build_optimizer(network: nn.Module, how: Optimizer, trains: tuple[Trains, ...] = ()) -> torch.optim.Optimizer:
    """Build the recipe's optimizer. Raises ValueError for one that there is not, or a name that fits no parameter.

    With ``trains``, what it does not name is frozen: it gets no gradient.
    """
    plain = not trains and how.decay_vectors == 1
    parameters: Any = network.parameters() if plain else _groups(network, how, trains)
    if how.name == "adam":
        return torch.optim.Adam(parameters, how.lr, weight_decay=how.weight_decay)
    if how.name == "adamw":
        return torch.optim.AdamW(parameters, how.lr, weight_decay=how.weight_decay)
    if how.name == "sgd":
        return torch.optim.SGD(parameters, how.lr, how.momentum, weight_decay=how.weight_decay, nesterov=how.nesterov)
    raise ValueError(f"optimizer.name is {how.name!r}; choose from {', '.join(OPTIMIZERS)}")


def _groups(network: nn.Module, how: Optimizer, trains: tuple[Trains, ...]) -> list[dict[str, Any]]:
    """Return the parameters by rate and by weight decay. A parameter is of the longest prefix that fits it."""
    times = {entry.of: entry.lr_times for entry in trains} or {"all": 1.0}
    unused = set(times) - {"all"}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        fits = [of for of in times if of != "all" and (name == of or name.startswith(of.rstrip(".") + "."))]
        of = max(fits, key=len, default="all")
        unused -= set(fits)
        rate = times.get(of, 0.0)
        if rate == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = how.weight_decay * (how.decay_vectors if parameter.ndim == 1 else 1)
            groups.setdefault((how.lr * rate, decay), []).append(parameter)
    if unused:
        known = ", ".join(dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters()))
        raise ValueError(f"trains: no parameter of the network begins with {', '.join(sorted(unused))}; it has {known}")
    if not groups:
        raise ValueError("trains: freezes every parameter; give one an lr_times above 0")
    return [{"params": members, "lr": lr, "weight_decay": decay} for (lr, decay), members in groups.items()]


def build_schedule(optimizer: torch.optim.Optimizer, how: Schedule, steps: int) -> Any:
    """Return what Lightning's configure_optimizers returns. ``steps``: of the whole training.

    Raises ValueError for an unknown schedule.
    """
    if how.name == "constant":
        return optimizer
    if how.name == "plateau":
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=how.factor, patience=how.patience)
        return _each("epoch", optimizer, plateau, monitor="loss_epoch", frequency=_NEVER)  # see StepPlateau
    if how.name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        cycle = lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=how.warm_up)
        return _each("step", optimizer, cycle)
    if how.name == "step":
        falls = lr_scheduler.MultiStepLR(optimizer, list(how.milestones), how.factor)
        return _each(how.unit, optimizer, falls)
    if how.name in ("poly", "cosine"):
        return _each("step", optimizer, lr_scheduler.LambdaLR(optimizer, _curve(how, steps)))
    raise ValueError(f"schedule.name is {how.name!r}; choose from {', '.join(SCHEDULES)}")


def _curve(how: Schedule, steps: int) -> Callable[[int], float]:
    """Return the share of the full rate at a step: up linearly during the warm-up, then down to 0."""
    warm = round(how.warm_up * steps)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        done = min((step - warm) / max(steps - warm, 1), 1.0)
        return (1 - done) ** how.power if how.name == "poly" else 0.5 * (1 + math.cos(math.pi * done))

    return share


def _each(interval: str, optimizer: torch.optim.Optimizer, scheduler: Any, **more: Any) -> dict[str, Any]:
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval, **more}}


class StepPlateau(Callback):
    """Steps ``plateau`` when an epoch has ended: Lightning itself does so only after last.ckpt is written, and a
    training that goes on from there would have missed it.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            if config.reduce_on_plateau:
                config.scheduler.step(float(trainer.callback_metrics[config.monitor]))  # type: ignore[arg-type,index]
