"""A plug-in is a file; its name is the file's."""

import sys
from pathlib import Path

import pytest

from seg_node import plugins


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of two plug-ins, a shared part, and a plug-in whose library is not installed."""
    folder = tmp_path / "plugged"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "second.py").write_text("NAME = 'two'\n")
    (folder / "first.py").write_text("from plugged._shared import NAME\n")
    (folder / "_shared.py").write_text("NAME = 'one'\n")
    (folder / "vendors.py").write_text("import a_library_that_nobody_has\n")
    (folder / "notes.txt").write_text("no module")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "plugged"
    for name in [name for name in sys.modules if name.split(".")[0] == "plugged"]:
        del sys.modules[name]


def test_names_are_sorted_files_without_shared_parts_and_import_nothing(package: str) -> None:
    assert plugins.names(package) == ["first", "second", "vendors"]
    assert not [name for name in sys.modules if name.startswith("plugged.")]


def test_a_plugin_is_loaded_by_its_name(package: str) -> None:
    assert plugins.load(package, "first").NAME == "one" and plugins.load(package, "second").NAME == "two"


@pytest.mark.parametrize("name", ["third", "_shared", "", "first.x", "../first"])
def test_no_such_plugin_lists_those_there_are(package: str, name: str) -> None:
    with pytest.raises(ValueError, match="among the plugged: choose from first, second, vendors"):
        plugins.load(package, name)


def test_a_library_that_is_missing_says_its_name(package: str) -> None:
    with pytest.raises(ImportError, match="a_library_that_nobody_has"):
        plugins.load(package, "vendors")


def test_the_backends_are_found_without_their_libraries() -> None:
    assert {"fake", "onnx", "openvino", "torch"} <= set(plugins.names("seg_node.runtimes"))
