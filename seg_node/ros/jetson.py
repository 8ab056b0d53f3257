"""A Jetson's own figures: GPU load, clocks, power, temperatures, throttling. Imports no ROS.

They come from jetson-stats where its service runs, and from the files it reads itself where not. On any other
computer there are none. All paths were taken from boards of L4T 32 (TX2, Nano, Xavier) to 36 (Orin).
"""

import glob
import importlib
import os
import re
import threading
import time
from typing import Any, Dict, Iterable, List, Optional, Tuple

_GPU = ("gpu.0", "platform/gpu.0", "platform/bus@0/[15]7000000.g*", "platform/[15]7000000.g*", "[15]7000000.g*")
_DEVFREQ = ("[15]7000000.g*", "gpu-gpc-0")  # the latter is Thor's
_WHOLE = ("VDD_IN", "POM_5V_IN", "5V_IN", "VIN")  # the rail that feeds the whole module
_PARTS = (  # boards without such a rail: these make up the module, and none is part of another
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)
_CPUS = ("cpu", "bcpu", "mcpu")
_OFFLINE = -100.0  # degrees; a zone that is switched off says -256
_STALE = 5.0  # seconds after which jetson-stats counts as silent

Figures = Dict[str, str]


class JetsonFigures:
    """Finds the files once; ``read`` costs some dozens of small reads. Nothing here raises."""

    def __init__(self, root: str = "/") -> None:
        """``root``: where sys, proc, etc and run lie."""
        self._root = root
        self._load, self._clock, self._clock_limit = _gpu(root)
        self._cpu_clocks = self._find("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")
        self._zones = [
            (_text(path), path[: -len("type")] + "temp") for path in self._find("sys/class/thermal/thermal_zone*/type")
        ]
        self._rails = _rails(root)
        self._alerts = [
            path[: -len("type")] + "cur_state"
            for path in self._find("sys/class/thermal/cooling_device*/type")
            if _text(path).endswith("throttle-alert")
        ]
        self._overcurrent = [
            path
            for name in self._find("sys/class/hwmon/hwmon*/name")
            if _text(name) == "soctherm_oc"
            for path in _find(os.path.dirname(name), "oc*_event_cnt")
        ]
        self._events = _total(self._overcurrent)
        self._is_jetson = bool(self._load) or _is_tegra(root)
        # its socket: without a service there is nobody to ask, and importing the library costs a second
        service = os.path.exists(os.path.join(root, "run/jtop.sock"))
        self._jtop = _Jtop() if self._is_jetson and service else None

    @property
    def available(self) -> bool:
        """Whether this is a Jetson."""
        return self._is_jetson

    def read(self) -> List[Tuple[str, str]]:
        """Return (key, value) sorted by key; what cannot be read now is left out. Empty where this is no Jetson.

        Keys: gpu_load_percent, gpu_clock_mhz, gpu_clock_limit_mhz, cpu_clock_mhz (the fastest core's), power_mw (the
        module's), power_<rail>_mw (that feeds the GPU), temperature_{gpu,cpu,tj}_c, throttled ("no", "heat", "power",
        "heat and power": since the last call), overcurrent_events (since boot), power_mode, source.
        """
        if not self._is_jetson:
            return []
        figures = self._jtop.read() if self._jtop is not None else {}
        source = "jetson-stats" if figures else "sysfs"
        for key, read in (
            ("gpu_load_percent", self._read_load),
            ("gpu_clock_mhz", self._read_clocks),
            ("cpu_clock_mhz", self._read_cpu_clock),
            ("temperature_gpu_c", self._read_temperatures),
            ("power_mw", self._read_power),
            ("throttled", self._read_throttling),
        ):
            if key not in figures:
                figures = dict(read(), **figures)
        if figures:
            figures["source"] = source
        return sorted(figures.items())

    def close(self) -> None:
        """Let go of jetson-stats, without waiting for it."""
        if self._jtop is not None:
            self._jtop.close()

    def _find(self, pattern: str) -> List[str]:
        return _find(self._root, pattern)

    def _read_load(self) -> Figures:
        return _figure("gpu_load_percent", "{:.1f}", _number(self._load), 0.1)  # the kernel counts to 1000

    def _read_clocks(self) -> Figures:
        figures = _figure("gpu_clock_mhz", "{:.0f}", _number(self._clock), 1e-6)
        figures.update(_figure("gpu_clock_limit_mhz", "{:.0f}", _number(self._clock_limit), 1e-6))
        return figures

    def _read_cpu_clock(self) -> Figures:
        clocks = [clock for clock in map(_number, self._cpu_clocks) if clock is not None]
        return _figure("cpu_clock_mhz", "{:.0f}", max(clocks) if clocks else None, 1e-3)

    def _read_temperatures(self) -> Figures:
        read = ((name, _number(path)) for name, path in self._zones if _zone(name))
        return _temperatures((name, value * 1e-3) for name, value in read if value is not None)

    def _read_power(self) -> Figures:
        return _power({name: _rail_power(files) for name, files in self._rails.items() if _matters(name)})

    def _read_throttling(self) -> Figures:
        hot = _total(self._alerts)
        events = _total(self._overcurrent)
        figures = _figure("overcurrent_events", "{:.0f}", events)
        causes = ["heat"] if hot else []
        if events is not None:
            causes += ["power"] if self._events is not None and events > self._events else []
            self._events = events
        if hot is not None or events is not None:
            figures["throttled"] = " and ".join(causes) or "no"
        return figures


class _Jtop:
    """The client of jetson-stats. It connects in a thread of its own: a service that hangs must hold up nobody."""

    def __init__(self) -> None:
        self._jetson: Optional[Any] = None
        self._heard = 0.0
        self._closed = False
        threading.Thread(target=self._connect, name="jtop", daemon=True).start()

    def _connect(self) -> None:
        try:
            jetson = importlib.import_module("jtop").jtop()
            jetson.attach(self._on_news)
            jetson.start()
            self._jetson = jetson
            if self._closed:
                jetson.close()
        except Exception:  # not installed, another version than the service, no permission ...: there are the files
            pass

    def _on_news(self, jetson: Any) -> None:
        self._heard = time.monotonic()

    def read(self) -> Figures:
        """Return what it knows; nothing where it is not connected or has fallen silent."""
        jetson = self._jetson
        if jetson is None or not self._heard or time.monotonic() - self._heard > _STALE:
            return {}
        figures: Figures = {}
        for part in (self._gpu, self._temperatures, self._power, self._mode):
            try:
                figures.update(part(jetson))
            except Exception:  # another version's shape: this part comes from the files
                continue
        return figures

    @staticmethod
    def _gpu(jetson: Any) -> Figures:
        gpu = next(iter(jetson.gpu.values()))
        figures = _figure("gpu_load_percent", "{:.1f}", gpu["status"]["load"])
        for key, name in (("gpu_clock_mhz", "cur"), ("gpu_clock_limit_mhz", "max")):
            value = gpu["freq"].get(name) or None
            # kHz by its documentation, MHz on Thor; no GPU runs at 10 GHz, none at 10 MHz
            figures.update(_figure(key, "{:.0f}", value, 1e-3 if value and value > 10000 else 1.0))
        return figures

    @staticmethod
    def _temperatures(jetson: Any) -> Figures:
        return _temperatures((name, float(zone["temp"])) for name, zone in jetson.temperature.items())

    @staticmethod
    def _power(jetson: Any) -> Figures:
        total = jetson.power["tot"]
        rails: Dict[str, Optional[float]] = {name: float(rail["power"]) for name, rail in jetson.power["rail"].items()}
        rails.update({total["name"]: float(total["power"])} if total.get("name") else {})
        return dict(_figure("power_mw", "{:.0f}", float(total["power"])), **_power(rails))

    @staticmethod
    def _mode(jetson: Any) -> Figures:
        mode = jetson.nvpmodel
        return {"power_mode": str(mode.name)} if mode is not None else {}

    def close(self) -> None:
        self._closed = True
        jetson, self._jetson = self._jetson, None
        if jetson is not None:
            threading.Thread(target=jetson.close, daemon=True).start()  # it waits for threads of its own


def gpu_clock_file(root: str) -> str:
    """Return the file of the GPU's clock, "" where there is none; min_freq and max_freq lie beside it."""
    return _gpu(root)[1]


def _is_tegra(root: str) -> bool:
    """Containers hide either of the two."""
    release = os.path.join(root, "etc/nv_tegra_release")
    return os.path.exists(release) or "nvidia,tegra" in _text(os.path.join(root, "proc/device-tree/compatible"))


def _gpu(root: str) -> Tuple[str, str, str]:
    """Return the files of load, clock and highest clock allowed; "" for what there is not."""
    loads = [path for place in _GPU for path in _find(root, "sys/devices/" + place + "/load")]
    clocks = _find(os.path.dirname(loads[0]), "devfreq/*/cur_freq") if loads else []
    clocks += [path for name in _DEVFREQ for path in _find(root, "sys/class/devfreq/" + name + "/cur_freq")]
    clock = clocks[0] if clocks else ""
    return loads[0] if loads else "", clock, os.path.join(os.path.dirname(clock), "max_freq") if clock else ""


def _rails(root: str) -> Dict[str, List[str]]:
    """Return each rail's files: that of its power (L4T 32), or those of its voltage and current."""
    rails = {}
    driver = "sys/bus/i2c/drivers/ina3221*/*/"
    for path in _find(root, driver + "iio*device*/rail_name_*"):
        folder, number = os.path.dirname(path), path.rsplit("_", 1)[1]
        rails[_text(path)] = [os.path.join(folder, "in_power{}_input".format(number))]
    for path in _find(root, driver + "hwmon/hwmon*/in[123]_label"):  # the higher ones are sums and shunts
        folder, number = os.path.dirname(path), os.path.basename(path)[2]
        rails[_text(path)] = [os.path.join(folder, kind + number + "_input") for kind in ("in", "curr")]
    return rails


def _matters(rail: str) -> bool:
    return rail in _WHOLE or "GPU" in rail or any(rail in parts for parts in _PARTS)


def _rail_power(files: List[str]) -> Optional[float]:
    """Return milliwatts."""
    values = [_number(path) for path in files]
    if any(value is None for value in values):
        return None
    return values[0] if len(values) == 1 else (values[0] or 0.0) * (values[1] or 0.0) * 1e-3


def _power(rails: Dict[str, Optional[float]]) -> Figures:
    """Return what ``rails`` (milliwatts; None: unreadable) say of the module's power and the GPU's."""
    figures: Figures = {}
    for parts in [(name,) for name in _WHOLE] + list(_PARTS):
        values = [rails.get(name) for name in parts]
        if None not in values:  # a sum that lacks a part would be wrong
            figures = _figure("power_mw", "{:.0f}", sum(value or 0.0 for value in values))
            break
    for name, power in rails.items():
        if "GPU" in name:  # by its name: on some boards it feeds more than the GPU
            figures.update(_figure("power_{}_mw".format(re.sub(r"\W", "_", name).lower()), "{:.0f}", power))
    return figures


def _zone(name: str) -> str:
    """Return what a thermal zone ("GPU-therm", "gpu-thermal", "gpu", "BCPU-therm") measures, "" if of no interest."""
    part = re.split("[-_]", name.lower())[0]
    return "cpu" if part in _CPUS else part if part in ("gpu", "tj") else ""


def _temperatures(zones: Iterable[Tuple[str, float]]) -> Figures:
    """Return the hottest zone's degrees Celsius of each kind."""
    hottest: Dict[str, float] = {}
    for name, degrees in zones:
        if _zone(name) and degrees > _OFFLINE:
            hottest[_zone(name)] = max(degrees, hottest.get(_zone(name), degrees))
    return {"temperature_{}_c".format(part): "{:.1f}".format(degrees) for part, degrees in hottest.items()}


def _figure(key: str, form: str, value: Optional[float], scale: float = 1.0) -> Figures:
    return {} if value is None else {key: form.format(value * scale)}


def _find(root: str, pattern: str) -> List[str]:
    return sorted(glob.glob(os.path.join(glob.escape(root), pattern)))


def _total(paths: List[str]) -> Optional[float]:
    values = [value for value in map(_number, paths) if value is not None]
    return sum(values) if values else None


def _number(path: str) -> Optional[float]:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _text(path: str) -> str:
    """Return a small file's text, "" where it cannot be read.

    Not by ``open``: zones that are switched off answer EAGAIN, which Python's text files turn into a TypeError.
    """
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, 4096).decode("ascii", "replace").strip("\0 \n")
        finally:
            os.close(file)
    except OSError:
        return ""
