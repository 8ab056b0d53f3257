"""How the machines of a training find each other."""

import os
import signal
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from torch import distributed


class Meeting(Callback):
    """Says on each machine that it waits for the others, and lets Ctrl-C end it while it does: PyTorch waits where
    Python's own handler is not heard. Once all are at work, SIGTERM ends them as Ctrl-C does.
    """

    def __init__(self) -> None:
        self._handler: Any = None

    def wait(self, trainer: pl.Trainer) -> None:
        """Call before ``trainer.fit``. Raises ValueError where the machines could not find each other."""
        if trainer.num_nodes == 1 or distributed.is_torchelastic_launched() or distributed.is_initialized():
            return  # nobody to wait for, or they have met
        at = _environment(trainer)
        told = {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK"} <= os.environ.keys()
        if isinstance(at, LightningEnvironment) and not told:
            raise ValueError(
                f"--num-nodes {trainer.num_nodes}: set on every machine MASTER_ADDR and MASTER_PORT, the first one's "
                "address and a free port of it, and NODE_RANK, 0, 1, ...; or start with torchrun or Slurm"
            )
        if trainer.local_rank == 0:
            print(
                f"machine {trainer.node_rank + 1} of {trainer.num_nodes}: waiting for the others at "
                f"{at.main_address}:{at.main_port}",
                flush=True,
            )
        self._handler = signal.signal(signal.SIGINT, signal.SIG_DFL)

    def setup(self, trainer: pl.Trainer, task: pl.LightningModule, stage: str) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Take SIGTERM from Lightning, but under Slurm, where it queues anew.

        Its handler talks to the other processes, which may be waiting for something else by then: for ever.
        """
        if trainer.world_size > 1 and not isinstance(_environment(trainer), SLURMEnvironment):
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))


def _environment(trainer: pl.Trainer) -> Any:
    return getattr(trainer.strategy, "cluster_environment", None)
