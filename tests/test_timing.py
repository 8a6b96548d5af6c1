"""Calls timed in turns: by the clock that is given, warmed up, and each round beside the others of its number."""

from __future__ import annotations

import pytest

from lstm_infer.drive.timing import SPREAD, interleave


class Clock:
    """Nanoseconds that only the calls spend."""

    def __init__(self):
        self.now, self.order = 0, []

    def __call__(self):
        return self.now

    def call(self, name, ns):
        def spend():
            self.now += next(ns)
            if not self.order or self.order[-1] != name:
                self.order.append(name)

        return spend


def always(ns):
    while True:
        yield ns


def test_the_mean_of_each_round_and_the_median_over_rounds():
    clock = Clock()
    calls = {"slow": clock.call("slow", always(3000)), "fast": clock.call("fast", always(250))}
    found = interleave(calls, 5, 1e-4, clock)
    assert found["slow"].median == pytest.approx(3.0) and found["fast"].median == pytest.approx(0.25)
    assert all(len(timing.rounds) == 5 for timing in found.values())
    assert clock.order == ["slow", "fast"] * 6, "warmed up, then in turns"


def test_single_calls_are_timed_by_the_same_clock_without_its_own_cost():
    class Costly(Clock):
        def __call__(self):
            self.now += 40
            return self.now

    clock = Costly()
    found = interleave({"a": clock.call("a", always(1000))}, 5, 1e-4, clock)["a"]
    assert found.p99 == pytest.approx(1.0) and found.spread == pytest.approx((1.0,) * len(SPREAD))


def test_a_round_that_was_disturbed_does_not_count():
    clock, spent = Clock(), [0]

    def ns():
        while True:
            spent[0] += 1
            yield 50_000 if 300 < spent[0] < 350 else 1000

    found = interleave({"a": clock.call("a", ns())}, 9, 1e-4, clock)["a"]
    assert found.median == pytest.approx(1.0) and max(found.rounds) > 2
