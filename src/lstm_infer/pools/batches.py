"""The plans of a pool: one for each size of a batch, made when a call is large enough for it; and the rig that runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _rig
from ..analysis.apart import why_apart
from ..errors import LstmInferError
from ..graph.ir import Array
from ..streams.asked import Asked, Sizes
from ..streams.gil import RELEASE_FROM
from ..streams.plan import StreamPlan
from ..streams.road import Port, input_port, output_port
from .batch import Batch
from .moves import PortMove, layout_of, port_move
from .trial import what_meets

__all__ = ["Batches"]

BATCHES = (64, 32, 16, 8, 4, 2, 1)
"""Sizes of batches. From 16 on nothing is gained for each signal (Zen 4, f32); 64 keeps the calls of small models few."""
PAIR = 2
"""Of them, the one in which signals are first seen to stay apart."""
ROWS_AND_STEPS = 256
"""So many steps, of all signals together, are a block: more makes the memory to work in larger, and nothing faster."""

Open = Callable[[int, Mapping[str, Array], int], "tuple[Asked, StreamPlan]"]
"""What plans a stream: batch, bound inputs, max_chunk."""
Replan = Callable[[Asked, Sizes], StreamPlan]


class Batches:
    """The plans of a pool for one set of sizes of what is fed."""

    def __init__(self, opens: Open, replan: Replan, inputs: Mapping[str, Array], max_chunk: int) -> None:
        self._opens, self._replan, self._inputs, self._max_chunk = opens, replan, inputs, max_chunk
        self.asked, self.plan = opens(1, inputs, max_chunk)
        self.spec = self.asked.spec
        self._batches: dict[int, Batch] = {}
        self._asked: dict[int, Asked] = {}
        self.sizes: Sizes = {}
        one = Batch(1, self.plan, layout_of(self.plan, 1), dict.fromkeys([*self.plan.step_facts, *self.plan.out_facts]))
        self._batches[1] = one
        self.one = one
        self.apart = why_apart(self.spec, self.plan.fed.per_step)
        """Why there are no larger batches; empty where there are."""
        self._seen = False
        """Were signals seen to stay apart in a batch."""
        self._rigs: dict[int, _rig.Rig | None] = {}

    def of_sizes(self, sizes: Sizes) -> Batches:
        """The same for other extents of open axes."""
        other = object.__new__(Batches)
        other.__dict__.update(self.__dict__)
        other.sizes, other._batches, other._rigs = {**self.sizes, **sizes}, {}, {}
        other.plan = self._replan(self.asked, other.sizes)
        other.one = other._batches[1] = Batch(1, other.plan, layout_of(other.plan, 1), self.one.axes)
        return other

    def largest(self, n: int) -> int:
        """The size of the largest batch for n signals."""
        return 1 if self.apart else next((size for size in BATCHES if size <= n), 1)

    def batch(self, n: int) -> Batch:
        """The plan of one of the sizes; where it turns out that there is none, `apart` says why."""
        found = self._batches.get(n)
        if found is None:
            found = self._batches[n] = self._made(n)
        return found

    def rig(self, n: int) -> _rig.Rig | None:
        """What does a call of n signals in one crossing; None: it is not for that road."""
        size = self.largest(n)
        if size not in self._rigs:
            self._rigs[size] = self._rig(size)
        return self._rigs[size] if size == self.largest(n) else self.rig(n)

    def cut(self, n: int) -> list[tuple[int, Batch]]:
        """The batches of n signals: where each begins."""
        found, at = list[tuple[int, Batch]](), 0
        while at < n:
            found.append((at, self.batch(self.largest(n - at))))
            at += found[-1][1].n
        return found

    # ---- inside ----

    def _made(self, n: int) -> Batch:
        if n > PAIR and not self._seen:
            self.batch(PAIR)
            if self.apart:
                return self.batch(1)
        try:
            asked = self._asked.get(n)
            if asked is None:
                roles = self.spec.roles
                wide = {name: _wide(a, roles.batch.get(name), n) for name, a in self._inputs.items()}
                asked, plan = self._opens(n, wide, max(1, min(self._max_chunk, ROWS_AND_STEPS // n)))
                self._asked[n] = asked
                if self.sizes:
                    plan = self._replan(asked, self.sizes)
            else:
                plan = self._replan(asked, self.sizes)
            axes = self._axes(plan, n)
            shared = next((memory for memory in plan.memories if memory.batch is None), None)
            if shared is not None:
                raise Apart(f"{shared} has no batch axis")
            layout = layout_of(plan, n)
            if layout.row_bytes != self.one.layout.row_bytes:
                raise Apart("what a signal keeps is of another size in a batch")
            made = Batch(n, plan, layout, axes)
            if n == PAIR and not self._seen:
                met = what_meets(self.one, made)
                if met:
                    raise Apart(f"in a batch, {met} of a signal is another than alone")
                self._seen = True
            return made
        except LstmInferError as error:
            if n == 1:
                raise
            self.apart = str(error)
            return self.batch(1)

    def _axes(self, plan: StreamPlan, n: int) -> dict[str, int | None]:
        """Where the batch is in each port: the one axis that has n for 1."""
        alone, wide = self.plan.step_facts | self.plan.out_facts, plan.step_facts | plan.out_facts
        if list(alone) != list(wide):
            raise Apart("a batch has other ports")
        found = dict[str, int | None]()
        for name, fact in wide.items():
            mine, shape = alone[name].shape, fact.shape
            differ = [a for a, (one, many) in enumerate(zip(mine, shape, strict=False)) if one != many]
            if len(mine) != len(shape) or len(differ) != 1 or (mine[differ[0]], shape[differ[0]]) != (1, n):
                raise Apart(f"{name!r} has no axis that is the batch alone")
            found[name] = differ[0]
        return found

    def _rig(self, most: int) -> _rig.Rig | None:
        if self.plan.call is None or any(name in self.plan.out_facts for name in self.plan.step_facts):
            return None
        batches = list[Batch]()
        for n in BATCHES:
            if n <= most and not (batches and self.apart):
                made = self.batch(n)
                if made not in batches:
                    batches.append(made)
        if self.apart:
            batches = [self.one]
        lanes = [self._lane(batch) for batch in batches]
        if any(lane is None for lane in lanes):
            return None
        blocks = [block for batch in batches for block in batch.plan.blocks]
        alone = self.plan.blocks
        ins, outs = _ports(self.plan)
        return _rig.Rig(
            inputs=ins,
            outputs=outs,
            lanes=[lane for lane in lanes if lane is not None],
            leading=self.spec.mode == "frame",
            most=1 << 62 if self.apart or most == BATCHES[0] else 2 * most - 1,
            release_from=RELEASE_FROM,
            nodes=[block.program.nodes[0] for block in alone],
            can_fail=any(block.program.can_fail for block in blocks),
        )

    def _lane(self, batch: Batch) -> tuple[Any, ...] | None:
        plan = batch.plan
        if plan.call is None:
            return None
        ins, outs = _ports(plan)
        blocks = []
        for block in plan.blocks:
            moves = [_move(port, batch.axes[port[0]], block.n) for port in (*ins, *outs)]
            if any(move is None for move in moves):
                return None
            blocks.append((block.n, block.program.plan, block.work, moves))
        first = batch.first if plan.static else None
        arena_bytes = max(block.program.arena_bytes for block in plan.blocks)
        return batch.layout, plan.store.anchor, first, arena_bytes, blocks


class Apart(LstmInferError):
    """The signals cannot be stepped together; says why. Never reaches a caller."""


def _ports(plan: StreamPlan) -> tuple[list[Port], list[Port]]:
    spec = plan.spec
    ins = [input_port(spec, name, fact, name in plan.fed.streamed) for name, fact in plan.step_facts.items()]
    return ins, [output_port(spec, o.name, o.kind, o.axis, plan.out_facts[o.name]) for o in spec.outputs]


def _move(port: Port, batch: int | None, steps: int) -> PortMove | None:
    _, dtype, shape, time, every = port
    if batch is not None and batch == time:  # rows of all signals for each step, one step behind the other
        shape, batch = (*shape[:time], 1, *shape[time:]), batch + 1
    move = port_move(shape, dtype.itemsize, batch, time if time >= 0 else None, steps)
    return move if move is None or every else (*move[:3], 0, move[4])


def _wide(array: Array, axis: int | None, n: int) -> Array:
    """A bound input for a batch: the same for each signal."""
    return array if axis is None or array.shape[axis] != 1 else np.repeat(array, n, axis)
