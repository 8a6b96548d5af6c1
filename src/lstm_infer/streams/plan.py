"""The programs of a stream: one that sets the states up, and one for each block length.

All streams of a model with the same batch size share one StreamPlan. What depends only on side inputs is computed
once, when a stream is made, and kept beside its states.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..analysis.analyse import StreamSpec
from ..errors import FeedError, LstmInferError, NotStreamableError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..graph.links import Window
from ..lower import builder
from ..ops import carries, registry
from ..program.assemble import assemble
from ..program.builder import Builder
from ..program.calls import AnyCall, BranchCall, Call, LoopCall
from ..program.memory import StateLayout
from ..program.program import Program
from ..program.store import ConstStore
from ..program.views import View
from ..records import StateInfo
from ..walk.control import is_control
from ..walk.walk import Instead, Walk, node_facts, walk

__all__ = ["BLOCKS", "Block", "StreamPlan"]

BLOCKS = (64, 16, 4, 1)
"""Block lengths into which a chunk is cut, as far as they do not exceed `max_chunk`."""

_VIEWS = {"Slice", "Split", "Squeeze", "Unsqueeze", "Gather", "Identity", "Reshape", "Transpose"}
"""Operators that show a part of a state without computing."""

RELEASE_MACS = 60_000
"""Multiply-adds of one call from which on the GIL is released: some microseconds on one core."""

Key = tuple[str, str]
Phase = tuple[int, ...]
"""How many steps each history and queue holds, in the order of `StreamPlan.fills`; () where that never changes."""


def input_key(name: str) -> tuple[str, str, str]:
    """The slot of a state input. Three parts: the keys of nodes have two, whatever the nodes are called."""
    return "", "input", name


def static_key(value: str) -> tuple[str, str, str]:
    """The slot of a value computed from bound side inputs."""
    return "", "static", value


@dataclass(frozen=True)
class Block:
    """The program for `n` steps that start in one phase; `present`: the outputs that exist behind them."""

    n: int
    program: Program
    release_gil: bool
    next_phase: Phase
    present: tuple[str, ...]


@dataclass
class _Chunk:
    """One walk over a chunk: what windows and joins took from their memory and what they leave."""

    fills: dict[Key, int]
    flush: bool
    walked: Walk | None = None
    skipped: set[str] = field(default_factory=set)
    """Nodes with nothing to do in this chunk."""
    absent: set[str] = field(default_factory=set)
    """Values at the end of a sequence that has not begun."""
    taken: dict[Key, tuple[int, int, int]] = field(default_factory=dict)
    """By memory: steps held before, steps used, steps kept."""

    def after(self) -> dict[Key, int]:
        return {**self.fills, **{key: kept for key, (_, _, kept) in self.taken.items()}}


def _without_checks(graph: Graph) -> Graph:
    """The graph for a stream that lags: a loop has fewer steps there than its input has, which the checks in front of
    the loops would refuse. The analysis has passed them."""
    nodes = [replace(n, op="Identity", domain="", inputs=n.inputs[:1], attrs={}) if n.op == "Steps" else n
             for n in graph.nodes]  # fmt: skip
    return replace(graph, nodes=nodes)


class StreamPlan:
    """Programs and state layout for one batch size and one set of bound side inputs."""

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
        seed: int | None,
        sizes: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        self.sizes = {**spec.roles.open_sizes, **(sizes or {})}
        """Extents of open axes that are neither time nor batch: by (input, axis)."""
        self.graph = graph if spec.steady else _without_checks(graph)
        self.spec, self.store, self.isa, self.batch = spec, store, isa, batch
        self.seed = seed
        self.layout = StateLayout()
        self.bound = {name: array for name, array in bound.items() if array.dtype.kind == "f" or array.ndim}
        self.known = {name: Fact.of(array) for name, array in bound.items() if name not in self.bound}
        """Bound integers and booleans that are sizes, rates or switches: constants."""
        self.fed = [name for name in spec.streamed if name not in bound]
        self.per_step = [name for name in spec.side if name not in bound]
        self._lock = threading.Lock()
        self._check_lens()
        free = spec.mode == "time" and spec.roles.time_size is None
        if spec.mode == "time" and spec.roles.time_size not in (None, 1):
            raise ShapeError(
                f"the file is fixed to {spec.roles.time_size} time steps and cannot be walked at others; use run()"
            )
        free = free and not spec.stepwise
        self.lengths = [n for n in BLOCKS if n <= max(max_chunk, 1)] if free else [1]
        self.long: Walk | None = None
        one = self._first_reference()
        self.reference = one
        self.repeated = self._repeated(one)
        """Values without a time axis that are as long as the sequence, all steps alike: one step of them, and its axis."""
        self.fills: dict[Key, int] = self._first_fills()
        """First fill of each history and queue of a stream that is not steady."""
        self.static = self._static_values(one)
        self._place_states(one)
        self.init = self._init_program(one)
        self._made: dict[tuple[int, Phase, bool], Block] = {}
        self.first_phase: Phase = tuple(self.fills.values())
        self.blocks = [self.block(n, self.first_phase) for n in self.lengths] if spec.steady else []
        self.step_facts = {name: one.facts[name] for name in (*self.fed, *self.per_step)}
        self.out_facts = {o.name: one.facts[o.name] for o in spec.outputs}

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

    # ---- walking ----------------------------------------------------------------------------------------

    def _facts(self, n: int) -> dict[str, Fact]:
        facts = self.spec.roles.feeds(n, self.batch)
        for (name, axis), size in self.sizes.items():
            if name in facts and self.is_open(name, axis):
                facts[name] = _resized(facts[name], axis, size)
        for name, fact in self.known.items():
            facts[name] = fact
        for name, array in self.bound.items():
            facts[name] = Fact(array.shape, array.dtype)
        return facts

    def is_open(self, name: str, axis: int) -> bool:
        """Is this an axis whose extent the file leaves open, and which is neither time nor batch."""
        roles = self.spec.roles
        return (name, axis) in self.sizes and roles.time.get(name) != axis and roles.batch.get(name) != axis

    def _first_reference(self) -> Walk:
        """Integers with axes (tokens, lengths) are read when the stream is made, by the kernels that a whole run takes;
        where they decide about sizes they have to be known here already."""
        try:
            return self._reference()
        except LstmInferError:
            known = {name: array for name, array in self.bound.items() if array.dtype.kind != "f"}
            if not known:
                raise
            self.bound = {name: array for name, array in self.bound.items() if name not in known}
            self.known |= {name: Fact.of(array) for name, array in known.items()}
            return self._reference()

    def _reference(self) -> Walk:
        """A walk in which every value has its usual shape: one step of each, whatever its windows need."""

        self.long = None if self.spec.steady else walk(self.graph, self._facts(self.spec.roles.analysis_sizes()[0]))

        def on_node(node: Node, ins: list[Fact | None]) -> list[Fact] | None:
            if node.name not in self.spec.windows:
                return self._regrouped(node, ins)
            axis, window = self.spec.windows[node.name]
            x = ins[0]
            assert x is not None
            if node.name not in self.spec.pad_nodes:
                ins = [_resized(x, axis, (window.kernel - 1) * window.dilation + 1), *ins[1:]]
            if node.name in self.spec.cropped:
                return [_resized(x, axis, 1)]
            return node_facts(without_pads(node, axis, len(x.shape), window), unpadded(node, axis, ins))

        return walk(self.graph, self._facts(1), on_node=on_node)

    def _chunk(self, n: int, fills: Mapping[Key, int], flush: bool = False) -> _Chunk:
        """Walk n new steps, with what the histories and queues hold."""
        chunk = _Chunk(dict(fills), flush)

        def on_node(node: Node, ins: list[Fact | None]) -> list[Fact] | Instead | None:
            if node.op in ("Shape", "Size"):
                return None  # a size is known where there is no step yet
            if any(name in chunk.absent for name in node.inputs):
                return self._nothing(chunk, node)
            if node.name in self.spec.windows:
                return self._window(chunk, node, ins)
            if any(v in self.repeated for v in node.outputs):
                return [self.reference.facts[v] for v in node.outputs]
            axes = [(i, a) for i, v in enumerate(node.inputs) if v and (a := self.spec.time_axes.get(v)) is not None]
            if not axes or self.spec.steady:
                return None
            ins = self._join(chunk, node, ins, axes)
            if node.op == "Concat":
                ins = [
                    self._filled(v, x, _extent(ins[axes[0][0]], axes[0][1]))
                    for v, x in zip(node.inputs, ins, strict=True)
                ]
            if any(_extent(ins[i], a) == 0 for i, a in axes):
                return self._nothing(chunk, node)
            if is_control(node):
                return Instead(ins)
            return self._regrouped(node, ins) or node_facts(node, ins)

        chunk.walked = walk(self.graph, self._facts(n), on_node=on_node)
        return chunk

    def _repeated(self, one: Walk) -> dict[str, int]:
        """Of side inputs and constants, expanded over the length that is fed: what they meet may lie behind that."""
        found: dict[str, int] = {}
        for value, long in (self.long.facts if self.long else {}).items():
            fact = one.facts.get(value)
            if fact is None or fact.dtype.kind != "f" or value in self.spec.time_axes:
                continue
            axes = [a for a, n in enumerate(long.shape) if fact.shape[a : a + 1] != (n,)]
            if len(fact.shape) == len(long.shape) and len(axes) == 1 and fact.shape[axes[0]] == 1:
                found[value] = axes[0]
        return found

    def _filled(self, value: str, fact: Fact | None, n: int) -> Fact | None:
        """A repeated value at n steps; another as it is."""
        return fact if fact is None or value not in self.repeated else _resized(fact, self.repeated[value], n)

    def _regrouped(self, node: Node, ins: list[Fact | None]) -> list[Fact] | None:
        """What a Reshape makes of the steps that are there: its target may tell how many a whole run has."""
        x, steps, axes = ins[0] if ins else None, self.spec.steps, self.spec.time_axes
        if self.long is None or x is None or node.op != "Reshape" or x.const is not None:
            return None
        source, value = node.inputs[0], node.outputs[0]
        if not (steps.get(source) and steps.get(value)):
            return None
        before, after = self.long.facts[source], self.long.facts[value]
        n = x.shape[axes[source]] * steps[source] // before.shape[axes[source]]
        return [Fact(_resized(after, axes[value], n * after.shape[axes[value]] // steps[value]).shape, x.dtype)]

    def _nothing(self, chunk: _Chunk, node: Node) -> list[Fact]:
        """A node that has no step to work on."""
        chunk.skipped.add(node.name)
        made = []
        for value in node.outputs:
            fact = self.reference.facts[value] if value else Fact((), np.dtype(np.float32))
            axis = self.spec.time_axes.get(value)
            if value and axis is None:
                chunk.absent.add(value)
            made.append(Fact(fact.shape, fact.dtype) if axis is None else _resized(fact, axis, 0))
        return made

    def _window(self, chunk: _Chunk, node: Node, ins: list[Fact | None]) -> list[Fact]:
        axis, window = self.spec.windows[node.name]
        x = ins[0]
        assert x is not None
        plain = without_pads(node, axis, len(x.shape), window)
        if node.name in self.spec.pad_nodes:
            if x.shape[axis] == 0:
                return self._nothing(chunk, node)
            return node_facts(plain, unpadded(node, axis, ins))
        key = (node.name, "history")
        reach = (window.kernel - 1) * window.dilation + 1
        held = chunk.fills.get(key, reach - 1)
        total = held + x.shape[axis] + (window.pad_end if chunk.flush else 0)
        steps = max(0, (total - reach) // window.stride + 1) if total >= reach else 0
        chunk.taken[key] = (held, total, total - steps * window.stride)
        if steps == 0:
            return self._nothing(chunk, node)
        if node.name in self.spec.cropped:
            return [_resized(x, axis, steps)]
        return node_facts(plain, [_resized(x, axis, total), *ins[1:]])

    def _join(
        self, chunk: _Chunk, node: Node, ins: list[Fact | None], axes: Sequence[tuple[int, int]]
    ) -> list[Fact | None]:
        """Inputs of different lag: those ahead wait in a queue."""
        if len({node.inputs[i] for i, _ in axes}) < 2:
            return ins
        held = {i: chunk.fills.get((node.name, f"queue{i}"), 0) for i, _ in axes}
        total = {i: held[i] + _extent(ins[i], a) for i, a in axes}
        steps = min(total.values())
        ins = list(ins)
        for i, a in axes:
            if held[i] or total[i] != steps:
                chunk.taken[node.name, f"queue{i}"] = (held[i], total[i], total[i] - steps)
            fact = ins[i]
            assert fact is not None
            ins[i] = _resized(fact, a, steps)
        return ins

    def _first_fills(self) -> dict[Key, int]:
        """What histories and queues hold at the start; queues are found by running lengths until they repeat."""
        if self.spec.steady:
            return {}
        windows = {n: w for n, (_, w) in self.spec.windows.items() if n not in self.spec.pad_nodes}
        fills: dict[Key, int] = {(name, "history"): w.pad_begin for name, w in windows.items()}
        self.capacity: dict[Key, int] = {
            (n, "history"): max(w.pad_begin, (w.kernel - 1) * w.dilation + w.stride) for n, w in windows.items()
        }
        now, queues = dict(fills), set[Key]()
        longest = self.spec.lag + 2 * self.spec.rate + 2
        for n in (*[self.lengths[0]] * (2 + longest // self.lengths[0]), *[1] * min(longest, 64)):
            now = self._chunk(n, now).after()
            for key, kept in now.items():
                if key not in fills:
                    queues.add(key)
                    self.capacity[key] = max(self.capacity.get(key, 0), kept + 2 * self.spec.rate)
        return {**fills, **dict.fromkeys(sorted(queues), 0)}

    def _check_lens(self) -> None:
        """Lengths count from the start of the stream: they have to be there when it is made."""
        for node, value in self.spec.lens.items():
            unbound = [name for name in self.per_step if name == value or self._feeds_lens(value, name)]
            if unbound:
                raise NotStreamableError(
                    f"node {node!r} takes its sequence_lens from the input {unbound[0]!r}; bind it with "
                    f"stream(inputs={{{unbound[0]!r}: lengths}}), or use run()",
                    node=node,
                    op="LSTM",
                    reason=f"sequence_lens come from the input {unbound[0]!r}, which is not bound",
                )

    def _feeds_lens(self, value: str, source: str) -> bool:
        """Is `value` computed from the input `source`."""
        made = {name: node for node in self.graph.walk() for name in node.outputs if name}
        todo, seen = [value], set()
        while todo:
            name = todo.pop()
            if name == source:
                return True
            if name in made and name not in seen:
                seen.add(name)
                todo += made[name].inputs
        return False

    # ---- states -----------------------------------------------------------------------------------------

    def _static_values(self, one: Walk) -> set[str]:
        """Values computed from bound side inputs alone."""
        static = set(self.bound)
        carried = {c.node for c in self.spec.carried}
        for node in one.nodes:
            if node.name in carried or registry.find(node).random:
                continue
            if all(v in static or one.facts[v].const is not None for v in node.inputs if v):
                static |= {v for v in node.outputs if v}
        return static

    def _place_states(self, one: Walk) -> None:
        for name in self.spec.pairs:
            fact = one.facts[name]
            self.layout.slot(input_key(name), fact.shape, fact.dtype)
        nodes = {node.name: node for node in one.nodes}
        for carried in self.spec.carried:
            node = nodes[carried.node]
            shape, dtype, _ = carries.state_memory(node, one.facts, carried.what)
            self.layout.slot((carried.node, f"{carried.what}0"), shape, dtype)
        for name, (axis, window) in self.spec.windows.items():
            node = nodes[name]
            if name not in self.spec.pad_nodes:
                fact = one.facts[node.inputs[0]]
                steps = self.capacity[name, "history"] if self.fills else (window.kernel - 1) * window.dilation
                self.layout.slot((name, "history"), _resized(fact, axis, steps).shape, fact.dtype)
        for name, what in self.fills:
            if what != "history":
                value = nodes[name].inputs[int(what[5:])]
                fact = _resized(one.facts[value], self.spec.time_axes[value], self.capacity[name, what])
                self.layout.slot((name, what), fact.shape, fact.dtype)
        for name, value in self.spec.lens.items():
            self.layout.slot((name, "remaining"), one.facts[value].shape, one.facts[value].dtype)
        read = [o.name for o in self.spec.outputs] + list(self.spec.pairs.values())
        for node in one.nodes:
            if not all(v in self.static for v in node.outputs if v):
                read += node.inputs
        for value in read:
            if value in self.static and one.facts[value].const is None:
                self.layout.slot(static_key(value), one.facts[value].shape, one.facts[value].dtype)

    def states(self) -> dict[str, tuple[View, StateInfo]]:
        """Every public state and where it lies."""
        slots = self.layout.slots
        found: dict[str, tuple[View, StateInfo]] = {}
        hidden = {c.label: c for c in self.spec.carried}
        for info in self.spec.states:
            carried = hidden.get(info.name)
            key: Any = input_key(info.name) if carried is None else (carried.node, f"{carried.what}0")
            view = slots[key]
            if len(info.shape) != len(view.shape):  # its batch is a product, shown by its axes
                shown = view.reshape([self.batch if a == info.batch_axis else n for a, n in enumerate(info.shape)])
                assert shown is not None
                view = shown
            found[info.name] = view, info
        return found

    def _init_program(self, one: Walk) -> Program:
        """Fills states that start from an expression, window histories, and all that depends on side inputs alone."""
        b = builder(dict(one.facts), self.store, self.isa, seed=self.seed)
        names = list(self.bound)
        for index, name in enumerate(names):
            b.input(name, index)
        for node in one.nodes:
            if all(v in self.static for v in node.outputs if v):
                b.node(node)
        nodes = {node.name: node for node in one.nodes}
        for carried in self.spec.carried:
            if not carried.init:
                continue
            if one.facts[carried.init].const is None and carried.init not in self.static:
                unbound = ", ".join(repr(n) for n in self.per_step) or "an input"
                raise FeedError(
                    f"the first state of node {carried.node!r} is computed from {unbound}; bind it with stream(inputs={{...}})"
                )
            slot = self.layout.slots[carried.node, f"{carried.what}0"]
            init = b.view(carried.init)
            b.copy(slot, carries.first_state(nodes[carried.node], b.f32(init) if slot.dtype == np.float32 else init))
        for name, (_, window) in self.spec.windows.items():
            if (name, "history") in self.layout.slots and window.pad_value:
                slot = self.layout.slots[name, "history"]
                b.copy(slot, b.scalar(window.pad_value, slot.dtype))
        for name, value in self.spec.lens.items():
            b.copy(self.layout.slots[name, "remaining"], b.view(value))
        for key, slot in self.layout.slots.items():
            if isinstance(key, tuple) and key[:2] == static_key("")[:2]:
                b.copy(slot, b.view(str(key[2])))
        return assemble(b, len(names), [])

    # ---- steps ------------------------------------------------------------------------------------------

    def _block(self, n: int, phase: Phase, flush: bool) -> Block:
        chunk = self._chunk(n, dict(zip(self.fills, phase, strict=True)), flush)
        walked = chunk.walked
        assert walked is not None
        b = builder(dict(walked.facts), self.store, self.isa, layout=self.layout, seed=self.seed)
        slots = self.layout.slots
        inputs = [*self.fed, *self.per_step]
        for index, name in enumerate(inputs):
            b.input(name, index)
        readers: dict[str, list[tuple[int, int]]] = {}
        for position, node in enumerate(walked.nodes if self.spec.pairs else ()):
            for i, value in enumerate(node.inputs):
                readers.setdefault(value, []).append((position, i))
        for name in self.spec.pairs:
            b.views[name] = slots[input_key(name)]
            if self._seeds_only(name, walked, readers):
                b.in_place.add(id(slots[input_key(name)].buffer))
        for key, slot in slots.items():
            if isinstance(key, tuple) and key[:2] == static_key("")[:2]:
                b.views[str(key[2])] = slot
        for name in self.spec.lens:
            remaining = slots[name, "remaining"]
            b.lens[name] = now = b.alloc(remaining.shape, remaining.dtype)
            b.map([remaining, b.scalar(n, np.int64)], [("MIN", 0, 1)], now, ints=True)
            b.map([remaining, now], [("SUB", 0, 1)], remaining, ints=True)
        for node in walked.nodes:
            if any(v and v not in self.static for v in node.outputs):
                self._lower(b, node, chunk)
        present = [o.name for o in self.spec.outputs if o.name not in chunk.absent]
        outputs = [b.output(name, index) for index, name in enumerate(present)]
        if not chunk.absent.intersection(self.spec.pairs.values()):
            b.advance([(self.layout.slots[input_key(v)], b.view(out)) for v, out in self.spec.pairs.items()])
        macs = _work(b.calls)
        after = chunk.after()
        if any(key not in self.fills for key in after) and self.fills:
            raise AssertionError("a queue appeared that was not foreseen")
        program = assemble(b, len(inputs), outputs)
        return Block(n, program, macs >= RELEASE_MACS, tuple(after[key] for key in self.fills), tuple(present))

    def _lower(self, b: Builder, node: Node, chunk: _Chunk) -> None:
        if node.name in self.spec.windows:
            self._lower_window(b, node, chunk)
            return
        queued = {int(what[5:]): taken for (name, what), taken in chunk.taken.items() if name == node.name}
        inputs = list(node.inputs)
        for i, (held, total, kept) in queued.items():
            value = node.inputs[i]
            axis = self.spec.time_axes[value]
            joined = self._joined(b, value, axis, (node.name, f"queue{i}"), held, total, 0)
            self._keep(b, joined, axis, (node.name, f"queue{i}"), total, kept)
            inputs[i] = f"{value}/queue/{node.name}"
            b.facts[inputs[i]] = _resized(b.fact(value), axis, total - kept)
            b.bind(inputs[i], joined.part(axis, 0, total - kept))
        if node.name in chunk.skipped:
            self._skip(b, node)
            return
        for i, value in enumerate(node.inputs):
            if value and b.facts[value].const is not None and any(v in self.repeated for v in node.outputs):
                inputs[i] = self._once(b, node, value)
            elif node.op == "Concat" and value in self.repeated:
                inputs[i] = self._all_along(b, node, value)
        b.node(replace(node, inputs=inputs))

    def _once(self, b: Builder, node: Node, value: str) -> str:
        """A size that a repeated value is made with, as it is for one step."""
        name = f"{value}/once/{node.name}"
        b.facts[name] = self.reference.facts[value]
        return name

    def _all_along(self, b: Builder, node: Node, value: str) -> str:
        """A repeated value at as many steps as what it is joined to."""
        name, out = f"{value}/along/{node.name}", node.outputs[0]
        axis, n = self.repeated[value], b.fact(out).shape[self.spec.time_axes[out]]
        view = b.view(value)
        b.facts[name] = _resized(b.fact(value), axis, n)
        b.bind(
            name, replace(view, shape=b.facts[name].shape, strides=(*view.strides[:axis], 0, *view.strides[axis + 1 :]))
        )
        return name

    @staticmethod
    def _skip(b: Builder, node: Node) -> None:
        for value in node.outputs:
            if value and b.facts[value].const is None:
                b.new(value)

    def _lower_window(self, b: Builder, node: Node, chunk: _Chunk) -> None:
        axis, window = self.spec.windows[node.name]
        rank = len(b.fact(node.inputs[0]).shape)
        plain = without_pads(node, axis, rank, window)
        if node.name in self.spec.pad_nodes:
            if node.name in chunk.skipped:
                self._skip(b, node)
                return
            ins = [b.fact(v) if v else None for v in node.inputs]
            name = f"{node.inputs[1]}/unpadded/{node.name}"
            new = unpadded(node, axis, ins)[1]
            assert new is not None
            b.facts[name] = new
            b.node(replace(plain, inputs=[node.inputs[0], name, *node.inputs[2:]]))
            return
        key = (node.name, "history")
        held, total, kept = chunk.taken[key]
        value = node.inputs[0]
        if held == 0 and kept == 0 and not chunk.flush:
            if node.name in self.spec.cropped:
                b.bind(node.outputs[0], b.view(value))
            else:
                b.node(plain)
            return
        joined = self._joined(b, value, axis, key, held, total, window.pad_value)
        self._keep(b, joined, axis, key, total, kept)
        if node.name in chunk.skipped:
            self._skip(b, node)
            return
        if node.name in self.spec.cropped:
            steps = (total - window.kernel) // window.stride + 1
            b.bind(node.outputs[0], joined.part(axis, self.spec.cropped[node.name], steps, window.stride))
            return
        name = f"{value}/history/{node.name}"
        b.facts[name] = _resized(b.fact(value), axis, total)
        b.bind(name, joined)
        b.node(replace(plain, inputs=[name, *node.inputs[1:]]))

    def _joined(self, b: Builder, value: str, axis: int, key: Key, held: int, total: int, pad: float) -> View:
        """What a memory holds, the new steps, and padding up to `total`, behind each other. A negative `held` is a debt:
        so many new steps are passed over."""
        fact, slot = b.fact(value), self.layout.slots[key]
        n, skip = fact.shape[axis], max(-held, 0)
        shape = list(fact.shape)
        shape[axis] = max(total, 0)
        joined = b.alloc(shape, slot.dtype)
        at = max(held, 0)
        if at:
            b.copy(joined.part(axis, 0, at), slot.part(axis, 0, at))
        fresh = max(n - skip, 0)
        if fresh:
            b.copy(joined.part(axis, at, fresh), b.view(value).part(axis, skip, fresh))
        if total > at + fresh:
            b.copy(joined.part(axis, at + fresh, total - at - fresh), b.scalar(pad, slot.dtype))
        return joined

    def _keep(self, b: Builder, joined: View, axis: int, key: Key, total: int, kept: int) -> None:
        slot = self.layout.slots[key]
        if kept > slot.shape[axis]:
            raise AssertionError(f"memory {key} holds {slot.shape[axis]} steps, {kept} are to be kept")
        if kept > 0:
            b.copy(slot.part(axis, 0, kept), joined.part(axis, total - kept, kept))

    def _seeds_only(self, state: str, walked: Walk, readers: Mapping[str, Sequence[tuple[int, int]]]) -> bool:
        """Is this state read by nothing but recurrences that start from it, each from a part of its own."""
        todo, parts, seen = [state], 0, set[int]()
        outputs = {o.name for o in self.spec.outputs} | set(self.spec.pairs.values())
        while todo:
            value = todo.pop()
            found = readers.get(value, ())
            if value in outputs or (len(found) > 1 and value != state):
                return False
            for position, index in found:
                node = walked.nodes[position]
                seen.add(position)
                if carries.carries(node) and any(index == i for _, i, _ in carries.states(node)):
                    parts += prod(walked.facts[value].shape)
                elif node.op in _VIEWS and index == 0:
                    todo += [v for v in node.outputs if v]
                else:
                    return False
        if parts > prod(walked.facts[state].shape):
            return False
        return self._parts_apart(state, walked, [walked.nodes[position] for position in sorted(seen)])

    def _parts_apart(self, state: str, walked: Walk, nodes: Sequence[Node]) -> bool:
        """Do the readers of a state take different parts of it."""
        b = builder(walked.facts, self.store, self.isa)
        b.views[state] = self.layout.slots[input_key(state)]
        taken: list[tuple[int, int]] = []
        derived = {state}
        for node in nodes:
            if node.inputs and node.inputs[0] in derived and node.op in _VIEWS:
                b.node(node)
                derived |= {v for v in node.outputs if v}
            for name in node.inputs if carries.carries(node) else ():
                if name in derived:
                    view = b.view(name)
                    if view.buffer is not b.views[state].buffer or not view.is_dense:
                        return False
                    taken.append((view.offset, view.offset + view.size))
        taken.sort()
        return not b.calls and all(a[1] <= c[0] for a, c in pairwise(taken))


def _work(steps: Sequence[AnyCall]) -> int:
    """Multiply-adds of all steps, near enough to decide about the GIL."""
    total = 0
    for step in steps:
        if isinstance(step, Call):
            total += _macs(step)
        elif isinstance(step, LoopCall):
            total += step.limit * (_work(step.body) + 500 * len(step.body))
        elif isinstance(step, BranchCall):
            total += max(_work(part or ()) for part in step.lists)
    return total


def _macs(step: Call) -> int:
    """Multiply-adds of a step, near enough to decide about the GIL."""
    if step.slot == "matmul_f32":
        n, k, m = (int(w) for w in step.words[4:7])  # type: ignore[arg-type]
        return n * k * m
    weights = sum(prod(v.shape) for v in step.reads if v.buffer.kind == "const")
    if step.slot in ("lstm_f32", "gru_f32", "rnn_f32"):
        return weights * int(step.words[11]) * int(step.words[12])  # type: ignore[arg-type]
    out = sum(prod(v.shape) for v in step.writes)
    return weights * max(out // max(weights, 1), 1) if step.slot == "conv_f32" else out


def without_pads(node: Node, axis: int, rank: int, window: Window) -> Node:
    """The node without padding on one axis of its input: an output for every full window."""
    if node.op in ("Pad", "Slice"):
        return node
    attrs = dict(node.attrs)
    spatial = rank - 2
    pads = list(attrs.get("pads", [0] * (2 * spatial)))  # type: ignore[arg-type]
    pads[axis - 2] = pads[axis - 2 + spatial] = 0
    if node.op == "ConvTranspose":  # its pads cut off what comes of windows that are not full
        pads[axis - 2] = pads[axis - 2 + spatial] = (window.kernel - 1) * window.dilation
        more = list(attrs.get("output_padding", [0] * spatial))  # type: ignore[arg-type]
        attrs |= {"output_padding": [0 if a == axis - 2 else n for a, n in enumerate(more)], "auto_pad": "NOTSET"}
    attrs["pads"] = pads
    if str(attrs.get("auto_pad", "NOTSET")) != "NOTSET" and spatial == 1:
        attrs["auto_pad"] = "NOTSET"
    return replace(node, attrs=attrs)


def unpadded(node: Node, axis: int, ins: Sequence[Fact | None]) -> list[Fact | None]:
    """The inputs of a Pad without the padding of one axis; of another node as they are."""
    x = ins[0]
    if node.op != "Pad" or x is None or len(ins) < 2 or ins[1] is None or ins[1].const is None:
        return list(ins)
    rank = len(x.shape)
    axes = list(range(rank))
    if len(ins) > 3 and ins[3] is not None and ins[3].const is not None:
        axes = [int(a) % rank for a in ins[3].const.reshape(-1)]
    pads = np.array(ins[1].const)
    where = axes.index(axis)
    pads[where] = pads[where + len(axes)] = 0
    return [x, Fact.of(pads), *ins[2:]]


def _resized(fact: Fact, axis: int, n: int) -> Fact:
    return Fact((*fact.shape[:axis], max(n, 0), *fact.shape[axis + 1 :]), fact.dtype)


def _extent(fact: Fact | None, axis: int) -> int:
    assert fact is not None
    return fact.shape[axis]
