"""A model is whole at every moment of an export: before, after, and after a kill anywhere between."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from cards import card_table

pytest.importorskip("torch")

from seg_node.exporters import _publish
from seg_node.model_card import CardError, ModelCard, load_card, sha256

OLD, NEW = b"the old graph", b"the new graph, longer"


def model_with(folder: Path, content: bytes) -> ModelCard:
    """A model whose OpenVINO file has two parts."""
    folder.mkdir()
    for name in ("weights.pt", "small.xml", "small.bin"):
        (folder / name).write_bytes(content + name.encode())
    parts = {name: sha256(folder / name) for name in ("weights.pt", "small.xml", "small.bin")}
    files = {
        "torch": {"path": "weights.pt", "sha256": parts["weights.pt"]},
        "openvino": {"path": "small.xml", "sha256": parts["small.xml"], "beside": {"small.bin": parts["small.bin"]}},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card_table(files=files)))
    return load_card(folder)


def publish_new(card: ModelCard) -> None:
    from seg_node.exporters import Artefact

    with _publish.staging(card.folder) as staged:
        for name in ("small.xml", "small.bin"):
            (staged / name).write_bytes(NEW + name.encode())
        artefact = Artefact("openvino", staged / "small.xml", {"precision": "fp32"}, {})
        _publish.publish(card, staged, {"openvino": _publish.entry(card, artefact)}, {})


def content(folder: Path) -> bytes:
    """What the model's file says; raises where the card and its files do not fit together."""
    card = load_card(folder)
    path = card.file("openvino")
    kinds = {path.read_bytes()[: -len("small.xml")], (path.parent / "small.bin").read_bytes()[: -len("small.bin")]}
    assert len(kinds) == 1, "both parts are of one export"
    return kinds.pop()


def killed_at(step: int, folder: Path) -> bool:
    """Export in a process that dies, with nothing cleaned up, before its ``step``-th change of a file's name."""
    child = os.fork()
    if child == 0:
        count, replace = 0, os.replace

        def dying(*paths: object, **options: object) -> None:
            nonlocal count
            count += 1
            if count == step:
                os._exit(9)
            replace(*paths, **options)

        os.replace = dying  # pathlib renames by it too
        Path.replace = lambda self, to: dying(str(self), str(to))
        code = 1
        try:
            publish_new(load_card(folder))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_kill_at_any_moment_leaves_a_model_that_loads(tmp_path: Path) -> None:
    seen = []
    for step in range(1, 50):
        folder = tmp_path / str(step)
        model_with(folder, OLD)
        killed = killed_at(step, folder)
        seen.append(content(folder))
        _publish.finish(folder)  # as the next export begins
        assert content(folder) == seen[-1]
        assert {path.name for path in folder.iterdir()} - {
            "small.bin.partial",
            "small.xml.partial",
            "card.partial",
        } == {
            "card.yaml",
            "small.bin",
            "small.xml",
            "weights.pt",
        }
        if not killed:
            break
    assert len(seen) >= 5 and seen[0] == OLD and seen[-1] == NEW
    assert seen == sorted(seen, key=(OLD, NEW).index), "once new, never old again"


def test_a_staging_folder_without_a_card_that_names_it_is_removed(tmp_path: Path) -> None:
    card = model_with(tmp_path / "m", OLD)
    (card.folder / ".export-left").mkdir()
    (card.folder / ".export-left" / "small.xml").write_bytes(b"half")
    _publish.finish(card.folder)
    assert not (card.folder / ".export-left").exists() and content(card.folder) == OLD


def test_two_exports_of_one_model_at_a_time(tmp_path: Path) -> None:
    card = model_with(tmp_path / "m", OLD)
    with (
        _publish.locked(card.folder),
        pytest.raises(FileExistsError, match="another export of this model is at work"),
        _publish.locked(card.folder),
    ):
        pass
    with _publish.locked(card.folder):
        publish_new(card)
    assert content(card.folder) == NEW


def test_an_export_that_must_wait_removes_nothing_of_the_others(tmp_path: Path) -> None:
    card, out = model_with(tmp_path / "m", OLD), tmp_path / "other"
    with _publish.another_model(card, (128, 128), out) as folder:
        with (
            pytest.raises(FileExistsError, match="another export of this model is at work"),
            _publish.another_model(card, (128, 128), out),
        ):
            pass
        assert (folder / "card.yaml").is_file()
    assert (out / "card.yaml").is_file()


def test_a_folder_that_cannot_be_written_to_says_where_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped model's, of another user; the tests may run as root, who can write anywhere."""

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    card = model_with(tmp_path / "m", OLD)
    monkeypatch.setattr("tempfile.mkdtemp", denied)
    with pytest.raises(PermissionError, match="m: cannot be written to; choose --out"), _publish.staging(card.folder):
        pass


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_a_part_beside_is_verified(tmp_path: Path, damage: str) -> None:
    card = model_with(tmp_path / "m", OLD)
    path = card.folder / "small.bin"
    path.unlink() if damage == "gone" else path.write_bytes(b"other")
    with pytest.raises((CardError, FileNotFoundError), match=r"small\.bin"):
        card.file("openvino")


def test_a_file_made_of_other_weights_or_settings_is_refused(tmp_path: Path) -> None:
    card = model_with(tmp_path / "m", OLD)
    publish_new(card)
    assert load_card(card.folder).stale("openvino") == ""
    table = yaml.safe_load((card.folder / "card.yaml").read_text())

    def load_with(**changes: object) -> ModelCard:
        (card.folder / "card.yaml").write_text(yaml.safe_dump({**table, **changes}))
        return load_card(card.folder)

    with pytest.raises(CardError, match=r"small\.xml: was made when card\.yaml said otherwise.*--to openvino"):
        load_with(input={**table["input"], "mean": [0.4, 0.4, 0.5]}).file("openvino")
    shutil.copy(card.folder / "small.bin", card.folder / "weights.pt")
    digest = sha256(card.folder / "weights.pt")
    for torch in ({"path": "weights.pt", "sha256": digest}, {"path": "weights.pt"}):
        with pytest.raises(CardError, match=r"small\.xml: was made from other weights than weights\.pt; export it"):
            load_with(files={**table["files"], "torch": torch}).file("openvino")
    assert load_with(licence="new words", scores={"miou": 0.5}).stale("openvino") == ""
    assert load_with(files={"openvino": table["files"]["openvino"]}).file("openvino"), "a robot has no weights"
