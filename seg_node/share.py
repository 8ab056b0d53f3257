"""Where the package's files (config, models, launch) lie.

Three homes, tried in this order: the source tree, an ament prefix (colcon, a ROS host), and the prefix that this file
lies in (``pip install .``, into whichever environment). A home has the package's ``package.xml``: other packages leave
folders named ``models`` or ``launch`` beside ours.
"""

import os
from pathlib import Path
from typing import Iterator


def _homes() -> Iterator[Path]:
    above = list(Path(__file__).resolve().parents)[1:]
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for home in [above[0]] + [prefix / "share" / "seg_node" for prefix in prefixes + above]:
        if (home / "package.xml").is_file():
            yield home


def share_path(relative: str) -> Path:
    """Return the path of a shipped file or folder, e.g. ``"config/labels/camvid11.yaml"``.

    Raises FileNotFoundError that names every place that was looked at.
    """
    places = [home / relative for home in _homes()]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in places) or "no home with a package.xml"
    raise FileNotFoundError("no {} in this installation; looked at {}".format(relative, looked))


def shipped(folder: str, pattern: str) -> "list[Path]":
    """Return the shipped paths under ``folder`` that match a glob pattern; the first home wins."""
    for home in _homes():
        if (home / folder).is_dir():
            return sorted((home / folder).glob(pattern))
    return []


def cache_folder() -> Path:
    """Return where what can be made again is kept: SEG_NODE_CACHE, or seg_node in the user's cache folder."""
    own = os.environ.get("SEG_NODE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(own) if own else Path(base) / "seg_node"
