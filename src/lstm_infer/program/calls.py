"""Calls of a plan before and after they are turned into words for C (li_kernels.h describes the records)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from .. import _core
from ..errors import UnsupportedOpError
from ..frozen import frozen
from ..graph.ir import Array, Node
from .arguments import Address, Record, dtype_code
from .views import Buffer, View, dense_strides, merge_axes

__all__ = [
    "AnyCall",
    "BranchCall",
    "Call",
    "HostCall",
    "LoopCall",
    "MapCall",
    "Slice",
    "can_fail",
    "encode",
    "n_registers",
    "window",
]  # fmt: skip


Evaluate = Callable[[Node, list["Array | None"]], Sequence[Array]]
"""The NumPy meaning of an operator."""


@dataclass
class Call:
    """One call of a kernel slot."""

    slot: str
    args: Record
    node_name: str

    @property
    def reads(self) -> list[View]:
        return self.args.reads

    @property
    def writes(self) -> list[View]:
        return self.args.writes


@dataclass
class MapCall:
    """An element-wise program. Registers are virtual here: inputs first, then one for each instruction."""

    ints: bool
    ins: list[View]
    ops: list[tuple[Any, ...]]
    outs: list[tuple[View, int]]
    node_name: str
    fits: bool = False
    """What is stored are whole numbers (or NaN) that the type holds: loaded again they are what they were."""

    @property
    def reads(self) -> list[View]:
        return self.ins

    @property
    def writes(self) -> list[View]:
        return [view for view, _ in self.outs]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.outs[0][0].shape


@dataclass
class HostCall:
    """An operator's NumPy meaning, run between two C plans."""

    node: Node
    evaluate: Evaluate
    ins: list[View | None]
    outs: list[View | None]
    dtypes: list[np.dtype[Any] | None]
    node_name: str
    _places: list[tuple[int, int]] = field(default_factory=list)

    @property
    def reads(self) -> list[View]:
        return [view for view in self.ins if view is not None]

    @property
    def writes(self) -> list[View]:
        return [view for view in self.outs if view is not None]

    def place(self, address: Address) -> None:
        """Addresses, once the buffers are placed."""
        self._places = [(-1, 0) if view is None else address(view) for view in (*self.ins, *self.outs)]

    def run(self, bases: Sequence[Array | int | None]) -> None:
        """Evaluate over the memory of one call."""
        arrays = [
            None if view is None else _memory(bases[base], offset, view)
            for view, (base, offset) in zip((*self.ins, *self.outs), self._places, strict=True)
        ]
        n = len(self.ins)
        feeds = [
            a if a is None or d is None or a.dtype == d else a.astype(d)
            for a, d in zip(arrays[:n], self.dtypes, strict=True)
        ]
        for out, result in zip(arrays[n:], self.evaluate(self.node, feeds), strict=False):
            if out is not None:
                out[...] = result


@frozen
class Slice:
    """A window on memory that moves from iteration to iteration: inside the loop it is `buffer`, of kind "slice"."""

    buffer: Buffer
    at: View
    """Where it lies in the first iteration."""
    advance: int
    """Bytes to where it lies in the next one."""
    written: bool


def window(whole: View, axis: int, reverse: bool, *, written: bool) -> tuple[Slice, View]:
    """One position of an axis an iteration: the window, and the view of it (without the axis) for the body."""
    n = whole.shape[axis]
    at = whole.part(axis, n - 1 if reverse and n else 0, min(n, 1))
    stride = whole.strides[axis] * whole.dtype.itemsize
    buffer = Buffer("slice", prod(whole.shape) // max(n, 1) * whole.dtype.itemsize)
    inside = View(buffer, at.shape, at.strides, at.dtype)
    first = replace(at, shape=(), strides=())
    return Slice(buffer, first, -stride if reverse else stride, written), inside.drop(axis) if n else _empty(
        inside, axis
    )


def _empty(view: View, axis: int) -> View:
    shape = view.shape[:axis] + view.shape[axis + 1 :]
    return View(view.buffer, shape, dense_strides(shape), view.dtype)


@dataclass
class LoopCall:
    """The calls of a body over and over (li_loop). Stops where `trips` iterations are made or `go` is false."""

    body: list[AnyCall]
    table: Buffer
    trips: View | None
    go: View | None
    iter: View | None
    limit: int
    slices: list[Slice]
    node_name: str

    @property
    def own(self) -> list[View]:
        """Memory that the loop itself uses, from before the first iteration to behind the last."""
        table = View(self.table, (self.table.n_bytes,), (1,), np.dtype(np.uint8))
        return [table, *(s.at for s in self.slices), *(v for v in (self.trips, self.go, self.iter) if v is not None)]

    @property
    def reads(self) -> list[View]:
        return [v for call in self.body for v in call.reads] + self.own

    @property
    def writes(self) -> list[View]:
        out = [v for call in self.body for v in call.writes] + [s.at for s in self.slices if s.written]
        return out if self.iter is None else [*out, self.iter]


@dataclass
class BranchCall:
    """The calls of one of two lists, by a condition (li_branch). None: the list that must not be chosen."""

    cond: View
    lists: tuple[list[AnyCall] | None, list[AnyCall] | None]
    """Where the condition is false, and where it is true."""
    node_name: str

    @property
    def reads(self) -> list[View]:
        return [self.cond, *(v for calls in self.lists for call in calls or () for v in call.reads)]

    @property
    def writes(self) -> list[View]:
        return [v for calls in self.lists for call in calls or () for v in call.writes]


AnyCall = Call | MapCall | HostCall | LoopCall | BranchCall


def _memory(base: Array | int | None, offset: int, view: View) -> Array:
    address = base if isinstance(base, int) else (0 if base is None else base.ctypes.data)
    n_bytes = max(view.size * view.dtype.itemsize, 1)
    raw: Any = (ctypes.c_char * n_bytes).from_address(address + offset)
    array: Array = np.frombuffer(raw, view.dtype, view.size)
    return array.reshape(view.shape)


def n_registers(call: MapCall) -> int:
    """Registers the program needs at once."""
    return max(_allocate(call)[1], len(call.ins))


def _allocate(call: MapCall) -> tuple[dict[int, int], int]:
    """Virtual registers to real ones, by last use. Inputs sit in the first ones from the start."""
    n_in = len(call.ins)
    last = {reg: len(call.ops) for _, reg in call.outs}
    for index, op in enumerate(call.ops):
        for reg in op[1:]:
            last[reg] = max(last.get(reg, -1), index)
    real = {reg: reg for reg in range(n_in)}
    free: list[int] = [reg for reg in range(n_in) if reg not in last]
    top = n_in
    for index, op in enumerate(call.ops):
        free.extend(real[reg] for reg in sorted({r for r in op[1:] if last[r] == index}))
        virtual = n_in + index
        if free:
            real[virtual] = free.pop()
        else:
            real[virtual] = top
            top += 1
        if virtual not in last:
            free.append(real[virtual])
    return real, top


def _encode_map(call: MapCall, address: Address) -> tuple[str, Array]:
    real, top = _allocate(call)
    if top > _core.MAP_REGS:
        raise AssertionError(f"{call.node_name}: a program of {top} registers, {_core.MAP_REGS} is the most")
    operands = [*call.ins, *(view for view, _ in call.outs)]
    try:
        size, strides = merge_axes(call.shape, [view.strides for view in operands])
    except ValueError as error:
        raise UnsupportedOpError(f"{call.node_name}: {error}") from error
    words: list[int] = [len(size), len(call.ins), len(call.outs), len(call.ops), *size]
    for index, (view, stride) in enumerate(zip(operands, strides, strict=True)):
        words += [*address(view), dtype_code(view.dtype), *stride]
        if index >= len(call.ins):
            words.append(real[call.outs[index - len(call.ins)][1]])
    for index, op in enumerate(call.ops):
        code, n_args = _core.map_codes[op[0]]
        args = [real[reg] for reg in op[1:]]
        if len(args) != n_args:
            raise AssertionError(f"{call.node_name}: {op[0]} takes {n_args} registers, got {len(args)}")
        words += [code, real[len(call.ins) + index], *args, *([0] * (3 - len(args)))]
    return ("map_i64" if call.ints else "map_f32"), np.array(words, np.int64)


def can_fail(call: AnyCall) -> bool:
    """May a call refuse what it finds in its data: an index, a length, a divisor, a condition."""
    if isinstance(call, MapCall):
        return call.ints and any(op[0] in ("DIV", "MOD", "FMOD", "POW", "UDIV", "UMOD") for op in call.ops)
    if isinstance(call, Call):
        return call.args.can_fail
    return True


def readers_and_writers(calls: Sequence[AnyCall]) -> tuple[dict[int, set[int]], dict[int, list[int]]]:
    """By id of a buffer: the places of the calls that read it, and of those that write it."""
    readers: dict[int, set[int]] = {}
    writers: dict[int, list[int]] = {}
    for index, call in enumerate(calls):
        for view in call.reads:
            readers.setdefault(id(view.buffer), set()).add(index)
        for view in call.writes:
            writers.setdefault(id(view.buffer), []).append(index)
    return readers, writers


def encode(call: Call | MapCall, address: Address) -> tuple[str, Array]:
    """Slot name and words."""
    if isinstance(call, MapCall):
        return _encode_map(call, address)
    return call.slot, np.array(call.args.words(address), np.int64)
