"""How images get from one process to another on this machine: Fast DDS, its profile, its shared memory."""

import importlib.util
import os
import shutil
import subprocess
import sys
from typing import List, Optional, Tuple

from seg_node.ros.doctor import ERROR, OK, WARNING, Finding, Machine, is_newer_fast_dds, mb
from seg_node.ros.fastdds import PIECE, STOCK, Profile, ProfileError, profile_for, read_profile, segment_for
from seg_node.ros.transport import PROCESSES, PROFILE_FILES, PROFILE_VARIABLES, dead, segment_of

_FAST_DDS = "rmw_fastrtps_cpp"


def why_no_middleware(machine: Machine) -> str:
    """Return what ROS says of a middleware that was chosen and does not load here, "" where all is well."""
    chosen = machine.environ.get("RMW_IMPLEMENTATION")
    if not chosen or machine.root != "/" or importlib.util.find_spec("rclpy") is None:
        return ""
    # in a process of its own: it ends the one that it is in
    words = [sys.executable, "-c", "import rclpy"]
    done = subprocess.run(words, env=machine.environ, stderr=subprocess.PIPE, check=False)
    if not done.returncode:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "exit code {}".format(done.returncode)


def check_middleware(machine: Machine) -> List[Finding]:
    name = machine.environ.get("RMW_IMPLEMENTATION") or _FAST_DDS
    why = why_no_middleware(machine)
    if why:
        package = "ros-{}-{}".format(machine.environ.get("ROS_DISTRO") or "$ROS_DISTRO", name.replace("_", "-"))
        says = "RMW_IMPLEMENTATION names {}, which does not load here; no node starts: {}".format(name, why)
        return [Finding("middleware", ERROR, says, ("unset RMW_IMPLEMENTATION", "sudo apt install " + package))]
    if "fastrtps" in name:
        return [Finding("middleware", OK, name)]
    return [
        Finding(
            "middleware",
            OK,
            "{}: it has no such shared memory; every image goes through sockets (see 'socket buffers'), and all "
            "processes want the same middleware".format(name),
        )
    ]


def check_profile(machine: Machine) -> List[Finding]:
    """Is what a process that is started from here gives its images large enough?"""
    if not _is_fast_dds(machine):
        return []
    mode = machine.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "")
    path, trap = _in_force(machine)
    if trap:
        return [trap]
    if mode and not path:
        return [_builtin(machine, mode)]
    if not path:
        why = "no Fast DDS profile is set: a camera that is started from here has {} of shared memory".format(
            mb(STOCK.segment)
        )
        return [_judge(machine, STOCK, why)]
    try:
        profile = read_profile(path)
    except ProfileError as error:
        return [Finding("fast dds profile", ERROR, str(error), _exports(machine))]
    why = "{}: {} of shared memory{}".format(path, mb(profile.segment), "; " + profile.why if profile.why else "")
    found = [_judge(machine, profile, why)]
    pieces = machine.frame // PIECE + 1
    if profile.segment and profile.queue < 2 * pieces:
        text = "{}: port_queue_capacity {} holds less than two frames of {} pieces: a busy receiver loses some".format(
            path, profile.queue, pieces
        )
        found.append(Finding("fast dds queue", WARNING, text, _exports(machine)))
    return found


def _judge(machine: Machine, profile: Profile, why: str) -> Finding:
    images = "{} of {}x{}, {}".format(
        "an image" if machine.cameras == 1 else "{} cameras' images".format(machine.cameras),
        machine.size[1],
        machine.size[0],
        mb(machine.frame),
    )
    if machine.frame > profile.segment:
        says = "{}; {}, does not fit: sent best effort it is lost, sent reliably it comes late".format(why, images)
        return Finding("fast dds profile", ERROR, says, _exports(machine))
    if 2 * machine.frame > profile.segment:
        says = "{}; {}, leaves no room for a second: some will be lost".format(why, images)
        return Finding("fast dds profile", WARNING, says, _exports(machine))
    return Finding("fast dds profile", OK, "{}; {}, fits".format(why, images))


def _in_force(machine: Machine) -> Tuple[str, Optional[Finding]]:
    """Return the profile that ROS here would read ("" for none), or what keeps a given one from being read."""
    old, new = (machine.environ.get(variable, "") for variable in PROFILE_VARIABLES)
    newer = is_newer_fast_dds(machine.environ)
    read, other = (new, old) if newer else (old, new)
    if read:
        return read, None
    if other:
        says = "only {} is set; {} reads {}".format(
            PROFILE_VARIABLES[1 - newer], machine.environ.get("ROS_DISTRO") or "this ROS", PROFILE_VARIABLES[newer]
        )
        return "", Finding("fast dds profile", ERROR, says, ("export {}={}".format(PROFILE_VARIABLES[newer], other),))
    path = os.path.join(machine.folder, PROFILE_FILES[newer])
    return (path if os.path.exists(path) else ""), None


def _builtin(machine: Machine, mode: str) -> Finding:
    says = "FASTDDS_BUILTIN_TRANSPORTS={}".format(mode)
    kind = mode.split("?", 1)[0].upper()
    if kind == "LARGE_DATA" and machine.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET").upper() == "LOCALHOST":
        says += " does not work with ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST: processes do not find each other"
        return Finding("fast dds profile", ERROR, says, ("export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",))
    if kind == "LARGE_DATA":
        return Finding("fast dds profile", OK, says + ": large images go through shared memory or TCP")
    says += ": no shared memory large enough for images is set up"
    return Finding("fast dds profile", ERROR, says, ("unset FASTDDS_BUILTIN_TRANSPORTS",) + _exports(machine))


def _exports(machine: Machine) -> Tuple[str, ...]:
    path = profile_for(segment_for(machine.frame))
    return tuple("export {}={}".format(variable, path) for variable in PROFILE_VARIABLES) + (
        "# in the shell or unit that starts the camera, then start it again",
    )


def check_shared_memory(machine: Machine) -> List[Finding]:
    """Is there room for the segments of a camera, the node, and who looks at it?"""
    folder = os.path.join(machine.root, "dev/shm")
    need = PROCESSES * segment_for(machine.frame)
    whole = need // (1 << 30) + 1  # GB, with some to spare
    try:
        size, _, free = shutil.disk_usage(folder)
    except OSError as error:
        says = "{}: {}; Fast DDS sends all through UDP".format(folder, error.strerror)
        fix = "sudo mount -t tmpfs -o size={}G tmpfs /dev/shm".format(whole)
        return [Finding("shared memory", ERROR, says, (fix,))]
    says = "{}: {} of {} free; {} processes want {}".format(folder, mb(free), mb(size), PROCESSES, mb(need))
    if free >= need:
        return [Finding("shared memory", OK, says)]
    if size >= need:
        fix = "ls -lS {} | head".format(folder)
        return [Finding("shared memory", WARNING, says + "; something else fills it", (fix,))]
    if os.path.exists(os.path.join(machine.root, ".dockerenv")):
        fix = "docker run --ipc host ...   # or: --shm-size {}g".format(whole)
        return [Finding("shared memory", ERROR, says, (fix,))]
    return [Finding("shared memory", ERROR, says, ("sudo mount -o remount,size={}G /dev/shm".format(whole),))]


def check_left_behind(machine: Machine) -> List[Finding]:
    """Shared memory of processes that were killed stays until somebody frees it."""
    folder = os.path.join(machine.root, "dev/shm")
    count = size = 0
    for lock in dead(folder):
        count += 1
        try:
            size += os.stat(str(segment_of(lock))).st_size
        except OSError:
            continue
    if not count:
        return []
    says = "{} of {} killed Fast DDS process{} still lie in {}".format(mb(size), count, "es"[: 2 * (count > 1)], folder)
    return [Finding("left behind", WARNING, says, ("fastdds shm clean   # any process of seg_node does it, too",))]


def check_owners(machine: Machine) -> List[Finding]:
    """Two users' processes do not share memory: nothing arrives, or all goes through UDP."""
    folder = os.path.join(machine.root, "dev/shm")
    try:
        names = [name for name in os.listdir(folder) if name.startswith(("fastrtps_", "fastdds_"))]
    except OSError:
        return []
    owners = set()
    for name in names:
        try:
            owners.add(os.stat(os.path.join(folder, name)).st_uid)
        except OSError:  # just gone
            continue
    others = owners - {os.getuid()}
    if not others:
        return []
    says = "processes of other users (id {}) use Fast DDS here; images do not pass between users".format(
        ", ".join(map(str, sorted(others)))
    )
    return [Finding("users", WARNING, says, ("ps -o user,pid,args -u {}".format(",".join(map(str, sorted(others)))),))]


def _is_fast_dds(machine: Machine) -> bool:
    return "fastrtps" in (machine.environ.get("RMW_IMPLEMENTATION") or _FAST_DDS)


CHECKS = (check_middleware, check_profile, check_shared_memory, check_left_behind, check_owners)
