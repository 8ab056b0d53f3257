"""What a measurement was made on: a number without it says little."""

import contextlib
import functools
import os
import platform
import subprocess
import sys
from pathlib import Path

from seg_node import __version__

_LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch", "rclpy", "av")


def hardware() -> dict[str, str | int]:
    """Return processor, cores that this process may use, and machine type."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return {"cpu": _cpu(), "cores": cores, "machine": platform.machine(), "system": platform.platform()}


def machine() -> str:
    """Return processor, cores and GPU in a line."""
    about = hardware()
    gpu = _gpu()
    return f"{about['cpu']}, {about['cores']} cores" + (f", {gpu}" if gpu else "")


def commit() -> str:
    """Return the source tree's git commit, with "+changes" where it is not clean; "unknown" outside git."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent.parent
        return subprocess.run(["git", *words], cwd=folder, text=True, check=True, capture_output=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@functools.cache
def _gpu() -> str:
    """Return the name of NVIDIA's first GPU; "" where there is none, or its tool is not installed."""
    words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(words, text=True, check=True, capture_output=True, timeout=20.0).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return ""
    return names[0].strip() if names else ""


def _cpu() -> str:
    try:
        with open("/proc/device-tree/model", encoding="utf-8") as file:  # a Jetson says which one it is
            return file.read().rstrip("\0\n")
    except (OSError, UnicodeDecodeError):
        pass
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
            return names[0] if names else platform.processor() or "unknown"
    except OSError:
        return platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"seg_node": __version__, "python": "{}.{}.{}".format(*sys.version_info[:3])}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    if os.environ.get("ROS_DISTRO"):
        found["ros"] = os.environ["ROS_DISTRO"]
    return found
