"""Built engines on disk. An engine is good for one graph, TensorRT version, GPU and way to build it, and nothing else.

Each is one file: a line of JSON that says what it was built from and its digest, then the engine itself. So one
rename makes it whole, and whatever was done to a file since is found out. Knows nothing of TensorRT.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

from seg_node.share import cache_folder as folder

_KEEP = 6  # files of one model: two precisions, before and after two updates


def path_for(name: str, key: Dict[str, Any]) -> Path:
    """Return where the engine of model ``name`` with that key lies, or will."""
    digest = hashlib.sha256(_line(key)).hexdigest()[:20]
    return folder() / "{}-{}.engine".format(re.sub(r"[^\w.-]", "_", name), digest)


def read(path: Path, key: Dict[str, Any]) -> Optional[bytes]:
    """Return the engine, or None where there is none that is whole and of this key."""
    try:
        head, _, plan = path.read_bytes().partition(b"\n")
        about = json.loads(head.decode("utf-8"))
        good = about["key"] == json.loads(_line(key).decode("utf-8")) and about["sha256"] == _digest(plan)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return plan if good else None


def unwrapped(data: bytes) -> bytes:
    """Return the engine in a file that is kept here, or the file as it is where it is nobody's but an engine."""
    return data.partition(b"\n")[2] if data[:1] == b"{" else data


def write(path: Path, key: Dict[str, Any], plan: bytes) -> None:
    """Write whole or not at all, and drop this model's oldest. Raises OSError."""
    about = json.dumps({"key": key, "sha256": _digest(plan)}, sort_keys=True)
    handle, partial = tempfile.mkstemp(prefix=path.name + ".", suffix=".partial", dir=str(path.parent))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(about.encode("utf-8") + b"\n" + plan)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, str(path))
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise
    _drop_oldest(path)


def _drop_oldest(newest: Path) -> None:
    """Also what killed writers left; the lock is held, so nobody of this key is at work."""
    for left in newest.parent.glob(newest.name + ".*.partial"):
        left.unlink()
    name = newest.name.rpartition("-")[0]
    files = [path for path in newest.parent.glob("*.engine") if path.name.rpartition("-")[0] == name]
    with contextlib.suppress(OSError):  # another process drops the same
        for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)[_KEEP:]:
            path.unlink()


@contextlib.contextmanager
def lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold this engine's lock, so that of two processes one builds; ``waiting`` is called once if that takes time.

    Raises OSError that says how to choose another folder where none can be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(str(path) + ".lock", "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise OSError(
            "{}: engines cannot be kept here ({}); set SEG_NODE_CACHE to a folder that can be written".format(
                path.parent, error.strerror
            )
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _line(key: Dict[str, Any]) -> bytes:
    return json.dumps(key, sort_keys=True).encode("utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
