"""A training recipe: everything that was decided about a training, read from ``config/recipes/<name>.yaml``.

Nothing numeric is hidden in code: what the loop does is what the recipe says.
"""

import math
import re
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from seg_node.share import share_path, shipped
from seg_node.training import recipe_table

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

TASKS = ("segmentation", "classification")
KEEPS = ("best", "last")
UNITS = ("epoch", "step")
CHANNELS = ("bgr", "rgb")


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
    """How pixels are normalised: (x / 255 - mean) / std, in the order of ``channels``."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str = "bgr"  # or rgb, as weights know them that others have trained
    shorter_side: int | None = None  # classification: validate on the middle of the image, resized to this


@dataclass(frozen=True)
class Paste:
    """Cut these classes out of another sample and paste them, with their labels, over this one (after ClassMix)."""

    probability: float
    classes: tuple[str, ...]  # names in the recipe's label set


@dataclass(frozen=True)
class Augment:
    """Ranges that are drawn from uniformly (scale: log-uniformly); all off by default."""

    flip: bool = False
    translate: int = 0  # pixels, either way on both axes
    scale: tuple[float, float] = (1.0, 1.0)
    scales: tuple[float, ...] = ()  # one of these instead of from the range
    rotate: float = 0.0  # degrees, either way
    crop: tuple[int, int] | None = None  # train on windows (height, width) of the scaled image, not on all of it
    brightness: float = 0.0  # share of 255 added
    contrast: float = 0.0  # share either way
    saturation: float = 0.0  # share either way
    hue: float = 0.0  # degrees, either way
    gamma: float = 1.0  # exponent from 1 / gamma to gamma, log-uniformly
    blur: float = 0.0  # probability
    noise: float = 0.0  # largest standard deviation, share of 255
    paste: Paste | None = None
    area: tuple[float, float] = (1.0, 1.0)  # classification: share of the image's area that is cut out
    aspect: tuple[float, float] = (1.0, 1.0)  # classification: width / height of what is cut out, log-uniformly


@dataclass(frozen=True)
class Optimizer:
    name: str  # adam, adamw, sgd
    lr: float
    weight_decay: float = 0.0
    momentum: float = 0.9  # sgd
    nesterov: bool = False  # sgd
    decay_vectors: float = 1.0  # share of weight_decay that batch norms, PReLUs and biases get


@dataclass(frozen=True)
class Trains:
    """Parameters whose names begin with ``of`` ("all": those of no other entry) learn at ``lr_times`` the rate."""

    of: str
    lr_times: float = 1.0  # 0: frozen


@dataclass(frozen=True)
class Schedule:
    name: str  # constant, plateau, one_cycle, step, poly, cosine
    factor: float = 0.5  # plateau, step: what the rate is multiplied with
    patience: int = 10  # plateau: as PyTorch's, more epochs than this without a loss lower by a ten-thousandth of it
    warm_up: float = 0.1  # one_cycle, poly, cosine: share of all steps
    milestones: tuple[int, ...] = ()  # step: when
    unit: str = "epoch"  # step: what the milestones count, epoch or step
    power: float = 0.9  # poly: rate x (1 - share done) ^ power


@dataclass(frozen=True)
class Ohem:
    """Online hard example mining: only pixels whose right class has a probability below ``threshold`` count,
    but at least the hardest ``keep`` (share of the labelled pixels).
    """

    threshold: float = 0.7
    keep: float = 0.0625


@dataclass(frozen=True)
class Loss:
    name: str = "cross_entropy"
    class_weights: str | None = None  # enet: 1 / log(c + frequency); median: median frequency / frequency
    c: float = 1.02  # enet
    void_weight: float | None = None  # instead of that of void, where it is a class
    label_smoothing: float = 0.0
    ohem: Ohem | None = None
    lovasz: float = 0.0  # weight of the Lovasz-softmax loss beside the cross entropy
    lovasz_stride: int = 4  # on every so many-th row and column: sorting all pixels costs more than the network


@dataclass(frozen=True)
class Teacher:
    """Distillation: a trained model whose soft outputs are learnt beside the labels."""

    model: str  # a shipped model's name, or a folder with a card.yaml and PyTorch weights
    weight: float = 1.0  # of the distillation beside the other losses
    temperature: float = 2.0


@dataclass(frozen=True)
class Reported:
    """A result that a recipe is to give back, as its paper prints it; shares in percent."""

    paper: str  # a file of config/papers
    table: str
    row: str
    split: str
    miou: float | None = None
    top1: float | None = None
    top5: float | None = None
    pixel_accuracy: float | None = None
    class_accuracy: float | None = None
    frequency_weighted_iou: float | None = None
    gt_scale: int = 1  # the ground truth was subsampled by this for the score
    void: str = "ignored"  # pixels whose ground truth is void: ignored or counted


@dataclass(frozen=True)
class Recipe:
    """A training, or several one after another: ``stages``, each a whole recipe that begins with the weights of the
    one before, by name.
    """

    name: str
    about: str  # which result of which paper, and what was chosen where the paper is silent
    network: Network
    input: Input
    train: tuple[Source, ...]
    validate: Source
    optimizer: Optimizer
    epochs: int
    batch_size: int
    label_set: str = ""  # a classification has none: its classes are the data set's folders
    schedule: Schedule = Schedule("constant")
    loss: Loss = Loss()
    augment: Augment = Augment()
    ema: float | None = None  # decay a step of the averaged weights that are scored and saved; less in the first steps
    validate_every: int = 1  # epochs
    gradient_clip: float | None = None  # norm
    precision: str = "32-true"  # Lightning's names: 32-true, bf16-mixed, 16-mixed
    seed: int = 1
    task: str = "segmentation"  # or classification
    steps: int | None = None  # end after so many, where that is before the last epoch's end
    trains: tuple[Trains, ...] = ()  # empty: all parameters, at the optimizer's rate
    alpha: tuple[float, float] | None = None  # gradual grouping: at the first and last step, linearly between
    keep: str = "best"  # epoch whose weights are kept: best validation, or last
    start: str | None = None  # weights to begin with: a model's name, its folder, or a state dict's file
    teacher: Teacher | None = None
    reported: tuple[Reported, ...] = ()
    stages: tuple["Recipe", ...] = ()

    def as_text(self) -> str:
        """Return the recipe as YAML that reads back to an equal recipe."""
        return yaml.safe_dump(recipe_table.plain(asdict(self)), sort_keys=False, width=100)

    @property
    def counts_void(self) -> bool:
        """Whether a pixel whose ground truth is void costs what is said there instead: as the reported result does.

        Where none is reported, only if the network can learn to say void.
        """
        if self.reported:
            return any(result.void == "counted" for result in self.reported)
        return self.loss.void_weight != 0

    def without_words(self) -> "Recipe":
        """Return the recipe without what does not change a training."""
        return replace(self, about="", reported=(), stages=tuple(stage.without_words() for stage in self.stages))


def names() -> tuple[str, ...]:
    return tuple(path.stem for path in shipped("config/recipes", "*.yaml"))


def summary(name: str) -> str:
    """Return a line on a shipped recipe: its network, on which data, and what it is to give back."""
    recipe = load_recipe(name)
    results = [f"{r.paper} {r.table}, {r.miou or r.top1} %" for r in recipe.reported]
    data = "+".join(dict.fromkeys(source.dataset for source in recipe.train))
    return f"{recipe.network.name} on {data}: {'; '.join(results) or 'no paper reports it'}"


def load_recipe(name: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe by name or path, with changes such as ``"epochs=10"`` or ``"optimizer.lr=0.001"``.

    Raises ValueError naming the file and the key.
    """
    path = _path(name)
    table = recipe_table.read(path, _path)
    for change in changes:
        recipe_table.apply(table, change)
    try:
        recipe: Recipe = recipe_table.build(Recipe, recipe_table.with_stages(table), "")
        for each in (recipe, *recipe.stages):
            _check(each)
        _check_stages(recipe)
    except ValueError as error:
        raise ValueError(f"{' '.join((str(path), *changes))}: {error}") from error
    return recipe


def _path(name: str | Path, beside: Path | None = None) -> Path:
    if Path(name).suffix in (".yaml", ".yml"):
        return beside.parent / name if beside else Path(name)
    if str(name) not in names():
        near = ", ".join(get_close_matches(str(name), names(), 5, 0.5))
        raise ValueError(
            f"no recipe '{name}'{f' (near it: {near})' if near else ''}: `seg-node train --list` has all, or give a "
            ".yaml file"
        )
    return share_path(f"config/recipes/{name}.yaml")


def _check(recipe: Recipe) -> None:
    """Raise ValueError where a number cannot be meant."""
    per_epoch = [s.per_epoch for s in (*recipe.train, recipe.validate) if s.per_epoch is not None]
    counts = (recipe.epochs, recipe.batch_size, recipe.validate_every, *recipe.input.size, *per_epoch)
    mean, std, how, loss = recipe.input.mean, recipe.input.std, recipe.augment, recipe.loss
    for right, says in (
        (recipe.train, "key 'train': must list a source"),
        (recipe.label_set or recipe.task == "classification", "key 'label_set': is missing"),
        (min(counts) >= 1, "epochs, batch_size, validate_every, input.size and per_epoch must be 1 or more"),
        (recipe.steps is None or recipe.steps >= 1, "steps must be 1 or more"),
        (len(mean) == len(std) == 3 and min(std) > 0, "input.mean and input.std must be 3 numbers, std above 0"),
        (0 < how.scale[0] <= how.scale[1], "augment.scale must be [low, high], above 0"),
        (min(how.scales, default=1) > 0, "augment.scales must be above 0"),
        (how.crop is None or min(how.crop) >= 1, "augment.crop must be [height, width], 1 or more"),
        (0 < how.area[0] <= how.area[1] <= 1, "augment.area must be [low, high], above 0 and at most 1"),
        (0 < how.aspect[0] <= how.aspect[1], "augment.aspect must be [low, high], above 0"),
        (min(how.translate, how.rotate, how.blur) >= 0, "augment.translate, rotate and blur must be 0 or more"),
        (min(how.hue, how.noise) >= 0 and how.gamma >= 1, "augment.hue and noise must be 0 or more, gamma 1 or more"),
        (recipe.precision in _PRECISIONS, f"precision must be one of {', '.join(_PRECISIONS)}"),
        (0 < recipe.optimizer.lr < math.inf, "optimizer.lr must be a number above 0"),
        (0 <= recipe.schedule.warm_up < 1, "schedule.warm_up is a share of all steps: 0 or more, below 1"),
        (0 < recipe.schedule.factor <= 1, "schedule.factor must be above 0 and at most 1"),
        (loss.ohem is None or 0 < loss.ohem.keep <= 1, "loss.ohem.keep must be above 0 and at most 1"),
        (loss.ohem is None or 0 < loss.ohem.threshold <= 1, "loss.ohem.threshold must be above 0 and at most 1"),
        (recipe.ema is None or 0 < recipe.ema < 1, "ema must lie between 0 and 1"),
        (recipe.seed >= 0, "seed must be 0 or more"),
        (recipe.task in TASKS, f"task is {recipe.task!r}; choose from {', '.join(TASKS)}"),
        (recipe.input.channels in CHANNELS, f"input.channels is {recipe.input.channels!r}; choose from bgr, rgb"),
        (recipe.keep in KEEPS, f"keep is {recipe.keep!r}; choose from {', '.join(KEEPS)}"),
        (recipe.schedule.unit in UNITS, f"schedule.unit is {recipe.schedule.unit!r}; choose from {', '.join(UNITS)}"),
        (min((t.lr_times for t in recipe.trains), default=0) >= 0, "trains: lr_times must be 0 or more"),
        (loss.lovasz >= 0 and loss.lovasz_stride >= 1, "loss.lovasz must be 0 or more, lovasz_stride 1 or more"),
        (recipe.alpha is None or 0 <= min(recipe.alpha) <= max(recipe.alpha) <= 1, "alpha must be two of 0 to 1"),
        (recipe.alpha is None or recipe.ema is None, "alpha and ema do not go together: it would be averaged too"),
        (
            recipe.alpha is None or recipe.alpha[0] == recipe.alpha[1] or recipe.keep == "last",
            "alpha that changes needs keep: last, or weights from halfway would be kept",
        ),
    ):
        if not right:
            raise ValueError(says)


def _check_stages(recipe: Recipe) -> None:
    """Raise ValueError for stages that cannot be folders."""
    names = [stage.name for stage in recipe.stages]
    if len(set(names)) < len(names) or not all(re.fullmatch(r"[\w-]+", name) for name in names):
        raise ValueError(f"stages are named {', '.join(names)}; each is a folder: letters, digits, -, each once")
    if len({stage.input.channels for stage in recipe.stages}) > 1:
        raise ValueError("input.channels differs between stages: each begins with the weights of the one before")
    for stage in recipe.stages[1:]:
        if stage.start:
            raise ValueError(f"stage {stage.name} has a start, but begins with what the stage before it has trained")


def is_classifier(folder: Path) -> bool:
    """Whether a classifier was trained there, or is being trained. Raises ValueError for a recipe that is none."""
    path = folder / "recipe.yaml"
    return path.is_file() and load_recipe(path).task == "classification"
