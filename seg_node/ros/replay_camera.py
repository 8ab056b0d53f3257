"""A camera that plays a bag in the bag's own time: the gaps between messages as they were recorded.

    python -m seg_node.ros.replay_camera drive.mcap --rate 0.5 --ros-args -r image:=/front/image

Sends images alone, once from the first to the last, stamped with the time of sending. Prints a JSON object a line:
``sent`` (the message's place on its topic), ``stamp`` (that it was sent with, ns) and ``late`` (seconds behind its
time); at last ``played`` (how many). A message that is late goes out at once, and those behind it keep their own times.
"""

import argparse
import json
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

from seg_node.ros.camera import Camera
from seg_node.sources import Source, SourceError
from seg_node.sources.bag import Bag, Topic
from seg_node.sources.cdr import restamp

_AHEAD = 64 << 20  # bytes of messages read before their time: a compressed chunk of a bag takes long
_MOST = 256  # messages
_Message = Tuple[int, bytes]  # when it was recorded (ns), and its CDR


class Player(Camera):
    """Publishes an image topic of a bag on a node."""

    def __init__(self, node: Any, bag: Bag, topic: Topic) -> None:
        self._bag, self._topic = bag, topic
        source = Source()
        source.compressed = self._topic.compressed
        super().__init__(node, source)

    def play_recorded(self, rate: float) -> int:
        """Send every message ``rate`` times as fast as it was recorded; returns how many."""
        count, first, start = 0, 0, 0.0
        for index, (logged, message) in enumerate(_read_ahead(self._bag.messages(self._topic))):
            if len(message) < 12:  # no stamp to write to
                continue
            if count == 0:
                first, start = logged, time.monotonic()
            due = start + (logged - first) / 1e9 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            late = round(time.monotonic() - due, 6)
            stamp = self._node.get_clock().now().nanoseconds
            self._images.publish(restamp(message, stamp))
            print(json.dumps({"sent": index, "stamp": stamp, "late": late}), flush=True)
            count += 1
        return count


def _read_ahead(messages: Iterator[_Message]) -> Iterator[_Message]:
    """Give what ``messages`` gives, read by a thread of its own."""
    first = next(messages, None)
    if first is None:
        return
    ready: Any = queue.Queue(max(2, min(_MOST, _AHEAD // (len(first[1]) + 1))))

    def read() -> None:
        try:
            for message in messages:
                ready.put(message)
            ready.put(None)
        except Exception as error:  # goes on in the thread that plays
            ready.put(error)

    threading.Thread(target=read, daemon=True).start()
    item: Any = first
    while item is not None:
        if isinstance(item, Exception):
            raise item
        yield item
        item = ready.get()


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def main(words: Optional[List[str]] = None) -> int:
    """Play a bag once. Returns 0, or 1 with a line on stderr where it has no images."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return 0


def _run(words: Optional[List[str]]) -> int:
    parser = argparse.ArgumentParser("replay_camera", description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or .mcap or .db3 file")
    parser.add_argument("--topic", metavar="T", help="its image topic (default: chosen)")
    parser.add_argument("--rate", type=float, default=1.0, help="times as fast as recorded (default: 1.0)")
    from seg_node.ros.transport import prepare_transport

    prepare_transport()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    everything = sys.argv if words is None else ["replay_camera"] + words
    arguments = parser.parse_args(rclpy.utilities.remove_ros_args(everything)[1:])
    try:
        bag = Bag(arguments.bag)
        topic = bag.choose(arguments.topic)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    prepare_transport(bag.message_bytes(topic))
    rclpy.init(args=everything, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("replay_camera")
    try:
        player = Player(node, bag, topic)
        player.wait(1)
        count = player.play_recorded(arguments.rate)
        node.get_logger().info("{} messages sent".format(count))
        time.sleep(0.5)  # the last of them are still on their way
        print(json.dumps({"played": count}), flush=True)
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
