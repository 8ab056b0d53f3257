"""The shipped model in the ONNX Runtime that a robot's Python has: what it says, and what it says of bad files.

``labels/`` holds what the current flavour says in the current ONNX Runtime (tools/robot_labels).
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_node.model_card import CardError, load_card, sha256
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import load_runtime

LABELS = Path(__file__).resolve().parent / "labels"
FLAVOURS = ["the node's choice", "tx2"]


def only(card, kind):
    """The card with one exported file, and the weights by which it is known to be of this model."""
    return card._replace(files={name: card.files[name] for name in ("torch", kind)})


@pytest.fixture(scope="module", params=FLAVOURS)
def runtime(request):
    card = load_card("rdsnet_camvid")
    loaded = load_runtime(only(card, "onnx_tx2") if request.param == "tx2" else card, "onnx", "cpu")
    yield loaded
    loaded.close()


def test_it_says_what_the_current_flavour_says(runtime, golden):
    segmenter = Segmenter(runtime.card, runtime)
    assert sorted(golden) == sorted(path.name for path in LABELS.glob("*.png"))
    for name, image in golden.items():
        expected = cv2.imread(str(LABELS / name), cv2.IMREAD_GRAYSCALE)
        assert len(np.unique(expected)) >= 5, "a street has many classes"
        labels = segmenter.segment(Frame(image, "bgr")).labels
        assert np.mean(labels == expected) >= 0.995, name


def test_it_knows_real_streets(runtime, streets):
    """Nine of ten labelled pixels of CamVid images that it was not trained on."""
    segmenter = Segmenter(runtime.card, runtime)
    right = labelled = 0
    for image, truth in streets:
        labels = segmenter.segment(Frame(image, "bgr")).labels
        right += np.sum((labels == truth) & (truth < 11))
        labelled += np.sum(truth < 11)
    assert labelled > 500000 and right / labelled > 0.9


def test_a_batch_is_its_images_and_a_view_with_gaps_is_its_pixels(runtime):
    noise = np.random.RandomState(1).randint(0, 256, (2, 360, 485, 3)).astype(np.uint8)
    images = noise[:, :, :-5]
    together = runtime.infer(images).labels.copy()
    assert together.dtype == np.uint8 and together.shape == (2, 360, 480)
    for image, labels in zip(images, together):
        assert np.mean(runtime.infer(np.ascontiguousarray(image)[None]).labels[0] == labels) > 0.999


@pytest.mark.parametrize(
    "wrong, error",
    [(lambda x: x.astype(np.float32), TypeError), (lambda x: x[:, 1:], ValueError)],
    ids=["float", "size"],
)
def test_wrong_images(runtime, wrong, error):
    with pytest.raises(error, match="images"):
        runtime.infer(wrong(np.zeros((1, 360, 480, 3), np.uint8)))


@pytest.fixture
def copied(tmp_path):
    """A folder with the shipped card and its tx2 file, to damage."""
    card = load_card("rdsnet_camvid")
    for kind in ("torch", "onnx_tx2"):
        shutil.copy(str(card.file(kind)), str(tmp_path))
    shutil.copy(str(card.folder / "card.yaml"), str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("damage", ["cut off", "text", "empty", "gone"])
def test_a_damaged_file_is_named(copied, damage):
    card = only(load_card(copied), "onnx_tx2")
    path = card.files["onnx_tx2"].path
    whole = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"cut off": whole[:20000], "text": b"not a network", "empty": b""}[damage])
        with pytest.raises(CardError, match=path.name + ".*sha256 differs"):
            load_runtime(card, "onnx", "cpu")
        file = card.files["onnx_tx2"]._replace(sha256=sha256(path))  # and a card that says it is as it should be
        card = card._replace(files=dict(card.files, onnx_tx2=file))
    with pytest.raises(FileNotFoundError if damage == "gone" else CardError, match=path.name):
        load_runtime(card, "onnx", "cpu")


@pytest.fixture
def too_new(copied):
    """The card with a plain file of an ONNX version that no ONNX Runtime knows yet."""
    card = load_card(copied)
    whole = card.files["onnx_tx2"].path.read_bytes()
    assert whole[0] == 8 and whole[1] < 30, "an ONNX file begins with its IR version"
    path = copied / "plain.onnx"
    path.write_bytes(whole[:1] + bytes([120]) + whole[2:])
    plain = card.files["onnx_tx2"]._replace(path=path, sha256=sha256(path))
    return card._replace(files=dict(only(card, "onnx_tx2").files, onnx=plain))


def test_a_file_too_new_for_this_onnx_runtime_gives_way_to_the_tx2s(too_new, golden, caplog):
    caplog.set_level("WARNING")
    said = (
        Segmenter(too_new, load_runtime(too_new, "onnx", "cpu")).segment(Frame(golden["street_11.png"], "bgr")).labels
    )
    assert np.mean(said == cv2.imread(str(LABELS / "street_11.png"), cv2.IMREAD_GRAYSCALE)) >= 0.995
    (record,) = caplog.records
    assert "plain.onnx" in record.getMessage() and "runs rdsnet_camvid.tx2.onnx instead" in record.getMessage()


def test_a_file_too_new_with_no_other_beside_it_says_what_to_export(too_new):
    with pytest.raises(CardError, match=r"(?s)plain\.onnx.*too old for the file.*seg-node export .* --target tx2"):
        load_runtime(only(too_new, "onnx"), "onnx", "cpu")


def test_a_file_of_other_weights_is_refused(copied):
    card = only(load_card(copied), "onnx_tx2")
    weights = card.files["torch"]._replace(sha256="0" * 64)
    with pytest.raises(CardError, match="export it again"):
        load_runtime(card._replace(files=dict(card.files, torch=weights)), "onnx", "cpu")


@pytest.mark.parametrize(
    "device, precision, says", [("nonsense", "auto", "^device 'nonsense'"), ("cpu", "int8", "^precision 'int8'")]
)
def test_what_is_not_there_is_refused(device, precision, says):
    with pytest.raises(ValueError, match=says):
        load_runtime(load_card("rdsnet_camvid"), "onnx", device, precision)
