"""Every module that a robot runs can be imported by the Python that the robot has."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "seg_node"
# what `make demo` and `replay --live` start beside the node, on a machine where people sit
OF_THE_DESK = {"ros/camera", "ros/demo_recorder", "ros/replay_camera"}
ROBOT = ("pipeline", "runtimes", "networks", "ros", "ros/doctor")
NOT_ON_PYPI = {"rclpy", "torch"}  # for a robot's Python and processor: a robot has its vendor's own


def files():
    """Paths of what runs on a robot."""
    paths = [path for path in PACKAGE.glob("*.py") if path.stem != "__main__"]
    paths += [path for folder in ROBOT for path in (PACKAGE / folder).glob("*.py")]
    return sorted(path for path in paths if str(path.relative_to(PACKAGE).with_suffix("")) not in OF_THE_DESK)


def module(path):
    """The name of a file as a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def at_import(path):
    """Absolute names that a file imports while it is imported itself: those outside of functions."""
    todo = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            for alias in node.names:
                yield node.module + "." + alias.name
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def needs(name, known, seen=()):
    """Top-level libraries, not ours, that importing module ``name`` imports."""
    found = set()
    for imported in at_import(known[name]):
        parents = [".".join(imported.split(".")[:count]) for count in range(1, imported.count(".") + 2)]
        if parents[0] != "seg_node":
            found.add(parents[0])
        for ours in parents:
            if ours in known and ours not in seen:
                seen += (ours,)
                found |= needs(ours, known, seen)
    return found


KNOWN = {module(path): path for path in files()}
PLAIN = [
    name
    for name in sorted(KNOWN)
    if not any(top in NOT_ON_PYPI or top.endswith(("_msgs", "_interfaces")) for top in needs(name, KNOWN))
    and not name.startswith("seg_node.networks")  # the package itself imports PyTorch
]


def test_the_list_is_not_empty_by_mistake():
    assert {"seg_node.model_card", "seg_node.pipeline.segmenter", "seg_node.runtimes.onnx"} <= set(PLAIN)
    assert {"seg_node.ros.transport", "seg_node.ros.jetson", "seg_node.ros.engine"} <= set(PLAIN)
    assert not {"seg_node.networks.rdsnet", "seg_node.ros.node"} & set(PLAIN)


@pytest.mark.parametrize("name", PLAIN)
def test_it_imports(name):
    importlib.import_module(name)


def test_all_of_them_import_with_stand_ins_for_ros_and_the_vendors():
    """The node and the networks, too: what they do while they are imported runs in this Python."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, str(Path(__file__).parent / "stand_ins.py")] + sorted(KNOWN)
    result = subprocess.run(command, stderr=subprocess.PIPE, universal_newlines=True, env=environment)
    assert result.returncode == 0, result.stderr


def run(*words):
    """Run this Python where the repository lies."""
    return subprocess.run(
        (sys.executable,) + words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        cwd=str(ROOT),
    )


if sys.version_info >= (3, 10):

    def test_the_command_line_needs_neither_pytorch_nor_ros():
        """Where they are installed they are hidden: `make demo` installs no PyTorch."""
        hide = "import sys; sys.modules.update(torch=None, rclpy=None); sys.argv[1:] = ['--help']; "
        result = run("-c", hide + "from seg_node.commands import main; main()")
        assert result.returncode == 0 and "demo" in result.stdout, result.stderr

else:

    @pytest.mark.parametrize("name", ["seg_node", "seg_node.ros.camera"])
    def test_what_is_for_a_desk_says_so_where_python_is_too_old(name):
        """Not a traceback about a type that cannot be subscripted."""
        result = run("-m", name, "--help")
        assert result.returncode == 1
        assert "needs Python 3.10 or newer; this is 3." in result.stderr.splitlines()[-1]
