"""Is what the node needs installed, and does the model that it is to run work here?"""

import importlib
import os
import sys
import time
from importlib.util import find_spec
from typing import Any, List

import numpy as np

from seg_node import runtimes
from seg_node.model_card import ModelCard, load_card
from seg_node.ros.doctor import ERROR, OK, WARNING, Finding, Machine

_SLOW_TO_LOAD = ("tensorrt", "torch")  # an engine's build takes minutes
_PACKAGE = {"cv2": "opencv-python-headless", "yaml": "PyYAML"}


def check_ros(machine: Machine) -> List[Finding]:
    distro = machine.environ.get("ROS_DISTRO", "")
    if find_spec("rclpy") is not None:
        missing = [name for name in ("sensor_msgs", "diagnostic_msgs", "lifecycle_msgs") if find_spec(name) is None]
        if missing:
            apt = " ".join("ros-{}-{}".format(distro or "$ROS_DISTRO", name.replace("_", "-")) for name in missing)
            return [Finding("ros", ERROR, "{} not installed".format(", ".join(missing)), ("sudo apt install " + apt,))]
        return [Finding("ros", OK, "{}, Python {}.{}".format(distro or "ROS 2", *sys.version_info[:2]))]
    there = sorted(_folders(os.path.join(machine.root, "opt/ros")))
    if there and not distro:
        return [Finding("ros", ERROR, "no ROS 2 is sourced", ("source /opt/ros/{}/setup.bash".format(there[-1]),))]
    says = "this Python ({}) finds no rclpy".format(sys.executable)
    if distro:
        says += ", though {} is sourced: it was built for another Python, or a virtual environment hides it".format(
            distro
        )
        return [Finding("ros", ERROR, says, ("python3 -m venv --system-site-packages .venv",))]
    return [Finding("ros", ERROR, says, ("pip install -r requirements/ros-jazzy.txt   # or install ROS 2",))]


def check_libraries(machine: Machine) -> List[Finding]:
    found = []
    for name in ("numpy", "cv2", "yaml"):
        try:
            module = importlib.import_module(name)
            found.append("{} {}".format(name, getattr(module, "__version__", "")))
        except Exception as error:  # an OpenCV built for another numpy fails in its own ways
            fix = "pip install " + _PACKAGE.get(name, name)
            return [Finding("libraries", ERROR, "{} does not load: {}".format(name, error), (fix,))]
    return [Finding("libraries", OK, ", ".join(found))]


def check_runtimes(machine: Machine) -> List[Finding]:
    """What can run a network here."""
    found = []
    for name in runtimes.names():
        library = runtimes.backend(name).REQUIRES
        if runtimes.backend(name).RANK is not None and runtimes.is_installed(name):
            found.append("{} {}".format(library, _version(library)))
    if found:
        return [Finding("runtimes", OK, ", ".join(found))]
    return [
        Finding("runtimes", ERROR, "nothing that runs a network is installed", ("pip install openvino onnxruntime",))
    ]


def check_model(machine: Machine) -> List[Finding]:
    """The card, its files and their digests, and one inference of what ``auto`` takes."""
    try:
        card = load_card(machine.model)
    except (OSError, ValueError) as error:
        return [Finding("model", ERROR, str(error))]
    found = [finding for kind in sorted(card.files) for finding in _file(card, kind)]
    if any(finding.level == ERROR for finding in found):
        return found
    try:
        name = runtimes.choose(card)
    except ValueError as error:
        return found + [Finding("model", ERROR, str(error), ("pip install openvino",))]
    if name in _SLOW_TO_LOAD:
        return found + [
            Finding("model", OK, "{}: files are whole; {} would run it (not tried)".format(card.name, name))
        ]
    return found + [_try(card)]


def _file(card: ModelCard, kind: str) -> List[Finding]:
    try:
        card.files[kind].verify()
    except (OSError, ValueError) as error:
        return [Finding("model", ERROR, str(error), ("seg-node export {} --to ...".format(card.folder),))]
    why = card.stale(kind)
    says = "{}: {}".format(card.files[kind].path, why)
    return [Finding("model", WARNING, says, ("seg-node export {} --to ...".format(card.folder),))] if why else []


def _try(card: ModelCard) -> Finding:
    try:
        runtime = runtimes.load_runtime(card)
        images = np.zeros((runtime.batch or 1,) + tuple(card.size) + (3,), np.uint8)
        runtime.infer(images)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            runtime.infer(images)
            times.append(time.perf_counter() - start)
    except Exception as error:  # whatever a vendor library raises
        says = "{} does not run: {}".format(card.name, " ".join(str(error).split()))
        return Finding("model", ERROR, says, ("seg-node inspect {}".format(card.folder),))
    says = "{}: {} {} on {}, {:.1f} ms for {} of {}x{}".format(
        card.name,
        runtime.name,
        runtime.precision,
        runtime.device,
        1e3 * min(times),
        "an image" if len(images) == 1 else "{} images".format(len(images)),
        card.size[1],
        card.size[0],
    )
    runtime.close()
    return Finding("model", OK, says)


def _folders(path: str) -> List[str]:
    return os.listdir(path) if os.path.isdir(path) else []


def _version(library: str) -> str:
    try:
        module: Any = importlib.import_module(library)
        return str(getattr(module, "__version__", ""))
    except Exception as error:  # half installed
        return "does not load ({})".format(" ".join(str(error).split())[:80])


CHECKS = (check_ros, check_libraries, check_runtimes, check_model)
