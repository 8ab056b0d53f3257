"""The model card: everything numeric that a network needs to be used correctly.

One ``card.yaml`` beside the network's files. It does not know how a network runs (``runtimes``) or how it
was made (``config/recipes``); it only says what the files are and what goes in and comes out.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import yaml

from seg_node.share import share_path, shipped
from seg_node.yaml_table import read_table

CARD_NAME = "card.yaml"
CHANNELS = ("bgr", "rgb")
OUTPUTS = ("labels", "logits", "probabilities")
LAYOUTS = ("nhwc", "nchw")
DTYPES = ("uint8", "float32", "float16")
# A file's key says what it is, so a runtime finds its own: torch weights, an ONNX graph, OpenVINO IR, ...
# "onnx_confidence" is "onnx" with the confidence beside the labels: it costs more, and runs only where that is wanted.
FILE_KINDS = (
    "torch",
    "onnx",
    "onnx_confidence",
    "onnx_tx2",  # for TensorRT 8.2 and ONNX Runtime 1.10
    "onnx_tx2_confidence",
    "onnx_fp16",
    "onnx_fp16_confidence",
    "onnx_int8",
    "openvino",
    "openvino_int8",
    "tensorrt",
)
# What a file's entry may say besides: what was written, and how it did. For people and tables, and for exporters.
FILE_NOTES = (
    "precision",
    "opset",
    "batch",
    "size",
    "target",
    "label_stride",
    "parity",
    "calibration",
    "confidence",  # the file gives it as a second output
    "tensorrt",
    "gpu",
)
FILE_KEYS = ("path", "sha256", "weights", "settings", "beside", "layout", "dtype", "output", "fused", *FILE_NOTES)


class CardError(ValueError):
    """A card that cannot be used; the message names the file and the key."""


class ModelFile(NamedTuple):
    path: Path
    sha256: Optional[str]
    weights: Optional[str] = None  # sha256 of the PyTorch weights that it was made from; None: not known
    settings: Optional[str] = None  # digest of what the card said of the network then (its ``settings``)
    beside: Mapping[str, str] = {}  # its other parts (an IR's .bin): name -> sha256
    layout: Optional[str] = None  # of this file's input, where it is not the card's; so are the next two
    dtype: Optional[str] = None
    output: Optional[str] = None
    fused: bool = False  # normalises by itself: takes 0..255 in whatever dtype
    notes: Mapping[str, Any] = {}  # FILE_NOTES

    def verify(self) -> Path:
        """Return the path. Raises FileNotFoundError, or CardError where the file's sha256 is not the card's."""
        parts = [(self.path, self.sha256)] + [(self.path.parent / name, self.beside[name]) for name in self.beside]
        for path, digest in parts:
            if not path.is_file():
                raise FileNotFoundError("{}: no such file; the card beside it names it".format(path))
            if digest and sha256(path) != digest:
                raise CardError(
                    "{}: sha256 differs from the card's: the file is damaged or was replaced; "
                    "fetch it again, or export it again to renew the card".format(path)
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
    output: str  # one of OUTPUTS
    ignored_classes: Tuple[int, ...]  # outputs that become 255
    files: Dict[str, ModelFile]
    notes: Mapping[str, Any]  # licence, training, scores: for people and tables
    output_name: Optional[str] = None  # which tensor, where a graph gives several that would do
    settings: str = ""  # digest of all that an exported graph has of the card besides the weights

    def file(self, kind: str) -> Path:
        """Return the verified path of a file of ``FILE_KINDS``.

        Raises CardError if the card has none, or it was made from other weights or settings than the card's.
        """
        if kind not in self.files:
            raise CardError(
                "{}: names no '{}' file (it has: {})".format(
                    self.folder / CARD_NAME, kind, ", ".join(sorted(self.files)) or "none"
                )
            )
        path = self.files[kind].verify()
        why = self.stale(kind)
        if why:
            raise CardError(
                "{}: {}; export it again: seg-node export {} {}".format(path, why, self.folder, _options_of(kind))
            )
        return path

    def stale(self, kind: str) -> str:
        """Return why an exported file is no longer this model's; "" where it is, or where its card does not tell."""
        file, torch = self.files[kind], self.files.get("torch")
        if file.settings and self.settings and file.settings != self.settings:
            return "was made when {} said otherwise of the network or its input".format(CARD_NAME)
        if not file.weights or torch is None:
            return ""
        now = torch.sha256 or (sha256(torch.path) if torch.path.is_file() else file.weights)
        return "" if now == file.weights else "was made from other weights than {}".format(torch.path.name)

    def for_file(self, kind: str) -> "ModelCard":
        """Return the card as it is for one of its files: a file's own layout, dtype, output and normalisation."""
        file = self.files[kind]
        card = self._replace(
            layout=file.layout or self.layout, dtype=file.dtype or self.dtype, output=file.output or self.output
        )
        return card._replace(mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0) if file.fused else card


def settings_of(card: ModelCard) -> str:
    """Return a digest of all that an exported graph has of a card besides the weights."""
    said = [card.network, card.options, card.classes, list(card.size), card.channels]
    numbers = [float(value) for value in (*card.mean, *card.std, card.scale)]
    return hashlib.sha256(json.dumps([said, numbers], sort_keys=True, default=str).encode("utf-8")).hexdigest()[:16]


def _options_of(kind: str) -> str:
    """Return what makes ``seg-node export`` write a file of that kind."""
    words = {"tx2": "--target tx2", "fp16": "--precision fp16", "int8": "--precision int8"}
    to, *rest = kind.split("_")
    return " ".join(["--to " + to] + [words.get(word, "--" + word) for word in rest])


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
        output = self.section("output", ["kind", "name", "ignored_classes"])
        size = self.integers("input.size", inputs.get("size"), 1, 65535)
        if len(size) != 2:
            raise self.fail("input.size", "is {!r}; must be [height, width]".format(list(size)))
        options = network.get("options") or {}
        if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
            raise self.fail("network.options", "is {!r}; must be a table".format(options))
        card = ModelCard(
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
            output_name=self.text("output.name", output["name"]) if "name" in output else None,
        )
        return card._replace(settings=settings_of(card))

    def label_set(self) -> str:
        """A shipped set's name as it is; a file's path from the card's folder."""
        name = self.text("label_set", self.table.get("label_set"))
        return str(self.path.parent / name) if name.endswith(".yaml") else name

    def files(self) -> Dict[str, ModelFile]:
        return {
            kind: self.one_file("files." + kind, entry)
            for kind, entry in self.section("files", list(FILE_KINDS)).items()
        }

    def one_file(self, key: str, entry: Any) -> ModelFile:
        if not isinstance(entry, dict) or "path" not in entry:
            raise self.fail(key, "must be {path: FILE, sha256: DIGEST}")
        for name in entry:
            if name not in FILE_KEYS:
                raise self.fail("{}.{}".format(key, name), "unknown; known are {}".format(", ".join(FILE_KEYS)))

        def text(name: str) -> Optional[str]:
            value = entry.get(name)
            return None if value is None else self.text("{}.{}".format(key, name), value)

        def choice(name: str, choices: Tuple[str, ...]) -> Optional[str]:
            return self.choice("{}.{}".format(key, name), entry[name], choices) if name in entry else None

        beside, fused = entry.get("beside", {}), entry.get("fused", False)
        if not isinstance(beside, dict) or not all(isinstance(t, str) for pair in beside.items() for t in pair):
            raise self.fail(key + ".beside", "is {!r}; must be a table of FILE: DIGEST".format(beside))
        if not isinstance(fused, bool):
            raise self.fail(key + ".fused", "is {!r}; must be true or false".format(fused))
        digest, weights = text("sha256"), text("weights")
        return ModelFile(
            path=self.path.parent / self.text(key + ".path", entry["path"]),
            sha256=digest and digest.lower(),
            weights=weights and weights.lower(),
            settings=text("settings"),
            beside=beside,
            layout=choice("layout", LAYOUTS),
            dtype=choice("dtype", DTYPES),
            output=choice("output", OUTPUTS),
            fused=fused,
            notes={name: entry[name] for name in FILE_NOTES if name in entry},
        )


def write_card(path: Path, table: Mapping[str, Any]) -> None:
    """Write a card's table as YAML, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(dict(table), sort_keys=False, allow_unicode=True, width=100), encoding="utf-8")
    partial.replace(path)
