import threading
import time

from seg_node.ros.newest import NewestWins


def test_items_are_worked_on_one_at_a_time_and_the_newest_wins():
    done, begun, go = [], threading.Event(), threading.Event()

    def work(item):
        begun.set()
        go.wait(5)
        done.append(item)

    newest = NewestWins(work)
    assert not newest.offer(1)
    assert begun.wait(5)  # 1 is in hand: nothing waits
    assert not newest.offer(2)
    assert newest.offer(3) and newest.offer(4)
    go.set()
    deadline = time.monotonic() + 5
    while len(done) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert newest.stop(5)
    assert done == [1, 4]


def test_stop_lets_the_work_at_hand_end_and_starts_no_more():
    done, begun = [], threading.Event()

    def work(item):
        begun.set()
        time.sleep(0.05)
        done.append(item)

    newest = NewestWins(work)
    newest.offer(1)
    begun.wait(5)
    newest.offer(2)
    assert newest.stop(5) and done == [1]


def test_stop_does_not_wait_for_ever():
    go = threading.Event()
    newest = NewestWins(lambda item: go.wait(5))
    newest.offer(1)
    time.sleep(0.05)
    assert not newest.stop(0.05)
    go.set()
    assert newest.stop(5)
