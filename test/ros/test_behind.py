import threading
import time

from seg_node.ros.behind import Behind


def test_one_thing_at_a_time_and_no_queue():
    behind, go, done = Behind(), threading.Event(), []

    def first():
        go.wait(5)
        done.append(1)

    behind.give(first)  # returns at once
    assert not done
    second = threading.Thread(target=behind.give, args=(lambda: done.append(2),))
    second.start()
    second.join(0.1)
    assert second.is_alive()  # waits for the first
    go.set()
    second.join(5)
    behind.settle()
    assert done == [1, 2]
    assert behind.stop(5)


def test_settle_waits_for_what_is_at_work():
    behind, done = Behind(), []
    behind.settle()
    behind.give(lambda: (time.sleep(0.05), done.append(1)))
    behind.settle()
    assert done == [1]
    assert behind.stop(5)


def test_what_hangs_is_told_and_nobody_waits_for_a_thread_that_has_ended():
    behind, go = Behind(), threading.Event()
    behind.give(lambda: go.wait(5) and None)
    time.sleep(0.02)
    assert not behind.stop(0.05)
    go.set()
    assert behind.stop(5)
    behind.give(lambda: None)  # too late: nothing happens, and nobody waits
    behind.settle()
