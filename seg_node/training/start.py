"""What a training begins with: weights of an earlier one, handed on by name."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from seg_node import networks
from seg_node.model_card import CARD_NAME, ModelCard, load_card, sha256
from seg_node.model_card import names as models
from seg_node.networks.grouped_erfnet import to_grouped
from seg_node.runtimes.torch import read_weights
from seg_node.share import share_path
from seg_node.training.recipe import Recipe, load_recipe, names
from seg_node.yaml_table import read_table


def hand_on(state: Mapping[str, torch.Tensor], network: torch.nn.Module) -> list[str]:
    """Load what fits by name and shape into the network, and return the names of its tensors that got nothing.

    Weights of gradual grouping's dense form are grouped where the network is grouped. Raises ValueError where
    nothing fits, or where a dense form's alpha is not 0 yet.
    """
    wanted = network.state_dict()
    given = dict(state)
    if any(key.endswith(".alpha") for key in given) and not any(key.endswith(".alpha") for key in wanted):
        given = to_grouped(given)
    fits = {key: tensor for key, tensor in given.items() if key in wanted and tensor.shape == wanted[key].shape}
    if not any(tensor.is_floating_point() and tensor.ndim > 1 for tensor in fits.values()):
        raise ValueError("nothing fits: no kernel of these weights has a name and a shape of the network's")
    network.load_state_dict(fits, strict=False)
    return [key for key in wanted if key not in fits]


def begin(recipe: Recipe, network: torch.nn.Module) -> list[str]:
    """Load ``recipe.start``, where it has one, and return the names of the network's tensors that got nothing.

    Raises ValueError or FileNotFoundError that says what to give.
    """
    if recipe.start is None:
        return []
    path = _weights(recipe.start)
    state = read_weights(path)
    for wrapper in ("state_dict", "model"):  # as many programs save it
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    adopted = networks.adopt(recipe.network.name, state)
    known, given = _channels(path, recipe.network.name if adopted else None), recipe.input
    if known not in (None, given.channels):
        mean, std = (",".join(map(str, values[::-1])) for values in (given.mean, given.std))
        raise ValueError(
            f"{path}: was trained on {known.upper()} images, and this recipe gives {given.channels.upper()}; "
            f"add input.channels={known} 'input.mean=[{mean}]' 'input.std=[{std}]' (a file with its authors' names for "
            "the tensors is taken for theirs: if yours is of another order, seg-node import it, with --channels)"
        )
    try:
        return hand_on(adopted[0] if adopted else state, network)
    except ValueError as error:
        raise ValueError(f"{path}: {error} ({recipe.network.name}, options {recipe.network.options})") from error


def _channels(path: Path, authors_of: str | None) -> str | None:
    """Return the order of channels that weights were trained on, "bgr" or "rgb"; None where it is not known.

    ``authors_of``: the network whose authors' names the tensors have.
    """
    card = _card_of(path)
    if card is not None:
        return card.channels
    if path.name == "weights.pt" and (path.parent / "recipe.yaml").is_file():  # a classifier's training
        whole = load_recipe(path.parent / "recipe.yaml")
        return (whole.stages or (whole,))[0].input.channels
    if authors_of is None:
        return None
    ways = read_table(share_path("config/inputs.yaml")).get(networks.family(authors_of), {})
    return next((str(way["channels"]) for way in ways.values()), None)


def other_feeding(recipe: Recipe) -> str:
    """Return what to say where the model that a recipe begins with was normalised in another way; "" otherwise."""
    path = _weights(recipe.start) if recipe.start is not None else None
    card = None if path is None else _card_of(path)
    if card is None:
        return ""
    share = card.scale / 255  # recipes have x / 255
    mean, std = ([round(value * share, 6) for value in values] for values in (card.mean, card.std))
    if np.allclose(mean, recipe.input.mean, atol=1e-3) and np.allclose(std, recipe.input.std, atol=1e-3):
        return ""
    words = " ".join(
        f"'input.{name}={str(values).replace(' ', '')}'" for name, values in (("mean", mean), ("std", std))
    )
    return f"{path} was trained on pixels normalised in another way: {words} would keep it"


def _card_of(path: Path) -> ModelCard | None:
    """Return the card that weights belong to, if they have one."""
    if not (path.parent / CARD_NAME).is_file():
        return None
    card = load_card(path.parent)
    belongs = "torch" in card.files and card.files["torch"].path.resolve() == path.resolve()
    return card if belongs else None


def digests(recipe: Recipe, begins: bool) -> dict[str, str]:
    """Return the sha256 of a training's ``teacher``, and of its ``start`` if it ``begins``."""
    found = {}
    if begins and recipe.start is not None:
        found["start"] = sha256(_weights(recipe.start))
    if recipe.teacher is not None:
        found["teacher"] = sha256(load_card(recipe.teacher.model).file("torch"))
    return found


def _weights(start: str) -> Path:
    """Return the file that ``start`` means: itself, or the PyTorch weights of a model."""
    path = Path(start)
    if path.is_file() and path.name != CARD_NAME:
        return path
    if (path / "weights.pt").is_file():  # a training's folder, of a classifier too
        return path / "weights.pt"
    if start not in models() and not path.exists() and start in names():
        raise ValueError(
            f"this recipe begins with what recipe {start} trains: run `seg-node train {start}` first, then give its "
            "folder with start=FOLDER (or the authors' weights with start=FILE, or start=null to begin from scratch)"
        )
    if not path.exists() and path.suffix in (".pth", ".pt"):
        raise ValueError(
            f"this recipe begins with the weights {start}, which are not here: give the file with start=FILE, or begin "
            "from scratch with start=null (its 'about' says whose weights they are)"
        )
    return load_card(start).file("torch")
