"""The node's ROS parameters: declared, checked, and read into one frozen Settings.

What the network needs is in its card and what made it is in its recipe; here is only how the node runs.
"""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

from seg_node import runtimes

TRANSPORTS = ("raw", "compressed")


class Settings(NamedTuple):
    """The parameters and their defaults."""

    model: str = "rdsnet_camvid"
    runtime: str = "auto"
    device: str = "auto"
    transport: str = "raw"
    overlay_alpha: float = 0.5
    max_age: float = 0.0
    autostart: bool = True
    diagnostics_period: float = 1.0


_LIVE = ("overlay_alpha", "max_age")
_RANGES: Dict[str, Tuple[float, float]] = {
    "overlay_alpha": (0.0, 1.0),
    "max_age": (0.0, 3600.0),
    "diagnostics_period": (0.1, 60.0),
}
_DESCRIPTIONS = {
    "model": "A shipped model's name, or a folder with a card.yaml.",
    "runtime": "The backend that runs the network; auto: the fastest that is installed.",
    "device": "Where it runs, in the backend's own words (cpu, gpu, ...); auto: the backend's choice.",
    "transport": "raw subscribes image (Image), compressed subscribes image/compressed (CompressedImage).",
    "overlay_alpha": "Share of colour in ~/overlay: 0 is the camera image, 1 the colours alone.",
    "max_age": "Frames that are older than this on arrival, in seconds by their stamp, are dropped; 0: none.",
    "autostart": "Configure and activate without being asked to; false: wait for a lifecycle manager.",
    "diagnostics_period": "Seconds between two messages on /diagnostics.",
}


class ParameterError(ValueError):
    """A start value that cannot be used; the message names the parameter and the reason."""


def declare(node: Any, changed: Callable[[Settings], None]) -> Settings:
    """Declare all parameters on ``node`` and return their start values; raises ParameterError.

    ``changed`` is called with new Settings whenever someone sets a live parameter.
    """
    current: List[Settings] = []

    def on_set(parameters: List[Any]) -> SetParametersResult:
        values = {p.name: p.value for p in parameters if p.name in Settings._fields}
        reason = next((why for why in (_wrong(name, value) for name, value in values.items()) if why), None)
        if reason is None and current and values:
            current[0] = current[0]._replace(**values)
            changed(current[0])
        return SetParametersResult(successful=reason is None, reason=reason or "")

    node.add_on_set_parameters_callback(on_set)
    values = {}
    for name, default in Settings()._asdict().items():
        try:
            values[name] = node.declare_parameter(name, default, _descriptor(name)).value
        except InvalidParameterTypeException as error:
            hint = "; write a decimal point, as in 1.0" if isinstance(default, float) else ""
            raise ParameterError("{}{}".format(error, hint)) from error
        except InvalidParameterValueException as error:
            raise ParameterError(str(error)) from error
    current.append(Settings(**values))
    return current[0]


def _descriptor(name: str) -> ParameterDescriptor:
    live = name in _LIVE
    descriptor = ParameterDescriptor(
        description=_DESCRIPTIONS[name] + ("" if live else " Read at start only."), read_only=not live
    )
    if name in _RANGES:
        low, high = _RANGES[name]
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return descriptor


def _wrong(name: str, value: Any) -> Optional[str]:
    """Return why a value cannot be taken, or None. Types and ranges are rclpy's to check, but it lets NaN pass."""
    if name == "transport" and value not in TRANSPORTS:
        return "transport is '{}'; choose from {}".format(value, ", ".join(TRANSPORTS))
    if name == "runtime" and value not in ["auto"] + runtimes.names():
        return "runtime is '{}'; choose from auto, {}".format(value, ", ".join(runtimes.names()))
    if name in _RANGES and not math.isfinite(value):
        return "{} is {}; must be a number".format(name, value)
    return None
