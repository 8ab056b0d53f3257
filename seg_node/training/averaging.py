"""Averaged weights: what is scored and kept where a recipe has ``ema``."""

import torch
from lightning.pytorch.callbacks import WeightAveraging


class Averaged(WeightAveraging):
    """An exponential moving average of the weights and of batch norm's statistics.

    Its decay a step grows to ``decay`` as (1 + n) / (10 + n) does with the steps n (TensorFlow's warm-up): the first
    steps' weights are nearly random, and an average that holds them to the end of a short training is worse than none.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True, avg_fn=lambda kept, now, steps: average(kept, now, steps, decay))


def average(kept: torch.Tensor, now: torch.Tensor, steps: torch.Tensor, decay: float) -> torch.Tensor:
    """Return the average after one more step; ``steps``: how many there were before, a number on the same device."""
    share = 1 - ((1 + steps) / (10 + steps)).clamp(max=decay)
    return kept + share * (now - kept)
