"""What is this file? Tensors, precision, normalisation, classes of a network that somebody else made; and a first card.

``onnx``, ``openvino``, ``engine`` and ``checkpoint`` read a file each into a ``Found``; ``graph`` and ``reading`` are
what the first two share; ``first_card`` writes a card; ``describe`` is the text for people. Nothing in a file is run.
"""

import dataclasses
from pathlib import Path
from typing import Any

from seg_node.label_set import load_label_set
from seg_node.label_set import names as label_sets
from seg_node.model_card import CARD_NAME
from seg_node.runtimes._adapt import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class Feeding:
    """How a network wants its pixels: what a card's ``input`` says of them, and how sure that is."""

    channels: str = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 255.0
    known: bool = False  # read from the graph; else a guess
    about: str = ""  # why, for people


@dataclasses.dataclass
class Found:
    """What a file is; fields that could not be found out are None or empty."""

    path: Path
    kind: str  # one of model_card.FILE_KINDS, or torchscript
    bytes: int
    about: str = ""  # format, version and maker, for people
    inputs: list[Tensor] = dataclasses.field(default_factory=list)
    outputs: list[Tensor] = dataclasses.field(default_factory=list)
    opset: int | None = None
    precision: str | None = None
    parameters: int | None = None
    size: tuple[int, int] | None = None  # (height, width); None: any
    layout: str | None = None
    dtype: str | None = None
    feeding: Feeding | None = None
    output: str | None = None  # one of model_card.OUTPUTS
    output_name: str | None = None  # where several outputs would do
    classes: int | None = None
    network: str | None = None  # a name in seg_node.networks, of a checkpoint
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    beside: list[Path] = dataclasses.field(default_factory=list)  # files that it is not whole without
    notes: list[str] = dataclasses.field(default_factory=list)  # what a person should know

    @property
    def label_sets(self) -> list[str]:
        """The shipped label sets with that many classes; those with a void class of their own last."""
        sets = [load_label_set(name) for name in label_sets()]
        return [each.name for each in sorted(sets, key=lambda each: each.void is not None) if self.fits(each.name)]

    def fits(self, label_set: str) -> bool:
        return self.classes is not None and load_label_set(label_set).class_count == self.classes

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        feeding = dataclasses.asdict(self.feeding) if self.feeding else None
        return {
            "file": str(self.path),
            "kind": self.kind,
            "about": self.about,
            "bytes": self.bytes,
            "opset": self.opset,
            "precision": self.precision,
            "parameters": self.parameters,
            "inputs": [_as_dict(tensor) for tensor in self.inputs],
            "outputs": [_as_dict(tensor) for tensor in self.outputs],
            "input": {"size": self.size and list(self.size), "layout": self.layout, "dtype": self.dtype},
            "normalisation": feeding,
            "output": {"kind": self.output, "name": self.output_name, "classes": self.classes},
            "label_sets": self.label_sets,
            "network": self.network and {"name": self.network, "options": self.options},
            "notes": self.notes,
        }


def _as_dict(tensor: Tensor) -> dict[str, Any]:
    shape = [side if isinstance(side, int) else None for side in tensor.shape]
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": shape}


def inspect_file(path: Path) -> Found:
    """Say what ``path`` is, by its content.

    Raises FileNotFoundError; CardError or ValueError that names the file and says what is wrong with it; ImportError
    that says what to install.
    """
    if path.is_dir():
        raise FileNotFoundError(f"{path}: a folder without a {CARD_NAME}; name the file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise ValueError(f"{path}: is empty")
    if start[:4] == b"ftrt" or path.suffix in (".engine", ".plan", ".trt"):
        from seg_node.inspecting import engine as reader
    elif path.suffix == ".xml" or start.lstrip()[:5] in (b"<?xml", b"<net "):
        from seg_node.inspecting import openvino as reader  # type: ignore[no-redef]
    elif path.suffix == ".onnx":
        from seg_node.inspecting import onnx as reader  # type: ignore[no-redef]
    elif start[:2] in (b"PK", b"\x80\x02") or start[8:9] == b"{" or path.suffix in (".pth", ".pt", ".ckpt", ".tar"):
        from seg_node.inspecting import checkpoint as reader  # type: ignore[no-redef]
    elif path.suffix == ".bin":
        raise ValueError(f"{path}: the weights of an OpenVINO network? Name the .xml beside it")
    else:
        raise ValueError(
            f"{path}: not known; a network is an .onnx, an OpenVINO .xml, a TensorRT .engine or .plan, or a "
            "checkpoint: .pth, .pt, .ckpt, .safetensors"
        )
    return reader.read(path)
