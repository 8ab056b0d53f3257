"""The model card: everything numeric that a network needs to be used correctly.

One ``card.yaml`` beside the network's files. It does not know how a network runs (``runtimes``) or how it
was made (``config/recipes``); it only says what the files are and what goes in and comes out.
"""

import hashlib
import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import yaml

from seg_node.share import share_path, shipped
from seg_node.yaml_table import read_table

CARD_NAME = "card.yaml"
CHANNELS = ("bgr", "rgb")
OUTPUTS = ("labels", "logits")
LAYOUTS = ("nhwc", "nchw")
DTYPES = ("uint8", "float32")
# A file's key says what it is, so a runtime finds its own: torch weights, an ONNX graph, OpenVINO IR, ...
# "onnx_confidence" is "onnx" with the confidence beside the labels: it costs more, and runs only where that is wanted.
FILE_KINDS = ("torch", "onnx", "onnx_confidence", "openvino", "tensorrt")


class CardError(ValueError):
    """A card that cannot be used; the message names the file and the key."""


class ModelFile(NamedTuple):
    path: Path
    sha256: Optional[str]

    def verify(self) -> Path:
        """Return the path. Raises FileNotFoundError, or CardError where the file's sha256 is not the card's."""
        if not self.path.is_file():
            raise FileNotFoundError("{}: no such file; the card beside it names it".format(self.path))
        if self.sha256 and sha256(self.path) != self.sha256:
            raise CardError(
                "{}: sha256 differs from the card's: the file is damaged or was replaced; "
                "fetch it again, or export it again to renew the card".format(self.path)
            )
        return self.path


class ModelCard(NamedTuple):
    """What a network needs to be used correctly.

    ``mean`` and ``std`` apply to ``x / scale`` with ``x`` in 0..255, in the order of ``channels``. They
    matter where the network's input is float; a fused graph (uint8 in) holds them itself.
    """

    name: str
    folder: Path
    network: str  # a name in seg_node.networks, or "external"
    options: Dict[str, Any]  # what build() takes besides classes
    classes: int  # outputs of the network; may exceed the label set's (void as a class of its own)
    label_set: str
    size: Tuple[int, int]  # (height, width)
    channels: str
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    scale: float
    layout: str  # of the graph's input
    dtype: str  # of the graph's input
    output: str  # "labels" or "logits"
    ignored_classes: Tuple[int, ...]  # outputs that become 255
    files: Dict[str, ModelFile]
    notes: Mapping[str, Any]  # licence, training, scores: for people and tables

    def file(self, kind: str) -> Path:
        """Return the verified path of a file of ``FILE_KINDS``. Raises CardError if the card has none."""
        if kind not in self.files:
            raise CardError(
                "{}: names no '{}' file (it has: {})".format(
                    self.folder / CARD_NAME, kind, ", ".join(sorted(self.files)) or "none"
                )
            )
        return self.files[kind].verify()


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def names() -> Tuple[str, ...]:
    """Return the names of the models that are shipped."""
    return tuple(path.parent.name for path in shipped("models", "*/" + CARD_NAME))


def load_card(model: Union[str, Path]) -> ModelCard:
    """Read a card by a shipped model's name, a folder with a card.yaml, or the card's own path.

    Raises FileNotFoundError or CardError with what to do next. Does not read the network's files.
    """
    path = _find(model)
    try:
        table = read_table(path)
    except ValueError as error:
        raise CardError(str(error)) from error
    return _Reader(path, table).card()


def _find(model: Union[str, Path]) -> Path:
    path = Path(model)
    if path.is_file():
        return path
    if (path / CARD_NAME).is_file():
        return path / CARD_NAME
    if str(model) in names():
        return share_path("models/{}/{}".format(model, CARD_NAME))
    raise FileNotFoundError(
        "no model '{}': neither a folder with a {} nor a shipped model ({})".format(
            model, CARD_NAME, ", ".join(names()) or "none"
        )
    )


class _Reader:
    """Reads one table strictly: an unknown key is an error, since a misspelt mean would go unnoticed."""

    def __init__(self, path: Path, table: Dict[str, Any]) -> None:
        self.path, self.table = path, table

    def fail(self, key: str, why: str) -> CardError:
        return CardError("{}: key '{}': {}".format(self.path, key, why))

    def section(self, name: str, known: List[str]) -> Dict[str, Any]:
        section = self.table.get(name)
        if not isinstance(section, dict):
            raise self.fail(name, "must be a table with the keys {}".format(", ".join(known)))
        for key in section:
            if key not in known:
                raise self.fail("{}.{}".format(name, key), "unknown; known are {}".format(", ".join(known)))
        return section

    def choice(self, key: str, value: Any, choices: Tuple[str, ...]) -> str:
        if value not in choices:
            raise self.fail(key, "is {!r}; choose from {}".format(value, ", ".join(choices)))
        return str(value)

    def text(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise self.fail(key, "is {!r}; must be text, in quotes if it looks like a number".format(value))
        return value

    def integers(self, key: str, value: Any, low: int, high: int) -> Tuple[int, ...]:
        right = isinstance(value, list) and all(type(v) is int and low <= v <= high for v in value)
        if not right:
            raise self.fail(key, "is {!r}; must be whole numbers from {} to {}".format(value, low, high))
        return tuple(value)

    def numbers(self, key: str, value: Any, count: int, positive: bool = False) -> Tuple[float, ...]:
        right = (
            isinstance(value, list)
            and len(value) == count
            and all(type(v) in (int, float) and math.isfinite(v) and (v > 0 or not positive) for v in value)
        )
        if not right:
            raise self.fail(
                key, "is {!r}; must be a list of {} {}numbers".format(value, count, "positive " if positive else "")
            )
        return tuple(value)

    def card(self) -> ModelCard:
        known = ["name", "network", "label_set", "input", "output", "files", "licence", "training", "scores"]
        for key in self.table:
            if key not in known:
                raise self.fail(key, "unknown; known are {}".format(", ".join(known)))
        name = self.text("name", self.table.get("name"))
        if Path(name).name != name:  # files are named after it
            raise self.fail("name", "is {!r}; must be no path".format(name))
        network = self.section("network", ["name", "classes", "options"])
        inputs = self.section("input", ["size", "channels", "mean", "std", "scale", "layout", "dtype"])
        output = self.section("output", ["kind", "ignored_classes"])
        size = self.integers("input.size", inputs.get("size"), 1, 65535)
        if len(size) != 2:
            raise self.fail("input.size", "is {!r}; must be [height, width]".format(list(size)))
        options = network.get("options") or {}
        if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
            raise self.fail("network.options", "is {!r}; must be a table".format(options))
        return ModelCard(
            name=name,
            folder=self.path.parent,
            network=self.text("network.name", network.get("name", "external")),
            options=options,
            classes=self.integers("network.classes", [network.get("classes")], 1, 255)[0],
            label_set=self.label_set(),
            size=(size[0], size[1]),
            channels=self.choice("input.channels", inputs.get("channels"), CHANNELS),
            mean=self.numbers("input.mean", inputs.get("mean", [0.0, 0.0, 0.0]), 3),
            std=self.numbers("input.std", inputs.get("std", [1.0, 1.0, 1.0]), 3, positive=True),
            scale=self.numbers("input.scale", [inputs.get("scale", 255.0)], 1, positive=True)[0],
            layout=self.choice("input.layout", inputs.get("layout", "nhwc"), LAYOUTS),
            dtype=self.choice("input.dtype", inputs.get("dtype", "uint8"), DTYPES),
            output=self.choice("output.kind", output.get("kind", "labels"), OUTPUTS),
            ignored_classes=self.integers("output.ignored_classes", output.get("ignored_classes") or [], 0, 254),
            files=self.files(),
            notes={key: self.table[key] for key in ("licence", "training", "scores") if key in self.table},
        )

    def label_set(self) -> str:
        """A shipped set's name as it is; a file's path from the card's folder."""
        name = self.text("label_set", self.table.get("label_set"))
        return str(self.path.parent / name) if name.endswith(".yaml") else name

    def files(self) -> Dict[str, ModelFile]:
        files = {}
        for kind, entry in self.section("files", list(FILE_KINDS)).items():
            if not isinstance(entry, dict) or "path" not in entry or set(entry) - {"path", "sha256"}:
                raise self.fail("files." + kind, "must be {path: FILE, sha256: DIGEST}")
            digest = entry.get("sha256")
            files[kind] = ModelFile(
                self.path.parent / self.text("files.{}.path".format(kind), entry["path"]),
                None if digest is None else self.text("files.{}.sha256".format(kind), digest).lower(),
            )
        return files


def write_card(path: Path, table: Mapping[str, Any]) -> None:
    """Write a card's table as YAML, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(dict(table), sort_keys=False, allow_unicode=True, width=100), encoding="utf-8")
    partial.replace(path)
