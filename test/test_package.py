"""The ROS package as a workspace and as pip install it: everything where ROS looks for it."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seg_node import __version__

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


def test_every_ros_package_that_the_node_imports_is_a_dependency() -> None:
    wanted = set()
    for path in (ROOT / "seg_node" / "ros").glob("*.py"):
        wanted |= set(re.findall(r"^ *(?:from|import) (rclpy|\w+_(?:msgs|interfaces))\b", path.read_text(), re.M))
    named = set(re.findall(r"<exec_depend>(.*)</exec_depend>", (ROOT / "package.xml").read_text()))
    assert {"rclpy", "sensor_msgs", "rcl_interfaces"} <= wanted <= named


def test_the_jetson_launch_leaves_to_the_parameter_file_what_nobody_asked_for() -> None:
    tree = ast.parse((ROOT / "launch" / "jetson.launch.py").read_text())
    table = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "PASSED_ON")
    defaults = {name: default for name, default, _ in ast.literal_eval(table)}
    assert {name for name, default in defaults.items() if default} == {"image"}


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


def test_pip_of_python_36_can_build_it() -> None:
    """Python 3.6 has no setuptools after 59.6."""
    assert 'requires = ["setuptools"]' in (ROOT / "pyproject.toml").read_text()


def test_one_version_everywhere() -> None:
    for name, says in (("setup.py", f'version="{__version__}"'), ("package.xml", f"<version>{__version__}</version>")):
        assert says in (ROOT / name).read_text(), name
