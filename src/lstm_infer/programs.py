"""The programs of one model: made when first used, kept by the sizes they are for, with the memory that calls work in."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, log
from .analysis.spec import StreamSpec
from .graph.budget import open_budget
from .graph.fact import Fact
from .graph.ir import Array, Graph
from .lower import builder, lower
from .program.assemble import Placed, assemble, placed
from .program.builder import Builder
from .program.draws import Draws, Seeds
from .program.memory import StateLayout
from .program.program import Program
from .program.store import ConstStore
from .streams.plan import StreamPlan
from .walk.walk import walk

__all__ = ["Programs"]

KEPT_PROGRAMS = 16
"""So many are kept whatever their length; more while all their calls together are few."""
KEPT_CALLS = 1 << 15
"""A call takes a few hundred bytes. A small model keeps programs for hundreds of lengths."""
KEPT_BYTES = 1 << 20
"""Constants that belong to the sizes of kept programs, beyond those that the first one holds."""
KEPT_ARENAS = 4


class Programs:
    """Programs of whole runs and of streams, over one store of constants. Any number of threads may ask."""

    def __init__(self, graph: Graph, isa: str, seed: int | None, store: ConstStore) -> None:
        self.graph, self.isa, self._seeds = graph, isa, Seeds(seed)
        self.store = store
        self.kept: dict[Any, Program] = {}
        """By what is wanted and the shapes that are fed."""
        self.kept_calls = 0
        self._first_bytes = 0
        self._plans: OrderedDict[Any, StreamPlan] = OrderedDict()
        self._arenas: deque[NDArray[np.uint8]] = deque(maxlen=KEPT_ARENAS)
        self._lock = threading.RLock()

    def build(
        self,
        facts: Mapping[str, Fact],
        names: Sequence[str],
        wanted: Sequence[str],
        drawn: tuple[Mapping[str, Draws], int] = ({}, 1),
    ) -> Program:
        """A program of the whole graph at these sizes: `names` are fed, `wanted` comes out. Not kept. `drawn`: what is known
        of its random nodes, and how many signals are fed."""
        with open_budget(self.graph.allowance):
            b, outs = self._lowered(facts, names, wanted, drawn)
            made = assemble(b, len(names), outs)
        log.debug("plan", "a run of %s: %d calls", {name: facts[name].shape for name in names}, made.n_calls)
        return made

    def placed(
        self, facts: Mapping[str, Fact], names: Sequence[str], wanted: Sequence[str]
    ) -> tuple[Placed, list[Fact]]:
        """The calls of such a program, for who looks at each of them, and its outputs."""
        with open_budget(self.graph.allowance):
            b, outs = self._lowered(facts, names, wanted, ({}, 1))
            return placed(b, len(names), len(outs)), outs

    def _lowered(
        self,
        facts: Mapping[str, Fact],
        names: Sequence[str],
        wanted: Sequence[str],
        drawn: tuple[Mapping[str, Draws], int],
    ) -> tuple[Builder, list[Fact]]:
        walked = walk(self.graph, facts)
        draws, signals = drawn
        b = builder(dict(walked.facts), self.store, self.isa, layout=StateLayout(), draws=draws, signals=signals)
        for index, name in enumerate(names):
            b.input(name, index)
        lower(walked, b)
        return b, [b.output(name, index) for index, name in enumerate(wanted)]

    def keep(self, key: Any, made: Program) -> Program:
        """Keep a program by its key; another thread may have been first. The oldest go where they are many."""
        with self._lock:
            if key in self.kept:
                return self.kept[key]
            self.kept[key] = made
            self.kept_calls += made.n_calls
            self._first_bytes = self._first_bytes or self.store.n_bytes
            while len(self.kept) > KEPT_PROGRAMS and (
                self.kept_calls > KEPT_CALLS or self.store.n_bytes - self._first_bytes > KEPT_BYTES
            ):
                self.kept_calls -= self.kept.pop(next(iter(self.kept))).n_calls
        return made

    def call(self, program: Program, arrays: Sequence[Array]) -> list[NDArray[Any]]:
        """Run a program on fed arrays; its outputs, fresh."""
        results: list[NDArray[Any]] = [np.empty(fact.shape, fact.dtype) for fact in program.outputs]
        arena = self.take_arena(program.arena_bytes)
        state: NDArray[np.uint8] | None = None
        if program.seeded:
            state = _core.aligned_empty(program.state_bytes)
            self._seeds.plant(state, program.seeded)
        try:
            program.run([self.store.anchor, state, arena, *arrays, *results])
        finally:
            self._arenas.append(arena)
        return results

    def take_arena(self, n_bytes: int) -> NDArray[np.uint8]:
        """Working memory for one call: that of an earlier call where it is large enough."""
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = None
        if arena is None or arena.nbytes < n_bytes:
            arena = _core.aligned_empty(max(n_bytes, 64))
        return arena

    def stream(
        self,
        spec: StreamSpec,
        batch: int,
        bound: Mapping[str, Array],
        max_chunk: int,
        sizes: Mapping[tuple[str, int], int],
    ) -> StreamPlan:
        """The plan of a stream; shared by streams alike."""
        shared = not any(a.dtype.kind == "f" for a in bound.values())
        known = tuple((n, a.shape, a.tobytes()) for n, a in bound.items()) if shared else ()
        key = (batch, max_chunk, known, tuple(sorted(sizes.items())))
        with self._lock:
            found = self._plans.get(key) if shared else None
            if found is None:
                log.debug("plan", "a stream of %d signals, blocks up to %d steps", batch, max_chunk)
                with open_budget(self.graph.allowance):
                    found = StreamPlan(
                        self.graph,
                        spec,
                        self.store,
                        self.isa,
                        batch=batch,
                        bound=bound,
                        max_chunk=max_chunk,
                        seeds=self._seeds,
                        sizes=sizes,
                    )
                if shared:
                    self._plans[key] = found
                while len(self._plans) > KEPT_PROGRAMS:
                    self._plans.popitem(last=False)
            return found
