from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from seg_node import exporters  # noqa: E402
from seg_node.exporters import _publish, parity  # noqa: E402
from seg_node.model_card import CardError, load_card, sha256  # noqa: E402
from seg_node.runtimes import Prediction, Runtime, load_runtime  # noqa: E402


def test_the_graph_takes_pixels_and_gives_labels(exported: Path) -> None:
    model = onnx.load(str(exported / "small.onnx"))
    (image,), (label,) = model.graph.input, model.graph.output

    def tensor(value):
        kind = value.type.tensor_type
        return value.name, kind.elem_type, [d.dim_value for d in kind.shape.dim]

    assert tensor(image) == ("image", onnx.TensorProto.UINT8, [1, 48, 64, 3])
    assert tensor(label) == ("label", onnx.TensorProto.UINT8, [1, 48, 64])


def test_the_file_holds_no_path_of_the_exporting_machine(exported: Path) -> None:
    assert str(Path(__file__).parent.parent.parent).encode() not in (exported / "small.onnx").read_bytes()


def test_the_card_is_renewed(exported: Path) -> None:
    card = load_card(exported)
    assert card.file("onnx").name == "small.onnx"
    file = card.files["onnx"]
    assert file.notes["parity"]["passed"] and file.notes["parity"]["worst"] >= 0.995
    assert file.weights == sha256(exported / "weights.pt") and file.settings == card.settings
    assert not list(exported.glob(".*"))


class Wrong(Runtime):
    """Answers nothing but class 0: an export that went wrong."""

    def _infer(self, images: np.ndarray) -> Prediction:
        return Prediction(np.zeros(images.shape[:3], np.uint8))


def test_the_gate_stops_a_wrong_file_and_keeps_the_old(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (exported / "card.yaml").read_bytes(), (exported / "small.onnx").read_bytes()
    real = load_runtime
    monkeypatch.setattr(
        _publish, "load_runtime", lambda card, name, *rest: real(card, name) if name == "torch" else Wrong(card)
    )
    with pytest.raises(parity.ParityError, match="agrees with PyTorch on only"):
        exporters.export(str(exported), "onnx")
    assert before == ((exported / "card.yaml").read_bytes(), (exported / "small.onnx").read_bytes())
    assert not list(exported.glob(".*"))


def test_weights_of_another_network(write_card, exported: Path) -> None:
    folder = write_card(network={"name": "rdsnet", "classes": 7}, files={"torch": {"path": "weights.pt"}})
    (folder / "weights.pt").write_bytes((exported / "weights.pt").read_bytes())
    with pytest.raises(CardError, match=r"weights\.pt: holds no weights of rdsnet with 7 classes"):
        exporters.export(str(folder), "onnx")
