"""Make a model of somebody's checkpoint: weights under our names, and a card. Nothing in the file is run.

example:
  seg-node import espnet_p2_q8_camvid12.pth --network espnet --labels camvid12 --out models/espnet_theirs
  seg-node import best.pth.tar --network erfnet --labels my_labels.yaml --out models/mine --size 512x1024 \\
      --channels rgb --mean 0,0,0 --std 1,1,1
  seg-node import drn_c_26-ddedf421.pth --network drn_c26_imagenet --out runs/drn_c26    # a classifier of images

CHECKPOINT is a state dict: plain, or under state_dict and the like, with or without "module.", in .pth, .pt, .pth.tar,
.ckpt or .safetensors. The names that the public code of ESPNet, C3Net, ENet, ERFNet, DRN and NDNet gives its tensors
are known, and options that the tensors tell (p, q, dilations, ...) are found; what they do not tell, say yourself: ENet
of August 2019 to March 2021 needs --option late_activation=true. The input's size, channel order and
normalisation are known for their weights (config/inputs.yaml); for others give them. A classifier's folder is what its
training leaves: for evaluate --dataset imagenet, explain, and to begin with (start=).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from seg_node.commands._arguments import WrongArguments
from seg_node.sources.arguments import image_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="the file of weights")
    parser.add_argument("--network", required=True, metavar="NAME", help="its network (seg-node networks lists them)")
    parser.add_argument(
        "--labels", metavar="SET", help="a label set's name, or a .yaml file of one; not of a classifier"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="KEY=VALUE",
        help="an option of the network; may be repeated",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the model's folder, to be made")
    parser.add_argument("--size", type=image_size, metavar="HxW", help="of the network's input")
    parser.add_argument("--channels", choices=["bgr", "rgb"], help="order of the input's channels")
    parser.add_argument("--mean", type=_three, metavar="A,B,C", help="subtracted from x / scale, in that order")
    parser.add_argument("--std", type=_three, metavar="A,B,C", help="what it is then divided by")
    parser.add_argument("--scale", type=float, help="what 0..255 is divided by first (default 255)")
    parser.add_argument("--licence", default="", metavar="TEXT", help="of the weights and their training data")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node import networks
    from seg_node.importing import import_checkpoint, import_classifier

    fields = ("size", "channels", "mean", "std", "scale")
    changes = {field: value for field in fields if (value := getattr(arguments, field)) is not None}
    options = dict(arguments.option)
    if arguments.network in networks.classifiers():
        given = ["--" + name for name in ("labels", "licence", "size", "scale") if getattr(arguments, name)]
        if given:
            raise WrongArguments(
                f"{', '.join(given)}: {arguments.network} classifies images, of any size, and has no labels"
            )
        done = import_classifier(arguments.checkpoint, arguments.network, arguments.out, options, changes)
    elif arguments.labels is None:
        raise WrongArguments("--labels: say what the network's classes are, by a label set's name or a .yaml file")
    else:
        done = import_checkpoint(
            arguments.checkpoint,
            arguments.network,
            arguments.labels,
            arguments.out,
            options,
            changes,
            arguments.licence,
        )
    if arguments.json:
        print(json.dumps({**done._asdict(), "folder": str(done.folder)}))
        return 0
    found = ", ".join(f"{key}={value}" for key, value in done.options.items()) or "none"
    print(
        f"{done.folder}: {done.network}, options {found}, {done.classes} classes, {done.parameters:,} parameters",
        end="",
    )
    if done.size is None:
        print(f"\nnow: seg-node explain {done.folder} IMAGE, or evaluate with --dataset imagenet --data DIR")
    else:
        print(f", input {done.size[1]}x{done.size[0]}")
        print(f"now: seg-node demo --model {done.folder}, or seg-node export {done.folder} --to onnx")
    return 0


def _three(text: str) -> list[float]:
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers with commas between") from None
    return [first, second, third]


def _option(word: str) -> tuple[str, Any]:
    key, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{word}' is not KEY=VALUE")
    return key, yaml.safe_load(value)
