"""What a ROS parameter file says, for launch files that choose what it leaves open."""

from pathlib import Path
from typing import Any

import yaml


def value_in(path: str, name: str) -> Any:
    """Return a parameter's value, of whichever node's part it is; None where the file is silent, or is none."""
    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # the node will say so
        return None
    return _find(table, name)


def _find(table: Any, name: str) -> Any:
    if not isinstance(table, dict):
        return None
    here = table.get("ros__parameters")
    if isinstance(here, dict) and name in here:
        return here[name]
    found = (_find(part, name) for part in table.values())
    return next((value for value in found if value is not None), None)
