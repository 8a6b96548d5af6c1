"""Whole sequences of unequal length through a pool: one joins as another ends.

The longest come first, so that those that run side by side end at nearly the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LstmInferError
from ..streams import shapes
from ..streams.plan import StreamPlan
from .signals import Signals

if TYPE_CHECKING:
    from ..streams.shapes import Arrays

__all__ = ["One", "checked", "of_sequence", "through"]

ABREAST = 64
"""Sequences side by side for each thread: as many as the largest batch."""
LEAST_STEPS, MOST_STEPS = 32, 256
"""Of one call. Where fewer are left of a sequence it is fed its last frame again, and what that gives is dropped."""


class One:
    """A sequence: its place in what the caller gave, what is fed, and how far it is."""

    def __init__(self, index: int, feeds: Arrays, steps: int, named: bool) -> None:
        self.index, self.feeds, self.steps, self.named = index, feeds, steps, named
        self.at = 0
        self.results: dict[str, NDArray[Any]] = {}

    def put(self, x: NDArray[Any], name: str, axis: int | None, n: int) -> None:
        """The next n steps of an input."""
        array = self.feeds[name]
        if axis is None:
            x[...] = array
            return
        front, there = (slice(None),) * axis, min(n, self.steps - self.at)
        x[(*front, slice(0, there))] = array[(*front, slice(self.at, self.at + there))]
        if there < n:
            x[(*front, slice(there, n))] = array[(*front, slice(self.steps - 1, self.steps))]

    def take(self, plan: StreamPlan, made: Mapping[str, NDArray[Any]], row: int, n: int) -> None:
        """The outputs of a call of n steps, at their place in those of the whole sequence."""
        stop = min(self.at + n, self.steps)
        for o in plan.spec.outputs:
            found = made[o.name][row]
            axis = 0 if plan.spec.mode == "frame" else o.axis if o.kind == "time" else None
            if axis is None:
                self.results[o.name] = found
                continue
            each = found.shape[axis] // n  # entries for a step
            if o.name not in self.results:
                shape = (*found.shape[:axis], self.steps * each, *found.shape[axis + 1 :])
                self.results[o.name] = np.empty(shape, found.dtype)
            front = (slice(None),) * axis
            there = found[(*front, slice(0, (stop - self.at) * each))]
            self.results[o.name][(*front, slice(self.at * each, stop * each))] = there
        self.at = stop

    def answer(self) -> Any:
        """An array where an array was given and one comes out, else a dict by name."""
        return self.results if self.named or len(self.results) != 1 else next(iter(self.results.values()))


def checked(plan: StreamPlan, index: int, sequence: Any) -> One:
    """A sequence as `Stream.run` takes it; an error says which one it is."""
    try:
        feeds = shapes.checked_feeds(plan, sequence)
        new = shapes.other_sizes(plan, feeds, 1 if plan.spec.mode == "frame" else 0)
        steps = -1 if new else shapes.chunk_length(plan, feeds)
    except LstmInferError as error:
        raise of_sequence(index, error) from None
    return One(index, feeds, steps, isinstance(sequence, Mapping))


def of_sequence(index: int, error: LstmInferError) -> LstmInferError:
    """The same error, with the sequence that it is about."""
    return error.with_text(f"sequence {index}: {error}")


def through(pool: Signals, plan: StreamPlan, sequences: Sequence[One], threads: int) -> Iterator[One]:
    """Run them all; each as it ends."""
    waiting = deque(sorted(sequences, key=lambda one: -one.steps))
    running: dict[int, One] = {}
    spare = may_go_on(plan)
    while waiting or running:
        while waiting and len(running) < ABREAST * threads:
            running[pool._alone(lambda: pool._opened({}))] = waiting.popleft()
        left = [one.steps - one.at for one in running.values()]
        n = min(MOST_STEPS, min(left))
        if spare and n < LEAST_STEPS:
            n = min(LEAST_STEPS, max(left))
        x = _stacked(plan, list(running.values()), n)
        try:
            made = pool.run(np.fromiter(running, np.int64, len(running)), x)
        except LstmInferError as error:
            for id, one in running.items():
                if str(error).startswith(f"signal {id}: "):
                    error.args = (str(error).removeprefix(f"signal {id}: "),)
                    raise of_sequence(one.index, error) from None
            raise
        ended = []
        for row, (id, one) in enumerate(running.items()):
            one.take(plan, made, row, n)
            if one.at == one.steps:
                ended.append(id)
        for id in ended:
            slot = pool._slot(id)
            pool._alone(lambda slot=slot: pool._drop(slot))  # type: ignore[misc]
            yield running.pop(id)


def may_go_on(plan: StreamPlan) -> bool:
    """May a sequence be fed beyond its end: no output is the value at the end, and nothing is refused for its values."""
    return all(o.kind == "time" or plan.spec.mode == "frame" for o in plan.spec.outputs) and not any(
        block.program.can_fail for block in plan.blocks
    )


def _stacked(plan: StreamPlan, ones: Sequence[One], n: int) -> dict[str, NDArray[Any]]:
    """The next n steps of each, side by side."""
    made = {}
    for name, first in ones[0].feeds.items():
        axis, shape = _steps_axis(plan, name), list(first.shape)
        if axis is not None:
            shape[axis] = n
        made[name] = np.empty((len(ones), *shape), first.dtype)
        for row, one in enumerate(ones):
            one.put(made[name][row], name, axis, n)
    return made


def _steps_axis(plan: StreamPlan, name: str) -> int | None:
    if plan.spec.mode == "frame":
        return 0 if name in plan.spec.streamed else None
    return shapes.time_axis(plan, name)
