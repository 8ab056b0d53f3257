"""Gradual grouping (Vallurupalli et al., 2018, section 3.3) while training: alpha from one value to another."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from seg_node.networks.grouped_erfnet import set_alpha


def alpha_at(step: int, steps: int, alpha: tuple[float, float]) -> float:
    """Return alpha for a step, linear from ``alpha[0]`` at step 0 to ``alpha[1]`` at the last, ``steps - 1``."""
    begin, end = alpha
    share = min(step / max(steps - 1, 1), 1.0) if steps > 1 else 1.0
    return end if share == 1 else begin + (end - begin) * share


class GradualGrouping(Callback):
    """Sets alpha before each step. It follows from the step alone, so a resumed training goes on where it was."""

    def __init__(self, alpha: tuple[float, float]) -> None:
        self.alpha = alpha

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, index: int) -> None:
        alpha = alpha_at(trainer.global_step, task.steps(), self.alpha)  # type: ignore[operator]
        set_alpha(task.network, alpha)  # type: ignore[arg-type]
        task.log("alpha", alpha)
