"""How many threads a network gets on a CPU: one for each core, less one for who feeds it where there are three or more.

A network that takes every core makes the thread wait that receives the next image and publishes the last one. Of two
cores none is spared: half the speed is worth more. `taskset` and a container's limit are heeded.
"""

import os
from pathlib import Path
from typing import Set

_CPUS = Path("/sys/devices/system/cpu")
_GROUP = Path("/sys/fs/cgroup")  # a container's


def inference_threads() -> int:
    """Return the number of threads, 1 or more."""
    count = min(_cores(_CPUS, _allowed()), _quota(_GROUP))
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


def _quota(group: Path) -> int:
    """Return how many processors' time a container may use, rounded up; a large number for no limit."""
    quotas = (
        lambda: (group / "cpu.max").read_text().split(),  # microseconds, or "max PERIOD"
        # JetPack 4's and 5's kernels: -1 for no limit
        lambda: [(group / "cpu" / "cpu.cfs_{}_us".format(name)).read_text() for name in ("quota", "period")],
    )
    for read in quotas:
        try:
            quota, period = (int(word) for word in read())
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return -(-quota // period)
    return 1 << 20
