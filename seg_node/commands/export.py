"""Write a trained network as a file that a robot runs, prove it against PyTorch, and note it in the card.

The file takes pixels and gives class ids: normalisation, upsampling and argmax are in it. Golden images are run
through the new file and through PyTorch; where they do not agree, nothing changes, and a picture shows where. A file
is bound to the weights and the card's settings that it was made from: when these change, it is refused, not used stale.

examples:
  seg-node export runs/rdsnet --to onnx --confidence        ONNX Runtime, OpenVINO; a second file for ~/confidence
  seg-node export runs/rdsnet --to onnx --target tx2        for TensorRT 8.2 and ONNX Runtime 1.10, Python 3.6
  seg-node export runs/rdsnet --to onnx --precision fp16    half precision inside, for GPUs
  seg-node export runs/rdsnet --to onnx --size 256x512      another model, runs/rdsnet_256x512, of the same weights
  seg-node export runs/rdsnet --to openvino --precision int8 --calibrate CamVid    for CPUs; or a folder of images
  seg-node export runs/rdsnet --to onnx --precision int8 --calibrate CamVid        the graph for TensorRT's INT8 engine
  seg-node export runs/rdsnet --to tensorrt --precision fp16            on the robot itself

More: docs/export.md
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seg_node import exporters
from seg_node.sources.arguments import image_size

_PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="a shipped model's name, or a folder with a card.yaml and PyTorch weights")
    add("--to", required=True, choices=exporters.targets(), help="the kind of file")
    add("--precision", default="fp32", choices=_PRECISIONS, help="what it computes in (default fp32)")
    add("--size", type=image_size, metavar="HxW", help="input size; another than the model's makes another model")
    add("--batch", type=_count, default=1, metavar="N", help="images that one inference takes (default 1)")
    add("--target", default="", choices=[name for name in exporters.TARGETS if name], help="for older libraries")
    add(
        "--label-stride",
        type=_count,
        default=1,
        metavar="N",
        help="label every Nth pixel and repeat it: a little faster on a CPU; the card says what it costs",
    )
    add("--confidence", action="store_true", help="a second file too, which gives the confidence: for ~/confidence")
    add("--calibrate", type=Path, metavar="DIR", help="data set or folder of real images, for int8")
    add("--use-dla", action="store_true", help="TensorRT: on the deep learning accelerator of a Xavier or an Orin")
    add("--device", default="auto", help="where the new file is tried (default auto)")
    add("--out", type=Path, metavar="DIR", help="write another model there, and leave MODEL as it is")
    add("--force", action="store_true", help="use the file although it does not agree with PyTorch; the card says so")
    add("--json", action="store_true", help="print one JSON object a file and nothing else")


def run(arguments: argparse.Namespace) -> int:
    wanted = exporters.Wanted(
        precision=arguments.precision,
        size=arguments.size,
        batch=arguments.batch,
        target=arguments.target,
        label_stride=arguments.label_stride,
        confidence=arguments.confidence,
        calibrate=arguments.calibrate,
        force=arguments.force,
        dla=arguments.use_dla,
        device=arguments.device,
    )
    with _progress() as say:
        done = exporters.make(arguments.model, arguments.to, wanted, arguments.out, say)
    for kind, about in done.files.items():
        path = done.card.parent / about["path"]
        size = sum((path.parent / name).stat().st_size for name in (path.name, *about.get("beside", {})))
        report = {"kind": kind, "file": str(path), "bytes": size, **about}
        del report["path"]
        print(json.dumps(report) if arguments.json else _line(path, size, about["parity"]))
    return 0


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on stderr what goes on: one line that turns in a terminal, a line each elsewhere."""
    try:
        from rich.console import Console
    except ImportError as error:
        raise ImportError("export shows its progress with rich: pip install rich") from error
    console = Console(stderr=True)
    with console.status("loading") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(text, highlight=False, markup=False, soft_wrap=True)

        yield say


def _line(path: Path, size: int, gate: dict[str, Any]) -> str:
    verdict = "agrees" if gate["passed"] else "FORCED although it only agrees"
    return (
        f"{path}: {size / 1e6:.1f} MB; {verdict} with PyTorch on {gate['agreement']:.3%} of the pixels, "
        f"{gate['worst']:.3%} of the worst of {gate['images']} images"
    )


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of images")
    return int(text)
