"""Train a network by a recipe; goes on by itself where an earlier run of the same folder stopped.

examples:
  seg-node train --list
  seg-node train rdsnet_camvid --data CamVid --out runs/rdsnet
  seg-node train modern_camvid --data CamVid --out runs/mine network.name=espnet epochs=20 optimizer.lr=0.001
  seg-node train modern_camvid --data CamVid --out runs/two --devices 2            # two GPUs, or CPU processes
  torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
      -m seg_node train modern_camvid --data CamVid --out /shared/runs/eight       # on each of two machines

The folder then holds best.ckpt, last.ckpt, weights.pt, card.yaml (so `seg-node evaluate` and `export` take the
folder), recipe.yaml and run.yaml (how to repeat it), curve.jsonl (a line an epoch) and TensorBoard's logs
(tensorboard --logdir DIR). A recipe with stages keeps all that in a folder a stage. Ctrl-C or a kill loses the running
epoch and no more: the same command goes on after the last whole one. `seg-node check-data` finds bad files beforehand.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from seg_node.commands._arguments import WrongArguments, typed
from seg_node.share import cache_folder

if TYPE_CHECKING:
    from seg_node.training.recipe import Recipe


class _List(argparse.Action):
    """Prints every recipe and what it gives back, and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from seg_node.training.recipe import names, summary

        wide = max(map(len, names()))
        print("\n".join(f"{name:<{wide}}  {summary(name)}" for name in names()))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a recipe's name (--list has them), or a .yaml file")
    parser.add_argument("--list", action=_List, nargs=0, help="list the recipes and do nothing else")
    parser.add_argument("--data", type=Path, help="the data set's folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="where to write; an unfinished training there is gone on with"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that load data, for each process that trains")
    parser.add_argument(
        "--devices", default="auto", help="GPUs (or CPU processes) to train with on this machine; default: every GPU"
    )
    parser.add_argument("--num-nodes", type=int, default=1, help="machines that train together (default 1)")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache_folder(),
        help="where images of a large data set are kept decoded and resized (default %(default)s)",
    )
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")


def run(arguments: argparse.Namespace) -> int:
    from seg_node.training.recipe import load_recipe

    with typed():
        recipe = load_recipe(arguments.recipe, tuple(arguments.changes))
    if arguments.workers < 0:
        raise WrongArguments(f"--workers is {arguments.workers}; must be 0 or more")
    if arguments.devices != "auto" and not (arguments.devices.isdecimal() and int(arguments.devices)):
        raise WrongArguments(f"--devices is {arguments.devices}; must be 1 or more, or auto")
    from seg_node.training.loop import Cluster, is_first, train

    cluster = Cluster(arguments.devices, arguments.num_nodes, arguments.accelerator)
    first = is_first()  # a Trainer that has ended leaves nothing to tell by
    out = train(recipe, arguments.data, arguments.out, arguments.workers, cluster, arguments.cache)
    if first and recipe.task == "classification":
        print(
            f"trained: {out}; a recipe may begin with it, start={out}; next: seg-node evaluate {out} --dataset imagenet"
        )
    elif first:
        print(f"trained: {out}; next: seg-node evaluate {out}{_as_reported(recipe)}, seg-node export {out} --to onnx")
    return 0


def _as_reported(recipe: "Recipe") -> str:
    """Return the arguments of evaluate that count as the training did, and as the paper's result if it has one."""
    words = f" --dataset {recipe.validate.dataset}"
    words += " --void counted" if recipe.counts_void else ""
    scales = [result.gt_scale for result in recipe.reported]
    return words + (f" --gt-scale {scales[0]}" if scales and scales[0] > 1 else "")
