"""How what belongs to one signal is copied: between the state block of a batch and a row, between the ports of a batch and the
arrays of a call. Loops over strides, made once; `_rig` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .. import _rig
from ..streams.plan import StreamPlan

__all__ = ["MOST_LOOPS", "Move", "PortMove", "layout_of", "places_of", "port_move"]

Loop = tuple[int, int, int, bool]
"""Count, stride in the batch, stride of the signal, and whether that counts by the steps of a call."""
Move = tuple[int, int, int, Sequence[Loop], int]
"""Of a state: where in the block, from signal to signal, where in the row, loops, and the bytes of the stretch inside them."""
PortMove = tuple[int, Sequence[Loop], int, int, int]
"""Of a port: from signal to signal, loops, the bytes inside them, from step to step of a call, bytes of a block of the batch."""

MOST_LOOPS = 3
ALIGNED = 16
"""A state begins at a multiple of so many bytes in a row."""


def layout_of(plan: StreamPlan, n: int) -> _rig.Layout:
    """Where the states of `n` signals lie. 1: all that the plan keeps is of one signal, whatever its batch."""
    moves, at = [], 0
    for memory in plan.memories:
        assert n == 1 or memory.batch is not None
        near, between, n0, s0, n1, s1, run, _ = memory.piece(n, None)
        loops = [loop for loop in ((n0, s0, n1 * run, False), (n1, s1, run, False)) if loop[0] != 1]
        moves.append((near, between, at, loops, run))
        at += _room(n0 * n1 * run)
    return _rig.Layout(moves, n=n, state_bytes=plan.layout.n_bytes, row_bytes=at)


def places_of(plan: StreamPlan) -> list[tuple[int, int]]:
    """Where in a row what a snapshot of one signal holds lies, in the snapshot's order: begin and bytes. Of plans whose windows
    and queues are always full."""
    found, at = [], 0
    for memory in plan.memories:
        _, _, n0, _, n1, _, run, _ = memory.piece(1, None)
        found.append((memory.batch is None, at, n0 * n1 * run))
        at += _room(n0 * n1 * run)
    return [place[1:] for place in sorted(found, key=lambda place: place[0])]


def _room(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNED) * ALIGNED


def port_move(shape: Sequence[int], item: int, batch: int | None, time: int | None, steps: int) -> PortMove | None:
    """A port of a batch over a block of `steps`: `shape` of one step, with all signals. None: too many loops.

    `time`: the axis with the steps; None where what the port has is one piece for each block.
    """
    dims = [steps * extent if axis == time else extent for axis, extent in enumerate(shape)]
    near = [item * prod(dims[axis + 1 :]) for axis in range(len(dims))]
    loops: list[Loop] = []
    run = far = item  # far: of what stands inside, as the signal has it, one step of it
    scaled, at_bytes = False, None
    for axis in reversed(range(len(dims))):
        if axis == batch:
            continue
        if axis == time:
            at_bytes = far * shape[axis]
        if dims[axis] != 1:
            loop = (dims[axis], near[axis], far, scaled)
            if not loops and near[axis] == run == far and not scaled:
                run *= dims[axis]
            elif loops and _continues(loops[0], loop):
                loops[0] = (loops[0][0] * dims[axis], *loops[0][1:])
            else:
                loops.insert(0, loop)
        if axis == time:
            scaled = True
        far *= shape[axis]
    if len(loops) > MOST_LOOPS:
        return None
    between = 0 if batch is None else near[batch]
    return between, loops, run if prod(dims) else 0, far if at_bytes is None else at_bytes, item * prod(dims)


def _continues(inner: Loop, outer: Loop) -> bool:
    """Is an outer loop the inner one gone on with."""
    return outer[1] == inner[0] * inner[1] and outer[2] == inner[0] * inner[2] and inner[3] == outer[3] and inner[1] > 0
