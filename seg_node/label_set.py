"""Class names, colours and raw-id mapping of a data set, read from ``config/labels/<name>.yaml``.

Knows nothing of networks: class ids are 0 to ``count - 1``, and 255 is unlabelled everywhere.
"""

from pathlib import Path
from typing import Dict, NamedTuple, Tuple, Union

import numpy as np
import yaml

from seg_node.share import share_path, shipped

UNLABELLED = 255
_KEYS = {"name", "title", "classes", "unlabelled", "raw_ids"}


class LabelSet(NamedTuple):
    """What the numbers in a label image mean."""

    name: str
    names: Tuple[str, ...]  # class id -> name
    palette: np.ndarray  # uint8 (256, 3) BGR: class id -> colour; black where there is no class
    raw_ids: np.ndarray  # uint8 (256,): id in the data set's files -> class id or 255

    @property
    def class_count(self) -> int:
        return len(self.names)

    def check(self, labels: np.ndarray, where: str) -> None:
        """Raise ValueError if ``labels`` (uint8, any shape) holds an id that is no class and not 255."""
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
        wrong = [int(i) for i in present if i >= self.class_count and i != UNLABELLED]
        if wrong:
            raise ValueError(
                "{}: label ids {} are not in label set {} (0 to {}, and 255)".format(
                    where, wrong, self.name, self.class_count - 1
                )
            )


def names() -> Tuple[str, ...]:
    """Return the names of the shipped label sets."""
    return tuple(path.stem for path in shipped("config/labels", "*.yaml"))


def load_label_set(name: Union[str, Path]) -> LabelSet:
    """Read a label set by its name or by the path of a YAML file.

    Raises ValueError naming the file and the key where something is wrong, or the names there are.
    """
    path = Path(name)
    if path.suffix != ".yaml":
        if str(name) not in names():
            raise ValueError("no label set '{}': choose from {}, or give a .yaml file".format(name, ", ".join(names())))
        path = share_path("config/labels/{}.yaml".format(name))
    with open(str(path), encoding="utf-8") as file:
        table = yaml.safe_load(file)
    try:
        return _parse(table)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError("{}: not a label set: {}".format(path, error)) from error


def _parse(table: Dict) -> LabelSet:
    unknown = set(table) - _KEYS
    if unknown:
        raise ValueError("unknown keys {}".format(sorted(unknown)))
    classes = table["classes"]
    palette = np.zeros((256, 3), np.uint8)
    for index, entry in enumerate(classes):
        palette[index] = entry["color"][::-1]  # RGB in the file, as people write colours
    raw_ids = np.full(256, UNLABELLED, np.uint8)
    raw = table.get("raw_ids") or {index: index for index in range(len(classes))}
    for raw_id, class_id in raw.items():
        raw_ids[int(raw_id)] = class_id
    return LabelSet(str(table["name"]), tuple(entry["name"] for entry in classes), palette, raw_ids)
