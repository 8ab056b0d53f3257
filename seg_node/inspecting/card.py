"""A model's folder: whether its files are there, whole, of the weights that the card names, and as it says."""

import dataclasses
from pathlib import Path
from typing import Any

from seg_node import runtimes
from seg_node.inspecting import Found, checkpoint, inspect_file
from seg_node.model_card import CARD_NAME, ModelCard, load_card


@dataclasses.dataclass
class FoundCard:
    card: ModelCard
    files: dict[str, Found | None]  # by kind; None: cannot be read
    problems: list[str]  # what keeps files from being used, each naming its file

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        card = self.card
        return {
            "file": str(card.folder / CARD_NAME),
            "kind": "card",
            "name": card.name,
            "network": {"name": card.network, "options": card.options, "classes": card.classes},
            "label_set": card.label_set,
            "input": {field: getattr(card, field) for field in _INPUT},
            "output": {"kind": card.output, "name": card.output_name, "ignored_classes": card.ignored_classes},
            "runs_with": self.runs_with,
            "files": {
                kind: {**(found.as_dict() if found else {"file": str(card.files[kind].path)}), **self._notes(kind)}
                for kind, found in self.files.items()
            },
            "problems": self.problems,
        }

    def _notes(self, kind: str) -> dict[str, Any]:
        parity = self.card.files[kind].notes.get("parity")
        return {"parity": parity} if parity else {}

    @property
    def runs_with(self) -> list[str]:
        """The backends that read one of its files, installed or not."""
        return [name for name in runtimes.names() if runtimes.file_kind(self.card, name)]


_INPUT = ("size", "channels", "mean", "std", "scale", "layout", "dtype")


def read_card(model: str | Path) -> FoundCard:
    """Raises FileNotFoundError or CardError for a card that cannot be read; of its files, problems are listed."""
    card = load_card(model)
    found = FoundCard(card, {}, [])
    for kind in card.files:
        try:
            path = card.file(kind)
            found.files[kind] = checkpoint.read(path, search=False) if kind == "torch" else inspect_file(path)
        except (OSError, ValueError, ImportError) as error:
            found.files[kind] = None
            found.problems.append(str(error))
    if not card.files:
        found.problems.append(f"{card.folder / CARD_NAME}: names no files: nothing can be run")
    return found
