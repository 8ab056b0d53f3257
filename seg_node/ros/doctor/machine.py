"""How fast this machine may run: governor, cores, memory, heat; a Jetson's power mode and clocks."""

import glob
import os
import re
from typing import Dict, List, Optional, Tuple

from seg_node.ros.doctor import ERROR, OK, WARNING, Finding, Machine, mb
from seg_node.ros.jetson import JetsonFigures, gpu_clock_file

_CPU = "sys/devices/system/cpu/"
_SLOW = ("powersave", "conservative", "userspace")
_PSTATE = ("intel_pstate", "amd-pstate-epp")  # their powersave follows the load
_LITTLE = 500e6  # bytes of free memory


def check_governor(machine: Machine) -> List[Finding]:
    governors, slow = set(), False
    for path in _find(machine, _CPU + "cpufreq/policy*/scaling_governor"):
        governor = _text(path)
        governors.add(governor)
        slow = slow or (
            governor in _SLOW and _text(os.path.join(os.path.dirname(path), "scaling_driver")) not in _PSTATE
        )
    if not governors:
        return []
    says = "CPU governor {}".format(", ".join(sorted(governors)))
    if not slow:
        return [Finding("cpu governor", OK, says)]
    command = "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
    return [Finding("cpu governor", WARNING, says + ": cores stay slow under load", (command,))]


def check_cores(machine: Machine) -> List[Finding]:
    """Cores that are there, that are on, and that a container leaves to its processes."""
    present, online = (_count(_text(os.path.join(machine.root, _CPU + name))) for name in ("present", "online"))
    found = []
    if online and present > online:
        _, now, strongest = _power_modes(machine)
        fix = "echo 1 | sudo tee /sys/devices/system/cpu/cpu*/online"
        if now != strongest:  # a Jetson's, which turns cores off
            fix = "sudo nvpmodel -m {}".format(strongest)
        found.append(Finding("cpu cores", WARNING, "{} of {} cores are on".format(online, present), (fix,)))
    quota = _quota(machine)
    if quota is not None and quota < min(2.0, online or 2):
        says = "this container may use {:g} of a core".format(quota) if quota < 1 else "this container has one core"
        found.append(Finding("cpu cores", WARNING, says, ("docker run --cpus {} ...".format(max(2, online)),)))
    if not found and online:
        found.append(Finding("cpu cores", OK, "{} core{}".format(online, "s"[: online > 1])))
    return found


def _quota(machine: Machine) -> Optional[float]:
    """Return how many cores a control group allows, None for no limit."""
    words = _text(os.path.join(machine.root, "sys/fs/cgroup/cpu.max")).split()
    if len(words) != 2:
        words = [
            _text(os.path.join(machine.root, "sys/fs/cgroup/cpu", "cpu.cfs_{}_us".format(n)))
            for n in ("quota", "period")
        ]
    try:
        quota, period = float(words[0]), float(words[1])
    except ValueError:  # "max"
        return None
    return quota / period if quota > 0 and period > 0 else None


def check_load(machine: Machine) -> List[Finding]:
    load = _text(os.path.join(machine.root, "proc/loadavg")).split()
    cores = _count(_text(os.path.join(machine.root, _CPU + "online")))
    if not load or not cores or float(load[0]) <= 1.5 * cores:
        return []
    says = "load {} on {} cores: the node must wait for others".format(load[0], cores)
    return [Finding("load", WARNING, says, ("top -o %CPU   # who?",))]


def check_memory(machine: Machine) -> List[Finding]:
    match = re.search(r"MemAvailable:\s*(\d+) kB", _text(os.path.join(machine.root, "proc/meminfo")))
    if not match:
        return []
    free = int(match.group(1)) * 1024
    if free < _LITTLE:
        says = "{} of memory are left; a network and its images may not find room".format(mb(free))
        return [Finding("memory", WARNING, says, ("top -o %MEM   # who?",))]
    return [Finding("memory", OK, "{} free".format(mb(free)))]


def check_heat(machine: Machine) -> List[Finding]:
    """Is something slowed down by heat or by too little power, now (a Jetson) or since the boot?"""
    figures = dict(JetsonFigures(machine.root).read())
    throttled = figures.get("throttled", "no")
    if throttled != "no":
        says = "slowed down by {}".format(throttled)
        return [Finding("throttling", WARNING, says, ("sudo tegrastats   # cool it, or: sudo nvpmodel -q",))]
    if figures.get("overcurrent_events", "0") != "0":
        says = "{} times since the boot the power supply was too weak".format(figures["overcurrent_events"])
        return [Finding("throttling", WARNING, says, ("sudo nvpmodel -q   # a stronger supply, or a lower mode",))]
    counts = _find(machine, _CPU + "cpu*/thermal_throttle/core_throttle_count")
    most = max([int(_text(path) or 0) for path in counts] or [0])
    if most:
        says = "the CPU was slowed down by heat {} times since the boot".format(most)
        return [Finding("throttling", WARNING, says, ("sensors   # clean or improve the cooling",))]
    return [Finding("throttling", OK, "none")] if figures or counts else []


def check_power_mode(machine: Machine) -> List[Finding]:
    """Is a Jetson's nvpmodel in its strongest mode?"""
    modes, now, strongest = _power_modes(machine)
    if not modes:
        return []
    name = modes.get(now, str(now))
    if now == strongest:
        return [Finding("power mode", OK, name)]
    says = "{}; {} is faster".format(name, modes[strongest])
    return [Finding("power mode", WARNING, says, ("sudo nvpmodel -m {}".format(strongest),))]


def _power_modes(machine: Machine) -> Tuple[Dict[int, str], int, int]:
    """Return a Jetson's modes by number, the one it is in and the strongest; {}, 0, 0 where that is not known."""
    conf = _text(os.path.join(machine.root, "etc/nvpmodel.conf"), whole=True)
    status = re.search(r"pmode:(\d+)", _text(os.path.join(machine.root, "var/lib/nvpmodel/status")))
    modes = {int(number): name for number, name in re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", conf)}
    if not modes or status is None:
        return {}, 0, 0
    return modes, int(status.group(1)), max(sorted(modes), key=lambda number: _strength(modes[number]))


def _strength(mode: str) -> Tuple[int, int, int]:
    """Order modes by name: MAXN_SUPER, MAXN, then by watts and cores (MODE_20W_6CORE); of equals the first is taken."""
    if mode.startswith("MAXN"):
        return 1, len(mode), 0
    watts, cores = re.search(r"(\d+)W", mode), re.search(r"(\d+)CORE", mode)
    return 0, int(watts.group(1)) if watts else 0, int(cores.group(1)) if cores else 0


def check_clocks(machine: Machine) -> List[Finding]:
    """jetson_clocks lifts the GPU's lowest clock to its highest."""
    clock = gpu_clock_file(machine.root)
    low, high = (
        (_text(os.path.join(os.path.dirname(clock), name)) for name in ("min_freq", "max_freq")) if clock else ("", "")
    )
    if not low.isdigit() or not high.isdigit():
        return []
    if int(low) >= int(high):
        return [Finding("clocks", OK, "GPU fixed at {:.0f} MHz".format(int(high) / 1e6))]
    says = "the GPU's clock falls to {:.0f} MHz between frames".format(int(low) / 1e6)
    return [Finding("clocks", WARNING, says, ("sudo jetson_clocks   # until the next boot; deploy/ has a unit",))]


def check_writable(machine: Machine) -> List[Finding]:
    """Engines and profiles are kept in the cache folder."""
    from seg_node.share import cache_folder

    folder = cache_folder()
    there = next(path for path in [folder] + list(folder.parents) if path.exists())
    if os.access(str(there), os.W_OK | os.X_OK) and there.is_dir():
        return []
    says = "{} cannot be written to: engines are built anew at every start".format(folder)
    return [Finding("cache", ERROR, says, ("export SEG_NODE_CACHE=/a/folder/of/yours",))]


def _count(ranges: str) -> int:
    """Return how many cores "0-3,5" are."""
    pairs: List[Tuple[str, str]] = re.findall(r"(\d+)(?:-(\d+))?", ranges)
    return sum(int(last or first) - int(first) + 1 for first, last in pairs)


def _find(machine: Machine, pattern: str) -> List[str]:
    return sorted(glob.glob(os.path.join(glob.escape(machine.root), pattern)))


def _text(path: str, whole: bool = False) -> str:
    try:
        with open(path, errors="replace") as file:
            return (file.read() if whole else file.read(4096)).strip("\0 \n")
    except OSError:
        return ""


CHECKS = (
    check_governor,
    check_cores,
    check_load,
    check_memory,
    check_heat,
    check_power_mode,
    check_clocks,
    check_writable,
)
