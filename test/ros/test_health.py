import math

import pytest

from seg_node.ros.health import DROPS, ERROR, OK, STAGES, STALE, WARN, Condition, Health


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def condition():
    condition = Condition()
    condition.state = "active"
    return condition


@pytest.fixture
def health(clock, condition):
    return Health(condition, clock)


def report(health):
    level, message, values = health.report(lambda: "/image (publishers: 0)")
    return level, message, dict(values)


def test_a_working_node(health, clock):
    for _ in range(20):
        clock.now += 0.1
        health.received(0.004)
        health.labelled({"infer": 0.01, "total": 0.012})
    level, message, values = report(health)
    assert (level, message) == (OK, "10.0 frames a second")
    assert (values["frames_in"], values["frames_out"], values["rate_in_hz"]) == ("20", "20", "10.00")
    assert (values["age_p50_ms"], values["infer_max_ms"], values["last_error"]) == ("4.000", "10.000", "")
    assert math.isnan(float(values["overlay_p50_ms"]))


def test_every_stage_and_cause_has_its_keys(health):
    values = report(health)[2]
    for stage in STAGES:
        for name in ("p50", "p95", "p99", "max"):
            float(values[f"{stage}_{name}_ms"])
    assert all(values["dropped_" + cause] == "0" for cause in DROPS)


def test_an_error_warns_once_and_is_remembered(health):
    health.dropped("bad_image", "truncated")
    assert report(health)[:2] == (WARN, "bad_image: truncated")
    level, _, values = report(health)
    assert (level, values["last_error"], values["dropped_bad_image"]) == (OK, "bad_image: truncated", "1")


def test_images_lost_on_their_way_add_up(health):
    for _ in range(2):
        health.lost(5, "5 images lost")
    level, message, values = report(health)
    assert (level, message) == (WARN, "5 images lost")
    assert (values["lost_before_arrival"], values["frames_in"]) == ("10", "0")


def test_what_does_not_fit_the_shared_memory_is_told_while_it_lasts(health, condition):
    health.received(0.0)
    condition.crowded = "66 MB fit badly"
    assert report(health)[:2] == report(health)[:2] == (WARN, "66 MB fit badly")
    health.dropped("bad_image", "truncated")
    assert report(health)[1] == "bad_image: truncated"
    condition.state = "inactive"
    assert report(health)[0] == OK


def test_a_newer_frame_is_no_error(health):
    health.dropped("newer_frame")
    assert report(health)[0] == OK


def test_silence_is_noticed_while_active(health, condition, clock):
    clock.now += 3
    assert report(health)[:2] == (STALE, "no image for 3 s on /image (publishers: 0)")
    health.error("5 images lost")
    assert report(health)[1].endswith("(publishers: 0); 5 images lost")
    health.received(0.0)
    assert report(health)[0] == OK
    clock.now += 60
    condition.state = "inactive"
    assert report(health)[:2] == (OK, "inactive")
    condition.state = "active"
    health.listen()
    assert report(health)[0] == OK


def test_what_is_broken_stays_an_error(health, condition):
    condition.broken = "cannot load model 'x': no such file"
    for _ in range(2):
        level, message, values = report(health)
        assert (level, message, values["last_error"]) == (ERROR, condition.broken, condition.broken)


def test_a_new_model_counts_anew(health):
    health.received(0.0)
    health.reset()
    assert report(health)[2]["frames_in"] == "0"


def test_a_latency_over_budget_warns(health, condition):
    condition.latency_budget = 0.05
    health.received(0.0)
    health.labelled({"total": 0.04})
    assert report(health)[0] == OK
    for _ in range(20):
        health.labelled({"total": 0.06})
    level, message, _ = report(health)
    assert level == WARN and "p95 of total is 60.0 ms, latency_budget is 50.0 ms" in message


def test_a_model_that_loads_beside_is_told(health, condition):
    health.received(0.0)
    condition.loading = "larger"
    assert report(health)[1].endswith("; loading model 'larger'")


def test_what_takes_long_while_a_model_loads_is_told(health, condition):
    condition.loading, condition.progress = "better", "building better: TensorRT fp16 engine for Orin, 34 s"
    level, message, values = report(health)
    assert level == OK and message.endswith("; loading model 'better': " + condition.progress)
    assert values["loading_progress"] == condition.progress
    condition.state, condition.loading = "loading", ""  # the first one
    assert report(health)[1] == "loading: " + condition.progress
