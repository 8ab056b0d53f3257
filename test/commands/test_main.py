"""The command line as a person meets it: help, exit codes, one JSON object and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seg_node import commands, plugins
from seg_node.training.recipe import names


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "seg_node", *words], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", [name.rstrip("_").replace("_", "-") for name in plugins.names(commands.__name__)])
def test_every_subcommand_teaches_with_an_example(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        commands.main([name, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "example" in text and f"seg-node {name}" in text


@pytest.mark.parametrize("words", [[], ["evaluatte"], ["evaluate"], ["export", "x", "--to", "paper"]])
def test_wrong_arguments_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        commands.main(words)
    assert stop.value.code == 2


def test_what_cannot_be_done_exits_with_1_and_a_reason() -> None:
    done = run("evaluate", "no_such_model", "--dataset", "street")
    assert done.returncode == 1 and "no model 'no_such_model'" in done.stderr and "Traceback" not in done.stderr


def test_an_error_of_the_system_names_the_file_and_no_number(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert commands.main(["train", "nowhere.yaml", "--out", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err == "seg-node train: nowhere.yaml: no such file or directory\n"
    (tmp_path / "file").write_text("")
    sources = ["train=[{dataset: street, split: train}]", "validate={dataset: street, split: val}"]
    assert commands.main(["train", "rdsnet_camvid", "--out", str(tmp_path / "file"), *sources]) == 1
    assert f"{tmp_path / 'file'}: file exists" in capsys.readouterr().err


def test_a_reader_that_leaves_ends_it_without_a_traceback() -> None:
    words = [sys.executable, "-m", "seg_node", "train", "--list"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait(60) == 1


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "seg_node.training.loop", None)  # as if a library that it imports were missing
    assert commands.main(["train", "rdsnet_camvid", "--out", str(tmp_path)]) == 1
    assert "pip install -e '.[train]'" in capsys.readouterr().err


def test_train_lists_the_recipes(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        commands.main(["train", "--help"])
    assert "--list" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        commands.main(["train", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and len(lines) == len(names())
    assert any(line.split()[0] == "rdsnet_camvid" and "rdsnet Table III, 58.3 %" in line for line in lines)
    assert commands.main(["train", "rdsnet_camvit", "--out", "x"]) == 2
    assert "near it: rdsnet_camvid" in capsys.readouterr().err


def test_evaluate_prints_one_json_object(exported: Path) -> None:
    done = run("evaluate", str(exported), "--dataset", "street", "--runtime", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {
        "model",
        "dataset",
        "split",
        "void",
        "images",
        "miou",
        "iou",
        "pixel_accuracy",
        "class_accuracy",
        "frequency_weighted_iou",
        "category_iou",
        "category_miou",
        "instance_iou",
        "instance_miou",
        "category_instance_iou",
        "category_instance_miou",
        "gt_scale",
        "runtime",
        "precision",
        "device",
        "ms_per_image",
    }
    assert result["images"] == 100 and 0 <= result["miou"] <= 1 and set(result["ms_per_image"]) == {"p50", "p95"}


def test_export_prints_one_json_object_and_no_chatter(exported: Path, tmp_path: Path) -> None:
    model = shutil.copytree(exported, tmp_path / "small")
    done = run("export", str(model), "--to", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("small: ") for line in done.stderr.splitlines()), "what goes on, and no warnings"
    told = json.loads(done.stdout)
    assert {"kind", "file", "bytes", "precision", "opset", "parity"} <= set(told) and told["parity"]["passed"]


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from seg_node.commands import _parser; _parser(); "
        "print([m for m in ('torch', 'lightning', 'onnx', 'onnxruntime', 'openvino', 'rclpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done
