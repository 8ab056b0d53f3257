"""A Jetson's figures from fakes of its files: paths, names and units as on the boards, values made up."""

import errno
import os
import sys
import threading
import time
import types

import pytest

from seg_node.ros import jetson
from seg_node.ros.jetson import JetsonFigures


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")


def zones(*temperatures):
    """Thermal zones of (type, millidegrees)."""
    files = {}
    for index, (name, value) in enumerate(temperatures):
        files[f"sys/class/thermal/thermal_zone{index}/type"] = name
        files[f"sys/class/thermal/thermal_zone{index}/temp"] = value
    return files


def alerts(*states):
    files = {}
    for index, (name, state) in enumerate(states):
        files[f"sys/class/thermal/cooling_device{index}/type"] = name
        files[f"sys/class/thermal/cooling_device{index}/cur_state"] = state
    return files


def hwmon(folder, rails):
    """A power monitor of rails {name: (millivolts, milliamperes)}, with the channel of sums that has no current."""
    files = {f"{folder}/name": "ina3221", f"{folder}/in7_label": "sum of shunt voltages", f"{folder}/in7_input": "99"}
    for channel, (name, (voltage, current)) in enumerate(rails.items(), 1):
        files[f"{folder}/in{channel}_label"] = name
        files[f"{folder}/in{channel}_input"] = voltage
        files[f"{folder}/curr{channel}_input"] = current
    return files


def iio(address, index, rails):
    folder = f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device{index}"
    files = {}
    for channel, (name, power) in enumerate(rails.items()):
        files[f"{folder}/rail_name_{channel}"] = name
        files[f"{folder}/in_power{channel}_input"] = power
    return files


@pytest.fixture
def tx2(tmp_path):
    """Jetson TX2, L4T 32."""
    write(
        tmp_path,
        {
            "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1",
            "sys/devices/gpu.0/load": "637",
            "sys/devices/gpu.0/devfreq/17000000.gp10b/cur_freq": "1122000000",
            "sys/devices/gpu.0/devfreq/17000000.gp10b/max_freq": "1300500000",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "345600",
            "sys/devices/system/cpu/cpufreq/policy3/scaling_cur_freq": "2035200",
            **zones(
                ("BCPU-therm", 47500),
                ("MCPU-therm", 48500),
                ("GPU-therm", 45000),
                ("PLL-therm", 47500),
                ("Tboard_tegra", 41000),
                ("PMIC-Die", 100000),
            ),
            **alerts(("pwm-fan", 3), ("bcpu-throttle-alert", 0), ("gpu-throttle-alert", 0)),
            **iio("0-0040", 0, {"VDD_SYS_GPU": 2281, "VDD_SYS_SOC": 991, "VDD_4V0_WIFI": 19}),
            **iio("0-0041", 1, {"VDD_IN": 8105, "VDD_SYS_CPU": 1143, "VDD_SYS_DDR": 1612}),
            **iio("0-0042", 2, {"VDD_MUX": 11100, "VDD_5V0_IO_SYS": 2400, "VDD_3V3_SYS": 900}),
        },
    )
    return tmp_path


ORIN_RAILS = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"


@pytest.fixture
def orin(tmp_path):
    """Jetson Orin Nano, L4T 36."""
    write(
        tmp_path,
        {
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
            "sys/devices/platform/bus@0/17000000.gpu/load": "412",
            "sys/devices/platform/bus@0/17000000.gpu/devfreq/17000000.gpu/cur_freq": "612000000",
            "sys/devices/platform/bus@0/17000000.gpu/devfreq/17000000.gpu/max_freq": "624750000",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1510400",
            **zones(
                ("cpu-thermal", 49687),
                ("gpu-thermal", 50531),
                ("cv0-thermal", -256000),
                ("soc0-thermal", 50000),
                ("tj-thermal", 50781),
            ),
            **alerts(("cpufreq-cpu0", 0), ("cpu-throttle-alert", 0), ("hot-surface-alert", 1)),
            **hwmon(ORIN_RAILS, {"VDD_IN": (4984, 1856), "VDD_CPU_GPU_CV": (4984, 616), "VDD_SOC": (4976, 448)}),
            "sys/class/hwmon/hwmon3/name": "soctherm_oc",
            "sys/class/hwmon/hwmon3/oc1_event_cnt": "0",
            "sys/class/hwmon/hwmon3/oc3_event_cnt": "37",
        },
    )
    return tmp_path


def figures(root):
    return dict(JetsonFigures(str(root)).read())


def test_fake_files_of_a_tx2(tx2):
    assert JetsonFigures(str(tx2)).available
    assert figures(tx2) == {
        "cpu_clock_mhz": "2035",
        "gpu_clock_limit_mhz": "1300",
        "gpu_clock_mhz": "1122",
        "gpu_load_percent": "63.7",
        "power_mw": "8105",
        "power_vdd_sys_gpu_mw": "2281",
        "source": "sysfs",
        "temperature_cpu_c": "48.5",
        "temperature_gpu_c": "45.0",
        "throttled": "no",
    }


def test_fake_files_of_an_orin(orin):
    assert figures(orin) == {
        "cpu_clock_mhz": "1510",
        "gpu_clock_limit_mhz": "625",
        "gpu_clock_mhz": "612",
        "gpu_load_percent": "41.2",
        "overcurrent_events": "37",
        "power_mw": "9250",
        "power_vdd_cpu_gpu_cv_mw": "3070",
        "source": "sysfs",
        "temperature_cpu_c": "49.7",
        "temperature_gpu_c": "50.5",
        "temperature_tj_c": "50.8",
        "throttled": "no",
    }


def test_fake_files_of_an_orin_whose_gpu_lies_elsewhere(tmp_path):
    write(
        tmp_path,
        {
            "sys/devices/platform/17000000.gpu/load": "1000",
            "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000",
            "sys/class/devfreq/17000000.gpu/max_freq": "1020000000",
        },
    )
    found = figures(tmp_path)
    assert (found["gpu_load_percent"], found["gpu_clock_mhz"]) == ("100.0", "1020")


def test_fake_files_of_an_agx_orin_add_up_its_rails_or_none(tmp_path):
    rails = {"VDD_GPU_SOC": (20000, 200), "VDD_CPU_CV": (20000, 100), "VIN_SYS_5V0": (5000, 700)}
    write(tmp_path, {"etc/nv_tegra_release": "", **hwmon(ORIN_RAILS, rails)})
    other = {"NC": (0, 0), "VDDQ_VDD2_1V8AO": (5000, 300)}  # part of VIN_SYS_5V0
    write(tmp_path, hwmon("sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon2", other))
    assert figures(tmp_path)["power_mw"] == "9500" and figures(tmp_path)["power_vdd_gpu_soc_mw"] == "4000"
    (tmp_path / ORIN_RAILS / "curr2_input").unlink()
    assert "power_mw" not in figures(tmp_path) and figures(tmp_path)["power_vdd_gpu_soc_mw"] == "4000"


def test_fake_files_change_between_reads(orin):
    read = JetsonFigures(str(orin))
    assert dict(read.read())["throttled"] == "no"  # what happened before we came is not news
    write(orin, {"sys/class/hwmon/hwmon3/oc3_event_cnt": "39", "sys/devices/platform/bus@0/17000000.gpu/load": "0"})
    found = dict(read.read())
    assert (found["throttled"], found["overcurrent_events"], found["gpu_load_percent"]) == ("power", "39", "0.0")
    write(orin, alerts(("cpufreq-cpu0", 0), ("cpu-throttle-alert", 1)))
    assert dict(read.read())["throttled"] == "heat"
    write(orin, {"sys/class/hwmon/hwmon3/oc1_event_cnt": "1"})
    assert dict(read.read())["throttled"] == "heat and power"


def test_fake_files_of_another_computer_say_nothing(tmp_path):
    write(
        tmp_path,
        {
            **zones(("acpitz", 27800), ("x86_pkg_temp", 45000), ("cpu-thermal", 45000)),
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "3400000",
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
            "run/jtop.sock": "",
        },
    )
    read = JetsonFigures(str(tmp_path))
    assert not read.available and read.read() == []
    assert not [thread for thread in threading.enumerate() if thread.name == "jtop"]


@pytest.mark.parametrize("text", ["", "N/A", "-", "\xff\xfe", "1 2"])
def test_fake_files_of_nonsense_are_left_out(orin, text):
    write(orin, {"sys/devices/platform/bus@0/17000000.gpu/load": text, **zones(("cpu-thermal", text))})
    found = figures(orin)
    assert "gpu_load_percent" not in found and "temperature_cpu_c" not in found
    assert found["temperature_gpu_c"] == "50.5" and found["power_mw"] == "9250"


def test_fake_files_that_cannot_be_read_are_left_out(orin, monkeypatch):
    """Zones that are switched off answer EAGAIN, files of root's EACCES, a stuck bus EIO."""
    wrong = {
        "17000000.gpu/load": errno.EACCES,
        "thermal_zone0/temp": errno.EAGAIN,
        "hwmon1/in1_input": errno.EIO,
        "hwmon3/oc1_event_cnt": errno.ENODEV,
    }
    opened, whole, read = {}, os.open, os.read

    def open_(path, *rest):
        file = whole(path, *rest)
        opened[file] = path
        return file

    def read_(file, size):
        for end, number in wrong.items():
            if str(opened.get(file)).endswith(end):
                raise OSError(number, os.strerror(number))
        return read(file, size)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "read", read_)
    before = len(os.listdir("/proc/self/fd"))
    found = figures(orin)
    assert not {"gpu_load_percent", "temperature_cpu_c", "power_mw"} & set(found)
    assert found["gpu_clock_mhz"] == "612" and found["overcurrent_events"] == "37" and found["throttled"] == "no"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_fake_files_without_permission(orin):
    for path in orin.rglob("*"):
        if path.is_file() and "device-tree" not in str(path):
            path.chmod(0)
    assert JetsonFigures(str(orin)).read() == []


def test_fake_files_that_vanish(orin):
    read = JetsonFigures(str(orin))
    (orin / "sys").rename(orin / "gone")
    assert read.available and read.read() == []


def test_this_computer_is_read_without_an_error():
    read = JetsonFigures()
    assert (read.read() != []) == read.available
    read.close()


class Client:
    """What the library's class promises: a mapping of GPUs, properties, a thread that calls the observers."""

    rails: dict = {"VDD_CPU_GPU_CV": {"power": 3100}, "VDD_SOC": {"power": 2200}}  # noqa: RUF012
    total: dict = {"name": "VDD_IN", "power": 9300}  # noqa: RUF012
    gpus: dict = {  # noqa: RUF012
        "ga10b": {"status": {"load": 77.5}, "freq": {"cur": 306000, "max": 624750, "GPC": [305000]}}
    }
    zones: dict = {"cpu": {"temp": 51.25}, "gpu": {"temp": 52.5}, "cv0": {"temp": -256}}  # noqa: RUF012
    temperature = property(lambda self: self.zones)
    power = property(lambda self: {"rail": self.rails, "tot": self.total})
    gpu = property(lambda self: self.gpus)
    nvpmodel = property(lambda self: types.SimpleNamespace(name="15W"))
    closed = False

    def attach(self, observer):
        self.observer = observer

    def start(self):
        self.observer(self)

    def close(self):
        self.closed = True


@pytest.fixture
def service(orin, monkeypatch):
    """A fake of the module and its service's socket; returns the one client made, once it is connected."""
    write(orin, {"run/jtop.sock": ""})
    made = []

    def start(kind=Client):
        def make():
            made.append(kind())
            return made[0]

        monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=make))
        read = JetsonFigures(str(orin))
        for thread in threading.enumerate():
            if thread.name == "jtop":
                thread.join(0.5)
        return read, made

    return start


def test_fake_jtop_comes_first_and_files_fill_in(service):
    read, _ = service()
    found = dict(read.read())
    assert found["source"] == "jetson-stats" and found["power_mode"] == "15W"
    assert (found["gpu_load_percent"], found["gpu_clock_mhz"], found["gpu_clock_limit_mhz"]) == ("77.5", "306", "625")
    assert (found["temperature_gpu_c"], found["temperature_cpu_c"]) == ("52.5", "51.2")
    assert (found["power_mw"], found["power_vdd_cpu_gpu_cv_mw"]) == ("9300", "3100")
    assert (found["throttled"], found["cpu_clock_mhz"]) == ("no", "1510")  # it says neither


def test_fake_jtop_of_another_version(service):
    class Old(Client):
        gpus: dict = {"val": 40, "frq": 306000}  # noqa: RUF012
        power = property(lambda self: ({"cur": 9000}, {}))
        zones: dict = {"GPU": 52.5}  # noqa: RUF012
        nvpmodel = None

    found = dict(service(Old)[0].read())
    assert (found["source"], found["gpu_load_percent"], found["power_mw"]) == ("sysfs", "41.2", "9250")


def test_fake_jtop_with_a_sensor_offline(service):
    class Offline(Client):
        zones: dict = {"gpu": {"temp": -256}, "cpu": {"temp": 40}}  # noqa: RUF012

    found = dict(service(Offline)[0].read())
    assert (found["temperature_gpu_c"], found["temperature_cpu_c"]) == ("50.5", "40.0")


@pytest.mark.parametrize("error", [RuntimeError("the service is not active"), ImportError(), ConnectionRefusedError()])
def test_fake_jtop_whose_service_is_missing(service, error):
    class Alone(Client):
        def start(self):
            raise error

    found = dict(service(Alone)[0].read())
    assert found["source"] == "sysfs" and found["gpu_load_percent"] == "41.2"


def test_fake_jtop_not_installed(service, monkeypatch):
    read, _ = service()
    monkeypatch.setitem(sys.modules, "jtop", None)
    assert dict(JetsonFigures(read._root).read())["source"] == "sysfs"


def test_fake_jtop_that_hangs_holds_up_nobody(service):
    release = threading.Event()

    class Hanging(Client):
        def start(self):
            release.wait(10)
            super().start()

    read, made = service(Hanging)
    start = time.monotonic()
    assert dict(read.read())["source"] == "sysfs"
    read.close()
    assert time.monotonic() - start < 0.2
    release.set()
    deadline = time.monotonic() + 5
    while not made[0].closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made[0].closed  # it came late, and was let go


def test_fake_jtop_that_falls_silent(service, monkeypatch):
    read, _ = service()
    now = time.monotonic()
    monkeypatch.setattr(jetson.time, "monotonic", lambda: now + 60)
    assert dict(read.read())["source"] == "sysfs"


def test_no_socket_no_library(orin, monkeypatch):
    asked = []
    monkeypatch.setattr(jetson.importlib, "import_module", asked.append)
    read = JetsonFigures(str(orin))
    time.sleep(0.05)
    assert asked == [] and dict(read.read())["source"] == "sysfs"
