import threading
import time

from seg_node.ros.turns import Turns


class Work:
    """Keeps what it is given; begins only when it may."""

    def __init__(self):
        self.done, self.begun, self.go = [], threading.Event(), threading.Event()

    def __call__(self, items):
        self.begun.set()
        self.go.wait(5)
        self.done.append(items)


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def test_items_are_worked_on_one_at_a_time_and_the_newest_wins():
    work = Work()
    turns = Turns(work, 1, lambda: 1)
    assert not turns.offer(0, 1)
    assert work.begun.wait(5)  # 1 is in hand: nothing waits
    assert not turns.offer(0, 2)
    assert turns.offer(0, 3) and turns.offer(0, 4)
    work.go.set()
    wait_for(lambda: len(work.done) == 2)
    assert turns.stop(5) and work.done == [[(0, 1)], [(0, 4)]]


def test_a_fast_camera_does_not_starve_a_slow_one():
    work = Work()
    turns = Turns(work, 3, lambda: 1)
    turns.offer(0, "a0")
    assert work.begun.wait(5)
    for slot, item in ((0, "b0"), (2, "a2"), (0, "c0"), (1, "a1")):
        turns.offer(slot, item)
    work.go.set()
    wait_for(lambda: len(work.done) == 4)
    turns.stop(5)
    assert work.done == [[(0, "a0")], [(1, "a1")], [(2, "a2")], [(0, "c0")]]


def test_frames_that_come_together_go_together():
    work = Work()
    work.go.set()
    turns = Turns(work, 3, lambda: 3)
    for slot in range(3):
        turns.offer(slot, slot)
    wait_for(lambda: work.done)
    turns.stop(5)
    assert [len(items) for items in work.done] == [3]


def test_a_batch_does_not_wait_for_a_camera_that_is_silent():
    work = Work()
    work.go.set()
    turns = Turns(work, 2, lambda: 2)
    start = time.monotonic()
    turns.offer(1, "x")
    wait_for(lambda: work.done)
    assert time.monotonic() - start < 1.0 and work.done == [[(1, "x")]]
    turns.stop(5)


def test_stop_lets_the_work_at_hand_end_and_tells_what_is_left():
    work = Work()
    turns = Turns(work, 2, lambda: 1)
    turns.offer(0, 1)
    work.begun.wait(5)
    turns.offer(1, 2)
    threading.Timer(0.05, work.go.set).start()
    assert turns.stop(5) and work.done == [[(0, 1)]] and turns.left() == [1]


def test_stop_does_not_wait_for_ever():
    work = Work()
    turns = Turns(work, 1, lambda: 1)
    turns.offer(0, 1)
    work.begun.wait(5)
    assert not turns.stop(0.05) and turns.left() == [0]
    work.go.set()
    assert turns.stop(5) and turns.left() == []
