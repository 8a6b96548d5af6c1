"""What an operator lowers itself with: where values lie, memory, constants, and the calls it makes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ..errors import UnsupportedOpError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from .arguments import Copy, Record
from .calls import AnyCall, BranchCall, Call, Evaluate, HostCall, LoopCall, MapCall
from .draws import DRAWN, Draws, Seeded
from .inplace import InPlace
from .memory import NodeState, StateLayout
from .store import ConstStore, Values
from .views import Buffer, View, dense_strides, merge_axes, storage

__all__ = ["Builder"]


@dataclass
class Builder:
    """What an operator lowers itself with. Values are known by name; memory is known by View."""

    facts: dict[str, Fact]
    store: ConstStore
    isa: str
    lower_node: Callable[[Node, Builder], None]
    """Lowers a node by its operator; operators, which stand above this file, lower the bodies they hold with it."""
    layout: StateLayout | None = None
    """Set for a stream: recurrences then keep their state in it. In a run it holds what random nodes count."""
    draws: Mapping[str, Draws] = field(default_factory=dict)
    """Random node -> where steps and signals stand in what it draws, as far as that is known."""
    signals: int = 1
    """Signals that are fed."""
    seeded: dict[str, Seeded] = field(default_factory=dict)
    """The states of the random nodes that were lowered."""
    in_place: InPlace = field(default_factory=InPlace)
    """The states that may be updated where they lie, by recurrences and by what writes into a value."""
    lens: dict[str, View] = field(default_factory=dict)
    """By node: the part of its sequence_lens that falls into this block of a stream."""
    calls: list[AnyCall] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    held: dict[int, View] = field(default_factory=dict)
    """The constants that the calls read, by the identity of their views."""
    _node: str = ""
    _depth: int = 0

    # ---- values -----------------------------------------------------------------------------------------

    def fact(self, name: str) -> Fact:
        """Shape, dtype and (where known) content of a value."""
        return self.facts[name]

    def const_of(self, name: str) -> Array | None:
        """The content of a value, where it is known."""
        return self.facts[name].const if name else None

    def view(self, name: str) -> View:
        """Where a value lies. Constants are placed on first use."""
        found = self.views.get(name)
        if found is None:
            const = self.facts[name].const
            if const is None:
                raise AssertionError(f"value {name!r} was used before it was made")
            found = self.views[name] = self.const(const)
        return found

    def optional(self, node: Node, index: int) -> str:
        """The name of an optional input, "" where it is absent."""
        return node.inputs[index] if index < len(node.inputs) else ""

    def wanted(self, node: Node, index: int) -> bool:
        """Is this output read by anyone."""
        return index < len(node.outputs) and bool(node.outputs[index])

    def bind(self, name: str, view: View) -> None:
        """A value lies where `view` says; no memory of its own."""
        want = self.facts[name]
        if view.shape != want.shape or view.dtype != storage(want.dtype):
            raise AssertionError(
                f"{self._node}: value {name!r} is {want.dtype}{want.shape}, bound to {view.dtype}{view.shape}"
            )
        self.views[name] = view

    def new(self, name: str) -> View:
        """Fresh dense memory for a value."""
        fact = self.facts[name]
        view = self.alloc(fact.shape, storage(fact.dtype))
        self.views[name] = view
        return view

    # ---- memory -----------------------------------------------------------------------------------------

    def alloc(self, shape: Sequence[int], dtype: Any = np.float32) -> View:
        """Fresh dense memory that holds no named value."""
        dtype = np.dtype(dtype)
        buffer = Buffer("arena", max(prod(shape), 1) * dtype.itemsize)
        return View(buffer, tuple(shape), dense_strides(shape), dtype)

    def scratch(self, n_bytes: int) -> View:
        """Working memory for one call, 64-byte aligned."""
        return self.alloc((max(int(n_bytes), 1),), np.uint8)

    def const(self, array: Array) -> View:
        """A constant, in its storage dtype."""
        return self._held(self.store.view(array))

    def scalar(self, value: float | int, dtype: Any = np.float32) -> View:
        """One number."""
        return self._held(self.store.scalar(value, dtype))

    def packed(self, key: Hashable, make: Callable[[], Array], keep: Any = None) -> View:
        """A constant made once per model, such as packed weights; see ConstStore.packed."""
        return self._held(self.store.packed(key, make, keep))

    def kind(self, node: Node, terms: int, *weights: Array, values: Values | None = None, groups: int = 1) -> str:
        """How the weights of a node are held, one of `precision.KINDS`; see ConstStore.held."""
        return self.store.held(node.name, node.op, weights, terms, values, groups).kind

    def _held(self, view: View) -> View:
        self.held[id(view)] = view
        return view

    def dense(self, view: View) -> View:
        """The same elements in C order; copied only where they are not."""
        if view.is_dense:
            return replace(view, strides=dense_strides(view.shape))
        out = self.alloc(view.shape, view.dtype)
        self.copy(out, view)
        return out

    def rows(self, view: View, n_axes: int = 1) -> View:
        """The same elements with the last `n_axes` axes in C order (the axes before may have any stride)."""
        tail = View(view.buffer, view.shape[-n_axes:], view.strides[-n_axes:], view.dtype) if n_axes else view
        return view if tail.is_dense else self.dense(view)

    def reshape(self, view: View, shape: Sequence[int]) -> View:
        """Under another shape; copied only where strides cannot say it."""
        found = view.reshape(shape)
        return self.dense(view).reshape(shape) if found is None else found  # type: ignore[return-value]

    def f32(self, view: View) -> View:
        """As float32, converted where it is not."""
        if view.dtype == np.float32:
            return view
        out = self.alloc(view.shape, np.float32)
        self.map([view], [("MOVE", 0)], out)
        return out

    # ---- calls ------------------------------------------------------------------------------------------

    def add(self, call: AnyCall) -> None:
        """The next call."""
        if isinstance(call, LoopCall):  # its body was seen as it was made
            self.in_place.reads(call.own)
        elif isinstance(call, BranchCall):
            self.in_place.read(call.cond)
        else:
            self.in_place.reads(call.reads)
            self.in_place.writes(call.writes)
        self.calls.append(call)

    def emit(self, slot: str, args: Record) -> None:
        """A call of a kernel, with the record that the slot takes; none where nothing is written."""
        if all(view.size for view in args.writes):
            self.add(Call(slot, args, self._node))

    def copy(self, dst: View, src: View) -> None:
        """Elements moved as bits, src broadcast to dst. dtypes must have the same size."""
        if dst.size == 0:
            return
        src = src.expand(dst.shape)
        try:
            size, (d, s) = merge_axes(dst.shape, [dst.strides, src.strides])
        except ValueError as error:
            raise UnsupportedOpError(f"{self._node}: {error}") from error
        args = Copy(dst.dtype.itemsize, len(size), dst, src, tuple(size), tuple(d), tuple(s))
        self.add(Call("copy", args, self._node))

    def advance(self, pairs: Sequence[tuple[View, View]]) -> None:
        """(memory, its next value), all at once: a next value that lies in one of these memories is read before any is
        overwritten. Goes behind everything that reads the old values."""
        self.in_place.reads(value for _, value in pairs)
        held = {id(memory.buffer) for memory, _ in pairs}
        moves = []
        for memory, value in pairs:
            alike = value.strides == memory.strides or (value.is_dense and memory.is_dense)
            if value.buffer is memory.buffer and value.offset == memory.offset and alike:
                self.in_place.settle(memory, value)
                continue
            if id(value.buffer) in held:
                copy = self.alloc(value.shape, value.dtype)
                self.copy(copy, value)
                value = copy
            moves.append((memory, value))
        for memory, value in moves:
            self.copy(memory, value)

    def map(
        self, ins: Sequence[View], ops: Sequence[tuple[Any, ...]], out: View, *, ints: bool = False, fits: bool = False
    ) -> None:
        """An element-wise program: `ops` are (code, register, ...); inputs are registers 0 .. n-1, each instruction
        makes the next register, the last one is stored to `out`. Inputs broadcast to the shape of `out`.
        ints: computed in int64 instead of float32. Loads and stores convert. fits: see MapCall."""
        self._map(ints, ins, ops, [(out, len(ins) + len(ops) - 1)], fits)

    def maps(self, ins: Sequence[View], ops: Sequence[tuple[Any, ...]], outs: Sequence[View]) -> None:
        """An element-wise program in float32 whose last instructions are stored, one to each of `outs`, alike in shape."""
        first = len(ins) + len(ops) - len(outs)
        self._map(False, ins, ops, [(out, first + index) for index, out in enumerate(outs)])

    def _map(self, ints: bool, ins: Sequence[View], ops: Sequence[Any], outs: Any, fits: bool = False) -> None:
        shape = outs[0][0].shape
        if prod(shape):
            self.add(MapCall(ints, [view.expand(shape) for view in ins], list(ops), outs, self._node, fits))

    @contextmanager
    def nested(self) -> Iterator[list[AnyCall]]:
        """Steps made inside go to a list of their own, for a loop or a branch."""
        outer, self.calls, node = self.calls, [], self._node
        before = self.in_place.before()
        self._depth += 1
        try:
            yield self.calls
        finally:
            self.calls, self._node = outer, node
            self._depth -= 1
            self.in_place.behind(before)

    def host(self, node: Node, evaluate: Evaluate) -> None:
        """Run the operator's NumPy meaning on the host, between two C plans; not in the body of a loop or a branch."""
        if self._depth:
            raise UnsupportedOpError(
                f"{node}: {node.op} inside a loop or a branch that is taken at run time is not supported; see docs/ops.md"
            )
        ins = [self.dense(self.view(name)) if name else None for name in node.inputs]
        outs = [self.new(name) if name else None for name in node.outputs]
        dtypes = [self.facts[name].dtype if name else None for name in node.inputs]
        self.add(HostCall(node, evaluate, ins, outs, dtypes, self._node))

    def carried(self, node: Node, what: str) -> View | None:
        """Where a node's state lies, if a stream carries it."""
        return self.layout.carried(node.name, what) if self.layout is not None else None

    def carry(self, node: Node, what: str, init: View | None, shape: Sequence[int], dtype: Any = np.float32) -> View:
        """Memory of a recurrence's state, dense.

        It persists in a stream where the layout has a slot for it, or where `init` is itself a state that may be
        updated in place; else it is fresh and starts from `init` (or 0)."""
        kept = self.carried(node, what)
        if kept is not None:
            return kept
        if init is not None and self.in_place.may_start(init):
            return self.in_place.start(init, shape)
        state = self.alloc(shape, dtype)
        self.copy(state, self.scalar(0, dtype) if init is None else init)
        return state

    def drawn(self, node: Node, rows: int, own: int | None) -> View:
        """The state of a random node, int64 [rows, 2]: in a stream that of the layout, in a run one that is made here."""
        layout = self.layout
        if layout is None or (layout.closed and layout.carried(node.name, f"{DRAWN}0") is None):
            raise UnsupportedOpError(
                f"{node}: {node.op} in a stream, inside a branch that is taken at run time or a loop that does not run "
                "over time, is not supported; see docs/ops.md"
            )
        view = layout.slot(NodeState(node.name, f"{DRAWN}0"), (rows, 2), np.int64)
        self.seeded[node.name] = Seeded(view, own)
        return view

    @property
    def in_body(self) -> bool:
        """Are the calls made now those of a loop or a branch."""
        return self._depth > 0

    def changed(self, name: str, old: View) -> View:
        """Memory for a value that is `old` but for what is written next: where `old` lies, if that is a state that may
        be updated in place, else a copy."""
        if self.in_place.may_start(old):
            self.views[name] = new = self.in_place.start(old, old.shape)
        else:
            new = self.new(name)
            self.copy(new, old)
        return new

    def node(self, node: Node) -> None:
        """One node, lowered by its operator."""
        self._node = str(node)
        self.lower_node(node, self)

    # ---- ports ------------------------------------------------------------------------------------------

    def input(self, name: str, index: int) -> View:
        """A graph input, fed densely in its declared dtype; converted where the storage dtype differs."""
        fact = self.facts[name]
        buffer = Buffer("input", prod(fact.shape) * fact.dtype.itemsize, index)
        view = View(buffer, fact.shape, dense_strides(fact.shape), fact.dtype)
        if storage(fact.dtype) != fact.dtype:
            view = self.f32(view)
        self.views[name] = view
        return view

    def output(self, name: str, index: int) -> Fact:
        """A graph output: written in place where its memory is its own, else copied or converted at the end."""
        fact, view = self.facts[name], self.view(name)
        own = view.buffer.kind == "arena" and view.is_dense and view.offset == 0
        if own and view.dtype == fact.dtype and view.buffer.n_bytes == max(view.size, 1) * view.dtype.itemsize:
            view.buffer.kind, view.buffer.index = "output", index
            return fact
        buffer = Buffer("output", view.size * fact.dtype.itemsize, index)
        out = View(buffer, fact.shape, dense_strides(fact.shape), fact.dtype)
        self._node = f"output {name!r}"
        if view.dtype == fact.dtype:
            self.copy(out, view)
        elif out.size:
            self.map([view], [("MOVE", 0)], out)
        return fact
