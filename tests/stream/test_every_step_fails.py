"""A failure before every step of a stream's plan, on every road: what comes after it is what it is without.

The failing step is part of a plan that is made here: it counts its calls in memory of its own and looks into a table at that
place, so that the test says which call finds no row.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest

import every_road
import tolerances
from lstm_infer import Model, ShapeError, Stream, _stream
from lstm_infer.program.arguments import Gather, dtype_code
from lstm_infer.program.assemble import placed
from lstm_infer.program.calls import AnyCall, BranchCall, Call, LoopCall, MapCall, can_fail
from lstm_infer.streams.block import Block, Phase
from lstm_infer.streams.plan import StreamPlan
from lstm_infer.streams.road import call_of

CHUNK = 4
"""Longest block: so that a run has several, of several lengths."""
ROWS = 1 << 40
"""Of the table, whose rows have no bytes."""


class Trap:
    """Two steps: the count goes up by one, and the row of that number is looked up."""

    def __init__(self, store: Any) -> None:
        self.count = np.zeros(1, np.int64)
        one, number = store.scalar(1, np.int64), store.view(self.count)
        self.held = one, number
        lookup = Gather(number, number, number, dtype_code(np.dtype(np.int64)), 1, ROWS, 1, 0)
        self.calls: list[AnyCall] = [
            MapCall(True, [number, one], [("ADD", 0, 1)], [(number, 2)], "trap"),
            Call("gather", lookup, "trap"),
        ]

    def set(self, calls: int | None) -> None:
        """So many more calls go well; None: all."""
        self.count[0] = 0 if calls is None else ROWS - 1 - calls

    @property
    def sprung(self) -> bool:
        return bool(self.count[0] == ROWS)


def places(calls: list[AnyCall]) -> int:
    """How many there are to put a step at: before each step and behind the last, in bodies too."""
    return len(calls) + 1 + sum(places(body) for call in calls for body in bodies(call))


def bodies(call: AnyCall) -> list[list[AnyCall]]:
    if isinstance(call, LoopCall):
        return [call.body]
    return [part for part in call.lists if part is not None] if isinstance(call, BranchCall) else []


def put(calls: list[AnyCall], at: int, new: list[AnyCall]) -> None:
    """Put calls at this place."""
    if at <= len(calls):
        calls[at:at] = new
        return
    at -= len(calls) + 1
    for call in calls:
        for body in bodies(call):
            if at < (n := places(body)):
                put(body, at, new)
                return
            at -= n
    raise AssertionError("no such place")


class TrappedPlan(StreamPlan):
    """The plan of a stream, and a trap at one place in each of its programs."""

    trap: Trap
    at: float
    """Which of a program's places, as a part of all: programs of other lengths have others."""
    marked: bool

    @staticmethod
    def of(plan: StreamPlan, at: float, marked: bool = True) -> TrappedPlan:
        found: TrappedPlan = copy.copy(plan)  # type: ignore[assignment]
        found.__class__ = TrappedPlan
        found.trap, found.at, found.marked, found._made, found._returning = Trap(plan.store), at, marked, {}, {}
        found.blocks = [found.block(n, found.first_phase) for n in found.lengths] if found.spec.steady else []
        if plan.call is not None:
            found.call = call_of(
                found.spec, found.fed.streamed, found.step_facts, found.out_facts, found.blocks, found.store, found.layout.n_bytes
            )  # fmt: skip
        return found

    def _block(self, n: int, phase: Phase, flush: bool) -> Block:
        whole = super()._block(n, phase, flush)
        _, _, b, outputs = self._settled(n, phase, flush)
        made = placed(b, len(self.fed.names), len(outputs))
        put(made.calls, int(self.at * places(made.calls)), self.trap.calls)
        segments = made.segments(made.calls)
        program = dataclasses.replace(
            whole.program,
            segments=tuple(segment for segment, _ in segments),
            nodes=tuple(names for _, names in segments),
            consts=(*b.held.values(), *self.trap.held),
            can_fail=self.marked and any(map(can_fail, made.calls)),
        )
        return dataclasses.replace(whole, program=program)


def most_places(plan: StreamPlan) -> int:
    """The places of the largest of the programs that were made."""
    return max(places(plan.placed(n, phase).calls) for n, phase, flush in plan._made if not flush)


def same(got: Any, want: Any, what: str) -> None:
    if isinstance(want, dict):
        assert list(got) == list(want), what
        for name, array in want.items():
            same(got[name], array, f"{what}: {name}")
    elif want is None:
        assert got is None, what
    else:
        tolerances.exact(got, want, what)


def given(fed: dict[str, Any], alone: bool) -> Any:
    return next(iter(fed.values())) if alone and len(fed) == 1 else fed


def empty_like(made: Any) -> Any:
    return {name: np.empty_like(a) for name, a in made.items()} if isinstance(made, dict) else np.empty_like(made)


class Pair:
    """A stream with a trap, and one that never sees it, at the same place in the same signal."""

    def __init__(self, road: every_road.Road, model: Model, at: float, marked: bool = True) -> None:
        self.road, self.fed, self.t = road, road.signal(1), 0
        self.twin = model.stream(road.batch, inputs=road.bound, max_chunk=CHUNK)
        if road.sizes:  # from here on they are known
            self.twin.run(given(road.part(self.fed, 0, 1), True))
            self.twin.reset()
        assert (self.twin._plan.call is not None) == road.fast
        self.plan = TrappedPlan.of(self.twin._plan, at, marked)
        assert (self.plan.call is not None) == road.fast
        self.stream = Stream(self.twin._source, self.twin._asked, self.plan)

    def run(
        self, n: int, *, fails_in: int | None = None, alone: bool = True, step: bool = False, into: bool = False
    ) -> None:
        """n steps, and before them the same call with a failure in one of its blocks."""
        part = self.road.part(self.fed, self.t, self.t + n)
        x = given(self.road.frame(self.fed, self.t) if step else part, alone)
        call, other = (self.stream.step, self.twin.step) if step else (self.stream.run, self.twin.run)
        self.plan.trap.set(None)
        want = other(x)
        out = empty_like(want) if into else None
        if fails_in is not None:
            before = bytes(self.stream._state), self.stream.snapshot(), self.stream._standing
            self.plan.trap.set(fails_in)
            with pytest.raises(ShapeError, match="an index lies outside"):
                call(x, out)
            assert self.plan.trap.sprung
            assert (bytes(self.stream._state), self.stream.snapshot(), self.stream._standing) == before
            self.plan.trap.set(None)
        got = call(x, out)
        assert not into or got is out
        same(got, want, f"{n} steps from {self.t} on")
        self.t += n


def go_through(pair: Pair) -> None:
    """Every kind of call, each with a failure and then again."""
    pair.run(3, fails_in=0)
    pair.run(7, fails_in=1)  # blocks of 4, 1, 1, 1 steps
    pair.run(6, fails_in=2, into=True)
    if pair.twin._plan.spec.steady:
        pair.run(1, fails_in=0, step=True)
        pair.run(1, fails_in=0, step=True, alone=False, into=True)
    pair.run(2, fails_in=0, alone=False)
    if not pair.twin._plan.spec.steady:
        before = pair.stream.snapshot()
        pair.plan.trap.set(0)
        with pytest.raises(ShapeError, match="an index lies outside"):
            pair.stream.flush()
        assert pair.stream.snapshot() == before
        pair.plan.trap.set(None)
    same(pair.stream.flush(), pair.twin.flush(), "flush")
    assert pair.stream.snapshot() == pair.twin.snapshot()
    pair.stream.reset()
    pair.twin.reset()
    pair.t = 0
    pair.run(5)


@pytest.mark.parametrize("name", every_road.ROADS)
def test_what_comes_after_it_is_what_it_is_without(name: str) -> None:
    road = every_road.ROADS[name]()
    model = road.load()
    first = Pair(road, model, 0.0)
    go_through(first)
    count = most_places(first.twin._plan)
    assert count >= 3
    for index in range(1, count):
        go_through(Pair(road, model, (index + 0.5) / count))


@pytest.mark.parametrize("name", ["lstm", "frame with states", "tokens"])
def test_it_is_the_mark_that_keeps_the_state(name: str) -> None:
    """A plan that can fail and is not marked so loses the state: the failures above come where there is something to lose."""
    road = every_road.ROADS[name]()
    model = road.load()
    lost = 0
    count = most_places(model.stream(max_chunk=CHUNK)._plan)
    for index in range(count):
        pair = Pair(road, model, (index + 0.5) / count, marked=False)
        before = bytes(pair.stream._state)
        pair.plan.trap.set(1)
        _stream.fill_scratch(0xAB)
        with pytest.raises(ShapeError, match="trap"):
            pair.stream.run(given(pair.road.part(pair.fed, 0, 7), True))
        lost += bytes(pair.stream._state) != before
    assert lost
