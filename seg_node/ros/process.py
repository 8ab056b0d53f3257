"""The node's process: its threads, and an end within a second whatever they are at."""

import os
import signal
import sys
import threading
import traceback
from typing import List, Optional

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from seg_node.ros.ended import Ended
from seg_node.ros.node import SegmentationNode, plain
from seg_node.ros.parameters import ParameterError

_PATIENCE = 0.4  # seconds that a thread gets to end before the process ends without it
_THROTTLE = 5.0  # seconds between two log lines


def run(args: Optional[List[str]], ended: Ended) -> int:
    """Run the node until ``ended`` is set. Returns 0, 1 after an internal error, 2 for wrong parameters."""
    if ended.is_set():
        return 0
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = SegmentationNode()
    except (ParameterError, RuntimeError) as error:  # rclpy's own are RuntimeErrors
        print("seg_node: cannot start: {}".format(error), file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    failed: List[str] = []
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=_spin, args=(node, executor, ended, failed), name="executor", daemon=True)
    spinning.start()
    while not ended.wait(node.settings.diagnostics_period):
        try:
            node.report()
        except Exception as error:  # no reason to stop segmenting
            node.get_logger().error("diagnostics: " + plain(error), throttle_duration_sec=_THROTTLE)
    return _end(node, spinning, failed)


def _spin(node: SegmentationNode, executor: SingleThreadedExecutor, ended: Ended, failed: List[str]) -> None:
    try:
        node.start()
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():
            failed.append(traceback.format_exc())
    finally:
        ended.set()


def _end(node: SegmentationNode, spinning: threading.Thread, failed: List[str]) -> int:
    """Stop within a second, come what may; returns the exit code."""
    code = 1 if failed else 0
    for number in (signal.SIGINT, signal.SIGTERM):  # a second one would find Python's handlers gone
        signal.signal(number, signal.SIG_IGN)
    for text in failed:
        print(text, file=sys.stderr)
    stopped = node.stop(_PATIENCE)
    rclpy.shutdown(uninstall_handlers=False)  # wakes the executor
    spinning.join(_PATIENCE)
    if not spinning.is_alive():  # what clouds want to be destroyed is its own while it runs
        stopped = node.hush(_PATIENCE) and stopped
    if not stopped or spinning.is_alive() or node.busy():  # an inference hangs or a model loads: Python would wait
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    node.close()
    return code
