"""What ``seg-node explain`` shows: models side by side, why they see a class where they do.

A model labels pixels; a classifier of images has a map of each class before it averages them (C3 paper, figure 7).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from seg_node.evaluation import sheet
from seg_node.evaluation.output_folder import output_folder, write_picture
from seg_node.label_set import load_label_set
from seg_node.model_card import ModelCard

if TYPE_CHECKING:
    from seg_node.evaluation.grad_cam import Explainer

MARK = "explanation.json"
HEADS = ["image", "labels", "Grad-CAM", "logit (blue: least, red: most)", "probability (blue: 0, red: 1)"]
_STRENGTH = 0.55  # of a heat map over the image
_SHOWN = 3  # classes, where nobody names one
_CELLS = 40  # classes of the picture with all of them


class Asked(NamedTuple):
    """What is to be explained."""

    image: np.ndarray  # uint8 (H, W, 3) BGR
    name: str
    classes: Sequence[str] = ()  # names, or numbers of outputs; none: those that the model sees most of
    layer: str | None = None  # None: the network's own
    at: tuple[int, int] | None = None  # x, y of the one pixel asked about; None: every pixel of the class


class Subject(NamedTuple):
    """A network that looks at the image."""

    name: str
    explainer: "Explainer"
    names: Sequence[str]  # of the classes
    palette: np.ndarray | None  # uint8 (256, 3) BGR; None: a classifier's


def subject(card: ModelCard, image: np.ndarray) -> Subject:
    """Return a model as a subject. Raises CardError where it has no torch weights."""
    from seg_node.evaluation.grad_cam import Explainer

    label_set = load_label_set(card.label_set)
    return Subject(card.name, Explainer.of_model(card, image), label_set.names, label_set.palette)


def explain(subjects: Sequence[Subject], asked: Asked, out: Path, reads: Sequence[Path] = ()) -> dict[str, Any]:
    """Write pictures to ``out`` and return what --json prints. ``reads``: files that must not be in ``out``.

    Raises ValueError for those and for a class or layer that is not there.
    """
    result: dict[str, Any] = {"image": asked.name, "models": []}
    rows: list[tuple[str, list[np.ndarray]]] = []
    with output_folder(out, MARK, reads) as folder:
        names = [one.name for one in subjects]
        for number, one in enumerate(subjects, 1):
            name = one.name if names.count(one.name) == 1 else f"{one.name}_{number}"
            more, about = _Explained(one._replace(name=name), asked).rows(folder)
            rows += more
            result["models"].append(about)
        heads = HEADS
        if all(one.palette is None for one in subjects):
            heads, rows = HEADS[:1] + HEADS[2:], [(caption, [*cells[:1], *cells[2:]]) for caption, cells in rows]
        write_picture(folder / "explanation.jpg", sheet.draw(heads, rows, f"Grad-CAM: {asked.name}", _lines(result)))
        (folder / MARK).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


class _Explained:
    """One subject's part of it."""

    def __init__(self, of: Subject, asked: Asked) -> None:
        self._name, self._explainer, self._names, self._palette = of
        self._asked = asked
        self._view = self._explainer.view()
        self._layer = asked.layer or self._explainer.default_layer()

    def rows(self, folder: Path) -> tuple[list[tuple[str, list[np.ndarray]]], dict[str, Any]]:
        """Write a picture of each map; return the sheet's rows and the model's part of the result."""
        rows: list[tuple[str, list[np.ndarray]]] = []
        classes = []
        labels = self._labels()
        for class_id in self._chosen():
            title = self._title(class_id)
            maps, about = self._class(class_id)
            pictures = {name: heat(self._asked.image, values) for name, values in maps.items()}
            for name, picture in pictures.items():
                write_picture(folder / self._name / f"{_plain(title)}_{name}.jpg", picture)
            sure = f", {100 * about['of_image']:.1f} %" if "of_image" in about else ""
            rows.append((f"{self._name}: {title}{sure}", [self._asked.image, labels, *pictures.values()]))
            classes.append({"class": title, **about})
        write_picture(folder / f"classes_{self._name}.jpg", self._every_class())
        layer = next(known for known in self._explainer.layers if known.name == self._layer)
        about = {"model": self._name, "layer": layer.name, "layer_channels": layer.channels, "layer_size": layer.size}
        return rows, {**about, "classes": classes}

    def _labels(self) -> np.ndarray:
        if self._palette is None:
            return np.full_like(self._asked.image, 255)
        labels = self._view.labels.astype(np.uint8)
        colors = self._palette[cv2.resize(labels, self._asked.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)]
        return cv2.addWeighted(colors, 0.6, self._asked.image, 0.4, 0)

    def _chosen(self) -> list[int]:
        if self._asked.classes:
            return [self._class_id(name) for name in self._asked.classes]
        at = self._pixel()
        if at is not None:
            return [int(self._view.labels[at])]
        return self._most()[:_SHOWN]

    def _most(self) -> list[int]:
        """Return the classes that are seen, most first: by pixels, or as a classifier decides."""
        if self._palette is None:
            return [int(index) for index in np.argsort(-self._of_image(), kind="stable")]
        counts = np.bincount(self._view.labels.ravel(), minlength=self._explainer.classes)
        return [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]

    def _of_image(self) -> np.ndarray:
        """Return what a classifier says of the whole image: the softmax of its logits."""
        logits = self._view.logits.mean(axis=(1, 2))
        shares: np.ndarray = np.exp(logits - logits.max())
        return shares / shares.sum()

    def _class_id(self, name: str) -> int:
        lower = [known.lower() for known in self._names]
        if name.lower() in lower:
            return lower.index(name.lower())
        if name.isdecimal() and int(name) < self._explainer.classes:
            return int(name)
        raise ValueError(
            f"{self._name} has no class '{name}': choose from {', '.join(self._names[:_CELLS])}"
            f"{', ...' if len(self._names) > _CELLS else ''}, or a number up to {self._explainer.classes - 1}"
        )

    def _title(self, class_id: int) -> str:
        return self._names[class_id] if class_id < len(self._names) else str(class_id)

    def _class(self, class_id: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the class's maps, float (H, W) from 0 to 1, and figures."""
        seen = self._view.of(class_id)
        at = self._pixel()
        where = seen if seen.any() and self._palette is not None else None
        if at is not None:
            where = np.zeros_like(seen)
            where[at] = True
        cam = self._explainer.grad_cam(class_id, self._layer, where)
        logits = self._view.logits[class_id]
        span = max(float(logits.max() - logits.min()), 1e-12)
        probability = self._view.probabilities[class_id]
        maps = {"grad_cam": cam, "logit": (logits - logits.min()) / span, "probability": probability}
        of_image = {} if self._palette is not None else {"of_image": round(float(self._of_image()[class_id]), 5)}
        return maps, {
            **of_image,
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
        """Draw the logits of all classes (Dual ASPP, figure 4), each from its least to its most; of many, the first."""
        cells = []
        for class_id in range(self._explainer.classes) if self._explainer.classes <= _CELLS else self._most()[:_CELLS]:
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
