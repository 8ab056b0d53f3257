"""Reads any file of weights into one flat state dict. Tensors and plain values only: nothing in the file is run."""

import _codecs
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seg_node.model_card import CardError
from seg_node.runtimes.torch import read_weights

# Where trainers put the state dict among their own things.
_HOLDERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params", "weights", "ema")
# What wrappers put before every name: DataParallel, Lightning and friends, torch.compile.
_PREFIXES = ("module.", "model.", "network.", "net.", "_orig_mod.")


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a .pth, .pt, .pth.tar, .ckpt or .safetensors file by name, wrappers' prefixes taken off.

    Raises FileNotFoundError, or CardError where the file is damaged, holds no state dict, or needs code to be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder, not a file of weights' if path.is_dir() else 'no such file'}")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    state = _state_in(content)
    if not state:
        raise CardError(f"{path}: holds no state dict, only {', '.join(map(str, list(content)[:12])) or 'nothing'}")
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), ""):
        state = {key[len(prefix) :]: tensor for key, tensor in state.items()}
    return state


def _is_safetensors(path: Path) -> bool:
    """By what it begins with, eight bytes of length and then JSON: its name may say anything."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_pickle(path: Path) -> dict[str, Any]:
    # trainers keep scores beside the weights, and NumPy's numbers are the one harmless thing that PyTorch refuses
    numpy_scalar: Any = np.float64(0).__reduce__()[0]
    harmless: list[Any] = [
        (numpy_scalar, "numpy.core.multiarray.scalar"),
        (numpy_scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4")),
        _codecs.encode,
    ]
    with torch.serialization.safe_globals(harmless):
        return read_weights(path)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise CardError(f"{path}: no safetensors file, or a damaged one: {error}") from error


def _state_in(content: dict[Any, Any]) -> dict[str, torch.Tensor]:
    """Return the first dict of tensors: what one of ``_HOLDERS`` holds, or ``content`` less plain values among them."""
    for holder in _HOLDERS:
        inner = content.get(holder)
        if isinstance(inner, dict) and (state := _state_in(inner)):
            return state
    if not all(isinstance(value, (torch.Tensor, int, float, str, type(None))) for value in content.values()):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
