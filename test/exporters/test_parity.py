"""The gate on real graphs: one that is right, and some that are wrong in known ways."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
from onnx import numpy_helper  # noqa: E402

from seg_node import runtimes  # noqa: E402
from seg_node.evaluation.confusion import Confusion  # noqa: E402
from seg_node.exporters import parity  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.model_card import ModelCard, load_card  # noqa: E402
from seg_node.runtimes import Prediction, Runtime, load_runtime  # noqa: E402


@pytest.fixture(scope="module")
def reference(exported: Path) -> Runtime:
    return load_runtime(load_card(exported), "torch", "cpu")


@pytest.fixture(scope="module")
def golden(exported: Path) -> parity.Golden:
    return parity.golden_images(load_card(exported))


def changed(exported: Path, folder: Path, change) -> ModelCard:
    """A copy of the small model whose graph's last convolution has other weights: ``change`` of the old ones."""
    shutil.copytree(exported, folder)
    path = folder / "small.onnx"
    model = onnx.load(str(path))
    name = [node for node in model.graph.node if node.op_type == "Conv"][-1].input[1]
    [weights] = [tensor for tensor in model.graph.initializer if tensor.name == name]
    weights.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weights).copy()), name))
    onnx.save(model, str(path))
    table = yaml.safe_load((folder / "card.yaml").read_text())
    table["files"]["onnx"] = {"path": "small.onnx"}
    (folder / "card.yaml").write_text(yaml.safe_dump(table))
    return load_card(folder)


def test_the_golden_images_are_a_street_with_its_truth(exported: Path) -> None:
    card = load_card(exported)
    bgr, rgb = parity.golden_images(card), parity.golden_images(card._replace(channels="rgb"))
    assert bgr.images.shape == (8, 48, 64, 3) and bgr.images.dtype == np.uint8
    assert np.array_equal(bgr.images, rgb.images[..., ::-1]) and not np.array_equal(bgr.images, rgb.images)
    assert bgr.truth is not None and bgr.truth.shape == (8, 48, 64)
    assert set(np.unique(bgr.truth)) == set(range(11))
    load_label_set("camvid11").check(bgr.truth, "golden")
    assert parity.golden_images(card._replace(label_set="camvid12")).truth is not None
    assert parity.golden_images(card._replace(label_set="cityscapes19")).truth is None


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_right_file_passes(name: str, exported: Path, reference: Runtime, golden, tmp_path: Path) -> None:
    if not runtimes.is_installed(name):
        pytest.skip(f"{name} is not installed")
    runtime = load_runtime(load_card(exported), name, "cpu")
    verdict = parity.gate(reference, runtime, "fp32", golden, tmp_path / "differ.png")
    assert verdict.passed and not verdict.nan and verdict.images == 8
    assert 0.999 < verdict.worst <= verdict.agreement <= 1
    assert verdict.logit_difference is not None and 0 < verdict.logit_difference < 1e-3
    assert verdict.miou_lost is not None and abs(verdict.miou_lost) < 1e-3
    assert not (tmp_path / "differ.png").exists()


def test_what_differs_is_shown(exported: Path, reference: Runtime, golden, tmp_path: Path) -> None:
    card = changed(exported, tmp_path / "m", lambda weights: weights[[1, 0, *range(2, 11)]])
    runtime, picture = load_runtime(card, "onnx", "cpu"), tmp_path / "differ.png"
    verdict = parity.gate(reference, runtime, "fp32", golden, picture)
    assert not verdict.passed and verdict.worst < 0.995 and not verdict.nan
    assert verdict.logit_difference is not None and verdict.logit_difference > 1e-3
    shown = cv2.imread(str(picture))
    height, width = shown.shape[:2]
    assert (height, width) == (3 * 320, 4 * 400)
    red = (shown[20:320, 1200:] == (0, 0, 255)).all(-1).mean()
    assert red == pytest.approx(1 - verdict.worst, abs=0.02), "the worst image is the first"
    said = verdict.says("small.onnx", picture)
    assert "small.onnx" in said and str(picture) in said and "99.5%" in said
    assert not list(tmp_path.glob(".*"))


def test_nan_does_not_pass(exported: Path, reference: Runtime, golden, tmp_path: Path) -> None:
    """One channel of NaN: argmax hides it well, since it may never win."""

    def poison(weights: np.ndarray) -> np.ndarray:
        weights[4] = np.nan
        return weights

    runtime = load_runtime(changed(exported, tmp_path / "m", poison), "onnx", "cpu")
    verdict = parity.gate(reference, runtime, "fp32", golden, tmp_path / "differ.png")
    assert verdict.nan and not verdict.passed and "NaN" in verdict.says("x", tmp_path)
    assert verdict.as_table()["nan"] is True


def test_a_reference_with_nan_is_not_compared_with(exported: Path, golden, tmp_path: Path) -> None:
    broken = load_runtime(load_card(exported), "torch", "cpu")
    with torch.no_grad():
        next(broken._network.network.parameters())[0] = float("nan")  # type: ignore[attr-defined]
    runtime = load_runtime(load_card(exported), "onnx", "cpu")
    with pytest.raises(parity.ParityError, match="PyTorch itself gives NaN"):
        parity.gate(broken, runtime, "fp32", golden, tmp_path / "differ.png")


class Says(Runtime):
    """Answers what it is told."""

    def __init__(self, card: ModelCard, answers: np.ndarray) -> None:
        super().__init__(card)
        self.answers = iter(answers)

    def _infer(self, images: np.ndarray) -> Prediction:
        return Prediction(next(self.answers)[None])


def test_coarse_numbers_are_judged_by_the_miou_they_lose(exported: Path, golden, tmp_path: Path) -> None:
    card, picture = load_card(exported), tmp_path / "differ.png"
    right = golden.truth
    little, much = right.copy(), right.copy()
    little[:, 40:, :4] = 6  # one pixel in a hundred
    much[:, :, :12] = 6

    def verdict(labels: np.ndarray, precision: str, images=golden, measured=None) -> parity.Verdict:
        return parity.gate(Says(card, right), Says(card, labels), precision, images, picture, measured)

    assert not verdict(little, "fp32").passed
    for precision in ("int8", "bf16"):
        assert verdict(much, precision).miou_lost > 0.01 and not verdict(much, precision).passed
    confusion = Confusion(11)
    for one, other in zip(right, much, strict=True):
        confusion.add(one, other)
    assert verdict(much, "int8").miou_lost == pytest.approx(1 - confusion.scores("ignored").miou)
    # what is lost little: some road becomes sky, too few to move the mean over eleven classes by a point
    small = right.copy()
    small[:, 44:, :6][right[:, 44:, :6] == 3] = 0
    assert 0 < verdict(small, "int8").miou_lost < 0.01 and verdict(small, "int8").worst < 0.995
    assert verdict(small, "int8").passed and not verdict(small, "fp16").passed
    # without truth: the share of equal labels, with a lower bar
    assert verdict(little, "int8", golden.images).passed and verdict(little, "int8", golden.images).miou_lost is None
    assert not verdict(much, "int8", golden.images).passed
    # what was measured on real images decides there, and nowhere else
    assert (
        verdict(much, "int8", golden.images, 0.005).passed and not verdict(little, "int8", golden.images, 0.02).passed
    )
    assert not verdict(much, "int8", golden, 0.0).passed and not verdict(much, "fp32", golden.images, 0.0).passed
