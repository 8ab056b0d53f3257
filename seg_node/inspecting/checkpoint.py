"""A file of PyTorch weights: whose network they are, of how many classes. Nothing in the file is run."""

import zipfile
from collections import Counter
from pathlib import Path

from seg_node.inspecting import Feeding, Found

_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_STRANGERS = {  # how the tensors of networks begin that many people use and that are not here
    "segformer.": "SegFormer of Hugging Face's transformers",
    "mask2former.": "Mask2Former",
    "model.pixel_level_module.": "Mask2Former or MaskFormer",
    "backbone.layer1.": "a ResNet as torchvision and mmsegmentation have it",
    "decode_head.": "a network of mmsegmentation",
    "segmentation_head.": "a network of segmentation_models_pytorch",
}


def read(path: Path, search: bool = True) -> Found:
    """``search``: find the network, too, which takes seconds.

    Raises CardError where the file holds no weights, or code is needed to read it; ImportError without PyTorch."""
    if _is_torchscript(path):
        found = Found(path, "torchscript", path.stat().st_size, "TorchScript, a program with its weights")
        found.notes.append("a stranger's program is not run here: where it was made, torch.onnx.export it")
        return found
    from seg_node.importing.checkpoint import read_state

    state = read_state(path)
    kinds = Counter[str]()
    for tensor in state.values():
        kinds[str(tensor.dtype).rsplit(".", 1)[-1]] += tensor.numel()
    most = kinds.most_common(1)[0][0]
    found = Found(
        path,
        "torch",
        path.stat().st_size,
        f"PyTorch weights, {len(state)} tensors",
        precision=_PRECISIONS.get(most, most),
        parameters=sum(kinds.values()),
    )
    if search:
        _find_network(found, state)
    return found


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _find_network(found: Found, state: dict) -> None:
    from seg_node.importing import input_of
    from seg_node.importing.matching import candidates, classifiers_of

    fits = candidates(state)
    classifiers = [] if fits else classifiers_of(state)
    if classifiers:
        taken = classifiers[0]
        found.notes.append(
            f"{taken.name}, which classifies whole images in {taken.classes} classes: seg-node import {found.path} "
            f"--network {taken.name} --out DIR, for explain, and evaluate --dataset imagenet"
        )
        return
    if not fits:
        first = next(iter(state))
        known = [who for start, who in _STRANGERS.items() if any(key.startswith(start) for key in state)]
        who = f" (they look like {known[0]})" if known else ""
        found.notes.append(
            f"no network here has these tensors{who}, the first is '{first}': in the program that made it, "
            "torch.onnx.export it, and inspect that"
        )
        return
    taken = fits[0]
    found.network, found.options, found.classes, found.output = taken.name, taken.options, taken.classes, "labels"
    if len(fits) > 1:
        found.notes.append(
            f"also fits {', '.join(fit.name for fit in fits[1:])}: choose with seg-node import --network"
        )
    for label_set in found.label_sets:
        try:
            fed = input_of(taken.name, label_set, {})
        except ValueError:
            continue
        found.size = fed.size
        found.feeding = Feeding(
            fed.channels, fed.mean, fed.std, fed.scale, True, f"as its authors fed it for {label_set}"
        )
        return
    found.notes.append("how its pixels were normalised is not in a checkpoint: look where it was trained")
