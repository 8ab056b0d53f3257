"""Recipes as plain tables: read from YAML with the recipe they build on, changed, and made into typed fields.

Knows nothing of what the keys mean, but for ``base`` and ``stages``.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from seg_node.yaml_table import read_table

Table = dict[str, Any]


def read(path: Path, find: Callable[[str, Path], Path], seen: tuple[Path, ...] = ()) -> Table:
    """Return the file's table; with ``base: RECIPE``, that recipe's with this one's keys over it.

    ``find``: (name, the file it stands in) to the path of a recipe. Raises ValueError that names the file.
    """
    table = read_table(path)
    base = table.pop("base", None)
    if base is None:
        return table
    if path in seen:
        raise ValueError(f"{path}: key 'base': leads back to itself")
    try:
        under = read(find(str(base), path), find, (*seen, path))
    except ValueError as error:
        raise ValueError(f"{path}: key 'base': {error}") from error
    return {**under, **{key: merged(under.get(key), value) for key, value in table.items()}}


def merged(under: Any, over: Any) -> Any:
    """Return ``over`` on top of ``under``: tables key by key, but one with a name of its own replaces the other."""
    if not (isinstance(under, dict) and isinstance(over, dict)) or "name" in over:
        return over
    return {**under, **{key: merged(under.get(key), value) for key, value in over.items()}}


def with_stages(table: Table) -> Table:
    """Return the table with each stage as a whole recipe: what it does not say is as the recipe says.

    Only the first begins with the recipe's ``start``; the others with what the one before trained.
    """
    stages = table.get("stages") or []
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ValueError("key 'stages': must be a list of tables")
    if any(stage.get("stages") for stage in stages):
        raise ValueError("key 'stages': a stage must have no stages of its own")
    common = {key: value for key, value in table.items() if key not in ("stages", "reported")}
    whole = [{**common, **{key: merged(common.get(key), value) for key, value in s.items()}} for s in stages]
    for stage, said in list(zip(whole, stages, strict=True))[1:]:
        stage["start"] = said.get("start")
    return {**table, "stages": whole}


def apply(table: Table, change: str) -> None:
    """Set one key; in all stages, or with ``stages.NAME.`` before it in that one."""
    key, equals, value = change.partition("=")
    if not equals:
        raise ValueError(f"'{change}' is no change: write key=value, as epochs=10 or optimizer.lr=0.001")
    try:
        meant = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"'{change}': {value} is not YAML: {error}") from error
    stages = table.get("stages") or []
    first, _, rest = key.partition(".")
    if first == "stages" and rest:
        name, _, key = rest.partition(".")
        chosen = [stage for stage in stages if stage.get("name") == name]
        if not chosen or not key:
            known = ", ".join(str(stage.get("name")) for stage in stages) or "none"
            raise ValueError(f"'{change}': write stages.NAME.key=value; the recipe's stages: {known}")
        _set(chosen[0], key, meant, change)
        return
    _set(table, key, meant, change)
    for stage in stages[:1] if first == "start" else stages:  # the others begin with what the one before trained
        if first in stage and first != "name":
            _set(stage, key, meant, change)


def _set(table: Table, key: str, value: Any, change: str) -> None:
    *way, last = key.split(".")
    for step in way:
        if table.get(step) is None:
            table[step] = {}
        table = table[step]
        if not isinstance(table, dict):
            raise ValueError(f"'{change}': {step} is no table")
    table[last] = value


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain YAML into the typed field ``kind``; ``where`` is the key's place, for messages."""
    if is_dataclass(kind):
        return _table_of(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"key '{where}': must be a list")
        inner = get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise ValueError(f"key '{where}': must have {len(kinds)} entries")
        return tuple(build(k, v, where) for k, v in zip(kinds, value, strict=True))
    if type(None) in get_args(kind):
        return None if value is None else build(get_args(kind)[0], value, where)
    if get_origin(kind) is dict:
        kind = dict
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 takes 1e-3, which people write, for text
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"key '{where}': is {value!r}; must be {kind.__name__}")
    return value


def _table_of(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"key '{where}': must be a table")
    hints = get_type_hints(kind)
    for key in value:
        if key not in hints:
            near = "".join(f", near it is {name}" for name in get_close_matches(str(key), hints, 1))
            raise ValueError(f"key '{_join(where, key)}': unknown{near}; known are {', '.join(hints)}")
    missing = [
        f.name for f in fields(kind) if f.name not in value and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"key '{_join(where, missing[0])}': is missing")
    return kind(**{key: build(hints[key], item, _join(where, key)) for key, item in value.items()})  # type: ignore[operator]


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
