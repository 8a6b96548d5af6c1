"""Calls timed in turns, on one core: medians over interleaved rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

import numpy as np

__all__ = ["ROUND_S", "Call", "Timing", "interleave", "pinned"]

ROUND_S = 0.04
"""What a contender runs in one round; its calls are counted so that they take about this long."""
TAIL_CALLS = 1000
"""Single calls on the clock for the 99th percentile, over all rounds."""

Call = Callable[[], object]
Clock = Callable[[], int]


@dataclass
class Timing:
    """Microseconds a call: `median` over rounds of many calls; `p99` over single calls, with the clock's own cost;
    `rounds` the mean of each round: those of one index were taken side by side."""

    median: float
    p99: float
    rounds: tuple[float, ...] = ()


def interleave(
    calls: Mapping[str, Call], rounds: int, seconds: float | None = None, clock: Clock = time.thread_time_ns
) -> dict[str, Timing]:
    """Time the calls in turns, each for so many seconds a round (default `ROUND_S`). The garbage collector stays as it
    is: our users do not switch it off either.

    clock: of the rounds, in nanoseconds. The thread's own leaves out what others on the machine took; where a call has
    more threads it takes the wall's, `time.perf_counter_ns`. Single calls are always on the wall's.
    """
    counts = {name: _calls_for(call, ROUND_S if seconds is None else seconds, clock) for name, call in calls.items()}
    means: dict[str, list[float]] = {name: [] for name in calls}
    tails: dict[str, list[int]] = {name: [] for name in calls}
    wall = time.perf_counter_ns
    for _ in range(rounds):
        for name, call in calls.items():
            began = clock()
            for _ in repeat(None, counts[name]):
                call()
            means[name].append((clock() - began) / counts[name])
            singles = tails[name]
            for _ in repeat(None, min(counts[name], max(TAIL_CALLS // rounds, 1))):
                began = wall()
                call()
                singles.append(wall() - began)
    return {
        name: Timing(
            statistics.median(means[name]) / 1e3,
            float(np.percentile(tails[name], 99)) / 1e3,
            tuple(mean / 1e3 for mean in means[name]),
        )
        for name in calls
    }


def _calls_for(call: Call, seconds: float, clock: Clock) -> int:
    """How many calls take about this long, after warming up."""
    n, wanted = 1, seconds * 1e9
    while True:
        began = clock()
        for _ in repeat(None, n):
            call()
        took = clock() - began
        if took > wanted / 4 or n > 1 << 20:
            return max(int(n * wanted / max(took, 1)), 1)
        n *= 4


@contextmanager
def pinned(wanted: bool = True) -> Iterator[int | None]:
    """Keep this thread on one core inside; gives its number, or None where the system cannot."""
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    core = max(before)  # the first core takes most interrupts
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)
