from pathlib import Path

import pytest
from cards import card_table

from seg_node.model_card import CardError, load_card, names, sha256


def test_a_card_reads_what_it_says(write_card) -> None:
    card = load_card(write_card())
    assert card.size == (48, 64) and card.channels == "bgr" and card.classes == 11
    assert card.scale == 255 and card.layout == "nhwc" and card.output == "labels"


@pytest.mark.parametrize("name", names())
def test_every_shipped_card_reads_and_its_files_are_whole(name: str) -> None:
    card = load_card(name)
    assert card.name == name
    for file in card.files.values():
        assert file.sha256, "a shipped file has a digest"
        file.verify()


@pytest.mark.parametrize("section, key", [(None, "sise"), ("input", "sise"), ("network", "class"), ("output", "kin")])
def test_an_unknown_key_fails_with_its_name_and_the_file(write_card, section, key) -> None:
    changes = {key: 1} if section is None else {section: {**card_table()[section], key: 1}}
    folder = write_card(**changes)
    with pytest.raises(CardError, match=f"card.yaml.*{key}.*known are"):
        load_card(folder)


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("input", "size", [48]),
        ("input", "size", [0, 64]),
        ("input", "size", "48x64"),
        ("input", "channels", "gbr"),
        ("input", "std", [1, 0, 1]),
        ("input", "mean", [1, 2]),
        ("input", "scale", 0),
        ("input", "dtype", "int8"),
        ("network", "classes", 0),
        ("network", "classes", "11"),
        ("output", "kind", "masks"),
        ("input", "size", [48.5, 64]),
        ("input", "mean", [float("nan"), 0, 0]),
        ("input", "std", [float("inf"), 1, 1]),
        ("network", "classes", True),
        ("network", "name", 5),
        ("network", "options", [1]),
        ("network", "options", {1: 2}),
        ("output", "ignored_classes", 11),
        ("output", "ignored_classes", "11"),
        ("output", "ignored_classes", [-1]),
        ("output", "ignored_classes", [256]),
        ("files", "onnx", {"path": 5}),
        ("files", "onnx", {"path": "x", "sha256": 12345}),
        ("files", "onnx", "small.onnx"),
        ("files", "pickle", {"path": "x"}),
    ],
)
def test_a_wrong_value_fails_with_its_key(write_card, section, key, value) -> None:
    folder = write_card(**{section: {**card_table()[section], key: value}})
    with pytest.raises(CardError, match=f"{section}.{key}"):
        load_card(folder)


@pytest.mark.parametrize("name", [None, 5, "", "a/b"])
def test_a_name_is_text_that_can_name_a_file(write_card, name) -> None:
    with pytest.raises(CardError, match="'name'"):
        load_card(write_card(name=name))


def test_a_key_written_twice(write_card) -> None:
    folder = write_card()
    with open(folder / "card.yaml", "a") as file:
        file.write("output: {kind: logits}\n")
    with pytest.raises(CardError, match=r"card\.yaml.*'output' is written twice"):
        load_card(folder)


def test_no_such_model_lists_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match="neither a folder"):
        load_card("no_such_model")


def test_text_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("{")
    with pytest.raises(CardError, match="not YAML"):
        load_card(tmp_path)
    (tmp_path / "card.yaml").write_text("- a\n- b\n")
    with pytest.raises(CardError, match="table of keys"):
        load_card(tmp_path)


def test_files_are_checked_when_used(write_card, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"one")
    good = sha256(tmp_path / "net.onnx")
    card = load_card(write_card(files={"onnx": {"path": "net.onnx", "sha256": good}}))
    assert card.file("onnx") == tmp_path / "net.onnx"
    (tmp_path / "net.onnx").write_bytes(b"two")
    with pytest.raises(CardError, match="sha256 differs"):
        card.file("onnx")
    (tmp_path / "net.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.onnx"):
        card.file("onnx")
    with pytest.raises(CardError, match="names no 'torch' file"):
        card.file("torch")
