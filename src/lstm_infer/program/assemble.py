"""From calls to a Program: joined where they can be, buffers placed, arguments turned into words for C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.fact import Fact
from .builder import Builder
from .calls import AnyCall, BranchCall, HostCall, LoopCall, can_fail, encode
from .fuse_maps import fuse
from .place import number_slices, place
from .program import BASE_ARENA, BASE_CONST, BASE_FIRST, BASE_STATE, Program
from .views import View

__all__ = ["assemble"]


def assemble(b: Builder, n_inputs: int, outputs: Sequence[Fact]) -> Program:
    """The program of all that a builder holds: fused, its buffers placed, encoded."""
    calls = fuse(b.calls)
    n_bases = BASE_FIRST + n_inputs + len(outputs)
    number_slices(calls, n_bases, 0)
    arena_bytes = place(calls)
    segments: list[_core.Plan | HostCall] = []
    names: list[tuple[str, ...]] = []
    run: list[AnyCall] = []

    def address(view: View) -> tuple[int, int]:
        return _address(view, n_inputs, n_bases)

    def close() -> None:
        if run:
            segments.append(_plan(b.isa, run, address, n_bases))
            names.append(tuple(call.node_name for call in run))
            run.clear()

    for call in calls:
        if isinstance(call, HostCall):
            close()
            call.place(address)
            segments.append(call)
            names.append((call.node_name,))
        else:
            run.append(call)
    close()
    held = tuple(b.held.values())
    return Program(tuple(segments), arena_bytes, tuple(outputs), tuple(names), held, any(map(can_fail, calls)))


def _plan(isa: str, calls: Sequence[AnyCall], address: Callable[[View], tuple[int, int]], n_bases: int) -> _core.Plan:
    """Steps as words for C; loops and branches hold the plans of their bodies."""
    nested: list[_core.Plan] = []
    coded: list[tuple[str, Any]] = []

    def inner(part: Sequence[AnyCall], bases: int) -> int:
        nested.append(_plan(isa, part, address, bases))
        return len(nested) - 1

    def at(view: View | None) -> tuple[int, int]:
        return (-1, 0) if view is None else address(view)

    for call in calls:
        if isinstance(call, LoopCall):
            words = [inner(call.body, n_bases + len(call.slices)), *at(call.own[0])]
            for view in (call.trips, call.go, call.iter):
                words += at(view)
            words += [call.limit, n_bases, len(call.slices)]
            for piece in call.slices:
                words += [*at(piece.at), piece.advance]
            coded.append(("loop", np.array(words, np.int64)))
        elif isinstance(call, BranchCall):
            words = [-1 if part is None else inner(part, n_bases) for part in call.lists]
            coded.append(("branch", np.array([*words, *at(call.cond)], np.int64)))
        else:
            assert not isinstance(call, HostCall)
            coded.append(encode(call, address))
    return _core.Plan(isa, coded, nested)


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
