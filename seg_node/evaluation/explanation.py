"""What ``seg-node explain`` shows: models side by side, why they see a class where they do."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from seg_node.evaluation import sheet
from seg_node.evaluation.output_folder import output_folder, write_picture
from seg_node.label_set import LabelSet, load_label_set
from seg_node.model_card import ModelCard

if TYPE_CHECKING:
    from seg_node.evaluation.grad_cam import Explainer

MARK = "explanation.json"
HEADS = ["image", "labels", "Grad-CAM", "logit (blue: least, red: most)", "probability (blue: 0, red: 1)"]
_STRENGTH = 0.55  # of a heat map over the image
_SHOWN = 3  # classes, where nobody names one


class Asked(NamedTuple):
    """What is to be explained."""

    image: np.ndarray  # uint8 (H, W, 3) BGR
    name: str
    classes: Sequence[str] = ()  # names, or numbers of outputs; none: those that the model sees most of
    layer: str | None = None  # None: the network's own
    at: tuple[int, int] | None = None  # x, y of the one pixel asked about; None: every pixel of the class


def explain(cards: Sequence[ModelCard], asked: Asked, out: Path, reads: Sequence[Path] = ()) -> dict[str, Any]:
    """Write pictures to ``out`` and return what --json prints. ``reads``: files that must not be in ``out``.

    Raises ValueError for those and for a class or layer that is not there, CardError for a model without torch
    weights.
    """
    from seg_node.evaluation.grad_cam import Explainer

    result: dict[str, Any] = {"image": asked.name, "models": []}
    rows: list[tuple[str, Sequence[np.ndarray | None]]] = []
    with output_folder(out, MARK, reads) as folder:
        for number, card in enumerate(cards):
            name = card.name if [c.name for c in cards].count(card.name) == 1 else f"{card.name}_{number + 1}"
            explained = _Model(name, load_label_set(card.label_set), Explainer(card, asked.image), asked)
            more, about = explained.rows(folder)
            rows += more
            result["models"].append(about)
        write_picture(folder / "explanation.jpg", sheet.draw(HEADS, rows, f"Grad-CAM: {asked.name}", _lines(result)))
        (folder / MARK).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


class _Model:
    """One model's part of it."""

    def __init__(self, name: str, label_set: LabelSet, explainer: "Explainer", asked: Asked) -> None:
        self._name, self._label_set, self._explainer, self._asked = name, label_set, explainer, asked
        self._view = explainer.view()
        self._layer = asked.layer or explainer.default_layer()

    def rows(self, folder: Path) -> tuple[list[tuple[str, Sequence[np.ndarray | None]]], dict[str, Any]]:
        """Write a picture of each map; return the sheet's rows and the model's part of the result."""
        rows: list[tuple[str, Sequence[np.ndarray | None]]] = []
        classes = []
        size = self._asked.image.shape[:2]
        colors = self._label_set.palette[cv2.resize(self._view.labels, size[::-1], interpolation=cv2.INTER_NEAREST)]
        labels = cv2.addWeighted(colors, 0.6, self._asked.image, 0.4, 0)
        for class_id in self._chosen():
            title = self._title(class_id)
            maps, about = self._class(class_id)
            pictures = {name: heat(self._asked.image, values) for name, values in maps.items()}
            for name, picture in pictures.items():
                write_picture(folder / self._name / f"{_plain(title)}_{name}.jpg", picture)
            rows.append((f"{self._name}: {title}", [self._asked.image, labels, *pictures.values()]))
            classes.append({"class": title, **about})
        write_picture(folder / f"classes_{self._name}.jpg", self._every_class())
        layer = next(known for known in self._explainer.layers if known.name == self._layer)
        about = {"model": self._name, "layer": layer.name, "layer_channels": layer.channels, "layer_size": layer.size}
        return rows, {**about, "classes": classes}

    def _chosen(self) -> list[int]:
        if self._asked.classes:
            return [self._class_id(name) for name in self._asked.classes]
        at = self._pixel()
        if at is not None:
            return [int(self._view.labels[at])]
        counts = np.bincount(self._view.labels.ravel(), minlength=self._explainer.classes)
        return [int(index) for index in np.argsort(-counts, kind="stable")[:_SHOWN] if counts[index]]

    def _class_id(self, name: str) -> int:
        lower = [known.lower() for known in self._label_set.names]
        if name.lower() in lower:
            return lower.index(name.lower())
        if name.isdecimal() and int(name) < self._explainer.classes:
            return int(name)
        raise ValueError(
            f"{self._name} has no class '{name}': choose from {', '.join(self._label_set.names)}, "
            f"or a number up to {self._explainer.classes - 1}"
        )

    def _title(self, class_id: int) -> str:
        names = self._label_set.names
        return names[class_id] if class_id < len(names) else str(class_id)

    def _class(self, class_id: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the class's maps, float (H, W) from 0 to 1, and figures."""
        seen = self._view.of(class_id)
        at = self._pixel()
        where = seen if seen.any() else None
        if at is not None:
            where = np.zeros_like(seen)
            where[at] = True
        cam = self._explainer.grad_cam(class_id, self._layer, where)
        logits = self._view.logits[class_id]
        span = max(float(logits.max() - logits.min()), 1e-12)
        probability = self._view.probabilities[class_id]
        maps = {"grad_cam": cam, "logit": (logits - logits.min()) / span, "probability": probability}
        return maps, {
            "explained": "one pixel" if at is not None else "the class's pixels" if where is not None else "all pixels",
            "share": round(float(seen.mean()), 5),
            "probability_max": round(float(probability.max()), 5),
            "cam_inside": round(float(cam[seen].sum() / cam.sum()), 5) if cam.sum() > 0 else None,
        }

    def _pixel(self) -> tuple[int, int] | None:
        """Return the pixel asked about as (row, column) at the network's size."""
        if self._asked.at is None:
            return None
        (x, y), (height, width) = self._asked.at, self._asked.image.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"--at {x},{y} is outside {self._asked.name}, which is {width}x{height}")
        rows, columns = self._view.labels.shape
        return y * rows // height, x * columns // width

    def _every_class(self) -> np.ndarray:
        """Draw the logits of all classes (Dual ASPP, figure 4), each from its least to its most."""
        cells = []
        for class_id in range(self._explainer.classes):
            logits = self._view.logits[class_id]
            values = (logits - logits.min()) / max(float(logits.max() - logits.min()), 1e-12)
            picture = sheet.fit(heat(self._asked.image, values, strength=1.0), 300, 300)
            strip = sheet.blank(20, picture.shape[1])
            title = f"{self._title(class_id)}, {100 * self._view.of(class_id).mean():.1f} % of the image"
            sheet.write(strip, title, 4, 14, scale=0.4, room=picture.shape[1] - 8)
            cells.append(np.vstack([strip, picture]))
        cells += [np.full_like(cells[0], 255)] * (-len(cells) % 5)
        return np.vstack([np.hstack(cells[start : start + 5]) for start in range(0, len(cells), 5)])


def heat(image: np.ndarray, values: np.ndarray, strength: float = _STRENGTH) -> np.ndarray:
    """Return uint8 (H, W, 3) BGR: values float (h, w), 0 to 1, as colours from blue to red over the image."""
    values = cv2.resize(values.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colors = cv2.applyColorMap(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8), cv2.COLORMAP_JET)
    return cv2.addWeighted(colors, strength, image, 1 - strength, 0)


def _lines(result: dict[str, Any]) -> list[str]:
    return [
        "{}: layer {}, {} channels at {}x{}".format(
            model["model"], model["layer"], model["layer_channels"], *reversed(model["layer_size"])
        )
        for model in result["models"]
    ]


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)
