"""The ROS package as a workspace and as pip install it: everything where ROS looks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the sources in a fresh workspace."""
    target = tmp_path / "ws" / "src" / "seg_node"
    wanted = ["seg_node", "config", "launch", "models", "resource", "scripts"]
    for name in wanted:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("package.xml", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def check(prefix: Path) -> None:
    """Everything that ROS looks for under an install prefix."""
    assert (prefix / "share/ament_index/resource_index/packages/seg_node").is_file()
    share = prefix / "share" / "seg_node"
    assert (share / "package.xml").is_file()
    for folder in ("config", "launch", "models"):
        there = {
            p.relative_to(ROOT / folder)
            for p in (ROOT / folder).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts and not p.name.startswith(".")
        }
        assert there and there == {
            p.relative_to(share / folder)
            for p in (share / folder).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
    for name in ("segmentation_node", "camera", "seg-node"):
        assert os.access(prefix / "lib" / "seg_node" / name, os.X_OK), name


def test_colcon_builds_it(source: Path) -> None:
    if shutil.which("colcon", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("colcon is not installed beside this Python")
    workspace = source.parent.parent
    colcon = [str(Path(sys.executable).parent / "colcon")]
    listed = subprocess.run([*colcon, "list"], cwd=workspace, capture_output=True, text=True, timeout=60)
    assert "(ros.ament_python)" in listed.stdout, listed.stdout + listed.stderr
    built = subprocess.run(
        [*colcon, "build", "--packages-select", "seg_node"], cwd=workspace, capture_output=True, text=True, timeout=120
    )
    assert built.returncode == 0, built.stdout + built.stderr
    prefix = workspace / "install" / "seg_node"
    check(prefix)
    env = {
        **os.environ,
        "AMENT_PREFIX_PATH": str(prefix),
        "PYTHONPATH": str(next(prefix.glob("lib/python3*/site-packages"))),
    }
    helped = subprocess.run(
        [str(prefix / "lib" / "seg_node" / "seg-node"), "evaluate", "--help"],
        cwd=workspace,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert helped.returncode == 0 and "camvid" in helped.stdout, helped.stderr


def test_pip_puts_it_where_ros_looks(source: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--no-build-isolation",
            "--quiet",
            "--ignore-installed",
            "--prefix",
            str(prefix),
            str(source),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    packages = next(prefix.glob("**/seg_node/share.py")).parent.parent
    (packages / "config" / "labels").mkdir(parents=True)  # another package's, as pip sometimes leaves them
    says = "from seg_node import label_set; print(label_set.names())"
    listed = subprocess.run(
        [sys.executable, "-c", says],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(packages), "AMENT_PREFIX_PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "camvid11" in listed.stdout, listed.stdout + listed.stderr
    check(prefix)
