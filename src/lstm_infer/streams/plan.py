"""The programs of a stream: one that sets the states up, and one for each block length.

All streams of a model with the same batch size share one StreamPlan. What depends only on side inputs is computed
once, when a stream is made, and kept beside its states.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._stream import Call
from ..analysis.spec import StreamSpec
from ..errors import LstmInferError, NotStreamableError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph
from ..lower import builder
from ..program.assemble import Placed, assemble, placed
from ..program.builder import Builder
from ..program.draws import Seeds
from ..program.inplace import InPlace
from ..program.memory import NodeState
from ..program.store import ConstStore
from ..program.views import View
from ..records import StateInfo
from .block import Block, Phase
from .chunk import Chunk, first_fills, walk_chunk
from .fed import Fed, check_lens
from .gil import work
from .lowered import Lowering
from .memories import Memory, memories
from .phases import Phases
from .reference import Reference
from .road import call_of
from .state_block import (
    InputState,
    Remaining,
    Static,
    first_program,
    next_value,
    place_states,
    public_states,
    seeded,
    static_values,
)
from .trials import read_again

__all__ = ["BLOCKS", "StreamPlan"]

BLOCKS = (64, 16, 4, 1)
"""Block lengths into which a chunk is cut, as far as they do not exceed `max_chunk`."""


class StreamPlan:
    """Programs and state layout for one batch size and one set of bound side inputs."""

    others: Sequence[StreamPlan] = ()
    """As it is, of a file that was converted for several sizes (native/plans.py)."""

    def __init__(
        self,
        graph: Graph,
        spec: StreamSpec,
        store: ConstStore,
        isa: str,
        *,
        batch: int,
        bound: Mapping[str, Array],
        max_chunk: int,
        seeds: Seeds,
        sizes: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        self.store, self.isa, self.batch, self._seeds = store, isa, batch, seeds
        self.fed = Fed.of(graph, spec, batch, bound, sizes)
        self.spec = spec = self.fed.shown()
        self._lock = threading.Lock()
        check_lens(self.fed)
        self.lengths = _lengths(spec, max_chunk)
        self.reference = Reference.of(self.fed)
        one = self.reference.one
        self.fills, self.capacity = first_fills(self.reference, self.lengths[0])
        self.static = static_values(self.fed, one)
        self.layout = place_states(self.fed, one, self.static, self.capacity)
        self.init = first_program(self.fed, one, self.static, self.layout, store, isa)
        self._seeded = seeded(spec, self.layout)
        self._made: dict[tuple[int, Phase, bool], Block] = {}
        self._returning: dict[Phase, Call | None] = {}
        """Calls of phases; None where chunks from there take the general path for good."""
        self._period = 0
        """Steps after which a stream that has begun stands in the same phase again; 0 where nobody has seen it yet."""
        self.phases = Phases(self.reference, self.fills, self.capacity)
        self._first: NDArray[np.uint8] | None = None
        self.forms: dict[Hashable, Any] = {}
        """How snapshots look, by where a stream stands (snapshot.py)."""
        again = read_again(spec.pairs, one.nodes)
        self._copied = {id(self.layout.slots[InputState(name)].buffer) for name in again}
        """Buffers (by id) of states that cannot be updated where they lie."""
        self.first_phase: Phase = tuple(self.fills.values())
        self.step_facts: dict[str, Fact] = {name: one.facts[name] for name in self.fed.names}
        self.out_facts: dict[str, Fact] = {o.name: self.fed.without_dropped(o.name, one.facts) for o in spec.outputs}
        self.blocks = [self.block(n, self.first_phase) for n in self.lengths] if spec.steady else []
        self.call = self._call_of(self.blocks)
        """One crossing into C that does a call from the first phase on; None: the general path does it."""

    def call_in(self, phase: Phase, flushed: bool) -> Call | None:
        """What does a call of a stream that stands in this phase; None: the general path."""
        return self.call if self.call is not None or flushed else self._returning.get(phase)

    def returned(self, n: int, phase: Phase) -> None:
        """A chunk of n steps led from this phase back to it: from now on those like it need not take the general path."""
        if self.spec.steady or not n or self._returning.get(phase, self) is None:
            return
        period = self._period = self._period or next(
            p for p in range(1, n + 1) if not n % p and self._returns(p, phase)
        )
        if period > 1 and not _may_run_together(self.spec):
            return
        lengths = [period * length for length in BLOCKS if period * length <= max(self.lengths[0], period)]
        known = self._returning.get(phase)
        sizes, left = set(() if known is None else known.sizes), n
        for length in lengths:
            if left >= length:
                sizes.add(length)
                left %= length
        if known is None or len(sizes) > len(known.sizes):
            try:
                blocks = [self.block(length, phase) for length in sorted(sizes, reverse=True)]
                self._returning[phase] = self._call_of(blocks, period, lengths)
            except (LstmInferError, MemoryError):  # what was fed is answered already
                self._returning[phase] = known

    def _returns(self, n: int, phase: Phase) -> bool:
        after = walk_chunk(self.reference, n, dict(zip(self.fills, phase, strict=True))).after()
        return tuple(after[key] for key in self.fills) == phase

    def _call_of(self, blocks: Sequence[Block], period: int = 1, lengths: Sequence[int] | None = None) -> Call | None:
        ports = self.fed.streamed, self.step_facts, self.out_facts
        return call_of(self.spec, *ports, blocks, self.store, self.layout.n_bytes, period, lengths)

    def block(self, n: int, phase: Phase, flush: bool = False) -> Block:
        """The program for n steps from a phase; made when first asked for."""
        with self._lock:
            found = self._made.get((n, phase, flush))
            if found is None:
                found = self._made[n, phase, flush] = self._block(n, phase, flush)
            return found

    def cut(self, n: int, phase: Phase) -> list[Block]:
        """The blocks of a chunk of n steps."""
        blocks, at = [], 0
        for length in self.lengths:
            while n - at >= length:
                blocks.append(self.block(length, phase))
                phase = blocks[-1].next_phase
                at += length
        return blocks

    @cached_property
    def states(self) -> dict[str, tuple[View, StateInfo]]:
        """Every public state and where it lies."""
        return public_states(self.spec, self.layout, self.batch)

    @cached_property
    def memories(self) -> tuple[Memory, ...]:
        """What a snapshot holds."""
        nodes = {node.name: node for node in self.reference.one.nodes}
        return memories(self.spec, nodes, self.layout.slots, self.states)

    @property
    def is_settled(self) -> bool:
        """Is the first state the same for all streams."""
        return self._first is not None

    def first_state(self) -> NDArray[np.uint8]:
        """The state block before the first step: read-only, one for all streams; one for each where numbers are drawn and
        nobody gave a seed."""
        if self._first is not None:
            return self._first
        state, arena = _core.aligned_empty(max(self.layout.n_bytes, 1)), _core.aligned_empty(self.init.arena_bytes)
        self._seeds.plant(state, self._seeded)
        self.init.run([self.store.anchor, state, arena, *self.fed.bound.values()])
        if self._seeds.settled(self._seeded):
            state.flags.writeable = False
            self._first = state
        return state

    def _block(self, n: int, phase: Phase, flush: bool) -> Block:
        chunk, present, b, outputs = self._settled(n, phase, flush)
        after = chunk.after()
        if self.fills and any(key not in self.fills for key in after):
            raise AssertionError("a queue appeared that was not foreseen")
        for name, fact in zip(present, outputs, strict=True):
            self._check_made(n, name, fact)
        program = assemble(b, len(self.fed.names), outputs)
        return Block(n, program, work(b.calls), tuple(after[key] for key in self.fills), tuple(present))

    def _check_made(self, n: int, name: str, fact: Fact) -> None:
        """A call trusts these shapes: an output grows along its time axis alone, and step by step where each step gives one."""
        output = next(o for o in self.spec.outputs if o.name == name)
        want = list(self.out_facts[name].shape)
        if output.kind == "time":
            want[output.axis] = n * want[output.axis] if self.spec.steady else fact.shape[output.axis]
        if fact.shape != tuple(want):
            raise NotStreamableError(
                f"output {name!r} is {list(fact.shape)} where {n} steps are fed, and {want} was foreseen from one of them; "
                "use run(), and report this model, please"
            )

    def placed(self, n: int, phase: Phase, flush: bool = False) -> Placed:
        """The calls of such a block once more, for who looks at each of them."""
        with self._lock:
            _, _, b, outputs = self._settled(n, phase, flush)
        return placed(b, len(self.fed.names), len(outputs))

    def _settled(self, n: int, phase: Phase, flush: bool) -> tuple[Chunk, list[str], Builder, list[Fact]]:
        """A chunk, the outputs that exist behind it, and its calls: states copied where they cannot be updated in place."""
        chunk = walk_chunk(self.reference, n, dict(zip(self.fills, phase, strict=True)), flush)
        present = [o.name for o in self.spec.outputs if o.name not in chunk.absent]
        b, outputs = self._lowered(chunk, n, present)
        if lost := b.in_place.finish():
            self._copied |= lost
            b, outputs = self._lowered(chunk, n, present)
        return chunk, present, b, outputs

    def _lowered(self, chunk: Chunk, n: int, present: Sequence[str]) -> tuple[Builder, list[Fact]]:
        """The calls of a chunk, states updated in place where they may be."""
        b = builder(
            dict(chunk.walked.facts),
            self.store,
            self.isa,
            layout=self.layout,
            draws=self.spec.draws,
            signals=self.batch,
        )
        kept = [view.buffer for key, view in self.layout.slots.items() if isinstance(key, (InputState, NodeState))]
        b.in_place = InPlace(buffer for buffer in kept if id(buffer) not in self._copied)
        for index, name in enumerate(self.fed.names):
            b.input(name, index)
        self._bind_states(b, n)
        lowering = Lowering(b, chunk, self.layout)
        for node in chunk.walked.nodes:
            if any(v and v not in self.static for v in node.outputs):
                lowering.node(node)
        outputs = [b.output(self._shown(b, name), index) for index, name in enumerate(present)]
        # a state whose layer has had no step yet stays as it is; the others go on
        slots = {
            name: self.layout.slots[InputState(name)]
            for name, out in self.spec.pairs.items()
            if out not in chunk.absent
        }
        b.advance([(slot, next_value(b, self.spec.pairs.next[name], slot)) for name, slot in slots.items()])
        return b, outputs

    def _shown(self, b: Builder, name: str) -> str:
        """An output as a run shows it."""
        if name not in self.fed.dropped:
            return name
        view, shown = b.view(name), f"{name}/shown"
        for axis in sorted(self.fed.dropped[name], reverse=True):
            view = view.drop(axis)
        b.facts[shown] = Fact(view.shape, b.fact(name).dtype)
        b.bind(shown, view)
        return shown

    def _bind_states(self, b: Builder, n: int) -> None:
        """States that are inputs, values that were computed once, and the lengths that fall into this block."""
        slots = self.layout.slots
        for name in self.spec.pairs:
            b.views[name] = slots[InputState(name)]
        for key, slot in slots.items():
            if isinstance(key, Static):
                b.views[key.value] = slot
        for name in self.spec.lens:
            remaining = slots[Remaining(name)]
            b.lens[name] = now = b.alloc(remaining.shape, remaining.dtype)
            b.map([remaining, b.scalar(n, np.int64)], [("MIN", 0, 1)], now, ints=True)
            b.map([remaining, now], [("SUB", 0, 1)], remaining, ints=True)


def _lengths(spec: StreamSpec, max_chunk: int) -> list[int]:
    """Block lengths, from the longest down to 1."""
    size = spec.roles.time_size
    if spec.mode == "time" and size not in (None, 1):
        raise ShapeError(f"the file is fixed to {size} time steps and cannot be walked at others; use run()")
    return [n for n in BLOCKS if n <= max(max_chunk, 1)] if _may_run_together(spec) else [1]


def _may_run_together(spec: StreamSpec) -> bool:
    """May a block have several steps; else its bits, or its shapes, are those of one."""
    return spec.mode == "time" and spec.roles.time_size is None and not spec.stepwise
