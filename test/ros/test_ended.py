import signal
import subprocess
import sys
import threading
import time

from seg_node.ros.ended import Ended

STORM = """
import faulthandler, random, signal, time
from seg_node.ros.ended import Ended
faulthandler.dump_traceback_later(20, exit=True)
ended, told = Ended(), 0
def handle(*_):
    global told
    told += 1
    ended.set()
    ended._set = False  # so that it goes on waiting
    signal.setitimer(signal.ITIMER_REAL, random.uniform(20e-6, 150e-6))
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-4)
end = time.monotonic() + 3
while time.monotonic() < end:
    ended.wait(1e-4)
signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one may be on its way, and would set the timer again
signal.setitimer(signal.ITIMER_REAL, 0)
print("told", told)
"""


def test_it_is_told_by_a_thread_and_waits_no_longer_than_it_was_asked_to():
    ended = Ended()
    begun = time.monotonic()
    assert not ended.wait(0.05) and time.monotonic() - begun < 2 and not ended.is_set()
    threading.Timer(0.05, ended.set).start()
    assert ended.wait(20) and ended.is_set() and time.monotonic() - begun < 10
    assert ended.wait(20)  # still


def test_a_handler_sets_it_at_any_moment_of_a_wait():
    """threading.Event hangs here within seconds: its lock is held by the thread that the handler interrupts."""
    run = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and int(run.stdout.split()[1]) > 1000, run.stdout + run.stderr


def test_a_signal_wakes_who_waits():
    ended = Ended()
    before = signal.signal(signal.SIGALRM, lambda *_: ended.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        begun = time.monotonic()
        assert ended.wait(20) and time.monotonic() - begun < 10
    finally:
        signal.signal(signal.SIGALRM, before)
