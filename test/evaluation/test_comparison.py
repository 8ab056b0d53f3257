import numpy as np
import pytest

from seg_node.evaluation.comparison import change_interval, compare
from seg_node.evaluation.confusion import Confusion
from seg_node.evaluation.pictures import GREEN, RED, VOID, YELLOW, difference, error
from seg_node.evaluation.score import Item, Report
from seg_node.label_set import load_label_set

LABELS = load_label_set("camvid11")


def report(*wrong: float, seed: int = 0) -> Report:
    """An item for each share of wrong pixels."""
    items, rng = [], np.random.default_rng(seed)
    for index, share in enumerate(wrong):
        truth = rng.integers(0, 11, (40, 50)).astype(np.uint8)
        predicted = np.where(rng.random(truth.shape) < share, (truth + 1) % 11, truth).astype(np.uint8)
        confusion = Confusion(11)
        confusion.add(truth, predicted)
        items.append(Item(index, f"frame{index}", confusion.matrix, None, 10.0))
    return Report(LABELS, items)


def test_a_model_against_itself_changes_nothing() -> None:
    result = compare(report(0.2, 0.3), report(0.2, 0.3), "ignored")
    assert result["totals"]["miou"]["change"] == 0 and result["miou_change_95"] == [0, 0]
    assert (result["won"], result["lost"]) == (0, 0) and result["largest_gains"] == [] == result["largest_losses"]
    assert all(pair["change"] == 0 for pair in result["iou"].values())


def test_gains_and_losses_are_named_largest_first() -> None:
    result = compare(report(0.5, 0.1, 0.3, 0.4), report(0.1, 0.6, 0.3, 0.2), "ignored")
    assert [row["name"] for row in result["largest_gains"]] == ["frame0", "frame3"]
    assert [row["name"] for row in result["largest_losses"]] == ["frame1"]
    assert (result["won"], result["lost"]) == (2, 1)
    gain = result["largest_gains"][0]
    assert gain["change"] == pytest.approx(gain["b"] - gain["a"], abs=2e-5) and gain["change"] > 0.3


def test_the_interval_holds_the_change_and_says_when_it_is_chance() -> None:
    rng = np.random.default_rng(1)
    shares = rng.uniform(0.1, 0.5, 30)
    same = change_interval(report(*shares), report(*rng.permutation(shares), seed=1), "ignored")
    better = change_interval(report(*shares), report(*(shares - 0.08)), "ignored")
    assert same[0] < 0 < same[1] and 0.05 < better[0] < better[1]
    change = compare(report(*shares), report(*(shares - 0.08)), "ignored")["totals"]["miou"]["change"]
    assert better[0] <= change <= better[1]
    assert change_interval(report(0.1), report(0.2), "ignored") is None


def test_pictures_mark_who_is_right() -> None:
    image = np.full((2, 5, 3), 100, np.uint8)
    truth = np.array([[0, 1, 2, 3, 255]] * 2, np.uint8)
    a = np.array([[0, 1, 0, 0, 0]] * 2, np.uint8)
    b = np.array([[0, 0, 2, 1, 0]] * 2, np.uint8)
    marked = difference(image, truth, a, b)[0]

    def nearest(pixel: np.ndarray) -> tuple:
        colours = (GREEN, RED, YELLOW, VOID, (114, 114, 114))
        return min(colours, key=lambda colour: int(np.abs(pixel.astype(int) - colour).sum()))

    assert [nearest(pixel) for pixel in marked] == [(114, 114, 114), RED, GREEN, YELLOW, VOID]
    wrong = error(image, truth, a)[0]
    assert [nearest(pixel) == RED for pixel in wrong] == [False, False, True, True, False]


def test_labels_of_half_the_size_are_shown_at_the_images() -> None:
    image, truth = np.full((4, 6, 3), 50, np.uint8), np.zeros((4, 6), np.uint8)
    labels = np.zeros((2, 3), np.uint8)
    labels[0, 0] = 1
    marked = error(image, truth, labels)
    assert marked.shape == image.shape and (marked[:2, :2, 2] > marked[:2, :2, 1]).all()
    assert (marked[2:, :, 2] == marked[2:, :, 1]).all()
