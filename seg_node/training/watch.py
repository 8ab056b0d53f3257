"""What a person sees of a training while it runs, and what is kept of it: a line an epoch, run.yaml and curve.jsonl.

Only the first of several processes prints and writes.
"""

import json
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from seg_node.training import checkpoint


class EpochLine(Callback):
    """Prints a line an epoch: loss, score, seconds waited for data, and the time left; the same goes to curve.jsonl."""

    def __init__(self, folder: Path, monitor: str) -> None:
        self._curve, self._monitor = folder / "curve.jsonl", monitor
        self._waited = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._begun, self._first_step = time.monotonic(), trainer.global_step
        if trainer.is_global_zero:
            _keep(self._curve, trainer.current_epoch)
            if trainer.current_epoch:
                print(f"going on after epoch {trainer.current_epoch}/{trainer.max_epochs}", flush=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._waited, self._epoch_begun, self._scored = 0.0, time.monotonic(), False
        self._ready, self._rate = time.monotonic(), _rate(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, index: int) -> None:
        self._waited += time.monotonic() - self._ready

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self._ready = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._scored = True

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        now, done, steps = time.monotonic(), trainer.current_epoch + 1, trainer.global_step
        left = (now - self._begun) / max(steps - self._first_step, 1) * (task.steps() - steps)  # type: ignore[operator]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        score = f"{_title(self._monitor)} {100 * metrics[self._monitor]:.2f} %  " if self._scored else ""
        took = now - self._epoch_begun
        print(
            f"epoch {done}/{trainer.max_epochs}  loss {metrics['loss_epoch']:.4f}  {score}{took:.0f} s, "
            f"{self._waited:.1f} s of them waiting for data  {left / 60:.0f} min left",
            flush=True,
        )
        line = {"epoch": done, "steps": steps, "loss": metrics["loss_epoch"], "lr": self._rate}
        line.update(
            {name: value for name, value in metrics.items() if self._scored and not name.startswith(("loss", "lr"))}
        )
        line.update({"seconds": round(took, 2), "waited": round(self._waited, 2)})
        with self._curve.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _keep(curve: Path, epochs: int) -> None:
    """Leave the lines of the first ``epochs`` epochs: a killed training repeats the one that it was in."""
    if curve.exists():
        lines = curve.read_text(encoding="utf-8").splitlines()[:epochs]
        partial = curve.with_name(f"{curve.name}.partial")
        partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        os.replace(partial, curve)


def _title(monitor: str) -> str:
    return {"miou": "mIoU", "top1": "top 1"}[monitor]


def _rate(trainer: pl.Trainer) -> float:
    return float(max(group["lr"] for group in trainer.optimizers[0].param_groups))


class RunRecord(Callback):
    """Keeps run.yaml true after every epoch: which run, from which commit, trained which epochs, in how many hours."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self._folder, self._about = folder, about

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._begun = time.monotonic()
        self._run = {
            "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": self._about["commit"],
            "machine": self._about["machine"],
            "versions": self._about["versions"],
            "processes": trainer.world_size,
            "after_epoch": trainer.current_epoch,
        }
        self._about.setdefault("runs", []).append(self._run)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._run["to_epoch"] = trainer.current_epoch + 1
        self._run["hours"] = round((time.monotonic() - self._begun) / 3600, 3)
        checkpoint.write_run(self._folder, self._about)
