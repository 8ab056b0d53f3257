"""What does a sample of Cityscapes' size cost to load, from its PNG files and from the cache?

    python bench/loading.py [IMAGES]        (default 16, rendered, 2048x1024)

Counts the time of the processor, not that of the clock, so that other work on the machine matters little. Prints one
JSON object a line; exits with 1 where the cache is not 20 times as fast.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from seg_node.datasets import fingerprint, open_split  # noqa: E402
from seg_node.evaluation.hardware import hardware  # noqa: E402
from seg_node.preparation.cache import open_cache  # noqa: E402
from seg_node.training.augment import fit  # noqa: E402

SIZE, WANTED = (1024, 2048), 20.0


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    cv2.setNumThreads(1)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        megabytes = write(data, count)
        split = open_split("cityscapes", "train", data)
        for size in ((512, 1024), SIZE):
            cached = open_cache(split, "train", fingerprint(split, times=True), data / "cache", size, fit)
            files = cpu_ms(lambda i: fit(*split[i][:2], size), count)  # noqa: B023
            filling = cpu_ms(cached.__getitem__, count)
            kept = cpu_ms(cached.__getitem__, count, rounds=5)
            cached = open_cache(split, "train", fingerprint(split, times=True), data / "cache", size, fit)
            first = cpu_ms(cached.__getitem__, count)
            good &= files / kept >= WANTED
            what = f"sample of {SIZE[0]}x{SIZE[1]} to {size[0]}x{size[1]}"
            for name, value in (
                ("cached", kept),
                ("cached, first time in a process", first),
                ("being cached", filling),
            ):
                print(
                    json.dumps(
                        {
                            "name": f"{what}, {name}",
                            "value": round(value, 2),
                            "unit": f"ms of a core; PNG images of {megabytes:.1f} MB",
                            "baseline": round(files, 2),
                            "ratio": round(files / value, 1),
                            "hardware": hardware(),
                            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                        }
                    )
                )
    return 0 if good else 1


def write(data: Path, count: int) -> float:
    """Write the rendered street in Cityscapes' layout; returns the images' mean size in megabytes."""
    street, total = open_split("street", "train", size=SIZE), 0
    for index in range(count):
        name = f"street_{index:06d}_000019"
        image = data / "leftImg8bit/train/street" / f"{name}_leftImg8bit.png"
        label = data / "gtFine/train/street" / f"{name}_gtFine_labelTrainIds.png"
        for path, pixels in ((image, street[index].image), (label, street[index].label)):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
        total += image.stat().st_size
    return total / count / 1e6


def cpu_ms(work: Callable[[int], object], count: int, rounds: int = 1) -> float:
    start = time.process_time()
    for index in range(rounds * count):
        work(index % count)
    return 1e3 * (time.process_time() - start) / (rounds * count)


if __name__ == "__main__":
    sys.exit(main())
