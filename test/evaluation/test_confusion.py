import numpy as np
import pytest

from seg_node.evaluation.confusion import Confusion


def confusion(truth: list, predicted: list, classes: int = 3) -> Confusion:
    matrix = Confusion(classes)
    matrix.add(np.array([truth], np.uint8), np.array([predicted], np.uint8))
    return matrix


def test_scores_by_hand() -> None:
    scores = confusion([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]).scores()
    assert scores.iou.tolist() == pytest.approx([2 / 4, 2 / 3, 0])
    assert scores.miou == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert scores.pixel_accuracy == pytest.approx(4 / 6)
    assert scores.class_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores.frequency_weighted_iou == pytest.approx(3 / 6 * 1 / 2 + 2 / 6 * 2 / 3)


def test_void_is_ignored_or_counted() -> None:
    matrix = confusion([0, 0, 255, 255], [0, 0, 0, 255])
    assert matrix.scores("ignored").iou[0] == 1
    assert matrix.scores("counted").iou[0] == pytest.approx(2 / 3)


def test_an_unlabelled_prediction_is_a_miss() -> None:
    scores = confusion([0, 0, 1, 1], [0, 255, 1, 1]).scores()
    assert scores.iou[:2].tolist() == [0.5, 1] and scores.pixel_accuracy == 0.75


def test_a_class_that_does_not_occur_is_left_out_of_the_mean() -> None:
    scores = confusion([0, 1], [0, 1]).scores()
    assert np.isnan(scores.iou[2]) and scores.miou == 1


def test_images_add_up() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, (2, 4, 10, 10)).astype(np.uint8)
    one, many = Confusion(3), Confusion(3)
    one.add(truth.reshape(40, 10), predicted.reshape(40, 10))
    for t, p in zip(truth, predicted, strict=True):
        many.add(t, p)
    assert np.array_equal(one.matrix, many.matrix)


def test_agrees_with_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.classification import MulticlassJaccardIndex

    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(0, 5, (2, 30, 40)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    matrix = Confusion(5)
    matrix.add(truth, predicted)
    theirs = MulticlassJaccardIndex(5, average="none", ignore_index=255)
    expected = theirs(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    assert matrix.scores().iou == pytest.approx(expected.numpy())


def test_nothing_and_wrong() -> None:
    assert np.isnan(Confusion(3).scores().miou)
    with pytest.raises(ValueError, match="sizes"):
        Confusion(3).add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="void"):
        Confusion(3).scores("both")


@pytest.mark.parametrize("shape", [(1, 1), (1, 37), (37, 1), (61, 40)])
def test_every_pixel_is_counted_whatever_the_picture(shape) -> None:
    """Against counting pixel by pixel: noise, where every pixel begins a run, and patches; cut-outs too."""
    rng = np.random.default_rng(2)
    for truth, predicted in (
        rng.integers(0, 256, (2, *shape)).astype(np.uint8),
        rng.integers(0, 4, (2, 1, shape[1])).astype(np.uint8).repeat(shape[0], 1),
        rng.integers(0, 5, (2, 2 * shape[0], 2 * shape[1])).astype(np.uint8)[:, ::2, ::2],
    ):
        matrix = Confusion(3)
        matrix.add(truth, predicted)
        expected = np.zeros((4, 4), int)
        for pair in zip(truth.ravel(), predicted.ravel(), strict=True):
            expected[tuple(min(value, 3) for value in pair)] += 1
        assert (matrix.matrix == expected).all()


def test_a_group_of_classes_counts_as_one() -> None:
    matrix = confusion([0, 0, 1, 1, 2, 2, 255], [0, 1, 1, 2, 2, 0, 0])
    assert matrix.group_iou([(0, 1), (2,)]).tolist() == pytest.approx([3 / 5, 1 / 3])
    assert matrix.group_iou([(0, 1)], "counted").tolist() == pytest.approx([3 / 6])
    assert matrix.group_iou([]).tolist() == []
