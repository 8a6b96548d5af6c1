"""The programs that a stream goes through when it is fed calls of one length: one, or where the model looks ahead or strides
over time one for each phase, and what flushes it in each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError, ConvertError, FeedError, NotStreamableError
from ...graph.fact import Fact
from ...model import Model
from ...program.assemble import Placed
from ...program.calls import can_fail
from ...streams.block import Phase
from ...streams.plan import StreamPlan
from .options import COptions

__all__ = ["Run", "Schedule", "schedule"]

MOST_PHASES = 512
SHORTEST = 4
"""The least `max_chunk` at which a stream has other programs than that of one step, where it can."""


@dataclass(frozen=True)
class Run:
    """One program. `next`: the run behind it (-1: none, the signal has ended); `present`: the outputs it makes; `facts`: of
    those."""

    placed: Placed
    next: int
    present: tuple[int, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Schedule:
    """All programs of a stream. `runs`: the first begins a signal; `flushes`: what flushes it where `runs` of the same place
    would go on, empty where there is nothing to flush."""

    plan: StreamPlan
    first: NDArray[np.uint8]
    """The state block before the first step."""
    runs: tuple[Run, ...]
    flushes: tuple[Run, ...]
    steps: int
    """Steps of time in one program."""
    repeats: int
    """How often a call runs it: more than once where the model takes one step at a time."""
    single: Run | None = None
    """A program of one step, where `runs` have more, and no phases."""

    @property
    def all_runs(self) -> tuple[Run, ...]:
        return *self.runs, *self.flushes, *([self.single] if self.single else [])

    @property
    def arena_bytes(self) -> int:
        return max(run.placed.arena_bytes for run in self.all_runs)

    @property
    def can_fail(self) -> bool:
        """May a call refuse what it finds in its data."""
        return any(can_fail(call) for run in self.all_runs for call in run.placed.calls)


def schedule(model: Model, options: COptions) -> Schedule:
    """The programs of a stream of this model.

    Raises
    ------
    NotStreamableError
        The model does not stream.
    ConvertError
        An input has to be a constant, or there are too many phases.
    ArgumentError
        The chunk does not fit the model.
    """
    side = model.streaming.side
    try:
        stream = model.stream(batch=options.batch, max_chunk=max(options.chunk, SHORTEST))
    except (FeedError, NotStreamableError) as error:
        if not side:
            raise
        names = ", ".join(map(repr, side))
        raise ConvertError(f"{error}; for C make a constant of it: constants={{...}} for one of {names}") from error
    plan = stream._plan
    _refuse_open(plan)
    alone = plan.lengths == [1] and plan.spec.steady
    steps = 1 if alone else options.chunk
    if plan.lengths == [1] and not plan.spec.steady and options.chunk != 1:
        raise ArgumentError(f"chunk={options.chunk}: this model takes one step at a time; use chunk=1")
    phases: list[Phase] = [plan.first_phase]
    runs: list[Run] = []
    while len(runs) < len(phases):
        block = plan.block(steps, phases[len(runs)])
        if block.next_phase not in phases:
            phases.append(block.next_phase)
        if len(phases) > MOST_PHASES:
            raise ConvertError(
                f"the model passes more than {MOST_PHASES} phases before they repeat (it looks ahead by "
                f"{plan.spec.lag} steps); use a larger chunk"
            )
        placed = plan.placed(steps, phases[len(runs)])
        runs.append(_run(plan, placed, block.present, block.program.outputs, phases.index(block.next_phase)))
    flushes = [] if plan.spec.steady or plan.spec.mode != "time" else [_flush(plan, phase) for phase in phases]
    single = None
    if plan.spec.steady and steps > 1:
        block = plan.block(1, plan.first_phase)
        single = _run(plan, plan.placed(1, plan.first_phase), block.present, block.program.outputs, 0)
    return Schedule(plan, stream._first, tuple(runs), tuple(flushes), steps, options.chunk // steps, single)


def _flush(plan: StreamPlan, phase: Phase) -> Run:
    block = plan.block(0, phase, flush=True)
    return _run(plan, plan.placed(0, phase, flush=True), block.present, block.program.outputs, -1)


def _run(plan: StreamPlan, placed: Placed, present: tuple[str, ...], facts: tuple[Fact, ...], following: int) -> Run:
    names = [output.name for output in plan.spec.outputs]
    return Run(placed, following, tuple(names.index(name) for name in present), facts)


def _refuse_open(plan: StreamPlan) -> None:
    """C has fixed sizes: none may be a guess."""
    roles = plan.spec.roles
    for name, axis in roles.stay_open():
        if (name, axis) not in roles.known_sizes and name in plan.fed.names:
            shape = roles.shown_sizes()[name]
            raise ArgumentError(
                f"axis {axis} of the input {name!r} {shape} is open, and C has fixed sizes; give it with "
                f"inputs={{{name!r}: {shape}}}, a number for each axis that is neither time nor batch"
            )
