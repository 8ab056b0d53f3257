"""Where the package's files (config, models, launch) lie.

Three homes, tried in this order: the source tree, an ament prefix (colcon, a ROS host), and the Python
environment's own prefix (``pip install .``).
"""

import os
import sys
from pathlib import Path
from typing import Iterator


def _homes() -> Iterator[Path]:
    yield Path(__file__).resolve().parent.parent
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / "seg_node"
    yield Path(sys.prefix) / "share" / "seg_node"


def share_path(relative: str) -> Path:
    """Return the path of a shipped file or folder, e.g. ``"config/labels/camvid11.yaml"``.

    Raises FileNotFoundError that names every place that was looked at.
    """
    places = [home / relative for home in _homes()]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError("no {} in this installation; looked at {}".format(relative, looked))


def shipped(folder: str, pattern: str) -> "list[Path]":
    """Return the shipped paths under ``folder`` that match a glob pattern; the first home wins."""
    for home in _homes():
        if (home / folder).is_dir():
            return sorted((home / folder).glob(pattern))
    return []
