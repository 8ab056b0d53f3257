"""`seg-node top`: what every running seg_node says on /diagnostics, drawn anew in a terminal, once, or as JSON.

python -m seg_node.ros.top [--once] [--json] [--period S] [NODE ...]
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from typing import Any, Callable, List, Optional

from seg_node.ros.top_view import Board, Line

_PATIENCE = 3.0  # seconds for the first word
_ROUND = 1.2  # seconds in which every node speaks once, by default
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Screen:
    """Lines drawn in place on a terminal, one below the other elsewhere."""

    def __init__(self) -> None:
        self._live: Optional[Any] = None
        self._tty = sys.stdout.isatty()
        if self._tty:
            try:
                from rich.console import Console
                from rich.live import Live

                self._live = Live(console=Console(), auto_refresh=False)
                self._live.start()
            except ImportError:
                pass  # a robot need not have it

    def show(self, lines: List[Line]) -> None:
        if self._live is not None:
            self._live.update(_rich(lines), refresh=True)
        else:
            print_lines(lines, "\x1b[H\x1b[2J" if self._tty else "")

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def print_lines(lines: List[Line], before: str = "") -> None:
    print(before + "\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n", flush=True)


def _rich(lines: List[Line]) -> Any:
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text.assemble(*line, no_wrap=True, overflow="crop") for line in lines))


def width() -> int:
    """Return the columns to write in; 80 where there is no terminal."""
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, 140)) if sys.stdout.isatty() else 80


class Listener:
    """Keeps a board up to date in the calling thread."""

    def __init__(self, board: Board) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from rclpy.signals import SignalHandlerOptions

        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        name = "_seg_node_top_{}".format(os.getpid())  # hidden from `ros2 node list`
        self._node = rclpy.create_node(name, enable_rosout=False, start_parameter_services=False)
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", board.take, qos)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._shutdown: Callable[[], None] = rclpy.try_shutdown

    def spin(self, seconds: float) -> None:
        """Wait at most so long for a message, and take it."""
        self._executor.spin_once(timeout_sec=seconds)

    def publishers(self) -> int:
        return int(self._node.count_publishers("/diagnostics"))

    def close(self) -> None:
        self._node.destroy_node()
        self._shutdown()


def silence(board: Board, publishers: int) -> str:
    """Say that no wanted node was heard, and what to check."""
    others = board.unwanted()
    if others:
        return "none of the nodes named is heard; these are: {}".format(", ".join("/" + name for name in others))
    setting, reach = os.environ.get, "the default"
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"):
        reach = "{}={}".format(name, setting(name)) if setting(name) else reach
    return (
        "no seg_node says anything on /diagnostics ({} publishers seen there). Check that\n"
        "  - the node runs: ros2 node list\n"
        "  - it has the same ROS_DOMAIN_ID: here it is {}\n"
        "  - discovery reaches its computer: here it is {}\n"
        "  - its /diagnostics is not remapped to another topic\n"
        "  - its diagnostics_period is shorter than this has waited"
    ).format(publishers, setting("ROS_DOMAIN_ID") or "0", reach)


def once(listener: Listener, board: Board, as_json: bool, ended: List[int]) -> int:
    """Print every node's last word; 1 where there was none."""
    start, first = time.monotonic(), None
    while not ended and time.monotonic() - start < _PATIENCE:
        listener.spin(0.1)
        if first is None and board.nodes():
            first = time.monotonic()
        if first is not None and time.monotonic() - first > _ROUND:
            break
    if first is None and not ended:
        print("seg-node top: within {:.0f} s, {}".format(_PATIENCE, _silence(board, listener)), file=sys.stderr)
        return 1
    if as_json:
        print_json(board)
    elif first is not None:
        print_lines(board.lines(width()))
    return 0


def _silence(board: Board, listener: Listener) -> str:
    return silence(board, listener.publishers())


def print_json(board: Board) -> None:
    for status in board.news():
        print(json.dumps(status.json(), allow_nan=False), flush=True)


def live(listener: Listener, board: Board, options: argparse.Namespace, ended: List[int]) -> int:
    """Show until a signal comes."""
    screen = None if options.json else Screen()
    start = due = time.monotonic()
    told = False
    try:
        while not ended:
            listener.spin(min(0.1, options.period))
            now = time.monotonic()
            nothing = not board.nodes() and now - start > _PATIENCE
            if now < due:
                continue
            due = max(due + options.period, now)
            if screen is None:
                print_json(board)
            else:
                screen.show(board.lines(width()) or _waiting(board, listener, nothing))
            if nothing and screen is None and not told:
                told = True
                print("seg-node top: " + _silence(board, listener), file=sys.stderr)
    finally:
        if screen is not None:
            screen.close()
    return 0


def _waiting(board: Board, listener: Listener, nothing: bool) -> List[Line]:
    text = _silence(board, listener) if nothing else "waiting for /diagnostics of a seg_node"
    return [[(line, "yellow" if nothing else "dim")] for line in text.splitlines()]


def _options(words: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("seg-node top", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("nodes", nargs="*", metavar="NODE")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--period", type=float, default=1.0, metavar="S")
    return parser.parse_args(words)


def main(args: Optional[List[str]] = None) -> int:
    """Returns 0, also after Ctrl-C, or 1 with a reason."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # one that comes while ROS is loaded is kept for later
    options = _options(args)
    ended: List[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: ended.append(number))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a camera's name in a terminal that cannot show it
    board = Board(options.nodes)
    try:
        listener = Listener(board)
    except (ImportError, RuntimeError) as error:  # rclpy's own are RuntimeErrors
        print("seg-node top: ROS 2 does not start: {}".format(error), file=sys.stderr)
        return 1
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        if options.once:
            return once(listener, board, options.json, ended)
        return live(listener, board, options, ended)
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        listener.close()


if __name__ == "__main__":
    sys.exit(main())
