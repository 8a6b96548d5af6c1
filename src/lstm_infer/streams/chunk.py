"""The walk of a chunk: how many steps each value has in it, and what histories and queues hold before and behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Node
from ..walk.bodies import is_control
from ..walk.walk import Instead, Walk, node_facts, walk
from .fed import extent, resized
from .reference import Reference, unpadded, without_pads
from .state_block import Fills, History, Kept, Queue

__all__ = ["Chunk", "Taken", "first_fills", "may_hold", "walk_chunk"]


@frozen
class Taken:
    """What a chunk makes of a history or a queue, in steps. `held` before it: negative is a debt, so many new steps are
    passed over. `total`: with the new ones. `kept`: behind it."""

    held: int
    total: int
    kept: int


@dataclass
class Chunk:
    """One walk over a chunk: what windows and joins took from their memory and what they leave."""

    reference: Reference
    fills: Fills
    flush: bool
    walked: Walk = field(default_factory=lambda: Walk({}))
    skipped: set[str] = field(default_factory=set)
    """Nodes with nothing to do in this chunk."""
    absent: set[str] = field(default_factory=set)
    """Values at the end of a sequence that has not begun."""
    taken: dict[Kept, Taken] = field(default_factory=dict)

    def after(self) -> Fills:
        """What histories and queues hold behind the chunk."""
        return {**self.fills, **{key: taken.kept for key, taken in self.taken.items()}}

    def on_node(self, node: Node, ins: list[Fact | None]) -> list[Fact] | Instead | None:
        """The facts of a node's outputs, where they are not what the operator says of its inputs."""
        spec, reference = self.reference.fed.spec, self.reference
        if node.op in ("Shape", "Size"):
            return None  # a size is known where there is no step yet
        if any(name in self.absent for name in node.inputs):
            return self._nothing(node)
        if node.name in spec.windows:
            return self._window(node, ins)
        if any(v in reference.repeated for v in node.outputs):
            return [reference.one.facts[v] for v in node.outputs]
        axes = [(i, a) for i, v in enumerate(node.inputs) if v and (a := spec.time_axes.get(v)) is not None]
        if not axes or spec.steady:
            return None
        ins = list(self._join(node, ins, axes))
        for i, (j, a) in reference.along(node).items():
            fact = ins[i]
            assert fact is not None
            ins[i] = resized(fact, reference.repeated[node.inputs[i]], extent(ins[j], a))
        if any(extent(ins[i], a) == 0 for i, a in axes):
            return self._nothing(node)
        if is_control(node):
            return Instead(ins)
        return reference.regrouped(node, ins) or node_facts(node, ins)

    def _nothing(self, node: Node) -> list[Fact]:
        """A node that has no step to work on."""
        self.skipped.add(node.name)
        made = []
        for value in node.outputs:
            fact = self.reference.one.facts[value] if value else Fact((), np.dtype(np.float32))
            axis = self.reference.fed.spec.time_axes.get(value)
            if value and axis is None:
                self.absent.add(value)
            made.append(Fact(fact.shape, fact.dtype) if axis is None else resized(fact, axis, 0))
        return made

    def _window(self, node: Node, ins: list[Fact | None]) -> list[Fact]:
        spec = self.reference.fed.spec
        axis, window = spec.windows[node.name]
        x = ins[0]
        assert x is not None
        plain = without_pads(node, axis, len(x.shape), window)
        if node.name in spec.pad_nodes:
            if x.shape[axis] == 0:
                return self._nothing(node)
            return node_facts(plain, unpadded(node, axis, ins))
        key = History(node.name)
        reach = (window.kernel - 1) * window.dilation + 1
        held = self.fills.get(key, reach - 1)
        total = held + x.shape[axis] + (window.pad_end if self.flush else 0)
        steps = max(0, (total - reach) // window.stride + 1) if total >= reach else 0
        self.taken[key] = Taken(held, total, total - steps * window.stride)
        if steps == 0:
            return self._nothing(node)
        if node.name in spec.cropped:
            return [resized(x, axis, steps)]
        return node_facts(plain, [resized(x, axis, total), *ins[1:]])

    def _join(self, node: Node, ins: list[Fact | None], axes: Sequence[tuple[int, int]]) -> list[Fact | None]:
        """Inputs of different lag: those ahead wait in a queue."""
        if len({node.inputs[i] for i, _ in axes}) < 2:
            return ins
        held = {i: self.fills.get(Queue(node.name, i), 0) for i, _ in axes}
        total = {i: held[i] + extent(ins[i], a) for i, a in axes}
        steps = min(total.values())
        ins = list(ins)
        for i, a in axes:
            if held[i] or total[i] != steps:
                self.taken[Queue(node.name, i)] = Taken(held[i], total[i], total[i] - steps)
            fact = ins[i]
            assert fact is not None
            ins[i] = resized(fact, a, steps)
        return ins


def walk_chunk(reference: Reference, n: int, fills: Mapping[Kept, int], flush: bool = False) -> Chunk:
    """Walk n new steps, with what the histories and queues hold."""
    chunk = Chunk(reference, dict(fills), flush)
    spec = reference.fed.spec
    if spec.steady and not spec.windows:  # no step waits for another: n of them are a whole run of n
        chunk.walked = reference.one if n == 1 else walk(reference.fed.graph, reference.fed.facts(n))
    else:
        chunk.walked = walk(reference.fed.graph, reference.fed.facts(n), on_node=chunk.on_node)
    return chunk


def may_hold(reference: Reference, fills: Fills) -> bool:
    """May histories and queues hold so many steps, as far as each alone tells."""
    windows = reference.fed.spec.windows
    for key, held in fills.items():
        low, high = 0, math.inf
        if isinstance(key, History):
            window = windows[key.node][1]
            reach = (window.kernel - 1) * window.dilation + 1
            low, high = min(0, reach - window.stride, window.pad_begin), max(reach - 1, window.pad_begin)
        if not low <= held <= high:
            return False
    return True


def first_fills(reference: Reference, longest: int) -> tuple[Fills, Fills]:
    """What histories and queues of a stream that is not steady hold at the start, and the most they ever hold. Queues are
    found by running lengths, up to `longest`, until they repeat."""
    spec = reference.fed.spec
    if spec.steady:
        return {}, {}
    windows = {n: w for n, (_, w) in spec.windows.items() if n not in spec.pad_nodes}
    fills: Fills = {History(name): w.pad_begin for name, w in windows.items()}
    capacity: Fills = {History(n): max(w.pad_begin, (w.kernel - 1) * w.dilation + w.stride) for n, w in windows.items()}
    now, queues = dict(fills), set[Queue]()
    behind = spec.lag + 2 * spec.rate + 2
    steps: dict[tuple[int, frozenset[tuple[Kept, int]]], Fills] = {}
    for n in (*[longest] * (2 + behind // longest), *[1] * min(behind, 64)):
        step = n, frozenset(now.items())
        if step not in steps:
            steps[step] = walk_chunk(reference, n, now).after()
        now = steps[step]
        for key, kept in now.items():
            if isinstance(key, Queue):
                queues.add(key)
                capacity[key] = max(capacity.get(key, 0), kept + 2 * spec.rate)
    return {**fills, **dict.fromkeys(sorted(queues), 0)}, capacity
