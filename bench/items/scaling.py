"""What it costs against the camera's size, the network's size, the number of cameras, and the number of classes."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.exported import at_size, with_classes
from bench.field import OURS, Field, cpu_a_frame
from bench.items.node import SATURATED, Bare, shown
from bench.plan import BOTH, Plan
from bench.table import Row, failure, row
from bench.turns import in_turns, percentiles
from seg_node.evaluation.benchmark import infer, street
from seg_node.model_card import load_card
from seg_node.runtimes import load_runtime

_GENTLE = 5.0  # Hz


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    with Field() as field:
        yield from _cameras(plan, field, say)
        yield from _camera_sizes(plan, field, say)
    with tempfile.TemporaryDirectory(prefix="seg_node_bench_") as folder:
        yield from _classes(plan, Path(folder), say)
        if plan.networks:
            yield from _network_sizes(plan, Path(folder), say)


def _camera_sizes(plan: Plan, field: Field, say: Callable[[str], None]) -> Iterator[Row]:
    """The node's own work grows with the camera's image; the network's does not."""
    bare, node = field.worker("bench.bare", plan.model), field.start("ours", OURS, model=plan.model)
    field.listen(node, BOTH)
    field.takes(node, plan.cameras[0])
    share = plan.share()
    things = {"bare": lambda: bare.ask("infer", frames=share)}
    things |= {f"{size}": lambda size=size: field.drive(node, size, _GENTLE, plan.at(_GENTLE)) for size in plan.sizes}
    say("the camera's size")
    results = in_turns(plan.rounds, things)
    alone = Bare.of(results["bare"])
    for size in plan.sizes:
        drives = results[f"{size}"]
        for output in BOTH:
            latency = np.concatenate([drive.latency[output] for drive in drives])
            what = f"camera {shown(size)}, {_GENTLE:g} Hz: camera to {output}"
            if len(latency):
                yield row(what, float(np.median(latency)), "ms, median", alone.median, **percentiles(latency))
            else:
                yield failure(what, "no image came through: seg-node doctor")
        used = cpu_a_frame(drives)
        if used is not None:
            yield row(f"camera {shown(size)}: processor", used, "ms of a core a frame", alone.cpu_ms)


def _cameras(plan: Plan, field: Field, say: Callable[[str], None]) -> Iterator[Row]:
    """All cameras together give more than can be done; each must get its turn."""
    bare, size = field.worker("bench.bare", plan.model), plan.cameras[0]
    for count in plan.many:
        say(f"{count} cameras")
        node = field.start(f"cameras{count}", OURS, [f"c{i}" for i in range(count)], model=plan.model)
        field.takes(node, size)
        first = Bare.of([bare.ask("infer", frames=plan.share())]).median
        rate, share = SATURATED * 1e3 / first / count, max(2, plan.share() // count)
        things = {
            "bare": lambda: bare.ask("infer", frames=plan.share()),
            "node": lambda node=node, rate=rate, share=share: field.drive(node, size, rate, share),
        }
        results = in_turns(plan.rounds, things)
        alone, drives = Bare.of(results["bare"]), results["node"]
        gap = float(np.mean(np.concatenate([drive.gaps for drive in drives])))
        shares = np.mean([drive.shares for drive in drives], axis=0)
        yield row(
            f"{count} cameras {shown(size)}, {count * rate:.0f} Hz together: time a frame",
            gap,
            "ms, mean",
            float(np.mean(alone.milliseconds)),
            frames=sum(len(drive.gaps) for drive in drives),
            fewest_of_a_camera=round(float(shares.min()), 3),
            most_of_a_camera=round(float(shares.max()), 3),
        )
        yield row(f"{count} cameras {shown(size)}: memory", drives[-1].rss_mb, "MB resident", alone.rss_mb)
        field.stop(node)


def _classes(plan: Plan, folder: Path, say: Callable[[str], None]) -> Iterator[Row]:
    say("the number of classes")
    models = {f"{count} classes": with_classes(plan.model, count, folder) for count in plan.classes}
    yield from _networks(plan, models)


def _network_sizes(plan: Plan, folder: Path, say: Callable[[str], None]) -> Iterator[Row]:
    say("the network's size")
    own = load_card(plan.model).size
    models = {f"network {shown(size)}": at_size(plan.model, size, folder) for size in plan.networks if size != own}
    yield from _networks(plan, models)


def _networks(plan: Plan, models: dict[str, Path]) -> Iterator[Row]:
    """Time networks in turns, each against the model that they are made from."""
    loaded = {}
    for name, model in {"": plan.model, **models}.items():
        card = load_card(model)
        loaded[name] = (load_runtime(card, "onnx"), street(card.size, card.channels))
    things = {n: lambda runtime=r, images=i: infer(runtime, images, plan.share()) for n, (r, i) in loaded.items()}
    results = {name: np.concatenate(parts) for name, parts in in_turns(plan.rounds, things).items()}
    for runtime, _ in loaded.values():
        runtime.close()
    base = float(np.median(results.pop("")))
    for name, milliseconds in results.items():
        value = float(np.median(milliseconds))
        yield row(f"{name}, onnx", value, "ms, median", base, baseline_is=str(plan.model), **percentiles(milliseconds))
