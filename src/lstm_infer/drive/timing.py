"""Calls timed in turns, on one core: medians over interleaved rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, repeat

import numpy as np

__all__ = ["ROUND_S", "SPREAD", "Call", "Timing", "interleave", "pinned"]

ROUND_S = 0.04
"""What a contender runs in one round; its calls are counted so that they take about this long."""
TAIL_CALLS = 1000
"""Single calls on the clock for the 99th percentile, over all rounds."""
SPREAD = (0.0, 5.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 100.0)
"""Percentiles of single calls that are kept."""

CLOCK_LOOKS = 101

Call = Callable[[], object]
Clock = Callable[[], int]


@dataclass
class Timing:
    """Microseconds a call: `median` over rounds of many calls; `p99` over single calls by the same clock, without what that costs
    itself; `rounds` the mean of each round: those of one index were taken side by side; `spread` the percentiles SPREAD of
    single calls."""

    median: float
    p99: float
    rounds: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()


def interleave(
    calls: Mapping[str, Call], rounds: int, seconds: float | None = None, clock: Clock = time.thread_time_ns
) -> dict[str, Timing]:
    """Time the calls in turns, each for so many seconds a round (default `ROUND_S`). The garbage collector stays as it
    is: our users do not switch it off either.

    clock: in nanoseconds, of rounds and of single calls. The thread's own leaves out what others on the machine took; where a
    call has more threads it takes the wall's, `time.perf_counter_ns`.
    """
    counts = {name: _calls_for(call, ROUND_S if seconds is None else seconds, clock) for name, call in calls.items()}
    means: dict[str, list[float]] = {name: [] for name in calls}
    tails: dict[str, list[int]] = {name: [] for name in calls}
    cost = _cost_of(clock)
    for _ in range(rounds):
        for name, call in calls.items():
            began = clock()
            for _ in repeat(None, counts[name]):
                call()
            means[name].append((clock() - began) / counts[name])
            singles = tails[name]
            for _ in repeat(None, min(counts[name], max(TAIL_CALLS // rounds, 1))):
                began = clock()
                call()
                singles.append(max(clock() - began - cost, 0))
    return {name: _timing(means[name], tails[name]) for name in calls}


def _timing(means: list[float], singles: list[int]) -> Timing:
    spread = np.percentile(singles, [99, *SPREAD]) / 1e3
    return Timing(
        statistics.median(means) / 1e3,
        float(spread[0]),
        tuple(mean / 1e3 for mean in means),
        tuple(spread[1:].tolist()),
    )


def _cost_of(clock: Clock) -> int:
    """Nanoseconds from one look at a clock to the next."""
    looks = [clock() for _ in range(CLOCK_LOOKS)]
    return int(statistics.median(after - before for before, after in pairwise(looks)))


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
