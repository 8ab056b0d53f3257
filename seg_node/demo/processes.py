"""Child processes that cannot outlive the demo, in an environment of their own."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import seg_node

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def child_environment(log_folder: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for ROS processes that only see each other.

    A ROS_DOMAIN_ID that the user has set is kept. What the ROS wheels' bootstrapper left in our environment is
    taken out: it would keep the children's own bootstrapper from working.
    """
    environment = dict(os.environ if base is None else base)
    if environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None):
        paths = environment.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
        others = [path for path in paths if path and not path.startswith(sys.prefix + os.sep)]
        if others:
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(others)
    if not environment.get("ROS_DOMAIN_ID"):
        environment["ROS_DOMAIN_ID"] = str(free_domain())
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        if environment.get("ROS_DISTRO") == "humble":  # does not know that one yet; later ones warn of this
            environment["ROS_LOCALHOST_ONLY"] = "1"
    environment.setdefault("ROS_LOG_DIR", str(log_folder))
    home = str(Path(seg_node.__file__).resolve().parent.parent)  # our own copy, wherever we were started from
    environment["PYTHONPATH"] = os.pathsep.join([home] + [environment[k] for k in ["PYTHONPATH"] if environment.get(k)])
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def free_domain() -> int:
    """Return a ROS domain on which nobody on this machine seems to talk."""
    domains = list(range(1, 102))  # above these, a domain's ports meet those that Linux hands out
    random.shuffle(domains)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7410 + 250 * domain))  # where a domain's first participant listens (RTPS 9.6.1.1)
                return domain
            except OSError:
                continue
    return domains[0]


class Child:
    """One Python module as a process of its own group; its stderr (and stdout, unless piped) goes to a log."""

    def __init__(
        self,
        name: str,
        module: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        log_folder: Path,
        *,
        piped: bool = False,
    ) -> None:
        self.name = name
        self.log = log_folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the demo, which then ends them in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (it makes two system calls, no more)
            )

    @property
    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def end_of_log(self, lines: int = 15) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.rstrip().splitlines()[-lines:])

    def send(self, number: int) -> None:
        """Signal the whole group; no complaint where it has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def end(children: Sequence[Child], patience: float = 5.0) -> None:
    """Interrupt children, and kill those that are still there after ``patience`` seconds."""
    for child in children:
        child.send(signal.SIGINT)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(child.code is None for child in children):
        time.sleep(0.02)
    for child in children:
        child.send(signal.SIGKILL)  # the group: whatever a child started goes as well
        child.process.wait()


_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux only
_PARENT = os.getpid()


def _die_with_parent() -> None:
    """Runs in the child before it becomes Python: even a killed demo then leaves no orphan (Linux)."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != _PARENT:  # it died before that call
            os._exit(1)
