"""A backend that runs no network: for tests of wiring only.

The label of a pixel is its first channel modulo ``classes``. Options on the card: ``delay`` (seconds an inference
takes), ``fail_every`` (every n-th inference raises RuntimeError), ``load_delay`` (seconds that loading takes),
``batch`` (images that an inference takes; none: any number), ``shift`` (added to every label), ``close_fails`` (closing
raises RuntimeError, as where a GPU has failed). The confidence is the second channel, with ``confidence: false`` there
is none. After it was closed, every inference raises RuntimeError.
"""

import time
from typing import Dict, Tuple

import numpy as np

from seg_node.model_card import ModelCard
from seg_node.runtimes import Prediction, Runtime

REQUIRES = "numpy"
READS: Dict[str, Tuple[str, ...]] = {}
RANK = None  # only ever by name


class FakeRuntime(Runtime):
    name = "fake"

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self._delay = float(card.options.get("delay", 0.0))
        self._fail_every = int(card.options.get("fail_every", 0))
        self._shift = int(card.options.get("shift", 0))
        self.batch = card.options.get("batch")
        self._sure = bool(card.options.get("confidence", True))
        self._close_fails = bool(card.options.get("close_fails", False))
        self._calls = 0
        self._closed = False

    def _infer(self, images: np.ndarray) -> Prediction:
        self._calls += 1
        time.sleep(self._delay)
        if self._closed:
            raise RuntimeError("the fake backend was closed while somebody used it")
        if self._fail_every and self._calls % self._fail_every == 0:
            raise RuntimeError("the fake backend fails every {} inferences".format(self._fail_every))
        labels = (images[..., 0] + np.uint8(self._shift)) % np.uint8(self.card.classes)
        return Prediction(labels, images[..., 1].copy() if self.wants_confidence and self._sure else None)

    def close(self) -> None:
        self._closed = True
        if self._close_fails:
            raise RuntimeError("the fake backend cannot be closed")


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> FakeRuntime:
    """Load nothing, after ``load_delay`` seconds."""
    del device, precision
    time.sleep(float(card.options.get("load_delay", 0.0)))
    return FakeRuntime(card)
