"""The general path of a stream: any number of inputs and outputs, any phase, steps on the host.

What `_stream.StreamCore` does not take in C comes here: it is checked, cut into blocks, run, and joined again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._stream import Standing
from ..errors import ShapeError, StateError
from ..within import within_memory
from . import shapes
from .asked import Asked, Source
from .block import Block
from .plan import StreamPlan

if TYPE_CHECKING:
    from .shapes import Arrays

__all__ = ["FLUSHED", "Live", "WithArena", "call_block", "flush_slow", "joined", "piece", "run_slow", "step_slow"]

Frames = NDArray[Any] | Mapping[str, NDArray[Any]]
Results = NDArray[Any] | dict[str, NDArray[Any] | None]
Body = Callable[[Any], tuple[Any, Any]]
"""What is done alone in a stream, by the compiled frame around it: from where it stands to a result and where it then
stands."""

FLUSHED = "the stream was flushed, which ended its signal; reset() begins a new one"


class WithArena(Protocol):
    """Who lends memory to work in; it grows as it has to."""

    _arena: NDArray[np.uint8] | None


class Live(WithArena, Protocol):
    """A stream."""

    _source: Source
    _asked: Asked

    @property
    def _state(self) -> NDArray[np.uint8]:
        """All that it keeps."""

    @property
    def _now(self) -> Standing:
        """Where it stands."""

    def _stand(self, then: Standing, state: NDArray[np.uint8] | None = None) -> Standing:
        """Go on from there."""


@within_memory("the stream")
def step_slow(stream: Live, x: Frames, out: Any) -> Body:
    now = stream._now
    feeds = shapes.checked_feeds(now.plan, x)
    plan = _adapted(stream, now.plan, feeds, lead=0)
    ready, dropped = shapes.step_arrays(plan, feeds)
    if now.flushed:
        raise StateError(FLUSHED)
    if plan.spec.lag or plan.spec.rate != 1:
        why = [f"looks ahead by {plan.spec.lag} steps"] if plan.spec.lag else []
        why += [f"gives one step for {plan.spec.rate} that are fed"] if plan.spec.rate != 1 else []
        raise ShapeError(
            f"step: this model {' and '.join(why)}, so a step is not always answered by a step; use run(), which takes any "
            "number of steps and returns what is complete, and flush() at the end"
        )
    block = plan.block(1, now.phase)
    made_of = {name: f.shape for name, f in zip(block.present, block.program.outputs, strict=True)}
    # an output that has several steps for each that is fed keeps its axis
    timed = {o.name: o.axis for o in plan.spec.outputs if dropped and o.kind == "time"}
    gone = {name: axis for name, axis in timed.items() if made_of[name][axis] == 1}
    there = {name: tuple(n for a, n in enumerate(shape) if a != gone.get(name)) for name, shape in made_of.items()}
    wanted = {o.name: there.get(o.name) for o in plan.spec.outputs}  # one that is the last value may not exist yet
    targets = shapes.check_out(plan, out, wanted, ready)

    def finish(made: list[dict[str, NDArray[Any]]]) -> Results:
        final: dict[str, NDArray[Any] | None] = {}
        for spec in plan.spec.outputs:
            result = made[0].get(spec.name)
            final[spec.name] = (
                result if result is None or spec.name not in gone else np.squeeze(result, gone[spec.name])
            )
        return _deliver(final, out, targets, named=isinstance(x, Mapping))

    return _made(stream, now, plan, [(block, ready)], finish)


@within_memory("the stream")
def run_slow(stream: Live, x: Frames, out: Any) -> Body:
    now = stream._now
    feeds = shapes.checked_feeds(now.plan, x)
    plan = _adapted(stream, now.plan, feeds, lead=1 if now.plan.spec.mode == "frame" else 0)
    n = shapes.chunk_length(plan, feeds)
    if now.flushed:
        raise StateError(FLUSHED)
    dense = {name: np.asarray(array, order="C") for name, array in feeds.items()}  # there has to be room for it
    pieces: list[tuple[Block, dict[str, NDArray[Any]]]] = []
    at = 0
    blocks = plan.cut(n, now.phase)
    for block in blocks:
        pieces.append((block, {name: piece(plan, name, a, at, block.n) for name, a in dense.items()}))
        at += block.n
    targets = shapes.check_out(plan, out, shapes.run_shapes(plan, blocks), feeds)
    named = isinstance(x, Mapping)
    return _made(stream, now, plan, pieces, lambda made: _deliver(joined(plan, made), out, targets, named=named))


@within_memory("the stream")
def flush_slow(stream: Live) -> Body:
    """The outputs that are still behind."""
    now = stream._now
    plan = now.plan
    if plan.spec.steady or plan.spec.mode != "time":
        return _made(stream, now, plan, [], lambda made: _deliver(joined(plan, made)))
    if now.flushed:
        raise StateError(FLUSHED)
    block = plan.block(0, now.phase, flush=True)
    facts = {name: plan.step_facts[name] for name in plan.fed.names}
    feeds = {
        name: np.zeros([0 if a == plan.spec.roles.time.get(name) else n for a, n in enumerate(f.shape)], f.dtype)
        for name, f in facts.items()
    }
    return _made(stream, now, plan, [(block, feeds)], lambda made: _deliver(joined(plan, made)), flushed=True)


def _adapted(stream: Live, plan: StreamPlan, feeds: Arrays, lead: int) -> StreamPlan:
    """The plan for the extents, of axes that the file leaves open, that are fed."""
    new = shapes.other_sizes(plan, feeds, lead)
    return stream._source._replan(stream._asked, {**plan.fed.sizes, **new}) if new else plan


def _memory(stream: Live, now: Standing, plan: StreamPlan) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Where a call's states lie, and what they began with. Those of other sizes begin anew, in a stream that has not begun."""
    if {k: v.shape for k, v in plan.layout.slots.items()} == {k: v.shape for k, v in now.plan.layout.slots.items()}:
        return stream._state, now.first
    begun = now.phase != now.plan.first_phase or now.flushed or not np.array_equal(stream._state, now.first)
    if begun or not np.array_equal(now.first, now.plan.first_state()):  # the second: somebody gave it
        new = {place: n for place, n in plan.fed.sizes.items() if now.plan.fed.sizes.get(place) != n}
        raise shapes.no_fit(now.plan, new, "stream")
    first = plan.first_state()
    state = _core.aligned_empty(first.nbytes)
    state[:] = first
    return state, first


def _made(
    stream: Live,
    seen: Standing,
    plan: StreamPlan,
    pieces: Sequence[tuple[Block, Arrays]],
    finish: Callable[[list[dict[str, NDArray[Any]]]], Results],
    flushed: bool = False,
) -> Body:
    """What runs the blocks and finishes what they made. `seen`: where the stream stood when they were chosen."""

    @within_memory("the stream")
    def body(now: Standing) -> tuple[Results, Standing]:
        if now is not seen:
            raise StateError("another thread used the stream during this call; give each thread a stream of its own")
        state, first = _memory(stream, now, plan)
        results = finish([call_block(stream, plan, block, feeds, state) for block, feeds in pieces])
        phase = pieces[-1][0].next_phase if pieces else now.phase
        if phase == now.phase and not flushed:
            plan.returned(sum(block.n for block, _ in pieces), phase)
        return results, stream._stand(Standing(plan, phase, flushed, first), state)

    return body


def call_block(
    live: WithArena, plan: StreamPlan, block: Block, feeds: Arrays, state: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """The outputs of a block, with what is kept in `state`."""
    program = block.program
    outs = [np.empty(f.shape, f.dtype) for f in program.outputs]
    if live._arena is None or program.arena_bytes > live._arena.nbytes:
        live._arena = _core.aligned_empty(max(program.arena_bytes, 64))
    program.run([plan.store.anchor, state, live._arena, *(feeds[name] for name in plan.fed.names), *outs])
    return dict(zip(block.present, outs, strict=True))


def piece(plan: StreamPlan, name: str, array: NDArray[Any], at: int, n: int) -> NDArray[Any]:
    """The part of an input that a block reads."""
    if plan.spec.mode == "frame":
        return np.ascontiguousarray(array[at] if name in plan.spec.streamed else array)
    axis = shapes.time_axis(plan, name)
    if axis is None:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array[(slice(None),) * axis + (slice(at, at + n),)])


def joined(plan: StreamPlan, made: Sequence[Arrays]) -> dict[str, NDArray[Any] | None]:
    """The outputs of all blocks, each behind the one before."""
    joined: dict[str, NDArray[Any] | None] = {}
    for spec in plan.spec.outputs:
        name, fact = spec.name, plan.out_facts[spec.name]
        if plan.spec.mode == "frame":
            joined[name] = np.stack([m[name] for m in made]) if made else np.empty((0, *fact.shape), fact.dtype)
        elif spec.kind == "time":
            empty = [0 if a == spec.axis else n for a, n in enumerate(fact.shape)]
            parts = [m[name] for m in made if name in m]
            joined[name] = np.concatenate(parts, spec.axis) if parts else np.empty(empty, fact.dtype)
        else:
            joined[name] = next((m[name] for m in reversed(made) if name in m), None)
    return joined


def _deliver(
    results: dict[str, NDArray[Any] | None],
    out: Any = None,
    targets: Mapping[str, NDArray[Any]] | None = None,
    *,
    named: bool = False,
) -> Results:
    """What a call returns. `named`: it was given names, and gets names back, however many outputs there are. `targets`: the
    arrays of `out`, as they were checked."""
    if targets is None:
        return results if named or len(results) != 1 else next(iter(results.values()))  # type: ignore[return-value]
    for name, target in targets.items():
        result = results[name]
        assert result is not None
        target[...] = result
    return out  # type: ignore[no-any-return]
