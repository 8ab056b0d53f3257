"""A copy of a drive's bag with what the network said of its images: opens in RViz, Foxglove and ``ros2 bag play``.

Beside the original topics, whose messages are copied as they are, it holds

    /seg_node/label                Image mono8: class ids, 255 unlabelled
    /seg_node/overlay/compressed   JPEG: a raw overlay would double the bag
    /seg_node/label_info           vision_msgs/LabelInfo, latched: what the ids mean
    /diagnostics                   each frame's milliseconds

with the stamp and frame_id of their image, and recorded when it was. Where the bag has topics under /seg_node already
(a robot's own results), ours are under /seg_node_replay.
"""

import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from seg_node.label_set import LabelSet
from seg_node.pipeline.overlay import Overlay
from seg_node.replay import bag_messages as messages
from seg_node.replay.bag_writer import BagWriter, latched
from seg_node.replay.drive import Drive
from seg_node.replay.offline import Result
from seg_node.sources.bag import Bag, modern
from seg_node.sources.cdr import frame_of, stamp_of

_QUALITY = 80  # of the JPEG: the node's
_HELD = 16  # image headers kept until their result comes


class AnnotatedBag:
    """A Watcher that writes the bag while the drive goes by; nothing of it is held in memory."""

    def __init__(self, path: Path, drive: Drive, label_set: LabelSet, alpha: float = 0.5) -> None:
        """``path`` as for ``BagWriter``: a bag that is there is replaced when this one is complete.

        ``alpha``: share of the colours in the overlay. Raises ValueError where ``path`` is the drive's own bag.
        """
        if Path(path).resolve() in (drive.path.resolve(), *drive.path.resolve().parents):
            raise ValueError(f"{path}: is the bag that is read; give the annotated one another name")
        self.notes: list[str] = []  # what a person should know, a line each
        self._drive, self._label_set, self._alpha = drive, label_set, alpha
        self._overlay = Overlay(label_set)
        self._bag = Bag(drive.path)  # a reader of its own: the drive reads at another place
        self._open = True
        self._writer = BagWriter(path, overwrite=True)
        try:
            self._topics = self._add_originals()
            self._add_ours()
        except BaseException:
            self.discard()
            raise
        self._originals = self._bag.everything()
        self._waiting: tuple[Any, int, bytes] | None = None
        self._frames: dict[int, str] = {}  # stamp -> frame_id of the images copied last
        self._first = True

    def _add_originals(self) -> dict[int, Any]:
        """Add the bag's topics, those without messages too; returns them by the connection's ``id``."""
        topics: dict[Any, Any] = {}  # by what makes two connections one topic: a bag may lie in several files
        by_id: dict[int, Any] = {}
        connections = [c for reader in self._bag.readers for c in reader.connections]
        distribution = next((r.ros_distro for r in self._bag.readers if getattr(r, "ros_distro", None)), None)
        store = _store(distribution, any("/msg/" not in c.msgtype for c in connections))
        for connection in connections:
            key = connection.topic, modern(connection.msgtype), repr(connection.ext)
            if key in topics:
                by_id[id(connection)] = topics[key]
                continue
            kind = modern(connection.msgtype)
            definition = connection.msgdef.data or _definition(store, kind)
            if not definition:
                self.notes.append(f"{connection.topic}: the bag has no definition of {kind}, so its copy has none")
            qos = connection.ext.offered_qos_profiles
            topics[key] = self._writer.add(connection.topic, kind, qos, definition, connection.digest)
            by_id[id(connection)] = topics[key]
        return by_id

    def _add_ours(self) -> None:
        names = {topic.topic: topic for topic in self._topics.values()}
        taken = any(name.startswith("/seg_node/") for name in names)
        prefix = "/seg_node_replay" if taken else "/seg_node"
        if taken:
            self.notes.append(f"the bag has topics under /seg_node: the new ones are under {prefix}")
        self._label = self._writer.add(prefix + "/label", messages.IMAGE)
        self._painted = self._writer.add(prefix + "/overlay/compressed", messages.COMPRESSED)
        self._info = self._writer.add(prefix + "/label_info", messages.LABEL_INFO, [latched()])
        there = names.get("/diagnostics")
        if there is None:
            self._diagnostics = self._writer.add("/diagnostics", messages.DIAGNOSTICS)
        else:
            alike = there.msgtype == messages.DIAGNOSTICS
            self._diagnostics = there if alike else self._writer.add(prefix + "/diagnostics", messages.DIAGNOSTICS)

    def see(self, result: Result) -> None:
        """Copy what was recorded up to the image, then add its results. Raises OSError where there is no room."""
        picture = result.picture
        self._copy(picture.logged)
        stamp, logged = picture.stamp, picture.logged
        frame_id = self._frames.get(stamp, "")
        write = self._writer.write
        if self._first:
            write(self._info, logged, messages.label_info(stamp, frame_id, self._label_set))
            self._first = False
        write(self._label, logged, messages.image(stamp, frame_id, result.labels, "mono8"))
        color = self._overlay.color(result.labels)
        blend = self._overlay.blend(picture.frame, result.labels, color, self._alpha, legend=True)
        write(self._painted, logged, messages.compressed_image(stamp, frame_id, blend, "jpeg", _QUALITY))
        write(self._diagnostics, logged, self._status(result))

    def _status(self, result: Result) -> bytes:
        values = {"frame": str(result.picture.index)}
        values.update({f"{stage}_ms": f"{ms:.3f}" for stage, ms in result.milliseconds.items()})
        total = result.milliseconds.get("total", sum(result.milliseconds.values()))
        text = f"{total:.1f} ms"
        return messages.diagnostics(result.picture.stamp, "seg_node replay", text, self._drive.topic, values)

    def _copy(self, until: int | None = None) -> None:
        """Copy the originals recorded up to ``until`` (ns), or all that are left."""
        while True:
            found = self._waiting or next(self._originals, None)
            if found is None:
                return
            if until is not None and found[1] > until:
                self._waiting = found
                return
            self._waiting = None
            connection, logged, message = found
            if connection.topic == self._drive.topic:
                self._note_header(message)
            self._writer.write(self._topics[id(connection)], logged, message)

    def _note_header(self, message: bytes) -> None:
        with suppress(struct.error, IndexError):  # a broken message gets no result
            self._frames[stamp_of(message)] = frame_of(message)
            if len(self._frames) > _HELD:
                self._frames.pop(next(iter(self._frames)))

    def close(self) -> None:
        """Copy the rest, and give the bag its name; nothing after a failure. Raises OSError where there is no room."""
        try:
            if self._writer.is_open:
                self._copy()
                self._writer.finish()
        finally:
            self.discard()
        self.notes += [note for note in self._bag.notes if "damaged" in note]

    def discard(self) -> None:
        """End without a bag, where it is not finished."""
        self._writer.discard()
        if self._open:
            self._open = False
            self._bag.close()


@cache
def _store(distribution: str | None, old: bool) -> Any:
    """Return the types of a bag that does not hold their definitions: such bags are older than Iron."""
    from rosbags.typesys import Stores, get_typestore

    known = {store.value: store for store in Stores}
    named = known.get(f"ros2_{distribution}")
    return get_typestore(named or (Stores.ROS2_DASHING if old else Stores.ROS2_HUMBLE))


def _definition(store: Any, kind: str) -> str:
    if kind not in store.types:
        return ""
    text: str = store.generate_msgdef(kind, ros_version=2)[0]
    return text
