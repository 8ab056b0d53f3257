"""A rosbag2 recording with an image topic and a topic of its label images.

    DIR             a bag: a folder, .mcap or .db3 file. Its first 80 % of pairs are train, the rest val; "all" is all.
    DIR/dataset.yaml  beside bags, says which are what:

        label_set: cityscapes19          # its name, or a .yaml file beside; camvid11 where there is no dataset.yaml
        image: /camera/image_raw         # topics; without, the bag's camera and its label topic are looked for
        label: /camera/ground_truth
        splits: {train: [monday.mcap, tuesday.mcap], val: [friday.mcap]}

Labels are mono8 class ids; 255 and the id after the last class are unlabelled. An image's label is the one with the
same stamp, otherwise the nearest within half a frame; images without one are left out. Frames of one drive resemble
each other: a val split should be another drive.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seg_node.datasets import DatasetError, Sample, to_classes
from seg_node.label_set import UNLABELLED, LabelSet, load_label_set
from seg_node.pipeline.messages import LABEL_ENCODINGS, compressed_to_frame, to_frame, to_labels
from seg_node.pipeline.network_input import to_bgr
from seg_node.yaml_table import read_table

SPLITS = ("train", "val", "test", "all")
TABLE = "dataset.yaml"
_DEFAULT_LABELS = "camvid11"
_TRAIN_SHARE = 0.8
_KEYS = {"label_set", "image", "label", "splits"}
_LABEL_NAMES = ("label", "ground_truth", "segmentation", "semantic", "annotation")


class _Place(NamedTuple):
    """Where a message lies: when it was recorded (ns), the how-manieth of that moment, and its header's stamp (ns)."""

    logged: int
    nth: int
    stamp: int


class _Recording:
    """One bag's pairs, each read when it is asked for."""

    def __init__(self, path: Path, image: str | None, label: str | None) -> None:
        self._path, self._names, self._owner = path, (image, label), 0
        images, labels = self._open()
        found = [_places(self._bag, topic) for topic in (images, labels)]
        self.pairs = _pair(*found)

    def _open(self) -> tuple[Any, Any]:
        """Open the bag in this process: a forked one shares the place in the file with its parent."""
        from seg_node.sources import SourceError
        from seg_node.sources.bag import Bag

        try:
            bag = Bag(self._path)
            label = self._names[1] or _label_topic(bag)
            if label is None:
                raise DatasetError(
                    f"{self._path}: no topic looks like label images (mono8, named label or ground_truth); say which "
                    f"in {TABLE}. Its image topics: {', '.join(str(topic) for topic in bag.image_topics())}"
                )
            self._topics = bag.choose(self._names[0], exclude=label), bag.choose(label)
        except SourceError as error:
            raise DatasetError(str(error), "unreadable") from error
        self._bag, self._owner = bag, os.getpid()
        return self._topics

    def files(self) -> list[Path]:
        return sorted(p for p in self._path.iterdir() if p.is_file()) if self._path.is_dir() else [self._path]

    def read(self, index: int, table: np.ndarray, label_set: LabelSet) -> Sample:
        if self._owner != os.getpid():
            self._open()
        image, label = self.pairs[index]
        name = f"{self._path.stem}_{image.stamp}"
        pixels = self._decode(image, self._topics[0], f"{self._path}: image at {image.stamp}")
        where = f"{self._path}: label at {label.stamp} on {self._topics[1].name}"
        raw = self._decode(label, self._topics[1], where, is_label=True)
        if raw.shape != pixels.shape[:2] or raw.dtype != np.uint8:
            raise DatasetError(f"{where}: is {raw.dtype} {raw.shape}, its image {pixels.shape[:2]}", "size")
        known = f"class ids of {label_set.name} are 0 to {label_set.class_count - 1}, and 255"
        return Sample(pixels, to_classes(raw, table, Path(where), known), name)

    def _decode(self, place: _Place, topic: Any, where: str, is_label: bool = False) -> np.ndarray:
        """Return a message's pixels: uint8 (H, W, 3) BGR, or a label as it is."""
        try:
            msg = _typestore().deserialize_cdr(_message(self._bag, topic, place), topic.type)
            if not is_label:
                return np.ascontiguousarray(to_bgr(compressed_to_frame(msg) if topic.compressed else to_frame(msg)))
            return np.ascontiguousarray(to_labels(msg, topic.compressed))
        except Exception as error:  # damaged bytes fail in any layer: bag, CDR, text, sizes, codec
            raise DatasetError(f"{where}: cannot be read: {error}", "unreadable") from error


class BagSplit:
    """Pairs of one or more bags, in the order of their names and times."""

    def __init__(self, recordings: list[_Recording], places: list[tuple[int, int]], label_set: LabelSet) -> None:
        self._recordings, self._places, self._label_set = recordings, places, label_set
        self._table = np.full(256, -1, np.int16)
        self._table[: label_set.class_count] = range(label_set.class_count)
        self._table[[label_set.class_count, UNLABELLED]] = UNLABELLED  # CamVid's 11, as replay takes it
        if label_set.void is not None:
            self._table[label_set.void] = UNLABELLED

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        recording, pair = self._places[index]
        return self._recordings[recording].read(pair, self._table, self._label_set)

    def fingerprint(self, times: bool = False) -> str:
        """Return a hash of the bags' names and sizes, and of the times of their last change if ``times``."""
        known = hashlib.sha256(repr(self._places).encode())
        for recording in self._recordings:
            for path in recording.files():
                stat = path.stat()
                known.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns if times else ''}\n".encode())
        return known.hexdigest()


def label_set_in(data: Path | None) -> str:
    """Return the label set of a bag's labels: what dataset.yaml says, otherwise camvid11."""
    table = _table_of(data)
    name = str(table.get("label_set", _DEFAULT_LABELS))
    return str(Path(data or "") / name) if name.endswith(".yaml") else name


def splits_in(data: Path | None) -> tuple[str, ...]:
    """Return the splits that dataset.yaml names, otherwise ``all``."""
    splits = _table_of(data).get("splits")
    return tuple(map(str, splits)) if isinstance(splits, dict) else ("all",)


def may_open(data: Path | None) -> tuple[str, ...]:
    """Return the splits of dataset.yaml, otherwise train and val, the first and the last part of all."""
    splits = splits_in(data)
    return splits if "splits" in _table_of(data) else ("train", "val", *splits)


def open_split(split: str, data: Path | None = None, size: tuple[int, int] | None = None) -> BagSplit:
    """Open a split. ``size`` is not used: images come as they are.

    Raises ValueError for another split, DatasetError for bags that cannot be read or hold no pairs, ImportError without
    the library rosbags.
    """
    del size
    if data is None:
        raise ValueError(f"a bag needs its path: --data BAG, or a folder with bags and a {TABLE} in it")
    data, table = Path(data), _table_of(data)
    label_set = load_label_set(label_set_in(data))
    if "splits" in table:
        bags = [data / name for name in _bags_of(split, table, data / TABLE)]
    elif split in may_open(data):
        bags = [data]
    else:
        raise ValueError(f"a bag has no split '{split}': choose from train, val, all, or name splits in a {TABLE}")
    recordings = [_Recording(bag, table.get("image"), table.get("label")) for bag in bags]
    places = [(number, pair) for number, bag in enumerate(recordings) for pair in range(len(bag.pairs))]
    if "splits" not in table and split != "all":
        middle = round(_TRAIN_SHARE * len(places))
        places = places[:middle] if split == "train" else places[middle:]
    if not places:
        raise DatasetError(f"{data}: split {split} holds no image with a label of its time")
    return BagSplit(recordings, places, label_set)


def _table_of(data: Path | None) -> dict[str, Any]:
    path = Path(data or "") / TABLE
    if data is None or not path.is_file():
        return {}
    table = read_table(path)
    unknown = set(table) - _KEYS
    if unknown:
        raise DatasetError(f"{path}: has the keys {sorted(unknown)}; known are {sorted(_KEYS)}")
    return table


def _bags_of(split: str, table: dict[str, Any], path: Path) -> list[str]:
    splits = table["splits"]
    if not isinstance(splits, dict) or not all(isinstance(bags, list) for bags in splits.values()):
        raise DatasetError(f"{path}: key 'splits': must be a table of split: [bag, ...]")
    if split not in splits:
        raise ValueError(f"{path}: has no split '{split}': choose from {', '.join(splits)}")
    return [str(bag) for bag in splits[split]]


def _label_topic(bag: Any) -> str | None:
    """Return the image topic that is named as labels are, the fullest first."""
    named = [t for t in bag.image_topics() if any(word in t.name.lower() for word in _LABEL_NAMES)]
    grey = [t for t in named if t.compressed or t.format in LABEL_ENCODINGS]
    return max(grey, key=lambda topic: topic.messages).name if grey else None


def _places(bag: Any, topic: Any) -> list[_Place]:
    """Return where the readable messages of a topic lie."""
    from seg_node.sources.cdr import stamp_of

    places: list[_Place] = []
    last, nth = None, 0
    for logged, message in bag.messages(topic):
        nth = nth + 1 if logged == last else 0
        last = logged
        if len(message) >= 12:  # shorter is damaged, and has no stamp
            places.append(_Place(logged, nth, stamp_of(message)))
    return places


def _pair(images: list[_Place], labels: list[_Place]) -> list[tuple[_Place, _Place]]:
    """Return each image with the label of its stamp, or the nearest that is at most half a frame away."""
    if not images or not labels:
        return []
    labels = sorted(labels, key=lambda place: place.stamp)
    stamps = np.array([place.stamp for place in labels], np.int64)
    own = np.array(sorted(place.stamp for place in images), np.int64)
    gaps = np.diff(own)
    reach = int(np.median(gaps[gaps > 0])) // 2 if (gaps > 0).any() else 0
    pairs = []
    for image in images:
        at = int(np.searchsorted(stamps, image.stamp))
        near = [place for place in (at, at - 1) if 0 <= place < len(labels)]
        best = min(near, key=lambda place: abs(int(stamps[place]) - image.stamp))
        if abs(int(stamps[best]) - image.stamp) <= reach:
            pairs.append((image, labels[best]))
    return pairs


def _message(bag: Any, topic: Any, place: _Place) -> bytes:
    from seg_node.sources.bag import modern

    for reader in bag.readers:
        connections = [c for c in reader.connections if c.topic == topic.name and modern(c.msgtype) == topic.type]
        for nth, (_, _, data) in enumerate(_at(reader, connections, place.logged)):
            if nth == place.nth:
                return bytes(data)
    raise ValueError("the message is no longer there")


def _at(reader: Any, connections: list[Any], logged: int) -> Iterator[tuple[Any, int, bytes]]:
    """Give the messages of one moment."""
    storage = getattr(reader, "storage", reader)
    if not connections:
        return
    if hasattr(storage, "messages_scan") and not storage.chunks:
        raise ValueError("the bag was cut off and has no index; 'mcap recover' or 'ros2 bag reindex' makes one")
    yield from reader.messages(connections, logged, logged + 1)


@cache
def _typestore() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)
