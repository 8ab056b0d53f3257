"""The whole node against the bare network: what everything that is not the network costs."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from bench.exported import at_size
from bench.field import OURS, Drive, Field, Node, cpu_a_frame
from bench.plan import Plan, Size
from bench.table import Row, row
from bench.turns import in_turns, percentiles
from bench.workers import Worker
from seg_node.model_card import load_card
from seg_node.runtimes import load_runtime

SATURATED = 1.25  # times as many frames as the network takes
_OUTRUN = 1.1  # times as many frames as the network took meanwhile: fewer, and nothing was saturated
_MOST, _PATIENT = 4.0, 1.5  # times a round's share of frames; times what a lone frame takes
BELOW = 0.9  # of the bare network's rate: nothing may be lost here


@dataclasses.dataclass
class Bare:
    """The network alone; ms."""

    milliseconds: np.ndarray
    cpu_ms: float
    rss_mb: float
    runs: str

    @property
    def median(self) -> float:
        return float(np.median(self.milliseconds))

    @staticmethod
    def of(answers: list[dict]) -> "Bare":
        return Bare(
            np.concatenate([answer["ms"] for answer in answers]),
            float(np.median([answer["cpu_ms"] for answer in answers])),
            answers[-1]["rss_mb"],
            answers[-1]["runs"],
        )


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    size = load_card(plan.model).size
    yield from _measure(plan, plan.model, size, plan.cameras, say)
    if plan.name == "full" and takes_int8(plan.model):
        yield from _measure(plan, plan.model, size, plan.cameras, say, "fp32")
    for network in plan.networks:
        if network != size:
            with tempfile.TemporaryDirectory(prefix="seg_node_bench_") as folder:
                say(f"exporting the network at {shown(network)}")
                model = at_size(plan.model, network, Path(folder))
                yield from _measure(plan, str(model), network, (network,), say)


def takes_int8(model: str) -> bool:
    """Whether the node takes INT8 by itself, here."""
    with closing(load_runtime(load_card(model))) as runtime:
        return runtime.precision == "int8"


def _measure(
    plan: Plan,
    model: str,
    network: Size,
    cameras: tuple[Size, ...],
    say: Callable[[str], None],
    precision: str = "auto",
) -> Iterator[Row]:
    with Field() as field:
        say(f"starting the node and the network, {shown(network)}, precision {precision}")
        bare = field.worker("bench.bare", model, "--precision", precision)
        bare.ask("infer", frames=plan.share())
        node = field.start("ours", OURS, model=model, precision=precision)
        which = f"network {shown(network)}" + ("" if precision == "auto" else f" {precision}")
        for outputs in plan.outputs:
            for camera in cameras:
                name = f"{which}, camera {shown(camera)}, {'+'.join(outputs)}"
                say(name)
                yield from compare(plan, field, bare, node, camera, outputs, name)


def compare(
    plan: Plan, field: Field, bare: Worker, node: Node, camera: Size, outputs: tuple[str, ...], name: str
) -> Iterator[Row]:
    """Measure one size of image with these outputs wanted."""
    field.listen(node, outputs)
    field.takes(node, camera)
    share = plan.share()
    first = min(Bare.of([bare.ask("infer", frames=share)]).median for _ in range(2))  # of a moment's rest
    full = SATURATED * 1e3 / first
    rates = [*plan.rates, full]
    things = {"bare": lambda: bare.ask("infer", frames=share)}
    things |= {
        f"{rate}": lambda rate=rate: field.drive(node, camera, rate, enough(plan, rate, node.takes)) for rate in rates
    }
    results = in_turns(plan.rounds, things)
    alone = Bare.of(results["bare"])
    for rate in plan.rates:
        yield from at_rate(results[f"{rate}"], alone, f"{name}, {rate:g} Hz")
    yield from saturated(results[f"{full}"], alone, f"{name}, {full:.0f} Hz, saturated", 1e3 / full)


def enough(plan: Plan, rate: float, takes: float) -> int:
    """Return how many frames to send so that a round's share comes out of a node that takes so many seconds each."""
    return plan.at(rate, int(plan.share() * min(_MOST, max(1.0, _PATIENT * rate * takes))))


def at_rate(drives: list[Drive], bare: Bare, name: str) -> Iterator[Row]:
    """Latency, delivery, processor and memory at a fixed rate."""
    below = drives[0].rate <= BELOW * 1e3 / bare.median
    about = {"runs": bare.runs, "real_rate": round(float(np.median([d.real_rate for d in drives])), 2)}
    for output in drives[0].latency:
        latency = np.concatenate([drive.latency[output] for drive in drives])
        if not len(latency):
            continue
        value, label = float(np.median(latency)), output == "label"
        yield row(
            f"{name}: camera to {output}",
            value,
            "ms, median",
            bare.median,
            goal="<= 1.10 x + 2 ms" if label else "",
            met=bool(value <= 1.1 * bare.median + 2) if below and label else None,
            **percentiles(latency),
            baseline_percentiles=percentiles(bare.milliseconds),
            **about,
        )
    came = sum(len(drive.latency["label"]) for drive in drives)
    sent = sum(drive.sent for drive in drives)
    yield row(
        f"{name}: frames labelled",
        came / sent,
        "of those sent",
        1.0,
        goal="all, where the network alone could",
        met=came == sent if below else None,
        frames=sent,
        **about,
    )
    used = cpu_a_frame(drives)
    if used is not None:
        yield row(f"{name}: processor", used, "ms of a core a frame", bare.cpu_ms, frames=came, **about)


def saturated(drives: list[Drive], bare: Bare, name: str, period: float) -> Iterator[Row]:
    """Throughput, age and memory where more comes than can be done; ``period``: the camera's, ms."""
    real_rate = float(np.median([d.real_rate for d in drives]))
    about = {"runs": bare.runs, "real_rate": round(real_rate, 2)}
    outrun = real_rate >= _OUTRUN * 1e3 / bare.median
    gaps = np.concatenate([drive.gaps for drive in drives])
    if not len(gaps):
        return
    value = float(np.mean(gaps))
    alone = float(np.mean(bare.milliseconds))  # means, both: a throughput counts the slow ones too
    yield row(
        f"{name}: time a frame",
        value,
        "ms, mean",
        alone,
        goal="<= 1.05 x",
        met=bool(value <= 1.05 * alone) if outrun else None,
        frames_per_second=round(1e3 / value, 2),
        **percentiles(gaps),
        **about,
    )
    latency = np.concatenate([drive.latency["label"] for drive in drives])
    newest = bare.median + period  # a frame may just have missed its turn; an older one would take longer
    yield row(
        f"{name}: camera to label",
        float(np.median(latency)),
        "ms, median",
        newest,
        baseline_is="the network and a camera's period",
        goal="newest frame: <= 1.10 x + 2 ms",
        met=bool(np.median(latency) <= 1.1 * newest + 2) if outrun else None,
        **percentiles(latency),
        **about,
    )
    used = cpu_a_frame(drives)
    if used is not None:
        yield row(f"{name}: processor", used, "ms of a core a frame", bare.cpu_ms, frames=len(latency), **about)
    yield row(f"{name}: memory", drives[-1].rss_mb, "MB resident", bare.rss_mb, **about)


def shown(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
