"""Train a network by a recipe; goes on by itself where an earlier run of the same folder stopped.

example:
  seg-node train rdsnet_camvid --data CamVid --out runs/rdsnet
  seg-node train rdsnet_camvid_street --data CamVid --out runs/mine epochs=20 optimizer.lr=0.001

The folder then holds best.ckpt, last.ckpt, weights.pt, card.yaml (so `seg-node evaluate` and `export` take the
folder), recipe.yaml and run.yaml (how to repeat it), and TensorBoard's logs (tensorboard --logdir DIR).
Ctrl-C or a kill loses the running epoch and no more: the same command goes on after the last whole one.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from seg_node.training.recipe import names

    parser.add_argument("recipe", help=f"{', '.join(names())}, or a .yaml file")
    parser.add_argument("--data", type=Path, help="the data set's folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="where to write; an unfinished training there is gone on with"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that load data (default 1)")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.training.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, tuple(arguments.changes))
    from seg_node.training.loop import train

    out = train(recipe, arguments.data, arguments.out, arguments.workers)
    print(f"trained: {out}/weights.pt with its card; next: seg-node export {out} --to onnx")
    return 0
