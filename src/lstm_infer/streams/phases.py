"""In which phases a stream may stand: how many steps its windows and queues may hold together.

That depends on how many steps were fed, and on nothing else. So a phase is looked for among those of 0, 1, 2 ... steps, until
they repeat; where a model looks far ahead, by halving: from one period of its strides to the next no memory gets emptier, up
to where all of them are as full as they get.
"""

from __future__ import annotations

import threading

from .block import Phase
from .chunk import may_hold, walk_chunk
from .reference import Reference
from .state_block import Fills

__all__ = ["Phases"]

MOST_STEPS = 256
"""Where a stream has passed all its phases after so many steps, they are gone through one by one."""


class Phases:
    """The phases of the streams of a plan. `first`: that of a new one; `capacity`: the most that each memory holds."""

    def __init__(self, reference: Reference, first: Fills, capacity: Fills) -> None:
        self._reference, self._first, self._capacity = reference, first, capacity
        self._rate = reference.fed.spec.rate
        self._periods = sum(capacity.values()) + 2
        """Behind so many periods all memories are as full as they get: each of them lets one more step in."""
        self._seen: set[Phase] = set()
        self._all = False
        self._lock = threading.Lock()

    def reached(self, phase: Phase) -> bool:
        """Is this a phase in which a stream may stand."""
        if len(phase) != len(self._first):
            return False
        if not phase:
            return True
        fills = dict(zip(self._first, phase, strict=True))
        if not may_hold(self._reference, fills) or any(n > self._capacity[key] for key, n in fills.items()):
            return False
        with self._lock:
            if phase not in self._seen and not self._all:
                if self._periods * self._rate <= MOST_STEPS:
                    self._go_through()
                elif any(self._by_halves(phase, rest) for rest in self._rests(phase)):
                    self._seen.add(phase)
            return phase in self._seen

    def _go_through(self) -> None:
        now, self._all = dict(self._first), True
        while tuple(now.values()) not in self._seen and len(self._seen) <= MOST_STEPS:
            self._seen.add(tuple(now.values()))
            now = walk_chunk(self._reference, 1, now).after()

    def _rests(self, phase: Phase) -> list[int]:
        """What N steps may leave behind whole periods, the likely ones first: none, and what one memory alone says."""
        said = [(held - first) % self._rate for held, first in zip(phase, self._first.values(), strict=True)]
        return list(dict.fromkeys([0, *said, *range(self._rate)]))

    def _by_halves(self, phase: Phase, rest: int) -> bool:
        """Is there a number of whole periods, and `rest` steps, behind which a stream stands so."""
        low, high = 0, 1
        while high < self._periods and sum(self._behind(high, rest)) < sum(phase):
            low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            if sum(self._behind(middle, rest)) < sum(phase):
                low = middle + 1
            else:
                high = middle
        return self._behind(low, rest) == phase

    def _behind(self, periods: int, rest: int) -> Phase:
        after = walk_chunk(self._reference, periods * self._rate + rest, dict(self._first)).after()
        return tuple(after[key] for key in self._first)
