"""Show why a model sees a class where it does: Grad-CAM and heat maps, models side by side.

examples:
  seg-node explain rdsnet_camvid frame.png --class Car
  seg-node explain models/espnet models/c3net2 frame.png --class bus --out why
  seg-node explain rdsnet_camvid frame.png --at 240,180        # one pixel: why is this what it is said to be
  seg-node explain rdsnet_camvid frame.png --layers            # which layers can be looked at
  seg-node explain runs/drn_c26 runs/c3_drn_c26 dog.jpg        # classifiers, trained on ImageNet

Grad-CAM is taken at the last layer of the coarsest resolution, where the encoder ends, unless --layer names another;
it explains the pixels that the model labels as the class, or all where there are none. --out gets explanation.jpg
(image, labels, Grad-CAM, logit, probability: a row for each model and class), classes_MODEL.jpg (the logits of every
class), each map as a picture of its own, and explanation.json. The model needs its torch weights. A classifier's
training is explained, too, by its logits of every place of the whole image, whose average decides.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from seg_node.evaluation.explanation import Subject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="+",
        help="a shipped model's name, a folder with a card.yaml, or a classifier's training; or several",
    )
    parser.add_argument("image", type=Path, help="an image file")
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="may be repeated (default: the three that the model sees most of)",
    )
    parser.add_argument("--layer", metavar="NAME", help="where Grad-CAM is taken, in every model")
    parser.add_argument("--layers", action="store_true", help="list the layers and do nothing else")
    parser.add_argument("--at", type=_pixel, metavar="X,Y", help="explain this pixel of the image alone")
    parser.add_argument("--out", type=Path, default=Path("explain_out"), metavar="DIR", help="(default explain_out)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.datasets import read_image
    from seg_node.evaluation.explanation import Asked, explain

    image = read_image(arguments.image)
    subjects = [_subject(model, image) for model in arguments.model]
    if arguments.layers:
        return _list_layers(subjects, arguments.json)
    asked = Asked(image, arguments.image.name, arguments.classes, arguments.layer, arguments.at)
    result = explain(subjects, asked, arguments.out, [arguments.image])
    print(json.dumps({**result, "out": str(arguments.out)}) if arguments.json else _table(result, arguments.out))
    return 0


def _subject(model: str, image: "np.ndarray") -> "Subject":
    from seg_node.evaluation.explanation import Subject, subject
    from seg_node.model_card import CARD_NAME, load_card
    from seg_node.training.recipe import is_classifier

    if (Path(model) / CARD_NAME).exists() or not is_classifier(Path(model)):
        return subject(load_card(model), image)
    from seg_node.evaluation.grad_cam import Explainer
    from seg_node.training.augment import whole
    from seg_node.training.classifier import load_classifier

    found = load_classifier(Path(model))
    how = found.recipe.input
    seen = whole(image, how.shorter_side or min(how.size))[..., :: -1 if found.flips else 1]
    return Subject(found.name, Explainer(found.network, how.mean, how.std, 255, seen), found.classes, None)


def _list_layers(subjects: "Sequence[Subject]", as_json: bool) -> int:
    listed: dict[str, dict] = {}
    for one in subjects:
        layers = [layer._asdict() for layer in one.explainer.layers]
        listed[one.name] = {"default": one.explainer.default_layer(), "layers": layers}
    if as_json:
        print(json.dumps(listed))
        return 0
    for name, known in listed.items():
        print(f"{name} (* default)")
        for layer in known["layers"]:
            mark = "*" if layer["name"] == known["default"] else " "
            size = "{1}x{0}".format(*layer["size"])
            print(f" {mark}{layer['name']:<44}{layer['kind']:<20}{layer['channels']:>5} channels {size:>10}")
    return 0


def _pixel(text: str) -> tuple[int, int]:
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not X,Y, such as 240,180") from None
    return x, y


def _table(result: dict, out: Path) -> str:
    lines = []
    for model in result["models"]:
        size = "{1}x{0}".format(*model["layer_size"])
        lines.append(f"{model['model']}: layer {model['layer']}, {model['layer_channels']} channels at {size}")
        for about in model["classes"]:
            inside = "nothing speaks for it" if about["cam_inside"] is None else f"{100 * about['cam_inside']:.0f} %"
            seen = f"{100 * about['of_image']:>6.2f} % sure of it; " if "of_image" in about else ""
            lines.append(
                f"  {about['class']:<20}{seen}{100 * about['share']:>6.2f} % of the image; Grad-CAM of "
                f"{about['explained']}, inside the class: {inside}; highest probability {about['probability_max']:.3f}"
            )
    return "\n".join([*lines, f"written: {out / 'explanation.jpg'}, classes_MODEL.jpg and more"])
