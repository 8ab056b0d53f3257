"""Networks as other people export them, made on the spot: names, layouts, types and sizes that are not ours.

``FILES`` maps a kind of file to how it is written; each comes with the ten-line card that a person would write for it,
and with PyTorch's own answer, so that what our runtimes say can be compared.
"""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
SIZE = (64, 96)


class Stranger(NamedTuple):
    """A network, how it is exported, and what its card says."""

    network: nn.Module
    example: torch.Tensor
    names: tuple[list[str], list[str]]  # of its inputs, of its outputs
    classes: int
    card: dict[str, Any]  # the keys of input and output that differ from the usual
    dynamic: dict | None = None
    opset: int = 13
    dynamo: bool = False


def _block(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, 2, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU())


class Quarter(nn.Module):
    """Logits at a quarter of the size, as SegFormer's; ``gain`` so that untrained classes are far apart."""

    def __init__(self, classes: int, gain: float = 40.0) -> None:
        super().__init__()
        self.body, self.head, self.gain = nn.Sequential(_block(3, 16), _block(16, 32)), nn.Conv2d(32, classes, 1), gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x) * self.gain)


class Linear(nn.Module):
    """As Quarter, with a linear layer over the pixels in a row for a head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(_block(3, 16), _block(16, 32)), nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        count, _, height, width = y.shape
        z = self.head(y.flatten(2).transpose(1, 2))
        return z.transpose(1, 2).reshape(count, z.shape[-1], height, width)


class Then(nn.Module):
    """A network, and what is done with its answer and before it."""

    def __init__(self, inner: nn.Module, after: Callable, before: Callable = lambda x: x) -> None:
        super().__init__()
        self.inner, self.after, self.before = inner, after, before

    def forward(self, x: torch.Tensor) -> Any:
        return self.after(self.inner(self.before(x)))


class Normalised(nn.Module):
    """Takes 0 to 255 and normalises by itself."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor(IMAGENET[0]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET[1]).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner((x / 255 - self.mean) / self.std)


class Vision(nn.Module):
    """A dict of two, as torchvision's DeepLab and FCN."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side = Quarter(21), nn.Conv2d(3, 21, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": _full(self.main(x)), "aux": self.side(x)}


def _full(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, SIZE, mode="bilinear", align_corners=False)


def _image(*shape: int) -> torch.Tensor:
    return torch.rand(*(shape or (1, 3, *SIZE)))


def _free(*names: str) -> dict:
    return {name: {0: "batch", 2: f"{name}_h", 3: f"{name}_w"} for name in names}


FILES: dict[str, Callable[[], Stranger]] = {
    "segformer": lambda: Stranger(
        Quarter(19), _image(), (["pixel_values"], ["logits"]), 19, {}, _free("pixel_values", "logits"), 12
    ),
    "segformer, new exporter": lambda: Stranger(
        Quarter(19), _image(), (["pixel_values"], ["logits"]), 19, {}, None, 18, True
    ),
    "linear head": lambda: Stranger(Linear(19), _image(), (["x"], ["y"]), 19, {}, None, 14),
    "torchvision": lambda: Stranger(Vision(), _image(), (["input"], ["out", "aux"]), 21, {}, None, 11),
    "mmdeploy": lambda: Stranger(
        Then(Quarter(19), lambda x: _full(x).argmax(1, keepdim=True)),
        _image(),
        (["input"], ["output"]),
        19,
        {"kind": "labels"},
        None,
        11,
    ),
    "argmax as float": lambda: Stranger(
        Then(Quarter(11), lambda x: _full(x).argmax(1).float()), _image(), (["a"], ["b"]), 11, {"kind": "labels"}
    ),
    "softmax, normalises itself": lambda: Stranger(
        Normalised(Then(Quarter(11, 4.0), lambda x: _full(x).softmax(1))),
        255 * _image(),
        (["x"], ["y"]),
        11,
        {"kind": "probabilities", "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1},
    ),
    "keras": lambda: Stranger(
        Then(Quarter(12), lambda x: _full(x).permute(0, 2, 3, 1), lambda x: x.permute(0, 3, 1, 2)),
        _image(1, *SIZE, 3),
        (["input_1"], ["conv2d_99"]),
        12,
        {"layout": "nhwc", "mean": [1, 1, 1], "std": [1, 1, 1], "scale": 127.5},
    ),
    "one plane of two": lambda: Stranger(
        Then(Quarter(1), lambda x: _full(x).sigmoid()), _image(), (["image"], ["mask"]), 2, {"kind": "probabilities"}
    ),
    "half precision": lambda: Stranger(
        Quarter(19, 4.0).half(), _image().half(), (["input"], ["logits"]), 19, {"dtype": "float16"}
    ),
    "batches of four": lambda: Stranger(Quarter(19), _image(4, 3, *SIZE), (["input"], ["logits"]), 19, {}),
}


def make(kind: str, folder: Path) -> Stranger:
    """Write ``stranger.onnx`` into ``folder``, and a card of what its author would know. Deterministic."""
    torch.manual_seed(7)
    stranger = FILES[kind]()
    stranger.network.eval()
    folder.mkdir(parents=True, exist_ok=True)
    _export(stranger, folder / "stranger.onnx")
    write_card(folder, stranger)
    return stranger


def _export(stranger: Stranger, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    names = {"input_names": stranger.names[0], "output_names": stranger.names[1]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if stranger.dynamo:
            options: dict[str, Any] = {"dynamo": True, "verbose": False}
            program = torch.onnx.export(
                stranger.network, (stranger.example,), opset_version=stranger.opset, **names, **options
            )
            program.save(str(path))
            return
        buffer = io.BytesIO()
        torch.onnx.export(
            stranger.network,
            (stranger.example,),
            buffer,
            opset_version=stranger.opset,
            dynamic_axes=stranger.dynamic,
            dynamo=False,
            **names,
        )
    path.write_bytes(buffer.getvalue())


def write_card(folder: Path, stranger: Stranger, **changes: Any) -> None:
    """The ten lines; ``changes`` to what the stranger's card says."""
    told = {"layout": "nchw", "dtype": "float32", "mean": IMAGENET[0], "std": IMAGENET[1], "scale": 255}
    told |= {"kind": "logits", "size": list(SIZE), "classes": stranger.classes, "labels": "labels.yaml"}
    told |= stranger.card | changes
    named = f", name: {told['name']}" if "name" in told else ""
    (folder / "card.yaml").write_text(
        "name: stranger\n"
        f"network: {{name: external, classes: {told['classes']}}}\n"
        f"label_set: {told['labels']}\n"
        f"input: {{size: {told['size']}, channels: rgb, layout: {told['layout']}, dtype: {told['dtype']},\n"
        f"        mean: {told['mean']}, std: {told['std']}, scale: {told['scale']}}}\n"
        f"output: {{kind: {told['kind']}{named}}}\n"
        "files: {onnx: {path: stranger.onnx}}\n"
    )
    names = ", ".join(f"{{name: c{index}, color: [{index}, 9, 9]}}" for index in range(stranger.classes))
    (folder / "labels.yaml").write_text(f"name: made_up\nclasses: [{names}]\n")


def answer(stranger: Stranger, images: np.ndarray) -> np.ndarray:
    """What PyTorch says as its author would ask it: labels (N, H, W) for uint8 RGB (N, H, W, 3)."""
    told = {"mean": IMAGENET[0], "std": IMAGENET[1], "scale": 255, "layout": "nchw", **stranger.card}
    x = (torch.from_numpy(images).double() / told["scale"] - torch.tensor(told["mean"])) / torch.tensor(told["std"])
    x = x.to(stranger.example.dtype)
    with torch.inference_mode():
        y = stranger.network(x if told["layout"] == "nhwc" else x.permute(0, 3, 1, 2))
    y = y["out"] if isinstance(y, dict) else y
    if told.get("kind") == "labels":
        return y.reshape(-1, *SIZE).numpy().astype(np.uint8)
    y = (y.permute(0, 3, 1, 2) if told["layout"] == "nhwc" else y).float()
    if y.shape[1] == 1:
        return (y[:, 0] > 0.5).numpy().astype(np.uint8)
    return F.interpolate(y, SIZE, mode="bilinear", align_corners=False).argmax(1).numpy().astype(np.uint8)
