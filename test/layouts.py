"""Small data sets in the official layouts, written as their owners' tools write them."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np

POLYGONS = ("road", "sky", "car", "license plate", "out of roi", "bicycle", "trailer")  # each a stripe


def noise(seed: int, size: tuple[int, int]) -> np.ndarray:
    """An image, uint8 (H, W, 3)."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(small, (size[1], size[0])))


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def cityscapes(folder: Path, cities: dict[str, dict[str, int]], size: tuple[int, int] = (32, 70)) -> Path:
    """``cities``: split -> city -> images. Annotations are polygons, made label images by the official preparation."""
    from cityscapesscripts.preparation.json2labelImg import json2labelImg

    for split, counts in cities.items():
        for city, count in counts.items():
            for number in range(count):
                name = f"{city}_{number:06d}_000019"
                write(folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", noise(number, size))
                start = folder / "gtFine" / split / city / f"{name}_gtFine_"
                start.parent.mkdir(parents=True, exist_ok=True)
                polygons = Path(f"{start}polygons.json")
                polygons.write_text(json.dumps(_polygons(size)))
                json2labelImg(str(polygons), f"{start}labelIds.png", "ids")
                json2labelImg(str(polygons), f"{start}labelTrainIds.png", "trainIds")
    return folder


def _polygons(size: tuple[int, int]) -> dict:
    height, width = size
    wide = width // len(POLYGONS)
    stripes = [
        {"label": name, "polygon": [[x, 0], [x + wide - 1, 0], [x + wide - 1, height - 9], [x, height - 9]]}
        for name, x in zip(POLYGONS, range(0, width, wide), strict=False)
    ]
    return {"imgHeight": height, "imgWidth": width, "objects": stripes}


def camvid_original(folder: Path, names: tuple[str, ...], colours: np.ndarray) -> Path:
    """``colours``: RGB of the label images' stripes, uint8 (stripes, 3)."""
    label = np.repeat(np.repeat(colours[None, :, ::-1], 4, axis=1), 12, axis=0)
    for number, name in enumerate(names):
        write(folder / "701_StillsRaw_full" / f"{name}.png", noise(number, label.shape[:2]))
        write(folder / "LabeledApproved_full" / f"{name}_L.png", label)
    return folder


MODELS = (  # index, model_id, fine_grained_class, coarse_grained_class, empty_struct_obj, nyuv2_40class, wnsynset...
    (0, "Empty", "empty", "empty", 0, "void", "n03284308", "empty.n.01"),
    (1, "Wall", "wall", "wall", 1, "wall", "n04546855", "wall.n.01"),
    (2, "Ceiling", "ceiling", "ceiling", 1, "ceiling", "n02990373", "ceiling.n.01"),
    (3, "Floor", "floor", "floor", 1, "floor", "n03365592", "floor.n.01"),
    (4, "Box", "unknown", "unknown", 2, "void", "n08632096", "unknown.n.01"),
    (5, "100", "bookshelf", "shelving", 2, "bookshelf", "n02871439", "bookshelf.n.01"),
    (6, "101", "shelving", "shelving", 2, "shelves", "n04190052", "shelf.n.01"),
    (600, "s__999", "stand", "stand", 2, "night_stand", "n04301000", "stand.n.04"),
)
COLUMNS = "index model_id fine_grained_class coarse_grained_class empty_struct_obj nyuv2_40class wnsynsetid wnsynsetkey"


def suncg(folder: Path, scenes: tuple[str, ...], ids: np.ndarray, tool: str = "minos") -> Path:
    """One image a scene. ``ids``: of the label image's stripes; ``tool``: minos writes RGB, scn2img 16 bits."""
    label = np.repeat(np.repeat(ids[None], 4, axis=1), 12, axis=0)
    for number, scene in enumerate(scenes):
        image = noise(number, label.shape)
        if tool == "minos":
            blue = np.zeros((*label.shape, 3), np.uint8)
            blue[..., 0] = label  # OpenCV writes BGR
            write(folder / scene / "0001_color.png", image)
            write(folder / scene / "0001_id_image.png", blue)
        else:
            write(folder / scene / "000000_color.jpg", image)
            write(folder / scene / "000000_category.png", label.astype(np.uint16))
    with (folder / "ModelCategoryMapping.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([COLUMNS.split(), *MODELS])
    return folder


def imagenet(folder: Path, classes: tuple[str, ...], per_class: int = 2) -> Path:
    for split in ("train", "val"):
        for place, name in enumerate(classes):
            for number in range(per_class):
                file = f"{name}_{number}.JPEG" if split == "train" else f"ILSVRC2012_val_{place}{number:07d}.JPEG"
                path = folder / split / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                done, data = cv2.imencode(".jpg", noise(number, (20 + number, 30)))
                assert done
                path.write_bytes(data.tobytes())
    return folder
