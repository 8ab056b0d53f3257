"""A card in a temporary folder, and a runtime that answers what it is told."""

import textwrap

import numpy as np
import pytest

from seg_node.model_card import load_card
from seg_node.runtimes import Prediction, Runtime

CARD = """
    name: tiny
    network: {{name: external, classes: {classes}}}
    label_set: camvid11
    input: {{size: [{size[0]}, {size[1]}], channels: {channels}}}
    output: {{kind: labels, ignored_classes: {ignored}}}
    files: {{}}
"""


@pytest.fixture
def make_card(tmp_path):
    def make(size=(4, 6), channels="bgr", classes=11, ignored=()):
        text = textwrap.dedent(CARD).format(size=size, channels=channels, classes=classes, ignored=list(ignored))
        (tmp_path / "card.yaml").write_text(text)
        return load_card(tmp_path)

    return make


class Answers(Runtime):
    """Keeps what it was given and returns what it was made with."""

    def __init__(self, card, labels, confidence=None):
        super().__init__(card)
        self.labels, self.confidence, self.given = labels, confidence, None

    def _infer(self, images):
        self.given = images.copy()
        confidence = None if self.confidence is None else self.confidence[np.newaxis]
        return Prediction(self.labels[np.newaxis], confidence)


@pytest.fixture
def answers():
    return Answers


@pytest.fixture
def noise():
    generator = np.random.default_rng(7)
    return lambda *shape: generator.integers(0, 256, shape, np.uint8)
