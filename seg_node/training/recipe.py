"""A training recipe: everything that was decided about a training, read from ``config/recipes/<name>.yaml``.

Nothing numeric is hidden in code: what the loop does is what the recipe says.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from seg_node.share import share_path, shipped
from seg_node.yaml_table import read_table


@dataclass(frozen=True)
class Source:
    """A split. ``per_epoch``: train on so many samples each epoch, drawn anew, or validate on the first so many."""

    dataset: str
    split: str
    per_epoch: int | None = None


@dataclass(frozen=True)
class Network:
    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """Normalisation of BGR pixels: (x / 255 - mean) / std."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Augment:
    """Ranges that are drawn from uniformly (scale: log-uniformly); all off by default."""

    flip: bool = False
    translate: int = 0  # pixels, either way on both axes
    scale: tuple[float, float] = (1.0, 1.0)
    rotate: float = 0.0  # degrees, either way
    brightness: float = 0.0  # share of 255 added
    contrast: float = 0.0  # share either way
    saturation: float = 0.0  # share either way
    blur: float = 0.0  # probability


@dataclass(frozen=True)
class Optimizer:
    name: str  # adam, adamw, sgd
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.9  # sgd


@dataclass(frozen=True)
class Schedule:
    name: str  # constant, plateau, one_cycle
    factor: float = 0.5  # plateau: what the rate is multiplied with
    patience: int = 10  # plateau: epochs without a lower loss
    warm_up: float = 0.1  # one_cycle: share of all steps


@dataclass(frozen=True)
class Loss:
    name: str = "cross_entropy"
    class_weights: str | None = None  # enet: 1 / log(c + frequency)
    c: float = 1.02
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class Recipe:
    name: str
    about: str  # which result of which paper, and what was chosen where the paper is silent
    label_set: str
    network: Network
    input: Input
    train: tuple[Source, ...]
    validate: Source
    optimizer: Optimizer
    epochs: int
    batch_size: int
    schedule: Schedule = Schedule("constant")
    loss: Loss = Loss()
    augment: Augment = Augment()
    ema: float | None = None  # decay a step of the averaged weights that are scored and saved
    validate_every: int = 1  # epochs
    gradient_clip: float | None = None  # norm
    precision: str = "32-true"  # Lightning's names: 32-true, bf16-mixed, 16-mixed
    seed: int = 1

    def as_text(self) -> str:
        """Return the recipe as YAML that reads back to an equal recipe."""
        return yaml.safe_dump(_plain(asdict(self)), sort_keys=False, width=100)


def names() -> tuple[str, ...]:
    return tuple(path.stem for path in shipped("config/recipes", "*.yaml"))


def load_recipe(name: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe by name or path, with changes such as ``"epochs=10"`` or ``"optimizer.lr=0.001"``.

    Raises ValueError naming the file and the key.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in names():
            raise ValueError(f"no recipe '{name}': choose from {', '.join(names())}, or give a .yaml file")
        path = share_path(f"config/recipes/{name}.yaml")
    table = read_table(path)
    for change in changes:
        _apply(table, change)
    try:
        recipe: Recipe = _build(Recipe, table, "")
        _check(recipe)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return recipe


def _apply(table: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise ValueError(f"'{change}' is no change: write key=value, as epochs=10 or optimizer.lr=0.001")
    *way, last = key.split(".")
    for step in way:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise ValueError(f"'{change}': {step} is no table")
    try:
        table[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"'{change}': {value} is not YAML: {error}") from error


def _check(recipe: Recipe) -> None:
    """Raise ValueError where a number cannot be meant."""
    per_epoch = [s.per_epoch for s in (*recipe.train, recipe.validate) if s.per_epoch is not None]
    counts = (recipe.epochs, recipe.batch_size, recipe.validate_every, *recipe.input.size, *per_epoch)
    mean, std, how = recipe.input.mean, recipe.input.std, recipe.augment
    for right, says in (
        (recipe.train, "key 'train': must list a source"),
        (min(counts) >= 1, "epochs, batch_size, validate_every, input.size and per_epoch must be 1 or more"),
        (len(mean) == len(std) == 3 and min(std) > 0, "input.mean and input.std must be 3 numbers, std above 0"),
        (0 < how.scale[0] <= how.scale[1], "augment.scale must be [low, high], above 0"),
        (min(how.translate, how.rotate, how.blur) >= 0, "augment.translate, rotate and blur must be 0 or more"),
        (recipe.ema is None or 0 < recipe.ema < 1, "ema must lie between 0 and 1"),
        (recipe.seed >= 0, "seed must be 0 or more"),
    ):
        if not right:
            raise ValueError(says)


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain YAML into the typed field ``kind``; ``where`` is the key's place, for messages."""
    if is_dataclass(kind):
        return _build_table(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"key '{where}': must be a list")
        inner = get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise ValueError(f"key '{where}': must have {len(kinds)} entries")
        return tuple(_build(k, v, where) for k, v in zip(kinds, value, strict=True))
    if type(None) in get_args(kind):
        return None if value is None else _build(get_args(kind)[0], value, where)
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


def _build_table(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"key '{where}': must be a table")
    hints = get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise ValueError(f"key '{_join(where, key)}': unknown; known are {', '.join(hints)}")
    missing = [
        f.name for f in fields(kind) if f.name not in value and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"key '{_join(where, missing[0])}': is missing")
    return kind(**{key: _build(hints[key], item, _join(where, key)) for key, item in value.items()})  # type: ignore[operator]


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
