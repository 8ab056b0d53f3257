from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node.datasets import DatasetError, Sample
from seg_node.evaluation.score import evaluate
from seg_node.model_card import ModelCard, load_card
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import Prediction, Runtime


class FirstChannel(Runtime):
    """Answers with the first channel: the wiring's test double."""

    def _infer(self, images: np.ndarray) -> Prediction:
        return Prediction(images[..., 0])


@pytest.fixture
def card(write_card) -> ModelCard:
    return load_card(write_card())


def samples(*shifts: int) -> list[Sample]:
    """Images whose first channel is the label, shifted so many rows."""
    label = np.repeat(np.arange(48, dtype=np.uint8)[:, None] % 11, 64, 1)
    return [Sample(np.repeat(np.roll(label, shift, 0)[..., None], 3, 2), label, f"s{shift}") for shift in shifts]


def test_a_right_network_scores_one_and_a_wrong_one_less(card: ModelCard) -> None:
    segmenter = Segmenter(card, FirstChannel(card))
    right = evaluate(segmenter, samples(0, 0)).as_dict("ignored")
    wrong = evaluate(segmenter, samples(1)).as_dict("ignored")
    assert right["miou"] == 1 and right["images"] == 2 and set(right["iou"]) == set(segmenter.label_set.names)
    assert wrong["miou"] == 0 and wrong["pixel_accuracy"] == 0
    assert right["ms_per_image"]["p50"] > 0


def test_labels_are_saved_as_they_were_scored(card: ModelCard, tmp_path: Path) -> None:
    evaluate(Segmenter(card, FirstChannel(card)), samples(0), save=tmp_path)
    assert np.array_equal(cv2.imread(str(tmp_path / "s0.png"), -1), samples(0)[0].label)


def test_truth_of_another_label_set_is_refused(card: ModelCard) -> None:
    bad = Sample(np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 19, np.uint8), "frame 3")
    with pytest.raises((ValueError, DatasetError), match="frame 3"):
        evaluate(Segmenter(card, FirstChannel(card)), [bad])
