"""Class names, colours and raw-id mapping of a data set, read from ``config/labels/<name>.yaml``.

Knows nothing of networks: class ids are 0 to ``count - 1``, and 255 is unlabelled everywhere.
"""

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from seg_node.share import share_path, shipped
from seg_node.yaml_table import read_table

UNLABELLED = 255
_KEYS = {"name", "title", "classes", "raw_ids", "void", "categories"}


class LabelSet(NamedTuple):
    """What the numbers in a label image mean."""

    name: str
    names: Tuple[str, ...]  # class id -> name
    palette: np.ndarray  # uint8 (256, 3) BGR: class id -> colour; black where there is no class
    raw_ids: np.ndarray  # uint8 (256,): id in the data set's files -> class id or 255
    void: Optional[int] = None  # the class that means "none of the others", where networks learn one
    categories: Tuple[Tuple[str, Tuple[int, ...]], ...] = ()  # groups of classes, where the data set scores them too

    @property
    def class_count(self) -> int:
        return len(self.names)

    def to(self, other: "LabelSet") -> np.ndarray:
        """Return uint8 (256,): class id here -> class id there, by name; void and what is no class -> 255.

        Raises ValueError where the two do not name the same classes, void apart.
        """
        here = [name for index, name in enumerate(self.names) if index != self.void]
        there = [name for index, name in enumerate(other.names) if index != other.void]
        if sorted(here) != sorted(there):
            differ = sorted(set(here) ^ set(there))
            more = " and {} more".format(len(differ) - 5) if len(differ) > 5 else ""
            raise ValueError(
                "label sets {} and {} name different classes ({}{}): labels go from one to the other by their names; "
                "take a model and data of the same classes".format(self.name, other.name, ", ".join(differ[:5]), more)
            )
        table = np.full(256, UNLABELLED, np.uint8)
        for name in here:
            table[self.names.index(name)] = other.names.index(name)
        return table

    def check(self, labels: np.ndarray, where: str) -> None:
        """Raise ValueError if ``labels`` (uint8, any shape) holds an id that is no class and not 255."""
        # wraps: what is left below is neither a class nor 255; five times as fast as counting
        if not np.any(np.subtract(labels, self.class_count, dtype=np.uint8, casting="unsafe") < 255 - self.class_count):
            return
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
    table = read_table(path)
    try:
        return _parse(table)
    except ValueError as error:
        raise ValueError("{}: not a label set: {}".format(path, error)) from error


def _parse(table: Dict) -> LabelSet:
    if not {"name", "classes"} <= set(table) <= _KEYS:
        raise ValueError("has the keys {}; known are {}".format(list(table), ", ".join(sorted(_KEYS))))
    classes = table["classes"]
    if not isinstance(classes, list) or not 1 <= len(classes) <= UNLABELLED:
        raise ValueError("key 'classes': must be a list of 1 to {} classes".format(UNLABELLED))
    palette = np.zeros((256, 3), np.uint8)
    class_names: List[str] = []
    for index, entry in enumerate(classes):
        right = isinstance(entry, dict) and set(entry) == {"name", "color"} and isinstance(entry["name"], str)
        if not right or entry["name"] in class_names or not _is_color(entry["color"]):
            raise ValueError(
                "class {} is {!r}; must be {{name: TEXT, color: [RED, GREEN, BLUE]}}, colours 0 to 255, each name once "
                "(in quotes if it is a word such as on or no)".format(index, entry)
            )
        class_names.append(entry["name"])
        palette[index] = entry["color"][::-1]  # RGB in the file, as people write colours
    raw_ids = np.full(256, UNLABELLED, np.uint8)
    raw = table.get("raw_ids") or {index: index for index in range(len(classes))}
    if not isinstance(raw, dict):
        raise ValueError("key 'raw_ids': must be a table of raw id: class id")
    for raw_id, class_id in raw.items():
        if raw_id not in range(256) or (class_id not in range(len(classes)) and class_id != UNLABELLED):
            raise ValueError(
                "raw_ids {!r}: {!r}; must map 0 to 255 to 0 to {}, or to 255".format(raw_id, class_id, len(classes) - 1)
            )
        raw_ids[int(raw_id)] = class_id
    void = table.get("void")
    if void is not None and (type(void) is not int or void not in range(len(classes))):
        raise ValueError("key 'void': is {!r}; must be the id of a class".format(void))
    categories = _categories(table.get("categories") or {}, class_names)
    return LabelSet(str(table["name"]), tuple(class_names), palette, raw_ids, void, categories)


def _categories(table: object, class_names: List[str]) -> Tuple[Tuple[str, Tuple[int, ...]], ...]:
    if not isinstance(table, dict):
        raise ValueError("key 'categories': must be a table of category: [class names]")
    taken: List[str] = []
    for category, members in table.items():
        wrong = not isinstance(members, list) or not members or any(name not in class_names for name in members)
        if wrong or len(set(members)) < len(members) or set(members) & set(taken):
            raise ValueError(
                "categories {!r}: {!r}; must be a list of class names, each in one category".format(category, members)
            )
        taken += members
    return tuple((str(name), tuple(class_names.index(m) for m in members)) for name, members in table.items())


def _is_color(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(part in range(256) for part in value)
