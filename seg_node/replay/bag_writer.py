"""Write a rosbag2 bag in MCAP, whole or not at all: a folder with metadata.yaml, or one .mcap file.

While it is written it lies in ``<path>.partial``, and gets its name when it is complete. The layout is that of
version 8, which every distribution from Humble on reads (``ros2 bag play`` of Humble stops at version 9's profiles).
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from seg_node.replay.bag_messages import types

_VERSION = 8


class BagWriter:
    """A bag in the making; as a context manager it is finished at the end, and removed where an error ends it."""

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        """``path`` ends in .mcap for one file, otherwise it is a folder. Nothing is written before the first topic.

        Raises FileExistsError where it is there and ``overwrite`` is not given, or is no bag; ValueError for another
        format's name.
        """
        self.path = Path(path)
        self.messages = 0
        if self.path.suffix in (".bag", ".db3"):
            raise ValueError(f"{path}: bags are written as MCAP: name a folder, or a file that ends in .mcap")
        if os.path.lexists(self.path) and not overwrite:
            raise FileExistsError(f"{path}: exists already; remove it, or give another name")
        if self.path.is_dir() and (self._is_file or not (self.path / "metadata.yaml").exists()):
            raise FileExistsError(f"{path}: is a folder, but no bag that could be replaced; give another name")
        self._bag: Any = None

    @property
    def _is_file(self) -> bool:
        return self.path.suffix == ".mcap"

    @property
    def is_open(self) -> bool:
        """Whether there is something to finish: not before the first topic, nor after a failure."""
        return self._bag is not None

    @property
    def partial(self) -> Path:
        """Where the bag lies until it is complete."""
        return self.path.with_name(self.path.name + ".partial")

    def add(
        self,
        topic: str,
        kind: str,
        qos: Sequence[Any] | None = None,
        definition: str | None = None,
        digest: str = "",
    ) -> Any:
        """Add a topic and return what ``write`` wants; ``qos`` None is reliable and volatile, empty is unknown.

        ``definition``: of the type, with all that it uses ("" where nobody knows it); None for a type that this
        project knows. ``digest``: its RIHS01 hash, found from the definition where it is not given.
        """
        if self._bag is None:
            self._open()
        if definition is None:
            definition, _ = types().generate_msgdef(kind, ros_version=2)
        digest = digest or _digest(kind, definition)
        options = {"offered_qos_profiles": [reliable()] if qos is None else list(qos), "rihs01": digest or "unknown"}
        connection = self._bag.add_connection(topic, kind, msgdef=definition, **options)
        if not digest:  # the library wants one; the format does not
            connection = self._bag.connections[-1] = connection._replace(digest="")
        return connection

    def write(self, topic: Any, logged: int, message: bytes | memoryview) -> None:
        """Write a message in CDR, recorded at ``logged`` (ns). Raises OSError, and removes the bag, without room."""
        try:
            self._bag.write(topic, logged, message)
        except OSError as error:
            raise self._failure(error) from error
        self.messages += 1

    def finish(self) -> None:
        """Give the bag its name; without a message there is none. Raises OSError as ``write`` does."""
        if self.messages == 0 or not self.is_open:
            return self.discard()
        folder = self._bag.path
        try:
            self._bag.close()
            made = folder / (folder.name + ".mcap") if self._is_file else folder
            _sync(folder)
            if self.path.is_dir():
                shutil.rmtree(self.path)
            os.replace(made, self.path)
        except OSError as error:
            raise self._failure(error) from error
        self._bag = None
        shutil.rmtree(self.partial, ignore_errors=True)

    def discard(self) -> None:
        """Remove what was written; nothing stays."""
        if self._bag is not None:
            with suppress(Exception):  # of a full disk, once more
                self._bag.abort()
            self._bag = None
            shutil.rmtree(self.partial, ignore_errors=True)

    def _open(self) -> None:
        try:
            if self.partial.is_dir():  # of a run that was killed
                shutil.rmtree(self.partial)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._bag = _writer()(self.partial / (self.path.stem if self._is_file else self.path.name))
            self._bag.open()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OSError:
        room = ""
        with suppress(OSError):
            room = f"; {shutil.disk_usage(self.path.parent).free / 1e6:.0f} MB are free there"
        self.discard()
        return OSError(error.errno, f"{self.path}: cannot be written: {error.strerror or error}{room}")

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()


def reliable() -> Any:
    """The profile that every subscription takes: best effort or reliable, volatile."""
    return _profile(latched=False)


def latched() -> Any:
    """The profile of what is said once and kept for those who come later."""
    return _profile(latched=True)


def _profile(latched: bool) -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    any_time = QosTime(0, 0)  # unspecified: what the middleware does of itself
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        any_time,
        any_time,
        QosLiveliness.AUTOMATIC,
        any_time,
        False,
    )


def _digest(kind: str, definition: str) -> str:
    """Return the RIHS01 hash of a type, "" where its definition cannot be read."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    if not definition:
        return ""
    try:
        store = get_typestore(Stores.EMPTY)
        store.register(
            get_types_from_idl(definition) if "\nIDL: " in definition else get_types_from_msg(definition, kind)
        )
        return str(store.hash_rihs01(kind))
    except Exception:  # a hash is a help, a definition in words that the library does not know no reason to stop
        return ""


def _sync(folder: Path) -> None:
    """Have the files on the disk before they get their name, for when the power goes."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


@cache
def _writer() -> Any:
    """Return what makes the library's writer for a path: MCAP, its chunks compressed."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.rosbag2.storage_mcap import McapWriter, Schema, write_schema

    class Storage(McapWriter):
        def add_msgtype(self, connection: Any) -> None:
            if connection.msgdef.data:
                return super().add_msgtype(connection)
            # as rosbag2 does where it finds no definition; an empty "ros2msg" would say that the type has no fields
            self.schemas.append(Schema(len(self.schemas) + 1, connection.msgtype, "", ""))
            write_schema(self.chunk.bio, self.schemas[-1])

    class McapBag(Writer):
        STORAGE_PLUGINS = {StoragePlugin.MCAP: Storage}  # noqa: RUF012 (as the library has it)

        def __init__(self, path: Path) -> None:
            super().__init__(path, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
            self.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)

    return McapBag
