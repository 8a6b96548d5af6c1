"""The programs of a stream: one that sets the states up, and one for each block length.

All streams of a model with the same batch size share one StreamPlan. What depends only on side inputs is computed
once, when a stream is made, and kept beside its states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from .errors import FeedError, NotStreamableError, ShapeError
from .facts import Walk, node_facts, walk
from .ir import Array, Graph, Node
from .ops import recurrent
from .ops.registry import Fact
from .plan import Builder, Program, StateLayout
from .records import StateInfo
from .steps import Step
from .store import ConstStore
from .streaming import StreamSpec
from .views import View

__all__ = ["BLOCKS", "Block", "StreamPlan"]

BLOCKS = (64, 16, 4, 1)
"""Block lengths into which a chunk is cut, as far as they do not exceed `max_chunk`."""

_VIEWS = {"Slice", "Split", "Squeeze", "Unsqueeze", "Gather", "Identity", "Reshape", "Transpose"}
"""Operators that show a part of a state without computing."""

RELEASE_MACS = 60_000
"""Multiply-adds of one call from which on the GIL is released: some microseconds on one core."""


@dataclass(frozen=True)
class Block:
    """The program for `n` steps."""

    n: int
    program: Program
    release_gil: bool


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
    ) -> None:
        self.graph, self.spec, self.store, self.isa, self.batch = graph, spec, store, isa, batch
        self.seed = seed
        self.layout = StateLayout()
        self.bound = {name: array for name, array in bound.items() if array.dtype.kind == "f"}
        self.known = {name: Fact.of(array) for name, array in bound.items() if array.dtype.kind != "f"}
        """Bound integers and booleans are constants: sizes, rates, switches."""
        self.fed = [name for name in spec.streamed if name not in bound]
        self.per_step = [name for name in spec.side if name not in bound]
        self._check_lens()
        one = self._walk(1)
        self.static = self._static_values(one)
        self._place_states(one)
        self.init = self._init_program(one)
        lengths = [n for n in BLOCKS if n <= max(max_chunk, 1)] if spec.mode == "time" and spec.roles.time_size is None else [1]
        if spec.mode == "time" and spec.roles.time_size not in (None, 1):
            raise ShapeError(
                f"the file is fixed to {spec.roles.time_size} time steps and cannot be walked at others; use run()"
            )
        self.blocks = [self._block(n) for n in lengths]
        self.step_facts = {name: one.facts[name] for name in (*self.fed, *self.per_step)}
        self.out_facts = dict(zip((o.name for o in spec.outputs), self.blocks[-1].program.outputs, strict=True))

    # ---- walking ----------------------------------------------------------------------------------------

    def _facts(self, n: int) -> dict[str, Fact]:
        facts = self.spec.roles.feeds(n, self.batch)
        for name, fact in self.known.items():
            facts[name] = fact
        for name, array in self.bound.items():
            facts[name] = Fact(array.shape, array.dtype)
        return facts

    def _walk(self, n: int) -> Walk:
        windows = self.spec.windows

        def on_node(node: Node, ins: list[Fact | None]) -> list[Fact] | None:
            if node.name not in windows:
                return None
            axis, window = windows[node.name]
            x = ins[0]
            assert x is not None
            if node.op != "Pad":
                shape = list(x.shape)
                shape[axis] += (window.kernel - 1) * window.dilation
                ins = [replace(x, shape=tuple(shape)), *ins[1:]]
            return node_facts(without_pads(node, axis, len(x.shape)), self._unpadded(node, axis, ins))

        return walk(self.graph, self._facts(n), on_node=on_node)

    @staticmethod
    def _unpadded(node: Node, axis: int, ins: list[Fact | None]) -> list[Fact | None]:
        if node.op != "Pad" or len(ins) < 2 or ins[1] is None or ins[1].const is None:
            return ins
        return [ins[0], Fact.of(unpad(ins[1].const, axis, ins, node)), *ins[2:]]

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
            if node.name in carried:
                continue
            if all(v in static or one.facts[v].const is not None for v in node.inputs if v):
                static |= {v for v in node.outputs if v}
        return static

    def _place_states(self, one: Walk) -> None:
        for name in self.spec.pairs:
            fact = one.facts[name]
            self.layout.slot(("input", name), fact.shape, fact.dtype)
        nodes = {node.name: node for node in one.nodes}
        for carried in self.spec.carried:
            node = nodes[carried.node]
            x = one.facts[node.inputs[0]].shape
            rows = x[recurrent.axes(node)[1]]
            self.layout.slot((carried.node, f"{carried.what}0"), (rows, one.facts[node.inputs[2]].shape[-1]), np.float32)
        for name, (axis, window) in self.spec.windows.items():
            node = nodes[name]
            if node.op != "Pad":
                fact = one.facts[node.inputs[0]]
                shape = list(fact.shape)
                shape[axis] = (window.kernel - 1) * window.dilation
                self.layout.slot((name, "history"), shape, fact.dtype)
        for name, value in self.spec.lens.items():
            self.layout.slot((name, "remaining"), one.facts[value].shape, one.facts[value].dtype)
        for node in one.nodes:
            if not all(v in self.static for v in node.outputs if v):
                for value in node.inputs:
                    if value in self.static:
                        self.layout.slot(("static", value), one.facts[value].shape, one.facts[value].dtype)

    def states(self) -> dict[str, tuple[View, StateInfo]]:
        """Every public state and where it lies."""
        slots = self.layout.slots
        found: dict[str, tuple[View, StateInfo]] = {}
        hidden = {c.label: c for c in self.spec.carried}
        for info in self.spec.states:
            carried = hidden.get(info.name)
            key: Any = ("input", info.name) if carried is None else (carried.node, f"{carried.what}0")
            found[info.name] = slots[key], info
        return found

    def _init_program(self, one: Walk) -> Program:
        """Fills states that start from an expression, window histories, and all that depends on side inputs alone."""
        b = Builder(dict(one.facts), self.store, self.isa, seed=self.seed)
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
            init = b.f32(b.view(carried.init))
            axis = recurrent.direction_axis(nodes[carried.node])
            b.copy(self.layout.slots[carried.node, f"{carried.what}0"], init.part(axis, 0, 1).drop(axis))
        for name, (_, window) in self.spec.windows.items():
            if (name, "history") in self.layout.slots and window.pad_value:
                slot = self.layout.slots[name, "history"]
                b.copy(slot, b.scalar(window.pad_value, slot.dtype))
        for name, value in self.spec.lens.items():
            b.copy(self.layout.slots[name, "remaining"], b.view(value))
        for key, slot in self.layout.slots.items():
            if isinstance(key, tuple) and key[0] == "static":
                b.copy(slot, b.view(str(key[1])))
        return b.finish(len(names), [])

    # ---- steps ------------------------------------------------------------------------------------------

    def _block(self, n: int) -> Block:
        walked = self._walk(n)
        b = Builder(dict(walked.facts), self.store, self.isa, self.layout, self.seed)
        slots = self.layout.slots
        inputs = [*self.fed, *self.per_step]
        for index, name in enumerate(inputs):
            b.input(name, index)
        for name in self.spec.pairs:
            b.views[name] = slots["input", name]
            if self._seeds_only(name, walked):
                b.in_place.add(id(slots["input", name].buffer))
        for key, slot in slots.items():
            if isinstance(key, tuple) and key[0] == "static":
                b.views[str(key[1])] = slot
        for name in self.spec.lens:
            remaining = slots[name, "remaining"]
            b.lens[name] = now = b.alloc(remaining.shape, remaining.dtype)
            b.map([remaining, b.scalar(n, np.int64)], [("MIN", 0, 1)], now, ints=True)
            b.map([remaining, now], [("SUB", 0, 1)], remaining, ints=True)
        for node in walked.nodes:
            if any(v and v not in self.static for v in node.outputs):
                self._lower(b, node)
        outputs = [b.output(o.name, index) for index, o in enumerate(self.spec.outputs)]
        self._write_back(b)
        macs = sum(_macs(step) for step in b.steps if isinstance(step, Step))
        return Block(n, b.finish(len(inputs), outputs), macs >= RELEASE_MACS)

    def _seeds_only(self, state: str, walked: Walk) -> bool:
        """Is this state read by nothing but recurrences that start from it, each from a part of its own."""
        todo, parts = [state], 0
        outputs = {o.name for o in self.spec.outputs}
        while todo:
            value = todo.pop()
            readers = [(node, i) for node in walked.nodes for i, name in enumerate(node.inputs) if name == value]
            if value in outputs or (len(readers) > 1 and value != state):
                return False
            for node, index in readers:
                if recurrent.is_recurrent(node) and any(index == i for _, i, _ in recurrent.states(node)):
                    parts += prod(walked.facts[value].shape)
                elif node.op in _VIEWS and index == 0:
                    todo += [v for v in node.outputs if v]
                else:
                    return False
        return parts <= prod(walked.facts[state].shape) and self._parts_apart(state, walked)

    def _parts_apart(self, state: str, walked: Walk) -> bool:
        """Do the readers of a state that is read several times take different parts of it."""
        b = Builder(dict(walked.facts), self.store, self.isa)
        b.views[state] = self.layout.slots["input", state]
        taken: list[tuple[int, int]] = []
        derived = {state}
        for node in walked.nodes:
            if node.inputs and node.inputs[0] in derived and node.op in _VIEWS:
                b.node(node)
                derived |= {v for v in node.outputs if v}
            for name in node.inputs if recurrent.is_recurrent(node) else ():
                if name in derived:
                    view = b.view(name)
                    if view.buffer is not b.views[state].buffer or not view.is_dense:
                        return False
                    taken.append((view.offset, view.offset + view.size))
        taken.sort()
        return not b.steps and all(a[1] <= c[0] for a, c in zip(taken, taken[1:], strict=False))

    def _lower(self, b: Builder, node: Node) -> None:
        found = self.spec.windows.get(node.name)
        if found is None:
            b.node(node)
            return
        axis, window = found
        x = b.view(node.inputs[0])
        plain = without_pads(node, axis, len(x.shape))
        if node.op == "Pad":
            const = b.const_of(node.inputs[1])
            assert const is not None
            ins = [b.fact(v) if v else None for v in node.inputs]
            name = f"{node.inputs[1]}/unpadded/{node.name}"
            b.facts[name] = Fact.of(unpad(const, axis, ins, node))
            b.node(replace(plain, inputs=[node.inputs[0], name, *node.inputs[2:]]))
            return
        extra = (window.kernel - 1) * window.dilation
        if extra == 0:
            b.node(plain)
            return
        history = self.layout.slots[node.name, "history"]
        shape = list(x.shape)
        n = shape[axis]
        shape[axis] += extra
        joined = b.alloc(shape, x.dtype)
        b.copy(joined.part(axis, 0, extra), history)
        b.copy(joined.part(axis, extra, n), x)
        b.copy(history, joined.part(axis, n, extra))
        name = f"{node.inputs[0]}/history/{node.name}"
        b.facts[name] = Fact(tuple(shape), b.fact(node.inputs[0]).dtype)
        b.bind(name, joined)
        b.node(replace(plain, inputs=[name, *node.inputs[1:]]))

    def _write_back(self, b: Builder) -> None:
        """The next values of the state inputs, behind everything that reads the old ones."""
        moves: list[tuple[View, View]] = []
        for name, out in self.spec.pairs.items():
            slot, view = self.layout.slots["input", name], b.view(out)
            if view.buffer is slot.buffer and view.offset == slot.offset and view.is_dense:
                continue
            if view.buffer.kind == "state":  # a state that becomes another: copied before any is overwritten
                held = b.alloc(view.shape, view.dtype)
                b.copy(held, view)
                view = held
            moves.append((slot, view))
        for slot, view in moves:
            b.copy(slot, view)


def _macs(step: Step) -> int:
    """Multiply-adds of a step, near enough to decide about the GIL."""
    if step.slot == "matmul_f32":
        n, k, m = (int(w) for w in step.words[4:7])  # type: ignore[arg-type]
        return n * k * m
    weights = sum(prod(v.shape) for v in step.reads if v.buffer.kind == "const")
    if step.slot in ("lstm_f32", "gru_f32", "rnn_f32"):
        return weights * int(step.words[11]) * int(step.words[12])  # type: ignore[arg-type]
    out = sum(prod(v.shape) for v in step.writes)
    return weights * max(out // max(weights, 1), 1) if step.slot == "conv_f32" else out


def without_pads(node: Node, axis: int, rank: int) -> Node:
    """The node without padding on one axis of its input."""
    if node.op == "Pad":
        return node
    attrs = dict(node.attrs)
    spatial = rank - 2
    pads = list(attrs.get("pads", [0] * (2 * spatial)))  # type: ignore[arg-type]
    pads[axis - 2] = pads[axis - 2 + spatial] = 0
    attrs["pads"] = pads
    if str(attrs.get("auto_pad", "NOTSET")) != "NOTSET" and spatial == 1:
        attrs["auto_pad"] = "NOTSET"
    return replace(node, attrs=attrs)


def unpad(pads: Array, axis: int, ins: Sequence[Fact | None], node: Node) -> Array:
    """The pads input of a Pad without those of one axis."""
    x = ins[0]
    assert x is not None
    rank = len(x.shape)
    axes = list(range(rank))
    if len(ins) > 3 and ins[3] is not None and ins[3].const is not None:
        axes = [int(a) % rank for a in ins[3].const.reshape(-1)]
    out = np.array(pads).copy()
    where = axes.index(axis)
    out[where] = out[where + len(axes)] = 0
    return out


