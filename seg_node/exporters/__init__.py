"""From a trained network to a file that a robot runs, and the proof that both say the same.

Each file here is a target with

    PRECISIONS                    what it can compute in, its own choice first
    write(source, folder, say)    -> the artefacts; writes into ``folder`` only, and all that is in it is kept

except ``parity``, the proof, ``quantise``, and those that begin with an underscore. ``export`` is the one way through
all of them: stage, write, prove, publish. The model is whole at every moment, and after a kill too.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seg_node import plugins
from seg_node.model_card import CARD_NAME, ModelCard, load_card

if TYPE_CHECKING:  # the command line lists the targets where there is no PyTorch, too
    from seg_node.networks._deployed import Deployed

TARGETS = ("", "tx2")
_NO_TARGETS = ("parity", "quantise")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a person asks for."""

    precision: str = "fp32"  # one of the exporter's PRECISIONS
    size: tuple[int, int] | None = None  # (height, width); None: the card's
    batch: int = 1  # images that one inference takes
    target: str = ""  # "": current libraries; "tx2": TensorRT 8.2, ONNX Runtime 1.10
    confidence: bool = False  # a second file too, which gives the confidence
    calibrate: Path | None = None  # a folder of images, for int8
    force: bool = False  # publish what fails the parity gate; the card says that it failed
    dla: bool = False  # TensorRT: the deep learning accelerator of a Xavier or an Orin
    label_stride: int = 1  # labels of every so manieth pixel, repeated: faster, and costs mIoU
    device: str = "auto"  # where the artefact is tried


class Source(NamedTuple):
    """What an exporter works from."""

    card: ModelCard  # ``wanted.size`` is in it
    deployed: "Deployed"  # on the CPU, in eval mode, float32; an exporter that changes it works on a copy
    wanted: Wanted


class Artefact(NamedTuple):
    """A file that an exporter wrote; what lies beside it under the same stem (an IR's .bin) is a part of it."""

    kind: str  # one of model_card.FILE_KINDS
    path: Path
    keys: dict[str, Any]  # for the card's entry: precision, opset, layout, ... (model_card.FILE_KEYS)
    scores: dict[str, Any]  # for the card's scores


class Exported(NamedTuple):
    card: Path
    files: dict[str, dict[str, Any]]  # kind -> the card's entry, parity included


def targets() -> list[str]:
    """Return the kinds of file that ``export`` writes; their libraries are not imported."""
    return [name for name in plugins.names(__name__) if name not in _NO_TARGETS]


def precisions(to: str) -> tuple[str, ...]:
    """Return what ``--to`` ``to`` can compute in, its own choice first."""
    found: tuple[str, ...] = plugins.load(__name__, to).PRECISIONS
    return found


def export(model: str | Path, to: str, wanted: Wanted | None = None, out: Path | None = None) -> Path:
    """Do what ``make`` does and return the card's path."""
    return make(model, to, wanted or Wanted(), out).card


def make(
    model: str | Path,
    to: str,
    wanted: Wanted,
    out: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write ``model`` as a file of kind ``to``, prove it against PyTorch, and note it in the card.

    ``out``: another folder, which becomes a model of its own; so does another size than the card's, by default beside
    the model. ``say`` is told what goes on.

    Raises CardError, FileNotFoundError, FileExistsError, ValueError (what cannot be), ImportError (what is not
    installed), or ParityError; the model is then as it was.
    """
    from seg_node.exporters import _publish

    check(to, wanted)
    card = load_card(model)
    size = wanted.size or card.size
    if out is None and size != card.size:
        out = card.folder.resolve().parent / f"{card.name}_{size[0]}x{size[1]}"
    out = out and out.resolve()  # "." has a name, too
    if out is None or out == card.folder.resolve():
        if size != card.size:
            raise ValueError(
                f"{card.folder / CARD_NAME}: is a model of {card.size[0]}x{card.size[1]}; another size is another "
                "model: choose another --out"
            )
        with _publish.locked(card.folder):
            return _into(card, to, wanted, say)
    with _publish.another_model(card, size, out) as folder:
        files = _into(load_card(folder), to, wanted, say).files
    return Exported(out / CARD_NAME, files)


def check(to: str, wanted: Wanted) -> None:
    """Raise ValueError for what no export can be."""
    if to not in targets():
        raise ValueError(f"no export to '{to}'; choose from {', '.join(targets())}")
    if wanted.precision not in precisions(to):
        raise ValueError(f"--to {to} has no precision '{wanted.precision}'; choose from {', '.join(precisions(to))}")
    if wanted.target not in TARGETS:
        raise ValueError(f"no target '{wanted.target}'; choose from {', '.join(filter(None, TARGETS))}")
    if wanted.batch < 1:
        raise ValueError(f"batch {wanted.batch}: must be 1 or more")
    if wanted.label_stride > 1 and (to == "tensorrt" or (to == "onnx" and wanted.precision == "int8")):
        raise ValueError("--label-stride is for CPUs: --to openvino, or --to onnx --precision fp32")


def _into(card: ModelCard, to: str, wanted: Wanted, say: Callable[[str], None]) -> Exported:
    """Export into the card's own folder, which is locked."""
    from seg_node.exporters import _publish
    from seg_node.networks._deployed import Deployed
    from seg_node.runtimes.torch import load_network

    _publish.finish(card.folder)
    source = Source(card, Deployed(load_network(card), card.mean, card.std, card.scale).eval(), wanted)
    with _publish.staging(card.folder) as folder:
        say(f"{card.name}: writing {to}")
        artefacts = plugins.load(__name__, to).write(source, folder, say)
        entries = {}
        for artefact in artefacts:
            say(f"{card.name}: comparing {artefact.path.name} with PyTorch")
            entries[artefact.kind] = _publish.entry(card, artefact)
        verdicts = _publish.prove(card, to, wanted, artefacts, entries)
        for kind, verdict in verdicts.items():
            entries[kind]["parity"] = verdict
        _publish.publish(card, folder, entries, {k: v for a in artefacts for k, v in a.scores.items()})
    return Exported(card.folder / CARD_NAME, entries)
