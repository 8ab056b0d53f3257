import math
import threading

import pytest

from seg_node.pipeline.latency import Counters, Latency


def test_percentiles_in_milliseconds():
    latency = Latency(["infer", "total"])
    for ms in range(101):
        latency.add({"infer": ms / 1e3})
    result = latency.percentiles()
    assert list(result) == ["infer", "total"]
    assert result["infer"] == pytest.approx((50, 95, 99, 100))
    assert all(math.isnan(value) for value in result["total"])


def test_only_the_window_counts():
    latency = Latency(["infer"], window=3)
    for seconds in (9.0, 0.001, 0.002, 0.003):
        latency.add({"infer": seconds})
    assert latency.percentiles()["infer"].max == pytest.approx(3)


def test_negative_ages_are_reported_as_they_are():
    latency = Latency(["age"])
    latency.add({"age": -0.25})
    assert latency.percentiles()["age"].p50 == pytest.approx(-250)


def test_unknown_names_are_errors():
    with pytest.raises(KeyError):
        Latency(["infer"]).add({"infre": 1.0})
    with pytest.raises(KeyError):
        Counters(["in"]).count("out")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_rates_look_back_over_the_window():
    clock = Clock()
    counters = Counters(["in", "out"], window=5.0, clock=clock)
    assert counters.rate("in") == 0
    for _ in range(100):
        clock.now += 0.125
        counters.count("in")
    assert counters.rate("in") == pytest.approx(8)
    assert (counters.total("in"), counters.total("out")) == (100, 0)
    clock.now += 60
    assert (counters.rate("in"), counters.total("in")) == (0, 100)


def test_a_young_counter_does_not_understate():
    clock = Clock()
    counters = Counters(["in"], window=5.0, clock=clock)
    for _ in range(10):
        clock.now += 0.1
        counters.count("in")
    assert counters.rate("in") == pytest.approx(10)


def test_counting_from_many_threads():
    counters, latency = Counters(["in"]), Latency(["infer"], window=100000)

    def work():
        for _ in range(2000):
            counters.count("in")
            latency.add({"infer": 0.001})
            if _ % 500 == 0:
                latency.percentiles()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.total("in") == 8000
