"""Say what a network's file is: tensors, precision, normalisation, classes; and write a first card for it.

example:
  seg-node inspect segformer.onnx
  seg-node inspect segformer.onnx --write-card models/segformer --labels cityscapes19
  seg-node inspect models/rdsnet_camvid

FILE is ONNX, an OpenVINO .xml, a TensorRT .engine or .plan, a checkpoint (.pth, .pt, .ckpt, .safetensors), or a model's
folder. Nothing in it is run, until a card is written: then the network labels one rendered street.
How pixels are normalised is read from the graph where it is in there; where it is not, what is shown is a guess.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from seg_node import runtimes
from seg_node.commands._arguments import WrongArguments
from seg_node.sources.arguments import image_size

if TYPE_CHECKING:
    from seg_node.inspecting import Found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a network's file, or a model: a folder with a card, or its name")
    parser.add_argument("--write-card", type=Path, metavar="DIR", help="make DIR a model: the file, and a first card")
    parser.add_argument(
        "--labels", default="", metavar="SET", help="a label set's name, or a .yaml file of one (default: what fits)"
    )
    parser.add_argument("--size", type=image_size, metavar="HxW", help="for a network that takes any size")
    parser.add_argument("--classes", type=int, metavar="N", help="where the file does not tell")
    parser.add_argument(
        "--runtime", default="auto", choices=["auto", *runtimes.names()], help="what tries the card (default auto)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.inspecting import inspect_file
    from seg_node.inspecting.describe import next_step, text_of
    from seg_node.model_card import CARD_NAME

    path = Path(arguments.file)
    if not path.is_file() or path.name == CARD_NAME:
        return _inspect_card(arguments)
    found = inspect_file(path)
    if arguments.write_card:
        return _write(arguments, found)
    if arguments.json:
        print(json.dumps(found.as_dict()))
    else:
        print("\n".join(filter(None, [text_of(found), next_step(found)])))
    return 0


def _inspect_card(arguments: argparse.Namespace) -> int:
    from seg_node.inspecting.card import read_card
    from seg_node.inspecting.describe import text_of_card
    from seg_node.model_card import names

    if arguments.write_card:
        raise WrongArguments(f"{arguments.file}: --write-card is for a network's file")
    path = Path(arguments.file)
    if not path.exists() and (path.suffix or arguments.file not in names()):
        raise FileNotFoundError(f"{path}: no such file, and no shipped model ({', '.join(names())})")
    found = read_card(arguments.file)
    print(json.dumps(found.as_dict()) if arguments.json else text_of_card(found))
    return 1 if found.problems else 0


def _import(arguments: argparse.Namespace, found: "Found") -> Path:
    """Make a model of a checkpoint, where it is known how its authors fed it."""
    from seg_node.importing import import_checkpoint
    from seg_node.inspecting.describe import next_step
    from seg_node.model_card import CARD_NAME

    labels = arguments.labels or next(iter(found.label_sets), "")
    if not labels or (found.feeding is None):
        raise ValueError(
            f"{found.path}: its label set or how its pixels were normalised is not known; {next_step(found)}"
        )
    changes = {"size": arguments.size} if arguments.size else {}
    made = import_checkpoint(found.path, str(found.network), labels, arguments.write_card, found.options, changes)
    return made.folder / CARD_NAME


def _write(arguments: argparse.Namespace, found: "Found") -> int:
    from seg_node.inspecting.describe import text_of
    from seg_node.inspecting.first_card import try_card, write_first_card

    if found.kind == "torch" and found.network:
        card = _import(arguments, found)
    else:
        card = write_first_card(found, arguments.write_card, arguments.labels, arguments.size, arguments.classes)
    trial = try_card(card.parent, arguments.runtime)
    if arguments.json:
        print(json.dumps({**found.as_dict(), "card": str(card), "trial": trial._asdict()}))
    else:
        print(text_of(found))
        print(f"{card}: written{'' if found.feeding and found.feeding.known else ', with a guessed normalisation'}")
        if trial.works:
            print(f"{trial.runtime} runs it; on a rendered street it says {trial.says}")
            print(f"now: seg-node demo --model {card.parent}")
    if not trial.works:
        print(f"{card}: written, but it does not run yet: {trial.says}", file=sys.stderr)
    return 0 if trial.works else 1
