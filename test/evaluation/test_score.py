from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node.datasets import DatasetError, Sample
from seg_node.evaluation.score import evaluate
from seg_node.label_set import load_label_set
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
    right = evaluate(segmenter, samples(0, 0), segmenter.label_set).as_dict("ignored")
    wrong = evaluate(segmenter, samples(1), segmenter.label_set).as_dict("ignored")
    assert right["miou"] == 1 and right["images"] == 2 and set(right["iou"]) == set(segmenter.label_set.names)
    assert wrong["miou"] == 0 and wrong["pixel_accuracy"] == 0
    assert right["ms_per_image"]["p50"] > 0


def test_labels_are_saved_as_they_were_scored(card: ModelCard, tmp_path: Path) -> None:
    segmenter = Segmenter(card, FirstChannel(card))
    evaluate(segmenter, samples(0), segmenter.label_set, save=tmp_path)
    assert np.array_equal(cv2.imread(str(tmp_path / "s0.png"), -1), samples(0)[0].label)


def test_truth_of_another_label_set_is_refused(card: ModelCard) -> None:
    bad = Sample(np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 19, np.uint8), "frame 3")
    with pytest.raises((ValueError, DatasetError), match="frame 3"):
        evaluate(Segmenter(card, FirstChannel(card)), [bad], load_label_set("camvid11"))


def test_a_model_with_void_as_a_class_is_scored_by_the_classes_names(write_card) -> None:
    """A void class anywhere in the model's order; a class predicted on void ground truth counts only if asked."""
    card = load_card(write_card(label_set="camvid12", network={"name": "external", "classes": 12}))
    segmenter = Segmenter(card, FirstChannel(card))
    sample = samples(0)[0]
    void = Sample(sample.image, np.where(sample.label == 3, 255, sample.label).astype(np.uint8), "void")
    report = evaluate(segmenter, [void, samples(0)[0]], load_label_set("camvid11"))
    assert len(report.ignored.iou) == 11 and report.ignored.miou == 1
    assert report.counted.iou[3] == pytest.approx(0.5) and report.counted.iou[4] == 1


def test_a_model_of_other_classes_is_refused(card: ModelCard) -> None:
    segmenter = Segmenter(card, FirstChannel(card))
    with pytest.raises(ValueError, match="camvid11 and cityscapes19 name different classes"):
        evaluate(segmenter, samples(0), load_label_set("cityscapes19"))
