"""What a process must set, before rclpy is imported, to send and receive large images well.

Does not import rclpy. Call ``prepare_transport()`` first thing in ``main()``.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Dict, Iterator, Optional

from seg_node.ros.fastdds import (
    LEAST,
    MOST,
    ProfileError,
    is_ours,
    profile_for,
    read_profile,
    segment_for,
)

# Fast DDS 2 (Humble, Jazzy) reads the first name, Fast DDS 3 (Kilted and later) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PROFILE_FILES = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")  # in the working folder
OWN_SIZE = "SEG_NODE_SHARED_MEMORY"  # MB; says what prepare_transport would otherwise guess
PROCESSES = 3  # of this size that must find room: a camera, the node, who looks at it

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def prepare_transport(frame: int = 0) -> Optional[str]:
    """Tune malloc, and point Fast DDS at a profile that fits, unless the user has chosen otherwise.

    ``frame``: the bytes of images that this process sends at a time, 0 where it sends none or nobody knows.
    SEG_NODE_SHARED_MEMORY (MB) says better. Call it again, before rclpy.init, once more is known.

    Returns the path of the profile that is now in force, or None where this left things as they were: another
    middleware, the user's own Fast DDS settings, or a small /dev/shm (Docker's stock 64 MB; use --shm-size).
    """
    tune_malloc()
    sweep()
    return choose_profile(frame)


def choose_profile(frame: int = 0) -> Optional[str]:
    """Do the part of ``prepare_transport`` that is Fast DDS's."""
    environment = environment_for(frame)
    os.environ.update(environment)
    return environment.get(PROFILE_VARIABLES[0])


def environment_for(frame: int = 0) -> Dict[str, str]:
    """Return what a process must find in its environment that sends ``frame`` bytes of images at a time.

    For others' programs, such as a camera's driver. Nothing where ``prepare_transport`` would leave things alone.
    """
    if _user_has_chosen():
        return {}
    # more than it wants, where whoever started this process says so with a profile of ours
    segment = _fitting(_asked_for() or max(segment_for(frame), segment_in_force()))
    return dict.fromkeys(PROFILE_VARIABLES, profile_for(segment)) if segment else {}


def segment_in_force() -> int:
    """Return the bytes of shared memory that this process has for what it sends; 0 where nobody can say."""
    given = {os.environ.get(variable, "") for variable in PROFILE_VARIABLES}
    if len(given) != 1 or "FASTDDS_BUILTIN_TRANSPORTS" in os.environ or not _is_fast_dds():
        return 0
    try:
        return read_profile(given.pop()).segment
    except ProfileError:
        return 0


def advice(image: int) -> str:
    """Return what keeps images of so many bytes (0: not known) from being lost on their way here."""
    try:
        profile = profile_for(segment_for(image))
    except FileNotFoundError:
        profile = "config/fastdds.xml"
    return (
        "if the camera is on this machine, start its process with {}; if it is on another, "
        "sudo sysctl -w net.core.rmem_max=16777216 net.core.rmem_default=16777216; seg-node doctor says more".format(
            " and ".join("{}={}".format(name, profile) for name in PROFILE_VARIABLES)
        )
    )


def crowded(frame: int, segment: int) -> str:
    """Return why images of ``frame`` bytes at a time may not get out of a process whole; "" where they fit.

    ``segment``: of its shared memory, bytes; 0: not known.
    """
    if not segment or 3 * frame <= 2 * segment:
        return ""
    wanted, profile = segment_for(frame), os.environ.get(PROFILE_VARIABLES[0], "")
    fix = "start it with {}={} in its environment".format(OWN_SIZE, wanted >> 20)
    if profile and not is_ours(profile):  # the user's own goes before what a variable says
        fix = "set segment_size in {} to {}, and start it again".format(profile, wanted)
    says = "what is published of a frame, {:.0f} MB, fits badly into this process's {:.0f} MB of shared memory: {}"
    return says.format(frame / 1e6, segment / 1e6, fix)


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
    """
    count = 0
    for lock in dead(folder):
        with contextlib.suppress(FileNotFoundError):
            segment_of(lock).unlink()
        with contextlib.suppress(OSError):
            lock.unlink()
            count += 1
    return count


def dead(folder: str = "/dev/shm") -> Iterator[Path]:
    """Give the lock files whose processes are gone, each locked until the next is asked for.

    A living process holds a lock on the file beside its segment, as ``fastdds shm clean`` knows too.
    """
    for lock in Path(folder).glob("fast*_el"):
        if not re.match(r"fast(rtps|dds)_[0-9a-f]{16}_el$", lock.name):
            continue
        # an OSError: somebody lives there, it is somebody else's, or just gone
        with contextlib.suppress(OSError), open(str(lock), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lock


def segment_of(lock: Path) -> Path:
    """Return the shared memory that a lock file stands for."""
    return lock.with_name(lock.name[: -len("_el")])


def _asked_for() -> int:
    """Return the bytes that SEG_NODE_SHARED_MEMORY asks for, 0 where it does not."""
    text = os.environ.get(OWN_SIZE, "")
    if not text:
        return 0
    if not text.isdigit() or not 1 <= int(text) <= MOST >> 20:
        print("{}='{}' is no number of MB from 1 to {}: ignored".format(OWN_SIZE, text, MOST >> 20), file=sys.stderr)
        return 0
    return max(LEAST, int(text) << 20)


def _fitting(segment: int) -> int:
    """Return the segment, halved until three processes find room, or 0."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:  # not Linux
        return 0
    while segment > LEAST and segment * PROCESSES > free:
        segment = max(LEAST, segment // 2)
    return segment if segment * PROCESSES <= free else 0


def _user_has_chosen() -> bool:
    given = [os.environ[variable] for variable in PROFILE_VARIABLES if variable in os.environ]
    if not all(is_ours(path) for path in given):  # ours: where this process was started by one of ours
        return True
    if "FASTDDS_BUILTIN_TRANSPORTS" in os.environ or any(os.path.exists(name) for name in PROFILE_FILES):
        return True
    return not _is_fast_dds()


def _is_fast_dds() -> bool:
    return "fastrtps" in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
