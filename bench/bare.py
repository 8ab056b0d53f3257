"""The bare network, a worker: ``Runtime.infer`` in a loop, and nothing beside it."""

import argparse
import os
import time
from typing import Any

from bench.workers import memory_mb, serve
from seg_node.evaluation.benchmark import street
from seg_node.model_card import load_card
from seg_node.runtimes import load_runtime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    card = load_card(options.model)
    runtime = load_runtime(card, options.runtime, options.device, options.precision)
    images = street(card.size, card.channels)

    def infer(frames: int) -> dict[str, Any]:
        """Returns each frame's ms, the processor's ms a frame, and what ran."""
        for image in images[:2]:
            runtime.infer(image[None])
        milliseconds, used = [], time.process_time()
        for index in range(frames):
            start = time.perf_counter()
            runtime.infer(images[index % len(images)][None])
            milliseconds.append(1e3 * (time.perf_counter() - start))
        used = 1e3 * (time.process_time() - used) / frames
        return {
            "ms": milliseconds,
            "cpu_ms": used,
            "rss_mb": memory_mb(os.getpid()),
            "runs": f"{runtime.name} {runtime.precision} on {runtime.device}",
        }

    serve(infer=infer)


if __name__ == "__main__":
    main()
