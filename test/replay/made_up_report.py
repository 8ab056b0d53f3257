"""A report as seg-node replay writes it, made up: every part of the schema, with as many moments as one likes."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLASSES = [
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
]
PALETTE = [
    [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
    [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
]  # fmt: skip
TOPIC = "/camera/front/image_raw"
_SHARES = np.array([0.17, 0.24, 0.01, 0.29, 0.06, 0.12, 0.01, 0.02, 0.06, 0.01, 0.01])
_IOU = np.array([0.91, 0.8, None, 0.93, 0.74, 0.72, 0.31, 0.26, 0.79, 0.41, 0.22], object)
STAGES = {"decode": 1.4, "resize": 0.8, "infer": 14.0, "restore": 0.6}


def report(moments: int = 900, truth: bool = True, seed: int = 1) -> dict[str, Any]:
    """Return a report; without ``truth``, agreement takes the place of scores."""
    random = np.random.default_rng(seed)
    found = [_moment(index, truth, random) for index in range(moments)]
    spent = {stage: [m["ms"][stage] for m in found] for stage in [*STAGES, "total"]}
    lost = {"bad_image": 2, "inference_failed": 1} if moments > 2 else {}
    matrix = _matrix(random) if truth and moments else None
    return {
        "kind": "seg_node replay report", "version": 1, "mode": "offline", "model": "camvid-rdsnet",
        "label_set": "camvid11", "classes": CLASSES, "palette": PALETTE,
        "bag": {"path": "/data/drives/harbour_2026-03-14.mcap", "title": "harbour_2026-03-14.mcap",
                "topic": TOPIC, "messages": moments + sum(lost.values())},
        "runtime": "onnx", "device": "cpu", "precision": "float32", "input_size": [360, 480], "void": "ignored",
        "images": moments, "frames": {"in": moments + sum(lost.values()), "out": moments, "dropped": lost},
        "broken": [f"message {17 + i} of {TOPIC}: 240 bytes are missing" for i in range(lost.get("bad_image", 0))],
        "notes": [f"images from {TOPIC}", "the bag ends in mid-file; all whole chunks were read"],
        "miou": 0.6091 if matrix else None, "iou": dict(zip(CLASSES, _IOU if matrix else [None] * 11, strict=True)),
        "pixel_accuracy": 0.9012 if matrix else None, "class_accuracy": 0.7011 if matrix else None,
        "frequency_weighted_iou": 0.83 if matrix else None, "confusion": matrix,
        "ms_per_image": _percentiles(spent["total"], ("p50", "p95")),
        "latency_ms": {stage: _percentiles(values) for stage, values in spent.items() if values},
        "agreement": {"consecutive": 0.9642 if moments > 1 else None,
                      "against": None, "against_model": None, "iou_against": {}},
        "shares": {name: float(share) if moments else None for name, share in zip(CLASSES, _SHARES, strict=True)},
        "flicker": {name: round(0.05 * random.random(), 4) if moments > 1 else None for name in CLASSES},
        "moments": found, "worst": [], "date": "2026-03-14T15:09:26+00:00",
        "settings": {"image": None, "label": "/labels", "against": None, "repeat": False, "overlay": 0.5},
        "hardware": {"cpu": "Intel(R) Xeon(R) Processor @ 2.70GHz", "cores": 2, "machine": "x86_64"},
        "versions": {"seg_node": "0.1.0", "python": "3.11.7", "numpy": "2.4.1", "onnxruntime": "1.27.0"},
    }  # fmt: skip


def _moment(index: int, truth: bool, random: np.random.Generator) -> dict[str, Any]:
    spent = {stage: round(float(ms * random.gamma(40, 1 / 40)), 3) for stage, ms in STAGES.items()}
    if index == 0:
        spent["infer"] += 210  # a network's first image is slow
    share = np.maximum(_SHARES * (1 + 0.3 * np.sin(index / 90 + np.arange(11))), 0.001)
    score = 0.62 + 0.1 * np.sin(index / 70) + 0.03 * random.standard_normal()
    return {
        "index": index, "stamp": 1_700_000_000_000_000_000 + index * 33_333_333, "elapsed": index / 30,
        "ms": {**spent, "total": round(sum(spent.values()), 3)},
        "miou": float(score) if truth else None, "accuracy": float(0.3 + score * 0.95) if truth else None,
        "agreement": float(0.96 + 0.02 * random.random()) if index else None, "against": None,
        "shares": (share / share.sum()).tolist(),
    }  # fmt: skip


def _percentiles(values: list[float], keys: tuple[str, ...] = ("p50", "p95", "p99", "max")) -> dict[str, float | None]:
    at = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {key: round(float(np.percentile(values, at[key])), 3) if values else None for key in keys}


def _matrix(random: np.random.Generator) -> list[list[int]]:
    matrix = random.integers(0, 900, (12, 12)) * (random.random((12, 12)) < 0.5)
    matrix[np.arange(11), np.arange(11)] = (_SHARES * 60_000).astype(int)
    matrix[10, 9] = 4000  # cyclists taken for pedestrians
    return matrix.tolist()


def add_worst(made: dict[str, Any], folder: Path, amount: int = 10, truth: bool = True) -> None:
    """Draw pictures of the ``amount`` worst frames into ``folder`` and name them in the report."""
    (folder / "worst").mkdir(parents=True, exist_ok=True)
    for place in range(amount):
        index = 37 * place + 5
        images = _scene(place, truth)
        names = {key: f"worst/{index:06}_{key}.jpg" for key in images}
        for key, image in images.items():
            assert cv2.imwrite(str(folder / names[key]), image)
        made["worst"].append({
            "index": index, "stamp": index * 33_333_333, "elapsed": index / 30, "score": 0.31 + place * 0.012,
            "why": "miou" if truth else "agreement", "truth": None, **names,
        })  # fmt: skip


def _scene(place: int, truth: bool) -> dict[str, np.ndarray]:
    labels = np.zeros((360, 480), np.uint8)
    cv2.rectangle(labels, (0, 90), (480, 200), 1, -1)
    cv2.fillPoly(labels, [np.array([[0, 360], [200, 190], [280, 190], [480, 360]], np.int32)], 3)
    cv2.rectangle(labels, (40 + 30 * place, 180), (140 + 30 * place, 250), 8, -1)
    colors = np.array(PALETTE, np.uint8)[:, ::-1][labels]
    image = cv2.GaussianBlur(np.uint8(60 + labels[..., None] * 15 + np.zeros((1, 1, 3))), (9, 9), 0)
    return {
        "image": image,
        "overlay": cv2.addWeighted(image, 0.5, colors, 0.5, 0),
        **({"truth": colors} if truth else {}),
    }


def write(made: dict[str, Any], folder: Path) -> Path:
    """Write report.json into ``folder``, which is made, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(made), encoding="utf-8")
    return folder
