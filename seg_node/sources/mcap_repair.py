"""Read an MCAP file whose end is missing, as a robot leaves it when its power is cut.

The file is not changed: a reader is given a view of its whole records, followed by the end that it lacks.
"""

import io
import struct
from pathlib import Path
from typing import Any

MAGIC = b"\x89MCAP0\r\n"
_END = (
    b"\x0f"
    + struct.pack("<QI", 4, 0)  # data end
    + b"\x02"
    + struct.pack("<QQQI", 20, 0, 0, 0)  # a footer that promises no summary: readers then scan
    + MAGIC
)
_SUMMARY = (0x0F, 0x02)  # data end, footer


class _View(io.RawIOBase):
    """The first ``size`` bytes of a file, then ``_END``."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        self._file, self._size, self._at = open(str(path), "rb"), size, 0  # noqa: SIM115 (closed in close)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._size + len(_END))[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at < self._size:
            self._file.seek(self._at)
            data = self._file.read(min(len(buffer), self._size - self._at))
        else:
            start = self._at - self._size
            data = _END[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Repaired:
    """Stands in for a path: all that the reader asks of it is ``open``."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size

    def open(self, mode: str = "rb") -> io.BufferedReader:
        del mode
        return io.BufferedReader(_View(self._path, self._size))

    def __str__(self) -> str:
        return str(self._path)


def whole_records(path: Path) -> int:
    """Return the size of a file's magic and whole data records in bytes; 0 where it is no MCAP file."""
    size = path.stat().st_size
    with open(str(path), "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return 0
        at = len(MAGIC)
        while True:
            head = file.read(9)
            if len(head) < 9 or head[0] in _SUMMARY:
                return at
            end = at + 9 + int(struct.unpack("<Q", head[1:])[0])
            if end > size:
                return at
            at = file.seek(end)


def open_truncated(path: Path) -> Any | None:
    """Return an open reader of what is whole in the file, or None where nothing is."""
    from rosbags.rosbag2.storage_mcap import McapReader

    try:
        size = whole_records(path)
        if size <= len(MAGIC):
            return None
        reader = McapReader(_Repaired(path, size))
        reader.open()
    except Exception:  # damaged in another way: the first error says it better
        return None
    return reader
