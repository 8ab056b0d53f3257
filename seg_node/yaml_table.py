"""Read a YAML file that is one table, strictly: a key written twice is an error, not the second one's silent win."""

from pathlib import Path
from typing import Any, Dict, Union

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, "key '{}' is written twice".format(key), node.start_mark
                )
        table: Dict[Any, Any] = super().construct_mapping(node, deep)
        return table


def read_table(path: Union[str, Path]) -> Dict[Any, Any]:
    """Return the table. Raises ValueError that names the file where it is no YAML or no table; OSError for no file."""
    try:
        with open(str(path), encoding="utf-8") as file:
            table = yaml.load(file, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError("{}: not YAML: {}".format(path, error)) from error
    if not isinstance(table, dict):
        raise ValueError("{}: must be a table of keys; this is {}".format(path, type(table).__name__))
    return table
