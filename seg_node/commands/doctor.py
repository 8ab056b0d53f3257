"""Say what is wrong with this machine, and what to type: shared memory, sockets, QoS, clocks, runtimes, the model.

example:
  seg-node doctor
  seg-node doctor --image 2160x3840 --cameras 2
  seg-node doctor --image 2160x3840 --write-profile ~/fastdds.xml
  seg-node doctor --json | jq 'select(.level != "ok")'

Run it in the shell that starts the cameras: their Fast DDS settings are looked at. Live image topics are listened to
for two seconds (--listen), as a further subscriber. It changes no setting. An error loses images or keeps something
from working, and makes the exit code 1; a warning costs time. With a robot's Python: python3 -m seg_node.ros.doctor
"""

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", default="1080x1920", metavar="HxW", help="size of the cameras' images (1080x1920)")
    parser.add_argument("--cameras", default="1", metavar="N", help="cameras that one process sends (default 1)")
    parser.add_argument("--model", default="rdsnet_camvid", help="a shipped model, or a folder with a card.yaml")
    parser.add_argument("--listen", default="2", metavar="S", help="seconds to listen to live image topics (default 2)")
    parser.add_argument("--no-topics", action="store_true", help="leave ROS alone: no node is started")
    parser.add_argument(
        "--write-profile", default="", metavar="FILE", help="write a Fast DDS profile that fits, and end"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a finding, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Become the process that looks: it imports ROS, which no other subcommand does."""
    from seg_node.demo.processes import child_environment

    words = []
    for name in ("image", "cameras", "model", "listen", "write_profile"):
        value = getattr(arguments, name)
        words += [f"--{name.replace('_', '-')}={value}"] if value else []
    words += ["--no-topics"] * arguments.no_topics + ["--json"] * arguments.json
    logs = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "log"
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"  # the person's own, not one of our choice
    environment = child_environment(logs, {**os.environ, "ROS_DOMAIN_ID": domain})
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "seg_node.ros.doctor", *words], environment)
