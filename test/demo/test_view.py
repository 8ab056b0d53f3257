"""What the demo shows, without a terminal and on one."""

import io

import numpy as np

from seg_node.demo.view import View
from seg_node.evaluation.tally import Tally
from seg_node.label_set import load_label_set


def report(frames=20):
    tally = Tally(load_label_set("camvid11"))
    for index in range(frames):
        tally.add_sent(index / 10)
        tally.add_label(index / 10 + 0.02, 0.02)
    tally.add_pair(1.0, np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    tally.add_diagnostics(
        {
            "model": "m",
            "runtime": "fake",
            "device": "cpu",
            "input_size": "4x8",
            "frames_in": str(frames),
            "dropped_too_old": "2",
            "last_error": "something odd",
            "infer_p50_ms": "1",
            "infer_p95_ms": "2",
            "infer_p99_ms": "3",
            "infer_max_ms": "4",
        }
    )
    tally.finish()
    return tally.report()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_a_line_a_second():
    stream = io.StringIO()
    with View("title", 5.0, stream) as view:
        for step in range(8):
            view.show(report(), elapsed=step * 0.5)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert "10.0 frames/s in, 10.0 out" in lines[1] and "latency p50 20.0" in lines[1] and "2 too old" in lines[1]
    assert "mIoU 100.0 %" in lines[1] and "4 s left" in lines[1]


def test_the_last_report_is_a_table_with_every_stage():
    stream = io.StringIO()
    with View("title", 5.0, stream) as view:
        view.finish(report())
    text = stream.getvalue()
    for part in ("title", "m at 4x8", "20 sent, 20 labelled", "2 too old", "network", "camera to label", "odd"):
        assert part in text


def test_on_a_terminal_too():
    stream = Terminal()
    with View("title", 5.0, stream) as view:
        view.say("a note")
        view.show(report(), 1.0)
        view.finish(report())
    assert "camera to label" in stream.getvalue()


def test_before_the_first_frame():
    stream = io.StringIO()
    with View("title", 5.0, stream) as view:
        view.show(report(0), 0.0)
    assert stream.getvalue() == ""
