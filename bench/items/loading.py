"""What a training sample of Cityscapes' size costs to load, from its files and from the cache."""

from collections.abc import Callable, Iterator

from bench.items._script import rows_of
from bench.plan import Plan
from bench.table import Row


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Row]:
    say(f"{plan.images} images, from PNG files and from the cache")
    yield from rows_of("loading.py", str(plan.images))
