"""From a trained network to a file that a robot runs, and the proof that both say the same.

Each file here is a target with ``export(card, path, confidence) -> path``; ``parity`` is the proof.
"""

from pathlib import Path

import yaml

from seg_node import plugins
from seg_node.exporters import parity
from seg_node.model_card import CARD_NAME, ModelCard, ModelFile, load_card, sha256, write_card


def targets() -> list[str]:
    """Return the kinds of file that ``export`` writes; their libraries are not imported."""
    return [name for name in plugins.names(__name__) if name != "parity"]


def export(model: str, target: str, confidence: bool = False) -> tuple[Path, parity.Parity]:
    """Write ``model``'s ``target`` file beside its card, renew the card, and return the file's path and parity.

    ``confidence``: a second file, with the confidence as a second output; runtimes take it where that is wanted.
    A new file is used only once it has passed the parity gate.

    Raises CardError, FileNotFoundError, or ParityError; the card and earlier files are then as they were.
    """
    card = load_card(model)
    path, result = _export(card, target)
    if confidence:
        _export(load_card(card.folder), target, "_confidence")
    return path, result


def _export(card: ModelCard, target: str, kind: str = "") -> tuple[Path, parity.Parity]:
    """Write one file; ``kind``: "" or "_confidence"."""
    path = card.folder / f"{card.name}{kind.replace('_', '.')}.{target}"
    trial = card.folder / f".{path.name}"
    try:
        plugins.load(__name__, target).export(card, trial, bool(kind))
        files = {key: file for key, file in card.files.items() if key != f"{target}_confidence"}
        tried = card._replace(
            files={**files, target: ModelFile(trial, None)}, layout="nhwc", dtype="uint8", output="labels"
        )  # what our graphs take and give
        result = parity.gate(tried, target)
        trial.replace(path)
    finally:
        trial.unlink(missing_ok=True)
    table = yaml.safe_load((card.folder / CARD_NAME).read_text(encoding="utf-8"))
    table["files"][target + kind] = {"path": path.name, "sha256": sha256(path)}
    table["input"].update(layout="nhwc", dtype="uint8")
    table["output"]["kind"] = "labels"
    table.setdefault("scores", {})[f"parity_{target}{kind}"] = round(result.equal, 6)
    write_card(card.folder / CARD_NAME, table)
    return path, result
