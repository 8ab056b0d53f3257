"""With an NVIDIA GPU at hand: every backend on it, torch.compile besides, and how far from the memory's speed all are.

The floor is the least time that the network's data take through the GPU's memory: what every convolution reads and
writes, once, in half precision, by the bandwidth of a copy as measured here. Everything else is taken as fused.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import numpy as np

from bench.plan import Plan
from bench.table import Row, failure, row
from seg_node import runtimes
from seg_node.evaluation import benchmark
from seg_node.model_card import ModelCard, load_card
from seg_node.runtimes import Prediction, Runtime

_HALF = 2  # bytes


class Compiled(Runtime):
    """torch.compile's code for the network, as ``Runtime`` has it: uint8 pixels from the host, uint8 labels back."""

    name = "torch.compile"

    def __init__(self, card: ModelCard, device: str, precision: str) -> None:
        import torch

        from seg_node.networks._deployed import Deployed
        from seg_node.runtimes.torch import load_network

        super().__init__(card)
        self.device, self.precision = device, precision
        network = Deployed(load_network(card), card.mean, card.std, card.scale).eval().to(device)
        self._network = torch.compile(network, mode="max-autotune" if device != "cpu" else None)

    def _infer(self, images: np.ndarray) -> Prediction:
        import torch

        half = torch.float16 if self.precision == "fp16" else torch.bfloat16
        kind = self.device.split(":")[0]
        with torch.inference_mode(), torch.autocast(kind, dtype=half, enabled=self.precision != "fp32"):
            return Prediction(self._network(torch.from_numpy(images).to(self.device)).cpu().numpy())


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    import torch

    if not torch.cuda.is_available():
        yield failure("every backend on a GPU", "PyTorch finds no CUDA GPU here")
        return
    yield from on_device(plan, "gpu", "cuda", say)


def on_device(plan: Plan, device: str, torch_device: str, say: Callable[[str], None]) -> Iterator[Row]:
    """Measure all that runs there."""
    card = load_card(plan.model)
    refused: list[Row] = []
    names = [name for name in runtimes.names() if name != "fake"]
    ways = benchmark.ways(names, [name for name in runtimes.PRECISIONS if name != "auto"])

    def refuse(way: benchmark.Way, why: str) -> None:
        refused.append(failure(f"{card.name}, {way}", why))

    with ExitStack() as stack:
        say("loading; TensorRT builds its engines, which takes minutes the first time")
        timings = []
        for timing in benchmark.open_ways(card, ways, device, refuse):
            stack.enter_context(closing(timing.runtime))
            timings.append(timing)
        for precision in ("fp32", "fp16") if torch_device != "cpu" else ("fp32",):
            compiled = Compiled(card, torch_device, precision)
            timings.append(benchmark.Timing(benchmark.Way("torch.compile", precision), compiled))
        timings.sort(key=lambda timing: timing.way != benchmark.BASELINE)
        say("timing")
        benchmark.compare(timings, benchmark.street(card.size, card.channels), plan.frames, plan.rounds)
    moved = bytes_moved(card)
    floor = 1e3 * moved / bandwidth(torch_device)
    for timing in timings:
        each = timing.as_dict(card, timings[0])
        yield each | {"times_the_floor": round(each["value"] / floor, 2)}
    yield row(f"{card.name}: floor by memory", floor, "ms", gigabytes=round(moved / 1e9, 4))
    yield from refused


def bytes_moved(card: ModelCard) -> int:
    """Return what the convolutions of one inference read and write in half precision: images, results, weights."""
    import torch

    from seg_node import networks

    total = 0

    def count(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        total += inputs[0].numel() + output.numel() + sum(weight.numel() for weight in module.parameters())

    with torch.device("meta"):
        network = networks.build(card.network, card.classes, **card.options).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                module.register_forward_hook(count)
        network(torch.empty(1, 3, *card.size))
    return _HALF * total


def bandwidth(device: str, megabytes: int = 512) -> float:
    """Return bytes a second that a copy within a device's memory reads and writes: the best of a few."""
    import time

    import torch

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    source = torch.zeros(megabytes << 20, dtype=torch.uint8, device=device)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(10):
        wait()
        start = time.perf_counter()
        target.copy_(source)
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * source.numel() / best
