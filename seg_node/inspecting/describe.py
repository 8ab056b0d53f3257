"""What was found, as text for people."""

from seg_node.inspecting import Found
from seg_node.inspecting.card import FoundCard
from seg_node.model_card import CARD_NAME


def text_of(found: Found) -> str:
    """Return the lines about a file."""
    lines = [f"{found.path}: {found.about}", f"  {'size':<14}{_size(found)}"]
    lines += [f"  {'in':<14}{tensor}" for tensor in found.inputs]
    lines += [f"  {'out':<14}{tensor}" for tensor in found.outputs]
    if found.inputs:
        size = "any size" if found.size is None else f"{found.size[0]} high, {found.size[1]} wide"
        lines.append(f"  {'image':<14}{size}, {found.layout or 'unknown layout'}, {found.dtype}")
    if found.feeding:
        lines.append(f"  {'normalisation':<14}{found.feeding.about}")
        if not found.feeding.known:
            fed = found.feeding
            formula = f"(x / {fed.scale:g} - {_list(fed.mean)}) / {_list(fed.std)}"
            lines.append(f"  {'':<14}{fed.channels}, {formula}: compare with its training")
    if found.network:
        options = ", ".join(f"{key}={value}" for key, value in found.options.items())
        lines.append(f"  {'network':<14}{found.network}{f' ({options})' if options else ''}")
    if found.output:
        count = "an unknown number of" if found.classes is None else found.classes
        lines.append(f"  {'gives':<14}{found.output} of {count} classes{_stride(found)}")
    if found.classes:
        lines.append(f"  {'label sets':<14}{', '.join(found.label_sets) or 'none here has so many classes'}")
    return "\n".join(lines + [f"  {'note':<14}{note}" for note in found.notes])


def next_step(found: Found) -> str:
    """Return what to type next, or nothing."""
    labels = found.label_sets[0] if found.label_sets else ""
    wanted = f" --labels {labels}" if labels else ""
    if found.kind == "torch" and found.network:
        fed = "" if found.feeding else " --size HxW --channels rgb --mean A,B,C --std A,B,C"
        return (
            f"now: seg-node import {found.path} --network {found.network}{wanted or ' --labels SET.yaml'}{fed} "
            f"--out {found.path.stem}"
        )
    if found.output and len(found.inputs) == 1 and found.layout:
        return f"now: seg-node inspect {found.path} --write-card models/{found.path.stem}{wanted}"
    return ""


def text_of_card(found: FoundCard) -> str:
    """Return the lines about a model's folder."""
    card = found.card
    lines = [
        f"{card.folder / CARD_NAME}: model {card.name}",
        f"  {'network':<14}{card.network}, {card.classes} classes, label set {card.label_set}",
        f"  {'image':<14}{card.size[0]} high, {card.size[1]} wide, {card.channels}, {card.layout}, {card.dtype}",
        f"  {'normalisation':<14}(x / {card.scale:g} - {_list(card.mean)}) / {_list(card.std)}",
        f"  {'gives':<14}{card.output}{f' ({card.output_name})' if card.output_name else ''}",
        f"  {'runs with':<14}{', '.join(found.runs_with) or 'nothing'}",
    ]
    for kind, file in found.files.items():
        parity = card.files[kind].notes.get("parity")
        agrees = f", agrees with PyTorch on {parity['agreement']:.3%}" if parity else ""
        about = f"{file.about}; {_size(file)}{agrees}" if file else "cannot be used, see below"
        lines.append(f"  {kind:<22}{card.files[kind].path.name}: {about}")
    return "\n".join(lines + [f"  {'problem':<14}{problem}" for problem in found.problems])


def _size(found: Found) -> str:
    parts = [f"{found.bytes / 1e6:.2f} MB"]
    if found.parameters:
        parts.append(f"{found.parameters:,} parameters")
    if found.precision:
        parts.append(found.precision)
    return ", ".join(parts)


def _stride(found: Found) -> str:
    """Say where the output is smaller than the image."""
    if found.size is None or found.output == "labels":
        return ""
    for tensor in found.outputs:
        if found.output_name in (None, tensor.name) and len(tensor.shape) == 4:
            high = tensor.shape[2] if tensor.shape[1] in (1, found.classes) else tensor.shape[1]
            if isinstance(high, int) and 0 < high < found.size[0]:
                return f", at 1/{found.size[0] / high:g} of the image's size: stretched before they are compared"
    return ""


def _list(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
