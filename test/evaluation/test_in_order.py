import threading
import time

import pytest

from seg_node.evaluation.in_order import in_order


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_the_order_of_the_items(workers) -> None:
    def work(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)  # some are overtaken
        return item * item

    assert list(in_order(work, range(20), workers)) == [item * item for item in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_its_turn_and_ends_the_threads(workers) -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    before, got = threading.active_count(), []
    with pytest.raises(ValueError, match="item 3"):
        got.extend(in_order(work, range(10), workers))
    assert threading.active_count() == before


def test_threads_run_only_a_few_ahead() -> None:
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    stream = in_order(lambda item: item, items(), 2)
    assert next(stream) == 0 and len(taken) == 5
    stream.close()
