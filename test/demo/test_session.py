"""The demo's end, with a recorder that is hard of hearing."""

import os
import queue
import time

from seg_node.demo import session
from seg_node.demo.processes import Child

RECORDER = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
try:
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pass  # as an import that catches everything
print("deaf", flush=True)
time.sleep(60)
"""


class Silent:
    def say(self, text):
        pass


def test_a_recorder_that_lost_an_interrupt_is_interrupted_again(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "_ASK_AGAIN", 0.1)
    (tmp_path / "recorder_under_test.py").write_text(RECORDER)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    recorder = Child("recorder", "recorder_under_test", [], environment, tmp_path)
    deadline = time.monotonic() + 10
    while "up" not in recorder.end_of_log() and time.monotonic() < deadline:
        time.sleep(0.02)
    plan = session.Plan(None, "", "", None, None, None, 1.0, tmp_path)
    ending = session._Session(plan, None, tmp_path, Silent())
    assert ending._stop_early(recorder, [], queue.Queue(), session.INTERRUPTED) == session.INTERRUPTED
    assert recorder.code is not None and "deaf" in recorder.end_of_log()
