"""Say what is wrong with this machine, and what to type: ``python3 -m seg_node.ros.doctor``, or ``seg-node doctor``."""

import argparse
import contextlib
import importlib
import json
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

from seg_node.ros.doctor import ERROR, OK, WARNING, Finding, Machine, machine, mb, network, software, transport
from seg_node.ros.fastdds import segment_for, was_written_here, write_profile

_COLOURS = {OK: "32", WARNING: "33", ERROR: "31"}
_PARTS = (transport, network, machine, software)


def examine(given: Machine, listen: Optional[float]) -> Iterator[Finding]:
    """Give every finding as it is made. ``listen``: seconds for live topics; None: leave them alone."""
    for part in _PARTS:
        for check in part.CHECKS:  # type: ignore[attr-defined]
            name = check.__name__[len("check_") :].replace("_", " ")
            for finding in _guarded(name, check, given):
                yield finding
    if listen is None:
        return
    try:
        from seg_node.ros.doctor.topics import check_topics
    except ImportError:  # no rclpy; check_ros has said so
        return
    for finding in _guarded("topics", check_topics, given, listen):
        yield finding


def _guarded(name: str, check: Any, *words: Any) -> List[Finding]:
    """One check that fails must not keep the others from being made."""
    try:
        found: List[Finding] = check(*words)
        return found
    except Exception as error:
        return [Finding(name, WARNING, "could not be looked at: {}: {}".format(type(error).__name__, error))]


def text_of(finding: Finding, colour: bool) -> str:
    mark = {OK: "ok", WARNING: "warning", ERROR: "ERROR"}[finding.level]
    mark = "\033[{}m{:<8}\033[0m".format(_COLOURS[finding.level], mark) if colour else "{:<8}".format(mark)
    lines = textwrap.wrap(finding.says, 94, break_long_words=False, break_on_hyphens=False) or [""]
    text = "{}{:<17} {}".format(mark, finding.check, lines[0])
    for line in lines[1:]:
        text += "\n" + " " * 26 + line
    for line in finding.type:
        text += "\n" + " " * 30 + line
    return text


def _size(text: str) -> Tuple[int, int]:
    match = re.match(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})$", text)
    if not match:
        raise argparse.ArgumentTypeError("'{}' is no HEIGHTxWIDTH such as 1080x1920".format(text))
    return int(match.group(1)), int(match.group(2))


def _cameras(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("'{}' is no number of cameras from 1 to 64".format(text))
    return int(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 60.0:
        raise argparse.ArgumentTypeError("'{}' is no number of seconds from 0 to 60".format(text))
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; ``seg-node doctor`` has the same."""
    parser.add_argument("--image", type=_size, default=(1080, 1920), metavar="HxW", help="of the cameras (1080x1920)")
    parser.add_argument("--cameras", type=_cameras, default=1, metavar="N", help="that one process sends (default 1)")
    parser.add_argument("--model", default="rdsnet_camvid", help="a shipped model, or a folder with a card.yaml")
    parser.add_argument("--listen", type=_seconds, default=2.0, metavar="S", help="to live image topics (default 2)")
    parser.add_argument("--no-topics", action="store_true", help="leave ROS alone: no node is started")
    parser.add_argument(
        "--write-profile", type=Path, metavar="FILE", help="write a Fast DDS profile that fits, and end"
    )
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)  # another machine's files, for tests
    parser.add_argument("--json", action="store_true", help="print one JSON object a finding, and nothing else")


def main(words: Optional[List[str]] = None) -> int:
    """Examine this machine. Returns 0, or 1 where a finding is an error."""
    parser = argparse.ArgumentParser("seg-node doctor", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    options = parser.parse_args(words)
    given = Machine(options.root, dict(os.environ), os.getcwd(), options.image, options.cameras, options.model)
    try:
        if not options.no_topics:
            options.no_topics = bool(transport.why_no_middleware(given))  # importing rclpy would end this process
        if not options.no_topics:
            with contextlib.suppress(ImportError):  # check_ros says so
                importlib.import_module("rclpy")  # before anything is printed: the wheels' rclpy starts Python anew
        if options.write_profile:
            return _write(options.write_profile, given)
        return _show(examine(given, None if options.no_topics else options.listen), options.json)
    except KeyboardInterrupt:
        print("seg-node doctor: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _show(findings: Iterator[Finding], as_json: bool) -> int:
    count = dict.fromkeys((OK, WARNING, ERROR), 0)
    for finding in findings:
        count[finding.level] += 1
        print(json.dumps(finding._asdict()) if as_json else text_of(finding, sys.stdout.isatty()), flush=True)
    if not as_json:
        print("\nerrors: {error}, warnings: {warning}, right: {ok}".format(**count))
    return 1 if count[ERROR] else 0


def _write(path: Path, given: Machine) -> int:
    segment = segment_for(given.frame)
    if given.frame > segment:
        print(
            "seg-node doctor: {} a frame do not fit into {} of shared memory, the most that is of use: "
            "start fewer cameras in a process (--cameras)".format(mb(given.frame), mb(segment)),
            file=sys.stderr,
        )
        return 1
    try:
        if path.exists() and not was_written_here(path):
            print("seg-node doctor: {}: is a profile of your own; name another place".format(path), file=sys.stderr)
            return 1
        write_profile(path, segment)
    except OSError as error:
        print("seg-node doctor: {}: cannot be written ({}): name another place".format(path, error), file=sys.stderr)
        return 1
    print(
        "{}: {} of shared memory for {} a frame; before the camera's driver starts:".format(
            path, mb(segment), mb(given.frame)
        )
    )
    for variable in transport.PROFILE_VARIABLES:
        print("export {}={}".format(variable, path.resolve()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
