"""Facts to steps: operators lower themselves through a Builder; buffers are placed in one arena.

A Program is the result for one set of input sizes: C plans over a table of base addresses, with no Python inside.
The bases are: 0 constants, 1 state, 2 arena, then the inputs, then the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import prod
from typing import Any

import numpy as np

from .. import _core
from ..errors import LstmInferError, ShapeError, UnsupportedOpError
from ..graph.ir import Array, Node
from ..ops import registry
from ..ops.registry import Fact
from ..walk.walk import Walk
from .calls import AnyStep, BranchStep, HostStep, LoopStep, MapStep, Step, Word, can_fail, encode
from .fuse_maps import fuse
from .store import ConstStore
from .views import Buffer, View, dense_strides, merge_axes, storage

__all__ = ["ALIGN", "BASE_ARENA", "BASE_CONST", "BASE_FIRST", "BASE_STATE", "Builder", "Program", "StateLayout"]

BASE_CONST, BASE_STATE, BASE_ARENA, BASE_FIRST = 0, 1, 2, 3
ALIGN = 64
ARENA_LIMIT = 1 << 33


class StateLayout:
    """Where each state of a stream lies in its state block: the same in every program of the stream."""

    def __init__(self) -> None:
        self.slots: dict[Hashable, View] = {}
        self.n_bytes = 0

    def slot(self, key: Hashable, shape: Sequence[int], dtype: Any) -> View:
        """The state of this key; placed when first asked for."""
        found = self.slots.get(key)
        if found is None:
            dtype = storage(np.dtype(dtype))
            n_bytes = prod(shape) * dtype.itemsize
            buffer = Buffer("state", n_bytes, offset=self.n_bytes)
            found = self.slots[key] = View(buffer, tuple(shape), dense_strides(shape), dtype)
            self.n_bytes += -(-n_bytes // ALIGN) * ALIGN
        return found


@dataclass(frozen=True)
class Program:
    """Runs over bases that the caller supplies. `outputs`: shape and dtype of each output."""

    segments: tuple[_core.Plan | HostStep, ...]
    arena_bytes: int
    outputs: tuple[Fact, ...]
    nodes: tuple[tuple[str, ...], ...]
    """Which node each step of each segment came from, for error messages."""
    consts: tuple[View, ...] = ()
    """The constants whose addresses are in the plans: alive as long as the program."""
    can_fail: bool = False
    """May a step refuse what it finds in its data: the states may then be halfway."""

    @property
    def plan(self) -> _core.Plan | None:
        """The one C plan, where nothing runs on the host."""
        only = self.segments[0] if len(self.segments) == 1 else None
        return only if isinstance(only, _core.Plan) else None

    @property
    def n_steps(self) -> int:
        """How many steps it has."""
        return sum(map(len, self.nodes))

    @property
    def slots(self) -> tuple[str, ...]:
        """The kernel slots in the order they are called; "host:<Op>" for steps on the host."""
        names: list[str] = []
        for segment in self.segments:
            names += segment.slots if isinstance(segment, _core.Plan) else [f"host:{segment.node.op}"]
        return tuple(names)

    def run(self, bases: Sequence[Array | int | None]) -> None:
        """Run all steps; the error of a failing step names its node."""
        for segment, names in zip(self.segments, self.nodes, strict=True):
            if isinstance(segment, HostStep):
                segment.run(bases)
                continue
            try:
                segment.run(bases)
            except _core.StepError as error:
                raise step_failed(error, names) from None


_FAILURES = {
    1: "an index lies outside its axis",
    2: "a sequence length lies outside 0..T",
    3: "an integer was divided by zero, or a value is not allowed",
    4: "the loop ran past its limit: its condition stays true for too long, or for ever",
}


def step_failed(error: _core.StepError, names: Sequence[str]) -> LstmInferError:
    """The public error for a step that failed on its data."""
    where = names[error.step] if error.step < len(names) else "?"
    if error.status == _core.status_codes["BRANCH"]:
        return ShapeError(where)
    what = _FAILURES.get(error.status, f"failed with status {error.status}")
    return ShapeError(f"{where}: {what}; check the values that were fed")


@dataclass
class Builder:
    """What an operator lowers itself with. Values are known by name; memory is known by View."""

    facts: dict[str, Fact]
    store: ConstStore
    isa: str
    layout: StateLayout | None = None
    """Set for a stream: recurrences then keep their state in it."""
    seed: int | None = None
    in_place: set[int] = field(default_factory=set)
    """Buffers (by id) of state inputs that nobody reads but the recurrences they seed: updated where they lie."""
    lens: dict[str, View] = field(default_factory=dict)
    """By node: the part of its sequence_lens that falls into this block of a stream."""
    steps: list[AnyStep] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    _node: str = ""
    _depth: int = 0
    _consts: dict[int, View] = field(default_factory=dict)

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
        """Working memory for one step, 64-byte aligned."""
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

    def _held(self, view: View) -> View:
        self._consts[id(view)] = view
        return view

    def dense(self, view: View) -> View:
        """The same elements in C order; copied only where they are not."""
        if view.is_dense:
            return View(view.buffer, view.shape, dense_strides(view.shape), view.dtype, view.offset)
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

    # ---- steps ------------------------------------------------------------------------------------------

    def emit(self, slot: str, words: Sequence[Word], reads: Sequence[View], writes: Sequence[View]) -> None:
        """A step. `words` are the fields of the slot's record in order (li_kernels.h): a View or None stands for a
        li_ref (two words), an int or float for itself, an Activation for li_act, a nested sequence for its items."""
        if all(view.size for view in writes):
            self.steps.append(Step(slot, list(words), list(reads), list(writes), self._node))

    def copy(self, dst: View, src: View) -> None:
        """Elements moved as bits, src broadcast to dst. dtypes must have the same size."""
        if dst.size == 0:
            return
        src = src.expand(dst.shape)
        size, (d, s) = merge_axes(dst.shape, [dst.strides, src.strides])
        words: list[Word] = [dst.dtype.itemsize, len(size), dst, src, *size, *d, *s]
        self.steps.append(Step("copy", words, [src], [dst], self._node))

    def advance(self, pairs: Sequence[tuple[View, View]]) -> None:
        """(memory, its next value), all at once: a next value that lies in one of these memories is read before any is
        overwritten. Goes behind everything that reads the old values."""
        held = {id(memory.buffer) for memory, _ in pairs}
        moves = []
        for memory, value in pairs:
            alike = value.strides == memory.strides or (value.is_dense and memory.is_dense)
            if value.buffer is memory.buffer and value.offset == memory.offset and alike:
                continue
            if id(value.buffer) in held:
                copy = self.alloc(value.shape, value.dtype)
                self.copy(copy, value)
                value = copy
            moves.append((memory, value))
        for memory, value in moves:
            self.copy(memory, value)

    def map(self, ins: Sequence[View], ops: Sequence[tuple[Any, ...]], out: View, *, ints: bool = False) -> None:
        """An element-wise program: `ops` are (code, register, ...); inputs are registers 0 .. n-1, each instruction
        makes the next register, the last one is stored to `out`. Inputs broadcast to the shape of `out`.
        ints: computed in int64 instead of float32. Loads and stores convert."""
        if len(ins) >= _core.MAP_REGS:
            raise UnsupportedOpError(f"{self._node}: {len(ins)} inputs are more than an element-wise operator takes")
        if out.size:
            views = [view.expand(out.shape) for view in ins]
            self.steps.append(MapStep(ints, views, list(ops), [(out, len(views) + len(ops) - 1)], self._node))

    @contextmanager
    def nested(self) -> Iterator[list[AnyStep]]:
        """Steps made inside go to a list of their own, for a loop or a branch."""
        outer, self.steps, node = self.steps, [], self._node
        self._depth += 1
        try:
            yield self.steps
        finally:
            self.steps, self._node = outer, node
            self._depth -= 1

    def host(self, node: Node) -> None:
        """Run the operator's NumPy meaning on the host: exact operators only."""
        if self._depth:
            raise registry.unsupported(node, f"{node.op} inside a loop or a branch that is taken at run time")
        ins = [self.dense(self.view(name)) if name else None for name in node.inputs]
        outs = [self.new(name) if name else None for name in node.outputs]
        dtypes = [self.facts[name].dtype if name else None for name in node.inputs]
        self.steps.append(HostStep(node, registry.find(node).evaluate, ins, outs, dtypes, self._node))

    def carry(self, node: Node, what: str, init: View | None, shape: Sequence[int], dtype: Any = np.float32) -> View:
        """Memory of a recurrence's state, dense.

        It persists in a stream where the layout has a slot for it, or where `init` is itself a state that may be
        updated in place; else it is fresh and starts from `init` (or 0)."""
        if self.layout is not None and (node.name, what) in self.layout.slots:
            return self.layout.slots[node.name, what]
        if init is not None and id(init.buffer) in self.in_place and init.is_dense:
            return View(init.buffer, tuple(shape), dense_strides(shape), init.dtype, init.offset)
        state = self.alloc(shape, dtype)
        self.copy(state, self.scalar(0, dtype) if init is None else init)
        return state

    def lower(self, walked: Walk) -> None:
        """All nodes of a walk."""
        for node in walked.nodes:
            self.node(node)

    def node(self, node: Node) -> None:
        """One node."""
        self._node = str(node)
        op = registry.find(node)
        live = [name for name in node.outputs if name]
        if all(self.facts[name].const is not None or prod(self.facts[name].shape) == 0 for name in live):
            for name in live:  # nothing to compute: known, or no elements
                if self.facts[name].const is None:
                    self.new(name)
            return
        if op.lower is None:
            self.host(node)
        else:
            try:
                op.lower(node, self)
            except LstmInferError:
                raise
            except (ValueError, IndexError, OverflowError, TypeError, ZeroDivisionError) as error:
                raise UnsupportedOpError(f"{node}: {error}") from error

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

    def finish(self, n_inputs: int, outputs: Sequence[Fact]) -> Program:
        """Fuse, place buffers, encode."""
        steps = fuse(self.steps)
        n_bases = BASE_FIRST + n_inputs + len(outputs)
        _number_slices(steps, n_bases, 0)
        arena_bytes = _place(steps)
        segments: list[_core.Plan | HostStep] = []
        names: list[tuple[str, ...]] = []
        run: list[AnyStep] = []

        def address(view: View) -> tuple[int, int]:
            return _address(view, n_inputs, n_bases)

        def close() -> None:
            if run:
                segments.append(_plan(self.isa, run, address, n_bases))
                names.append(tuple(step.node_name for step in run))
                run.clear()

        for step in steps:
            if isinstance(step, HostStep):
                close()
                step.place(address)
                segments.append(step)
                names.append((step.node_name,))
            else:
                run.append(step)
        close()
        held = tuple(self._consts.values())
        return Program(tuple(segments), arena_bytes, tuple(outputs), tuple(names), held, any(map(can_fail, steps)))


def _plan(isa: str, steps: Sequence[AnyStep], address: Callable[[View], tuple[int, int]], n_bases: int) -> _core.Plan:
    """Steps as words for C; loops and branches hold the plans of their bodies."""
    nested: list[_core.Plan] = []
    coded: list[tuple[str, Any]] = []

    def inner(part: Sequence[AnyStep], bases: int) -> int:
        nested.append(_plan(isa, part, address, bases))
        return len(nested) - 1

    def at(view: View | None) -> tuple[int, int]:
        return (-1, 0) if view is None else address(view)

    for step in steps:
        if isinstance(step, LoopStep):
            words = [inner(step.body, n_bases + len(step.slices)), *at(step.own[0])]
            for view in (step.trips, step.go, step.iter):
                words += at(view)
            words += [step.limit, n_bases, len(step.slices)]
            for piece in step.slices:
                words += [*at(piece.at), piece.advance]
            coded.append(("loop", np.array(words, np.int64)))
        elif isinstance(step, BranchStep):
            words = [-1 if part is None else inner(part, n_bases) for part in step.lists]
            coded.append(("branch", np.array([*words, *at(step.cond)], np.int64)))
        else:
            assert not isinstance(step, HostStep)
            coded.append(encode(step, address))
    return _core.Plan(isa, coded, nested)


def _number_slices(steps: Sequence[AnyStep], n_bases: int, n_slices: int) -> None:
    """Which base each slice of a loop is, and room for the table of bases that its body sees."""
    for step in steps:
        if isinstance(step, LoopStep):
            for index, piece in enumerate(step.slices):
                piece.buffer.index = n_slices + index
            step.table.n_bytes = (n_bases + n_slices + len(step.slices)) * 8
            _number_slices(step.body, n_bases, n_slices + len(step.slices))
        elif isinstance(step, BranchStep):
            for part in step.lists:
                _number_slices(part or (), n_bases, n_slices)


def _address(view: View, n_inputs: int, n_bases: int) -> tuple[int, int]:
    buffer = view.buffer
    match buffer.kind:
        case "const":
            return BASE_CONST, buffer.offset + view.byte_offset
        case "state":
            return BASE_STATE, buffer.offset + view.byte_offset
        case "arena":
            return BASE_ARENA, buffer.offset + view.byte_offset
        case "input":
            return BASE_FIRST + buffer.index, view.byte_offset
        case "slice":
            return n_bases + buffer.index, view.byte_offset
        case _:
            return BASE_FIRST + n_inputs + buffer.index, view.byte_offset


class _Lives:
    """From which to which position each arena buffer holds something. What a loop finds or leaves lives through all of
    it: the loop's last step is followed by its first."""

    def __init__(self, steps: Sequence[AnyStep]) -> None:
        self.n = 0
        self.touches: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        self.buffers: dict[int, Buffer] = {}
        self.loops: dict[int, tuple[int, int]] = {}
        self._steps(steps, ())

    def _touch(self, views: Sequence[View], path: tuple[int, ...]) -> None:
        for view in views:
            if view.buffer.kind == "arena":
                self.buffers[id(view.buffer)] = view.buffer
                self.touches.setdefault(id(view.buffer), []).append((self.n, path))

    def _steps(self, steps: Sequence[AnyStep], path: tuple[int, ...]) -> None:
        for step in steps:
            if isinstance(step, LoopStep):
                start = self.n
                self._touch(step.own, path)
                self.n += 1
                self._steps(step.body, (*path, id(step)))
                self._touch(step.own, path)
                self.loops[id(step)] = (start, self.n)
            elif isinstance(step, BranchStep):
                self._touch([step.cond], path)
                self.n += 1
                for part in step.lists:
                    self._steps(part or (), path)
            else:
                self._touch(step.writes, path)
                self._touch(step.reads, path)
            self.n += 1

    def spans(self) -> list[tuple[int, int, Buffer]]:
        """(first, last, buffer), in the order in which they are first touched."""
        out = []
        for key, touches in self.touches.items():
            common = touches[0][1]
            for _, path in touches:
                while path[: len(common)] != common:
                    common = common[:-1]
            first, last = self.n, 0
            for at, path in touches:
                start, stop = self.loops[path[len(common)]] if len(path) > len(common) else (at, at)
                first, last = min(first, start), max(last, stop)
            out.append((first, last, self.buffers[key]))
        out.sort(key=lambda span: span[0])
        return out


def _place(steps: Sequence[AnyStep]) -> int:
    """Offsets of all arena buffers: each lives from its first to its last step; best fit among the free gaps."""
    free: list[tuple[int, int]] = []  # (offset, n_bytes), sorted by offset
    top = 0
    alive: list[tuple[int, int, Buffer]] = []  # (last, order, buffer), a heap
    for order, (first, last, buffer) in enumerate(_Lives(steps).spans()):
        while alive and alive[0][0] < first:
            _, _, gone = heappop(alive)
            free = _released(free, gone.offset, -(-gone.n_bytes // ALIGN) * ALIGN)
        need = -(-buffer.n_bytes // ALIGN) * ALIGN
        fits = [(size, offset) for offset, size in free if size >= need]
        if fits:
            size, offset = min(fits)
            free.remove((offset, size))
            if size > need:
                free.append((offset + need, size - need))
                free.sort()
        else:
            offset, top = top, top + need
        buffer.offset = offset
        heappush(alive, (last, order, buffer))
    if top > ARENA_LIMIT:
        raise ShapeError(f"the plan would need {top / 2**30:.1f} GiB of memory; feed smaller pieces")
    return top


def _released(free: list[tuple[int, int]], offset: int, size: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, n in sorted([*free, (offset, size)]):
        if merged and merged[-1][0] + merged[-1][1] == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + n)
        else:
            merged.append((start, n))
    return merged
