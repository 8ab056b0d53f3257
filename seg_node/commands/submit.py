"""Label Cityscapes' test images and write the zip that its test server takes.

Each image is labelled at its own size by the pipeline and runtime that the robot runs, and written as labelIds under
its official name. The model must have Cityscapes' 19 classes, with or without void.

examples:
  seg-node submit runs/c3net2 --data cityscapes --out c3net2.zip
  seg-node submit models/espnet --data cityscapes --split val --out val.zip --precision fp32
"""

import argparse
import sys
from pathlib import Path

from seg_node import runtimes
from seg_node.commands._arguments import WrongArguments
from seg_node.commands._scoring import add_runtime_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a shipped model's name, or a folder with a card.yaml")
    parser.add_argument("--data", type=Path, required=True, help="Cityscapes' folder, with leftImg8bit/ in it")
    parser.add_argument("--split", default="test", help="train, val or test (default test)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.zip")
    add_runtime_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    import cv2

    from seg_node.datasets import DatasetError, cityscapes, read_image
    from seg_node.label_set import load_label_set
    from seg_node.model_card import load_card
    from seg_node.pipeline.frame import Frame
    from seg_node.pipeline.segmenter import Segmenter
    from seg_node.preparation.submission import Submission
    from seg_node.replay.progress import Bars

    if arguments.out.suffix.lower() != ".zip":
        raise WrongArguments(f"--out {arguments.out}: must end in .zip, which is what the test server takes")
    found = cityscapes.find(arguments.split, arguments.data)
    images = [pair for pair in found.pairs if pair.image.is_file()]  # labels are not needed
    if not images:
        raise DatasetError(found.empty)
    if found.strays:
        raise found.strays[0]
    wanted = cityscapes.COUNTS[arguments.split]
    if len(images) != wanted:
        print(f"seg-node submit: {arguments.split} has {wanted} images, and here are {len(images)}", file=sys.stderr)
    card = load_card(arguments.model)
    runtime = runtimes.load_runtime(card, arguments.runtime, arguments.device, arguments.precision)
    segmenter = Segmenter(card, runtime)
    to_train_ids = segmenter.label_set.to(load_label_set(cityscapes.LABEL_SET))
    with Bars("images") as bars, Submission(arguments.out) as submission:
        progress = bars.add(arguments.split)
        for number, pair in enumerate(images, 1):
            labels = segmenter.segment(Frame(read_image(pair.image), "bgr")).labels
            submission.add(pair.name, cv2.LUT(labels, to_train_ids))
            progress(number, len(images))
    runtime.close()
    print(f"{arguments.out}: {len(images)} images of {arguments.split} by {runtime.name} in {runtime.precision}")
    return 0
