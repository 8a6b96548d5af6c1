"""From calls to a Program: joined where they can be, buffers placed, arguments turned into words for C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..frozen import frozen
from ..graph.fact import Fact
from .builder import Builder
from .calls import AnyCall, BranchCall, HostCall, LoopCall, can_fail, encode
from .fuse_maps import fuse
from .place import number_slices, place
from .program import BASE_ARENA, BASE_CONST, BASE_FIRST, BASE_STATE, Program
from .views import View

__all__ = ["Placed", "Words", "assemble", "placed", "words"]


@frozen
class Placed:
    """Calls whose buffers have their places, in the order in which they run: any of them can be made a plan."""

    isa: str
    calls: list[AnyCall]
    arena_bytes: int
    n_inputs: int
    n_bases: int
    state_bytes: int
    """Of what a stream keeps; in a run, of what its random nodes count."""

    def address(self, view: View) -> tuple[int, int]:
        """Base and offset in bytes."""
        return _address(view, self.n_inputs, self.n_bases)

    def plan(self, calls: Sequence[AnyCall]) -> _core.Plan:
        """These of its calls for C; none of them a call of NumPy."""
        return _plan(self.isa, words(calls, self.address, self.n_bases))

    def segments(self, calls: Sequence[AnyCall]) -> list[tuple[_core.Plan | HostCall, tuple[str, ...]]]:
        """These of its calls, as few plans as calls of NumPy between them allow, and the node that each came from."""
        found: list[tuple[_core.Plan | HostCall, tuple[str, ...]]] = []
        for host, run in groupby(calls, key=lambda call: isinstance(call, HostCall)):
            part = list(run)
            names = tuple(call.node_name for call in part)
            if host:
                found += [(call, (call.node_name,)) for call in part if isinstance(call, HostCall)]
            else:
                found.append((self.plan(part), names))
        return found


def placed(b: Builder, n_inputs: int, n_outputs: int) -> Placed:
    """All that a builder holds: fused, its buffers placed."""
    calls = fuse(b.calls)
    n_bases = BASE_FIRST + n_inputs + n_outputs
    number_slices(calls, n_bases, 0)
    found = Placed(b.isa, calls, place(calls), n_inputs, n_bases, 0 if b.layout is None else b.layout.n_bytes)
    for call in calls:
        if isinstance(call, HostCall):
            call.place(found.address)
    return found


def assemble(b: Builder, n_inputs: int, outputs: Sequence[Fact]) -> Program:
    """The program of all that a builder holds."""
    found = placed(b, n_inputs, len(outputs))
    segments = found.segments(found.calls)
    return Program(
        tuple(segment for segment, _ in segments),
        found.arena_bytes,
        tuple(outputs),
        tuple(names for _, names in segments),
        tuple(b.held.values()),
        tuple(b.seeded.values()),
        found.state_bytes,
        any(map(can_fail, found.calls)),
    )


class Words(NamedTuple):
    """Steps as words for C, and what their loops and branches run."""

    steps: list[tuple[str, Any]]
    nested: list[Words]


def _plan(isa: str, made: Words) -> _core.Plan:
    return _core.Plan(isa, made.steps, [_plan(isa, inner) for inner in made.nested])


def words(calls: Sequence[AnyCall], address: Callable[[View], tuple[int, int]], n_bases: int) -> Words:
    """Steps as words for C. address: base and offset in bytes."""
    nested: list[Words] = []
    coded: list[tuple[str, Any]] = []

    def inner(part: Sequence[AnyCall], bases: int) -> int:
        nested.append(words(part, address, bases))
        return len(nested) - 1

    def at(view: View | None) -> tuple[int, int]:
        return (-1, 0) if view is None else address(view)

    for call in calls:
        if isinstance(call, LoopCall):
            row = [inner(call.body, n_bases + len(call.slices)), *at(call.own[0])]
            for view in (call.trips, call.go, call.iter):
                row += at(view)
            row += [call.limit, n_bases, len(call.slices)]
            for piece in call.slices:
                row += [*at(piece.at), piece.advance]
            coded.append(("loop", np.array(row, np.int64)))
        elif isinstance(call, BranchCall):
            row = [-1 if part is None else inner(part, n_bases) for part in call.lists]
            coded.append(("branch", np.array([*row, *at(call.cond)], np.int64)))
        else:
            assert not isinstance(call, HostCall)
            coded.append(encode(call, address))
    return Words(coded, nested)


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
