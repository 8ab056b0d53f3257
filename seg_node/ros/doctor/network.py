"""How images get here from other machines: socket buffers, fragments, discovery."""

import os
from typing import List, Optional

from seg_node.ros.doctor import ERROR, OK, WARNING, Finding, Machine, mb

_KEEP = "echo '{}' | sudo tee -a /etc/sysctl.d/60-seg_node.conf   # and after a boot"
_LEAST = 16 << 20  # bytes of a socket's buffer
_FRAGMENTS = 128 << 20  # bytes of datagrams that are being put together
_HIGHEST_DOMAIN = 101  # above it, a domain's ports meet those that Linux hands out
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")


def check_socket_buffers(machine: Machine) -> List[Finding]:
    """A socket's buffer holds an image while the receiver is busy; what does not fit is dropped by the kernel."""
    # Fast DDS takes the default, Cyclone asks for more
    values = {name: _number(machine, "net/core/" + name) for name in ("rmem_max", "rmem_default")}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return []
    now = "net.core " + ", ".join("{} {}".format(name, mb(value)) for name, value in sorted(known.items()))
    small = ["net.core.{}={}".format(name, _LEAST) for name, value in sorted(known.items()) if value < _LEAST]
    if not small:
        return [Finding("socket buffers", OK, now)]
    says = now + ": images from other machines, and every one without shared memory, get lost"
    return [Finding("socket buffers", WARNING, says, _sysctl(small))]


def check_fragments(machine: Machine) -> List[Finding]:
    """Datagrams of 64 KB cross the network in pieces, which wait in memory until they are complete."""
    value = _number(machine, "net/ipv4/ipfrag_high_thresh")
    if value is None or value >= _FRAGMENTS:
        return []
    says = "net.ipv4.ipfrag_high_thresh {}: one lost packet of an image from another machine holds up others".format(
        mb(value)
    )
    return [Finding("ip fragments", WARNING, says, _sysctl(["net.ipv4.ipfrag_high_thresh={}".format(_FRAGMENTS)]))]


def check_discovery(machine: Machine) -> List[Finding]:
    found = []
    domain = machine.environ.get("ROS_DOMAIN_ID") or "0"
    if not domain.isdigit() or int(domain) > 232:
        says = "ROS_DOMAIN_ID is '{}'; no ROS process starts with that".format(domain)
        found.append(Finding("discovery", ERROR, says, ("export ROS_DOMAIN_ID=0",)))
    elif int(domain) > _HIGHEST_DOMAIN:
        says = "ROS_DOMAIN_ID {}: its ports may be taken by other programs".format(domain)
        found.append(Finding("discovery", WARNING, says, ("export ROS_DOMAIN_ID={}".format(_HIGHEST_DOMAIN),)))
    reach = (machine.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET").upper()
    if reach not in _RANGES or reach == "OFF":
        says = "ROS_AUTOMATIC_DISCOVERY_RANGE is {}: processes do not find each other".format(reach)
        found.append(Finding("discovery", ERROR, says, ("export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",)))
    alone = machine.environ.get("ROS_LOCALHOST_ONLY") == "1" or reach == "LOCALHOST"
    where = "this machine alone" if alone else "the network, too"
    return found or [Finding("discovery", OK, "domain {}, {}".format(domain, where))]


def _sysctl(settings: List[str]) -> "tuple":
    lines = "\\n".join(settings).replace("=", " = ")
    return ("sudo sysctl -w " + " ".join(settings), _KEEP.replace("echo '{}'", "printf '{}\\n'".format(lines)))


def _number(machine: Machine, name: str) -> Optional[int]:
    try:
        with open(os.path.join(machine.root, "proc/sys", name)) as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):  # no Linux, or hidden by a container
        return None


CHECKS = (check_socket_buffers, check_fragments, check_discovery)
