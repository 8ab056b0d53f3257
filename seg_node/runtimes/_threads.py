"""How many threads a network gets on a CPU: one for each core, less one for who feeds it where there are three or more.

A network that takes every core makes the thread wait that receives the next image and publishes the last one. Of two
cores none is spared: half the speed is worth more. `taskset` and a container's limit are heeded.
"""

import os
from pathlib import Path
from typing import Set

_CPUS = Path("/sys/devices/system/cpu")
_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container: "QUOTA PERIOD" in microseconds, or "max PERIOD"


def inference_threads() -> int:
    """Return the number of threads, 1 or more."""
    count = min(_cores(_CPUS, _allowed()), _quota(_LIMIT))
    return count - 1 if count > 2 else max(1, count)


def _allowed() -> Set[int]:
    """Return the numbers of the processors that this process may run on."""
    try:
        return set(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return set(range(os.cpu_count() or 1))


def _cores(cpus: Path, allowed: Set[int]) -> int:
    """Count cores, not their hardware threads: those share what a network keeps busy."""
    cores = set()
    for number in allowed:
        try:
            siblings = (cpus / "cpu{}".format(number) / "topology" / "thread_siblings_list").read_text().strip()
        except (OSError, ValueError):
            siblings = str(number)
        cores.add(siblings)
    return len(cores)


def _quota(limit: Path) -> int:
    """Return how many processors' time a container may use, rounded up."""
    try:
        quota, period = limit.read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max"
        return 1 << 20
