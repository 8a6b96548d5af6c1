"""The general path of a stream: any number of inputs and outputs, any phase, steps on the host.

What `_stream.StreamCore` does not take in C comes here: it is checked, cut into blocks, run, and joined again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import _core, _stream
from ..errors import ShapeError, StateError
from ..graph.budget import within_memory
from ..program.program import step_failed
from ..records import StateInfo
from . import shapes
from .block import Block, Phase
from .named import memory_of
from .plan import StreamPlan
from .shapes import Arrays

__all__ = ["Frames", "GeneralPath", "Replan", "Results"]

Replan = Callable[[Mapping[tuple[str, int], int]], StreamPlan]
"""Makes the plan of the same stream for other extents of open axes, by (input, axis)."""

Frames = NDArray[Any] | Mapping[str, NDArray[Any]]
Results = NDArray[Any] | dict[str, NDArray[Any] | None]


class GeneralPath(_stream.StreamCore):
    """A plan, the memory it runs over, and where in it the stream stands."""

    def __init__(self, plan: StreamPlan, replan: Replan | None) -> None:
        self._plan, self._replan = plan, replan
        self._state = _core.aligned_empty(max(plan.layout.n_bytes, 1))
        self._arena = _core.aligned_empty(
            max([64, plan.init.arena_bytes, *(block.program.arena_bytes for block in plan.blocks)])
        )
        self._phase: Phase = plan.first_phase
        self._flushed = False
        self._places: dict[str, tuple[NDArray[Any], StateInfo]] = {
            name: (memory_of(view, self._state), info) for name, (view, info) in plan.states().items()
        }
        plan.init.run([plan.store.anchor, self._state, self._arena, *plan.fed.bound.values()])

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Alone in the stream."""
        self._lock()
        try:
            yield
        finally:
            self._unlock()

    def _step_failed(self, error: _core.StepError, nodes: Sequence[str]) -> NoReturn:
        raise step_failed(error, nodes)

    # ---- calls ------------------------------------------------------------------------------------------

    @within_memory("the stream")
    def _step_slow(self, x: Frames, out: Any) -> Results:
        feeds = shapes.checked_feeds(self._plan, self._places, x)
        self._adapt(feeds, lead=0)
        plan = self._plan
        ready, dropped = shapes.step_arrays(plan, feeds)
        if plan.spec.lag or plan.spec.rate != 1:
            raise ShapeError(
                f"step: this model looks ahead by {plan.spec.lag} steps and gives one step for {plan.spec.rate}; "
                "use run(), which returns what is complete, and flush() at the end"
            )
        block = plan.block(1, self._phase)
        wanted = {
            o.name: tuple(n for a, n in enumerate(f.shape) if not (dropped and o.kind == "time" and a == o.axis))
            for o, f in zip(plan.spec.outputs, block.program.outputs, strict=True)
        }
        shapes.check_out(plan, out, wanted, ready)
        results = self._locked([(block, ready)])[0]
        final: dict[str, NDArray[Any] | None] = {}
        for spec in plan.spec.outputs:
            result = results[spec.name]
            final[spec.name] = np.squeeze(result, spec.axis) if dropped and spec.kind == "time" else result
        return self._deliver(final, out, named=isinstance(x, Mapping))

    @within_memory("the stream")
    def _run_slow(self, x: Frames, out: Any) -> Results:
        feeds = shapes.checked_feeds(self._plan, self._places, x)
        self._adapt(feeds, lead=1 if self._plan.spec.mode == "frame" else 0)
        n = shapes.chunk_length(self._plan, feeds)
        if self._flushed:
            raise StateError("the stream was flushed; reset() begins a new signal")
        pieces: list[tuple[Block, dict[str, NDArray[Any]]]] = []
        at = 0
        blocks = self._plan.cut(n, self._phase)
        for block in blocks:
            pieces.append((block, {name: self._piece(name, a, at, block.n) for name, a in feeds.items()}))
            at += block.n
        shapes.check_out(self._plan, out, shapes.run_shapes(self._plan, blocks), feeds)
        return self._deliver(self._joined(self._locked(pieces)), out, named=isinstance(x, Mapping))

    def _flush(self) -> Results:
        """The outputs that are still behind."""
        plan = self._plan
        if plan.spec.steady or plan.spec.mode != "time":
            return self._deliver(self._joined([]), None)
        if self._flushed:
            raise StateError("the stream was flushed; reset() begins a new signal")
        block = plan.block(0, self._phase, flush=True)
        facts = {name: plan.step_facts[name] for name in plan.fed.names}
        feeds = {
            name: np.zeros([0 if a == plan.spec.roles.time.get(name) else n for a, n in enumerate(f.shape)], f.dtype)
            for name, f in facts.items()
        }
        made = self._locked([(block, feeds)])
        self._flushed = True
        return self._deliver(self._joined(made), None)

    def _adapt(self, feeds: Arrays, lead: int) -> None:
        """Take the extents of axes that the file leaves open from what is fed."""
        new = shapes.other_sizes(self._plan, feeds, lead)
        if not new or self._replan is None:
            return
        plan = self._replan({**self._plan.fed.sizes, **new})
        if {k: v.shape for k, v in plan.layout.slots.items()} != {
            k: v.shape for k, v in self._plan.layout.slots.items()
        }:
            raise ShapeError(f"the states of this stream do not fit the sizes {new}; make a new stream for them")
        with self._entered():
            self._plan = plan
            need = max([64, *(block.program.arena_bytes for block in plan.blocks)])
            if need > self._arena.nbytes:
                self._arena = _core.aligned_empty(need)
        self._bind(plan.call, self._state)

    def _piece(self, name: str, array: NDArray[Any], at: int, n: int) -> NDArray[Any]:
        """The part of an input that a block reads."""
        if self._plan.spec.mode == "frame":
            return np.ascontiguousarray(array[at] if name in self._plan.spec.streamed else array)
        axis = shapes.time_axis(self._plan, name)
        if axis is None:
            return np.ascontiguousarray(array)
        return np.ascontiguousarray(array[(slice(None),) * axis + (slice(at, at + n),)])

    def _joined(self, made: Sequence[Arrays]) -> dict[str, NDArray[Any] | None]:
        """The outputs of all blocks, each behind the one before."""
        joined: dict[str, NDArray[Any] | None] = {}
        for spec in self._plan.spec.outputs:
            name, fact = spec.name, self._plan.out_facts[spec.name]
            if self._plan.spec.mode == "frame":
                joined[name] = np.stack([m[name] for m in made]) if made else np.empty((0, *fact.shape), fact.dtype)
            elif spec.kind == "time":
                empty = [0 if a == spec.axis else n for a, n in enumerate(fact.shape)]
                parts = [m[name] for m in made if name in m]
                joined[name] = np.concatenate(parts, spec.axis) if parts else np.empty(empty, fact.dtype)
            else:
                joined[name] = next((m[name] for m in reversed(made) if name in m), None)
        return joined

    def _locked(self, pieces: Sequence[tuple[Block, Arrays]]) -> list[dict[str, NDArray[Any]]]:
        """Run the blocks, all or none."""
        with self._entered():
            before = self._phase, self._state.copy() if any(block.program.can_fail for block, _ in pieces) else None
            try:
                made = []
                for block, feeds in pieces:
                    made.append(self._call(block, feeds))
                    self._phase = block.next_phase
                return made
            except BaseException:
                self._phase = before[0]
                if before[1] is not None:
                    self._state[:] = before[1]
                raise

    def _call(self, block: Block, feeds: Arrays) -> dict[str, NDArray[Any]]:
        plan, program = self._plan, block.program
        outs = [np.empty(f.shape, f.dtype) for f in program.outputs]
        if program.arena_bytes > self._arena.nbytes:
            self._arena = _core.aligned_empty(program.arena_bytes)
        program.run([plan.store.anchor, self._state, self._arena, *(feeds[name] for name in plan.fed.names), *outs])
        return dict(zip(block.present, outs, strict=True))

    def _deliver(self, results: dict[str, NDArray[Any] | None], out: Any, *, named: bool = False) -> Results:
        """What a call returns. `named`: it was given names, and gets names back, however many outputs there are."""
        if out is None:
            return results if named or len(results) != 1 else next(iter(results.values()))  # type: ignore[return-value]
        for name, target in shapes.targets(self._plan, out).items():
            result = results[name]
            assert result is not None
            target[...] = result
        return out  # type: ignore[no-any-return]
