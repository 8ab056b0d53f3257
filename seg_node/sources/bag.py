"""An image topic of a ROS 2 bag, through ``rosbags``: folder or single file, every schema since 2019."""

import contextlib
import heapq
import itertools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from seg_node.sources import BAGS, Shot, Source, SourceError, by_number, damage
from seg_node.sources.cdr import image_format

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Topic(NamedTuple):
    name: str
    type: str
    messages: int
    format: str  # encoding, or what the compressed image says of itself
    shape: str  # "640x480", or "" where it is compressed

    @property
    def compressed(self) -> bool:
        return self.type == COMPRESSED

    def __str__(self) -> str:
        about = " ".join(part for part in (self.type, self.format, self.shape) if part)
        return "{} ({}, {} message{})".format(self.name, about, self.messages, "" if self.messages == 1 else "s")


class Bag:
    """An open bag: its topics, and the messages of one as they were recorded."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError for what is no bag that can be read."""
        self.path = path
        self.notes: list[str] = []  # what a person should know, a line each
        self.readers = _open(path, self.notes)

    def image_topics(self) -> list[Topic]:
        return [self._describe(*key) for key in self._keys() if key[1] in (RAW, COMPRESSED)]

    def choose(self, name: str | None = None, exclude: str | None = None) -> Topic:
        """Return the image topic of that name, or the one that a person most likely means, ``exclude`` apart.

        Raises SourceError that lists the topics there are.
        """
        topics = self.image_topics()
        if not topics:
            raise SourceError(
                "{}: no topic in it holds images ({} or {}). {}{}".format(
                    self.path, RAW, COMPRESSED, self._all_topics(), "; ".join(["", *self.notes])
                )
            )
        named = [t for t in topics if name and t.name.lstrip("/") == name.lstrip("/")]
        if name and not named:
            raise SourceError(
                "{}: no images on topic '{}'. Its image topics:\n  {}".format(
                    self.path, name, "\n  ".join(str(t) for t in topics)
                )
            )
        others = [t for t in topics if not exclude or t.name.lstrip("/") != exclude.lstrip("/")]
        chosen = min(named or others or topics, key=_preference)
        if chosen.messages == 0:
            raise SourceError(f"{self.path}: topic {chosen.name} has no messages")
        return chosen

    def messages(self, topic: Topic) -> Iterator[tuple[int, bytes]]:
        """Give when each was recorded (ns) and the message in CDR; b"" for one that is damaged, with a note."""
        for reader in self.readers:
            connections = _connections(reader, topic.name, topic.type)
            found = damage.messages(reader, connections, self._say(topic.name)) if connections else ()
            for _, logged, message in found:
                yield logged, message

    def everything(self) -> Iterator[tuple[Any, int, bytes]]:
        """Give rosbags' connection, when it was recorded (ns) and the message in CDR, for all topics in time order."""
        parts = (damage.messages(reader, (), self._say("the bag")) for reader in self.readers)
        found: Iterator[tuple[Any, int, bytes]] = heapq.merge(*parts, key=lambda one: one[1])
        return (one for one in found if one[2])

    def _say(self, what: str) -> Callable[[str], None]:
        def say(text: str) -> None:
            note = f"{what} is {text}"
            self.notes += [note] * (note not in self.notes)

        return say

    def rate(self, topic: Topic) -> float:
        """Return messages per second, as the first were recorded, from 1 to 120."""
        stamps = [logged for logged, _ in itertools.islice(self.messages(topic), 20)]
        gaps = [b - a for a, b in itertools.pairwise(stamps) if b > a]
        if not gaps:
            return 10.0  # one message has no rate
        return min(max(1e9 / median(gaps), 1.0), 120.0)

    def message_bytes(self, topic: Topic) -> int:
        """Return the size of the largest of the first messages."""
        return max((len(message) for _, message in itertools.islice(self.messages(topic), 3)), default=0)

    def close(self) -> None:
        for reader in self.readers:
            reader.close()

    def _keys(self) -> list[tuple[str, str]]:
        return sorted({(c.topic, modern(c.msgtype)) for reader in self.readers for c in reader.connections})

    def _count(self, name: str, kind: str) -> int:
        return sum(c.msgcount for reader in self.readers for c in _connections(reader, name, kind))

    def _all_topics(self) -> str:
        lines = [f"{name} ({kind}, {self._count(name, kind)} messages)" for name, kind in self._keys()]
        return "Its topics:" + "".join("\n  " + line for line in lines) if lines else "It has no topics"

    def _describe(self, name: str, kind: str) -> Topic:
        topic = Topic(name, kind, self._count(name, kind), "", "")
        encoding, shape = "damaged" if topic.messages else "", ""
        first = next(self.messages(topic), None)
        if first is not None:
            with contextlib.suppress(struct.error, IndexError):
                encoding, height, width = image_format(first[1], topic.compressed)
                shape = "" if topic.compressed else f"{width}x{height}"
        return topic._replace(format=encoding, shape=shape)


class BagSource(Source):
    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Raises SourceError that lists the image topics where ``topic`` is none of them."""
        super().__init__()
        self._bag = Bag(path)
        self.notes = self._bag.notes
        self._topic = chosen = self._bag.choose(topic)
        self.compressed, self.length = chosen.compressed, chosen.messages
        self.rate = self._bag.rate(chosen)
        self.frame_bytes = self._bag.message_bytes(chosen)
        self.title = f"bag {path.name} {chosen.name}"
        self.notes.append(f"topic {chosen}")
        others = [t for t in self._bag.image_topics() if t != chosen]
        if others:
            self.notes.append("the bag also holds {}".format(", ".join(str(t) for t in others)))

    def shots(self) -> Iterator[Shot]:
        for _, message in self._bag.messages(self._topic):
            if len(message) >= 12:  # shorter has no stamp to write to
                yield Shot(message=message)

    def close(self) -> None:
        self._bag.close()


def _connections(reader: Any, name: str, kind: str) -> list[Any]:
    return [c for c in reader.connections if c.topic == name and modern(c.msgtype) == kind]


def _read(reader: Any, connections: list[Any]) -> Any:
    """Give connection, when it was recorded and the message, of these connections."""
    if not connections:  # a reader would take none for all
        return ()
    storage = getattr(reader, "storage", reader)
    if hasattr(storage, "messages_scan") and not storage.chunks:
        # no index, as in a file that was cut off: messages as they lie, which a recorder may have mixed a little
        return storage.messages_scan(connections)
    return reader.messages(connections)


def modern(kind: str) -> str:
    """Return a type's name as it is since Dashing: sensor_msgs/Image of 2019 is sensor_msgs/msg/Image."""
    package, _, name = kind.partition("/")
    return kind if "/" in name or not name else f"{package}/msg/{name}"


def _preference(topic: Topic) -> Any:
    """Order topics by how likely they are what a person wants to see: filled, colour, raw, then the longest."""
    encoding = topic.format.split(";")[0].lower()
    depth = "depth" in topic.format.lower() or encoding in ("16uc1", "32fc1", "mono16", "damaged")
    grey = encoding in ("mono8", "8uc1")
    made = {"label", "color", "overlay", "confidence"} & set(topic.name.split("/")[-2:])  # by a network, no camera
    return topic.messages == 0, depth, bool(made), grey, topic.compressed, -topic.messages, topic.name


def _open(path: Path, notes: list[str]) -> list[Any]:
    """Open a bag's folder, or the files of one whose metadata.yaml is lost or does not fit."""
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise SourceError(f"{path}: a bag needs the library rosbags: pip install rosbags") from error
    from seg_node.sources.mcap_repair import open_truncated

    paths, complaint = [path], "has no metadata.yaml"
    if path.is_dir():
        files = sorted((p for p in path.iterdir() if p.suffix in BAGS), key=by_number)
        if (path / "metadata.yaml").exists():
            try:
                reader = Reader(path)
                reader.open()
                damage.take_messages_as_they_are(reader)
                return [reader]
            except Exception as error:  # of YAML, or of a file
                complaint = "cannot be read as its metadata.yaml says ({})".format(" ".join(str(error).split()))
        paths = files or paths
        notes.append(f"the bag {complaint}: reading its {len(files)} file{'' if len(files) == 1 else 's'}")
    readers = []
    for part in paths:
        try:
            reader = Reader(part)
            reader.open()
        except Exception as error:  # damaged files fail in any layer: YAML, SQLite, zstd, struct
            reader = open_truncated(part) if part.suffix == ".mcap" else None
            if reader is None:
                raise SourceError(
                    f"{part}: is no ROS 2 bag that can be read ({error}). If the recording was cut off, "
                    "'ros2 bag reindex' or 'mcap recover' may repair it"
                ) from error
            notes.append(f"{part.name} was cut off while recording: reading what is whole")
        readers.append(reader)
    return readers
