"""Show live what every running seg_node says of itself: rates, latencies, drops, temperatures.

Listens to /diagnostics. NODE is a node's name or the end of it; without one, all are shown. Ctrl-C ends it.

examples:
  seg-node top
  seg-node top front_camera/seg_node --period 0.5
  seg-node top --once
  seg-node top --json | jq .values.total_p95_ms
"""

import argparse
import math
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="nodes to show (default: all)")
    parser.add_argument("--once", action="store_true", help="print what they say now, and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object a status, and nothing else")
    parser.add_argument("--period", type=_seconds, default=1.0, metavar="S", help="of the display (default: 1)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.05 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds from 0.05")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Become the process that listens: it imports ROS, and has the terminal and its signals to itself."""
    from seg_node.demo.processes import child_environment

    if find_spec("rclpy") is None:
        raise ImportError("seg-node top needs ROS 2: 'source /opt/ros/<distribution>/setup.bash'")
    words = ["--period", str(arguments.period)]
    words += ["--once"] * arguments.once + ["--json"] * arguments.json
    logs = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "log"  # where ROS itself would put them
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"  # the person's own, not one of our choice
    environment = child_environment(logs, {**os.environ, "ROS_DOMAIN_ID": domain})
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "seg_node.ros.top", *words, "--", *arguments.nodes]
    # a Ctrl-C while it starts is kept until it listens to it; Python would show a traceback
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    os.execve(sys.executable, command, environment)
