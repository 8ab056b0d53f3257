"""What a process must set, before rclpy is imported, to send and receive large images well.

Does not import rclpy. Call ``prepare_transport()`` first thing in ``main()``.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import Optional

from seg_node.share import share_path

# Fast DDS 2 (Humble, Jazzy) reads the first name, Fast DDS 3 (Kilted and later) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_PROFILE_FILES = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")  # in the working folder
_SHARED_MEMORY_NEEDED = 96 << 20  # bytes free: three processes' segments of config/fastdds.xml

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def prepare_transport() -> Optional[str]:
    """Tune malloc, and point Fast DDS at ``config/fastdds.xml`` unless the user has chosen otherwise.

    Returns the path of the profile that is now in force, or None where this left things as they were: another
    middleware, the user's own Fast DDS settings, or a small /dev/shm (Docker's stock 64 MB; use --shm-size).
    """
    tune_malloc()
    sweep()
    if _user_has_chosen() or not _room_for_segments():
        return None
    profile = str(share_path("config/fastdds.xml"))
    for variable in PROFILE_VARIABLES:
        os.environ[variable] = profile
    return profile


def tune_malloc() -> bool:
    """Keep the memory of freed images in the process; returns whether glibc took it.

    Otherwise each image is mapped, zeroed page by page and unmapped again: 8 ms of a 1080p frame. One arena,
    as the thresholds act on the main one only.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # no glibc
        return False
    # Older glibc refuses thresholds over half a heap, 32 MB.
    threshold = mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    return bool(threshold and mallopt(_M_TRIM_THRESHOLD, 1 << 30) and mallopt(_M_ARENA_MAX, 1))


def trim_malloc() -> None:
    """Give back what a closed network left in pieces: by itself the process keeps it (see ``tune_malloc``)."""
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def sweep(folder: str = "/dev/shm") -> int:
    """Free the shared memory of Fast DDS processes that were killed; returns how many there were.

    Nobody else does, and with segments of this size a camera that keeps crashing would eat the robot's memory.
    A living process holds a lock on the file beside its segment, as ``fastdds shm clean`` knows too.
    """
    count = 0
    for lock in Path(folder).glob("fast*_el"):
        if not re.match(r"fast(rtps|dds)_[0-9a-f]{16}_el$", lock.name):
            continue
        # an OSError: somebody lives there, it is somebody else's, or just gone
        with contextlib.suppress(OSError), open(str(lock), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                lock.with_name(lock.name[: -len("_el")]).unlink()
            lock.unlink()
            count += 1
    return count


def _user_has_chosen() -> bool:
    ours = str(share_path("config/fastdds.xml"))  # set already where this process was started by one of ours
    if any(os.environ.get(variable, ours) != ours for variable in PROFILE_VARIABLES):
        return True
    if "FASTDDS_BUILTIN_TRANSPORTS" in os.environ or any(os.path.exists(name) for name in _PROFILE_FILES):
        return True
    return "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")


def _room_for_segments() -> bool:
    try:
        return shutil.disk_usage("/dev/shm").free >= _SHARED_MEMORY_NEEDED
    except OSError:  # not Linux
        return False
