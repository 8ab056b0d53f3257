"""Who may import what (the design's table), and that what runs on the robot is Python 3.6."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "seg_node"
CORE = {"share", "plugins", "label_set", "model_card", "yaml_table"}

# package -> (modules of ours, libraries); every module may import the standard library and its own package
ALLOWED = {
    "networks": ({"plugins"}, {"torch"}),
    "pipeline": (CORE | {"runtimes"}, {"numpy", "cv2"}),
    "runtimes": (CORE, {"numpy"}),
    "datasets": (CORE, {"numpy", "cv2"}),
    "preparation": (CORE | {"datasets"}, {"numpy", "cv2"}),
    "sources": (CORE | {"datasets"}, {"numpy", "cv2", "av", "rosbags"}),
    "training": (
        CORE | {"networks", "datasets", "pipeline", "preparation"},
        {"torch", "lightning", "torchmetrics", "numpy", "cv2", "yaml"},
    ),
    "importing": (CORE | {"networks", "runtimes"}, {"torch", "safetensors", "numpy"}),
    "inspecting": (CORE | {"runtimes", "importing", "datasets"}, {"numpy", "yaml"}),
    "exporters": (CORE | {"networks", "runtimes", "datasets"}, {"torch", "onnx", "numpy", "cv2", "yaml"}),
    "evaluation": (CORE | {"datasets", "pipeline", "runtimes"}, {"numpy", "cv2", "av"}),
    "ros": (CORE | {"pipeline", "runtimes", "sources", "evaluation"}, None),
    "demo": (CORE | {"evaluation", "sources"}, {"rich", "yaml"}),
    "replay": (
        CORE | {"datasets", "sources", "pipeline", "runtimes", "evaluation", "demo"},
        {"numpy", "cv2", "av", "rosbags", "rich", "yaml"},
    ),
    "commands": (
        CORE
        | {"datasets", "runtimes", "training", "exporters", "evaluation", "pipeline", "sources", "demo", "replay"}
        | {"networks", "importing", "inspecting", "preparation"},
        None,
    ),
}
VENDORS = {
    "exporters/openvino.py": (set(), {"openvino"}),
    "exporters/quantise.py": ({"pipeline", "evaluation"}, {"openvino", "nncf"}),  # the loss is a robot's loss
    "exporters/_calibration.py": ({"sources", "pipeline"}, set()),
    "runtimes/torch.py": ({"networks"}, {"torch"}),
    "runtimes/_adapt.py": (set(), {"cv2"}),
    "runtimes/onnx.py": (set(), {"onnxruntime"}),
    "runtimes/openvino.py": (set(), {"openvino"}),
    "runtimes/_engine.py": (set(), {"tensorrt"}),
    "runtimes/_engine_builder.py": (set(), {"tensorrt", "polygraphy"}),
    "inspecting/onnx.py": (set(), {"onnx"}),
    "inspecting/openvino.py": (set(), {"openvino"}),
    "exporters/_qdq.py": ({"evaluation", "pipeline"}, {"onnxruntime"}),
    "exporters/_logits.py": (set(), {"onnxruntime", "openvino"}),
    "evaluation/flops.py": (set(), {"torch"}),
    "datasets/bag.py": ({"sources", "pipeline"}, {"rosbags"}),
    "replay/rerun_file.py": (set(), {"rerun"}),
    "replay/spread.py": (set(), {"ray"}),
    "replay/bag_names.py": (set(), {"fsspec"}),
    "evaluation/papers.py": ({"networks"}, {"torch"}),
    "evaluation/grad_cam.py": ({"networks"}, {"torch"}),
    "training/checkpoint.py": ({"evaluation"}, set()),
    "training/distillation.py": ({"runtimes"}, set()),
    "training/start.py": ({"runtimes"}, set()),
    "training/classifier.py": ({"runtimes"}, set()),
}
ROBOT = [
    *(PACKAGE / f"{name}.py" for name in CORE | {"__init__"}),
    *(path for folder in ("pipeline", "runtimes", "networks") for path in (PACKAGE / folder).glob("*.py")),
    *(PACKAGE / "ros").rglob("*.py"),
]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Absolute names that a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "seg_node":
                found |= {f"seg_node.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return found


def short(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [p for p in modules() if p.parent != PACKAGE], ids=short)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    import sys

    package = path.relative_to(PACKAGE).parts[0]
    ours, libraries = ALLOWED[package]
    more_ours, more_libraries = VENDORS.get(short(path), (set(), set()))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "seg_node":
            assert len(parts) == 1 or parts[1] in ours | more_ours | {package, "__version__"}, (
                f"{short(path)} imports {name}"
            )
        elif libraries is not None and parts[0] not in sys.stdlib_module_names:
            assert parts[0] in libraries | more_libraries, f"{short(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in modules() if "ros" not in p.relative_to(PACKAGE).parts[:1]], ids=short)
def test_only_ros_imports_rclpy(path: Path) -> None:
    ros = {
        "rclpy",
        "sensor_msgs",
        "std_msgs",
        "diagnostic_msgs",
        "lifecycle_msgs",
        "builtin_interfaces",
        "seg_node.ros",
    }
    for name in imports(path):
        assert not any(name == r or name.startswith(r + ".") for r in ros), f"{short(path)} imports {name}"


def test_messages_import_no_rclpy() -> None:
    assert not {name for name in imports(PACKAGE / "pipeline" / "messages.py") if name.split(".")[0] == "rclpy"}


@pytest.mark.parametrize("path", ROBOT, ids=short)
def test_what_runs_on_the_robot_parses_as_python_36(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
