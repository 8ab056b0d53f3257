"""The node's ROS parameters: declared, checked, and read into one frozen Settings.

What the network needs is in its card and what made it is in its recipe; here is only how the node runs.
"""

import math
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from seg_node import runtimes
from seg_node.pipeline.region import View, check_view


class Settings(NamedTuple):
    """The parameters and their defaults."""

    model: str = "rdsnet_camvid"
    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    cameras: Tuple[str, ...] = ()
    transport: str = "raw"
    roi: Tuple[int, ...] = ()
    fit: str = "stretch"
    output_size: str = "camera"
    overlay_alpha: float = 0.5
    overlay_legend: bool = False
    classes: Tuple[str, ...] = ()
    jpeg_quality: int = 80
    max_age: float = 0.0
    max_rate: float = 0.0
    latency_budget: float = 0.0
    cloud: str = "off"
    publish_label: bool = True
    publish_confidence: bool = True
    publish_color: bool = True
    publish_overlay: bool = True
    qos_input_reliability: str = "best_effort"
    qos_input_depth: int = 1
    qos_output_reliability: str = "reliable"
    qos_output_depth: int = 2
    autostart: bool = True
    diagnostics_period: float = 1.0


_AT_START = (
    "cameras",
    "transport",
    "cloud",
    "qos_input_reliability",
    "qos_input_depth",
    "qos_output_reliability",
    "qos_output_depth",
    "autostart",
    "diagnostics_period",
)
_RELIABILITIES = ("best_effort", "reliable")
_CHOICES: Dict[str, Tuple[str, ...]] = {
    "precision": runtimes.PRECISIONS,
    "transport": ("raw", "compressed"),
    "fit": ("stretch", "letterbox"),
    "cloud": ("off", "depth", "points"),
    "qos_input_reliability": _RELIABILITIES,
    "qos_output_reliability": _RELIABILITIES,
}
_RANGES: Dict[str, Tuple[float, float]] = {
    "overlay_alpha": (0.0, 1.0),
    "jpeg_quality": (1, 100),
    "max_age": (0.0, 3600.0),
    "max_rate": (0.0, 1000.0),
    "latency_budget": (0.0, 3600.0),
    "qos_input_depth": (1, 100),
    "qos_output_depth": (1, 100),
    "diagnostics_period": (0.1, 60.0),
}
_DESCRIPTIONS = {
    "model": "A shipped model's name, or a folder with a card.yaml. Changed live, the new one loads beside the old.",
    "runtime": "The backend that runs the network; auto: the fastest that is installed.",
    "device": "Where it runs, in the backend's own words (cpu, gpu, ...); auto: the backend's choice.",
    "precision": "fp32, fp16, bf16, int8, where the backend can; auto: what the file holds, int8 where harmless.",
    "cameras": "Names of cameras: NAME/image in, ~/NAME/label out. Empty: one camera, image in, ~/label out.",
    "transport": "raw subscribes image (Image), compressed subscribes image/compressed (CompressedImage).",
    "roi": "x, y, width, height in pixels of the camera image: only that is segmented. Empty: all of it.",
    "fit": "How an image becomes the network's size: stretch, or letterbox (its aspect is kept).",
    "output_size": "Of label and pictures: camera, network, or HEIGHTxWIDTH such as 360x480.",
    "overlay_alpha": "Share of colour in ~/overlay: 0 is the camera image, 1 the colours alone.",
    "overlay_legend": "Draw the names of the classes into ~/overlay.",
    "classes": "Names of the classes that ~/overlay and ~/color show. Empty: all.",
    "jpeg_quality": "Of ~/overlay/compressed.",
    "max_age": "Frames that are older than this on arrival, in seconds by their stamp, are dropped; 0: none.",
    "max_rate": "Frames a second of each camera that are segmented at most; 0: all.",
    "latency_budget": "Diagnostics warn when the 95th percentile of total exceeds this many seconds; 0: never.",
    "cloud": "~/label_cloud from: off, depth (topics depth, camera_info), points (an organised cloud, topic points).",
    "publish_label": "Offer ~/label and ~/label/compressed.",
    "publish_confidence": "Offer ~/confidence.",
    "publish_color": "Offer ~/color.",
    "publish_overlay": "Offer ~/overlay and ~/overlay/compressed.",
    "qos_input_reliability": "Of the image subscription: best_effort meets every camera; reliable repeats losses.",
    "qos_input_depth": "Images that may wait in the subscription; more than 1 only adds latency.",
    "qos_output_reliability": "Of what is published: reliable, or best_effort.",
    "qos_output_depth": "Messages of each output that are kept for slow subscribers.",
    "autostart": "Configure and activate without being asked to; false: wait for a lifecycle manager.",
    "diagnostics_period": "Seconds between two messages on /diagnostics.",
}


class ParameterError(ValueError):
    """A start value that cannot be used; the message names the parameter and the reason."""


def view_of(settings: Settings) -> View:
    """Return how the network is to look at the cameras' images. Raises ValueError that says what is allowed."""
    size: Any = settings.output_size
    match = re.match(r"(\d{1,6})[xX](\d{1,6})$", size)
    if match:
        size = (int(match.group(1)), int(match.group(2)))
    roi: Any = settings.roi or None
    return check_view(View(roi, settings.fit, size))


def declare(
    node: Any,
    refuse: Callable[[Dict[str, Any]], Optional[str]],
    changed: Callable[[Settings, Settings], None],
) -> Settings:
    """Declare all parameters on ``node`` and return their start values; raises ParameterError.

    ``refuse`` is asked, for values that are right in themselves, why they cannot be taken now (None: they can).
    ``changed`` is called with the new Settings and the old whenever someone has set a live parameter.
    """
    current: List[Settings] = []

    def on_set(parameters: List[Any]) -> SetParametersResult:
        given = {p.name: p.value for p in parameters if p.name in Settings._fields}
        reason = next((why for why in (_wrong(name, value) for name, value in given.items()) if why), None)
        values = {name: _plain(value) for name, value in given.items()}
        if reason is None and current:
            reason = refuse(values)
        if reason is None and current and values:
            old, current[0] = current[0], current[0]._replace(**values)
            changed(current[0], old)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    node.add_on_set_parameters_callback(on_set)
    values = {}
    for name, default in Settings()._asdict().items():
        plain = list(default) if isinstance(default, tuple) else default
        try:
            values[name] = _plain(node.declare_parameter(name, plain, _descriptor(name)).value)
        except InvalidParameterTypeException as error:
            hint = "; write a decimal point, as in 1.0" if isinstance(default, float) else ""
            raise ParameterError("{}{}".format(error, hint)) from error
        except InvalidParameterValueException as error:
            raise ParameterError(str(error)) from error
    current.append(Settings(**values))
    return current[0]


def _plain(value: Any) -> Any:
    """Return arrays as tuples; rclpy has lists, array.array, and for an empty one bytes."""
    return value if value is None or isinstance(value, (str, bool, int, float)) else tuple(value)


def _descriptor(name: str) -> ParameterDescriptor:
    live = name not in _AT_START
    default = getattr(Settings(), name)
    descriptor = ParameterDescriptor(
        description=_DESCRIPTIONS[name] + ("" if live else " Read at start only."),
        read_only=not live,
        # an empty array has no type of its own in ROS: take any, and check it here
        dynamic_typing=isinstance(default, tuple),
    )
    if name in _CHOICES:
        descriptor.additional_constraints = "One of: " + ", ".join(_CHOICES[name])
    if name in _RANGES:
        low, high = _RANGES[name]
        if isinstance(default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def _wrong(name: str, value: Any) -> Optional[str]:
    """Return why a value cannot be taken, or None. Types and ranges are rclpy's to check, but it lets NaN pass."""
    if name in _CHOICES and value not in _CHOICES[name]:
        return "{} is '{}'; choose from {}".format(name, value, ", ".join(_CHOICES[name]))
    if name == "runtime" and value not in ["auto"] + runtimes.names():
        return "runtime is '{}'; choose from auto, {}".format(value, ", ".join(runtimes.names()))
    if name in _RANGES and not math.isfinite(value):
        return "{} is {}; must be a number".format(name, value)
    if name in ("output_size", "roi"):
        try:
            view_of(Settings()._replace(**{name: _plain(value)}))
        except ValueError as error:
            return str(error)
    if isinstance(getattr(Settings(), name), tuple):
        return _wrong_array(name, value)
    return None


def _wrong_array(name: str, value: Any) -> Optional[str]:
    plain = _plain(value)
    if not isinstance(plain, tuple):
        return "{} is {!r}; must be an array".format(name, value)
    if name == "roi":
        return None  # view_of has looked at it
    if not all(isinstance(part, str) for part in plain):
        return "{} is {}; must be an array of names".format(name, list(plain))
    if name == "cameras":
        for part in plain:
            if not re.match(r"[A-Za-z][A-Za-z0-9_]*$", part) or plain.count(part) > 1:
                return "cameras holds '{}'; must be different names of letters, digits and _".format(part)
    return None
