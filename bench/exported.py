"""Models that are made for a measurement: another size, or another number of classes."""

from pathlib import Path

import yaml

from bench.plan import Size
from seg_node import exporters
from seg_node.model_card import CARD_NAME, load_card


def at_size(model: str, size: Size, folder: Path) -> Path:
    """Export a model's network at another size to ONNX; returns the new model's folder."""
    out = folder / f"at_{size[0]}x{size[1]}"
    exporters.export(model, "onnx", exporters.Wanted(size=size), out)
    return out


def with_classes(model: str, classes: int, folder: Path) -> Path:
    """Return a model like ``model`` with another number of classes: random weights, which cost what others do."""
    import torch

    from seg_node import networks
    from seg_node.training.checkpoint import save_weights

    card = load_card(model)
    out = folder / f"classes_{classes}"
    out.mkdir()
    (out / "labels.yaml").write_text(yaml.safe_dump(_label_set(classes)), encoding="utf-8")
    torch.manual_seed(0)
    save_weights(networks.build(card.network, classes, **card.options).state_dict(), out / "weights.pt")
    table = {
        "name": out.name,
        "network": {"name": card.network, "classes": classes, "options": card.options},
        "label_set": str(out / "labels.yaml"),
        "input": {
            "size": list(card.size),
            "channels": card.channels,
            "mean": list(card.mean),
            "std": list(card.std),
            "scale": card.scale,
        },
        "output": {"kind": "labels"},
        "files": {"torch": {"path": "weights.pt"}},
    }
    (out / CARD_NAME).write_text(yaml.safe_dump(table), encoding="utf-8")
    exporters.export(out, "onnx", exporters.Wanted(force=True))  # random logits lie close: rounding may change labels
    return out


def _label_set(classes: int) -> dict:
    palette = [[37 * index % 256, 101 * index % 256, 59 * index % 256] for index in range(classes)]
    return {
        "name": f"classes_{classes}",
        "title": f"{classes} classes",
        "classes": [{"name": f"class {index}", "color": color} for index, color in enumerate(palette)],
    }
