import random

import pytest

from seg_node.ros.gaps import Gaps


def feed(gaps, numbers, period=1 / 30, numbered=True, jitter=0.0):
    noise = random.Random(3)
    for number in numbers:
        gaps.see(100.0 + number * period + noise.uniform(-jitter, jitter), number if numbered else None)


def test_numbers_that_are_left_out():
    gaps = Gaps()
    feed(gaps, [1, 2, 5, 6, 9])
    assert gaps.numbered and gaps.missing == 4


def test_another_publisher_is_no_gap():
    gaps = Gaps()
    feed(gaps, [100, 101, 1, 2])
    assert gaps.missing == 0


def test_two_publishers_in_turns_are_no_gaps():
    gaps = Gaps()
    feed(gaps, [n for i in range(400) for n in (5000 + i, 1 + i)])
    assert gaps.missing == 0
    feed(gaps, [n for i in range(90) for n in (5401 + i, 401 + i)])
    assert gaps.missing == 1  # of the first one, 5400
    gaps = Gaps()
    feed(gaps, [n for i in range(300) for n in (103 + i, 100 + i)])  # close to each other
    assert gaps.missing == 0


@pytest.mark.parametrize("numbered", [True, False])
def test_a_long_drive_takes_no_memory(numbered):
    gaps = Gaps()
    feed(gaps, range(30000), numbered=numbered)
    assert gaps.missing == 0 and sum(len(v) for v in vars(gaps).values() if isinstance(v, list)) <= 10001


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        (range(30), 0),
        ([n for n in range(60) if n % 3], 19),  # every third lost
        ([n for n in range(60) if n % 4 == 0 or n % 4 == 1], 28),  # half of them
        ([n for n in range(40) if n != 7], 0),  # one is not worth a word
        ([*range(20), *range(300, 320)], 0),  # a pause
    ],
)
def test_stamps_tell_where_nothing_else_does(kept, missing):
    gaps = Gaps()
    feed(gaps, kept, numbered=False, jitter=0.002)
    assert not gaps.numbered and gaps.missing == 0
    assert gaps.by_stamps() == missing
    assert gaps.by_stamps() == 0  # told once


def test_few_images_wait_for_more():
    gaps = Gaps()
    feed(gaps, [0, 1, 2, 6, 7], numbered=False)
    assert gaps.by_stamps() == 0
    feed(gaps, [8, 9, 10, 11, 15, 16, 17], numbered=False)
    assert gaps.by_stamps() == 6
