"""What is wrong with a machine that segments images, and what to type about it: one small function a check.

A check is given a ``Machine`` and returns ``Finding``s. It reads files under ``Machine.root`` and changes no setting.
Only ``topics`` imports rclpy.
"""

from typing import Mapping, NamedTuple, Tuple

OK, WARNING, ERROR = "ok", "warning", "error"  # an error loses images, or keeps something from working


class Finding(NamedTuple):
    check: str
    level: str
    says: str
    type: Tuple[str, ...] = ()  # commands, in order


class Machine(NamedTuple):
    """Where the checks look, and for whom."""

    root: str  # where etc, proc, sys and dev lie
    environ: Mapping[str, str]
    folder: str  # that processes are started from
    size: Tuple[int, int] = (1080, 1920)  # height, width of the cameras' images
    cameras: int = 1
    model: str = "rdsnet_camvid"

    @property
    def frame(self) -> int:
        """Bytes of all cameras' images of a moment, as bgr8."""
        return 3 * self.size[0] * self.size[1] * self.cameras

    @property
    def image(self) -> int:
        """Bytes of one image."""
        return 3 * self.size[0] * self.size[1]


def is_newer_fast_dds(environ: Mapping[str, str]) -> bool:
    """Return whether ROS here has Fast DDS 3, which reads other variables; ``ROS_DISTRO`` tells."""
    return environ.get("ROS_DISTRO", "") > "jazzy"  # their names are in alphabetical order


def mb(count: float) -> str:
    return "{:.1f} MB".format(count / 1e6) if count < 100e6 else "{:.0f} MB".format(count / 1e6)
