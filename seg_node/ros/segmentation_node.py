"""The program.

    python -m seg_node.ros.segmentation_node --ros-args -r image:=/camera/image_raw

Imports no ROS before it minds signals: on a Jetson that takes seconds, and Ctrl-C may come meanwhile.
"""

import os
import signal
import sys
from typing import List, Optional

from seg_node.ros.ended import Ended

# bytes of label, confidence, overlay and colour of a 1080p camera; diagnostics say where a camera's images want more
_FRAME = 8 * 1920 * 1080


def main(args: Optional[List[str]] = None) -> int:
    """Run the node until SIGINT or SIGTERM. Returns 0, 1 after an internal error, 2 for wrong parameters."""
    ended = Ended()
    for number in (signal.SIGINT, signal.SIGTERM):  # ours alone: launch may send SIGINT twice
        signal.signal(number, lambda *_: ended.set())
    # before OpenCV is imported: as messages.MOST_PIXELS, for the formats that are not looked into there
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 25))
    from seg_node.ros.transport import prepare_transport

    prepare_transport(_FRAME)
    from seg_node.ros.process import run

    return run(args, ended)


if __name__ == "__main__":
    sys.exit(main())
