"""What a stream keeps, each thing by a name that stays as it is whatever the plan: where it lies, where its batch is, where its
time.

A snapshot holds all of it but what is computed from bound inputs, which is the same in every stream that may take it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from ..analysis.spec import StreamSpec
from ..frozen import frozen
from ..graph.ir import Node
from ..program.memory import NodeState
from ..program.views import View
from ..records import StateInfo
from .state_block import History, InputState, Kept, Queue, Remaining, Static

__all__ = ["Memory", "Piece", "memories"]

Piece = tuple[int, int, int, int, int, int, int, int]
"""How the part of one signal is copied, in bytes: where it begins, from signal to signal, count and stride of two loops, the
length of a stretch; what is checked (`Memory.check`)."""


@frozen
class Memory:
    """One thing that a stream keeps. `kind`: "state", "window", "queue" or "lengths"."""

    kind: str
    name: str
    view: View
    batch: tuple[int, int] | None
    """The axis with the batch, and what stands before the batch in that axis; None: it is nobody's own."""
    time: int | None = None
    """The axis with the steps."""
    key: Kept | None = None
    """Where how many steps it holds may change: its place in a phase."""

    def __str__(self) -> str:
        return {
            "state": f"the state {self.name!r}",
            "window": f"the window of node {self.name!r}",
            "queue": f"the queue {self.name!r}",
            "lengths": f"what is left of the lengths of node {self.name!r}",
        }[self.kind]

    @property
    def check(self) -> int:
        """What its elements may be: 0 anything, 1 booleans, 4 or 8 integers of so many bytes from 0 on."""
        if self.kind == "lengths":
            return self.view.dtype.itemsize
        return 1 if self.view.dtype.kind == "b" else 0

    def shape(self, batch: int, held: int | None) -> tuple[int, ...]:
        """The part of one signal, where `held` steps are kept: without the axis of the batch, if that is nothing else."""
        shape = list(self.view.shape)
        if self.time is not None and held is not None:
            shape[self.time] = max(held, 0)
        if self.batch is not None:
            axis = self.batch[0]
            shape[axis] //= batch
            if shape[axis] == 1 == self.batch[1]:
                del shape[axis]
        return tuple(shape)

    def piece(self, batch: int, held: int | None) -> Piece:
        """How that part is copied to and from a stretch of memory."""
        view = self.view
        dims = [[n, s * view.dtype.itemsize] for n, s in zip(view.shape, view.strides, strict=True)]
        if self.time is not None and held is not None:
            dims[self.time][0] = max(held, 0)
        between = 0
        if self.batch is not None:
            axis, before = self.batch
            n, stride = dims[axis]
            after = n // (before * batch)
            between = after * stride
            dims[axis : axis + 1] = [[before, batch * between], [after, stride]]
        loops, run = _merged(dims, view.dtype.itemsize)
        (n0, s0), (n1, s1) = [(1, 0)] * (2 - len(loops)) + loops
        return view.buffer.offset + view.byte_offset, between, n0, s0, n1, s1, run, self.check


def _merged(dims: list[list[int]], item: int) -> tuple[list[tuple[int, int]], int]:
    """Count and stride of at most two loops, and the bytes of the stretch inside them."""
    if any(n == 0 for n, _ in dims):
        return [], 0
    run, loops = item, list[tuple[int, int]]()
    for n, stride in reversed(dims):
        if n == 1:
            continue
        if not loops and stride == run:
            run *= n
        elif loops and stride == loops[0][0] * loops[0][1]:
            loops[0] = loops[0][0] * n, loops[0][1]
        else:
            loops.insert(0, (n, stride))
    assert len(loops) <= 2, "gaps at the batch and behind the steps alone"
    return loops, run


def memories(
    spec: StreamSpec,
    nodes: Mapping[str, Node],
    slots: Mapping[Hashable, View],
    states: Mapping[str, tuple[View, StateInfo]],
) -> tuple[Memory, ...]:
    """All that a stream keeps and does not compute from its bound inputs, in the order of a snapshot."""
    found: list[Memory] = []
    seen: set[Hashable] = set()
    hidden = {c.label: c for c in spec.carried}
    for name, (view, info) in states.items():
        carried = hidden.get(name)
        seen.add(InputState(name) if carried is None else NodeState(carried.node, f"{carried.what}0"))
        found.append(Memory("state", name, view, None if info.batch_axis is None else (info.batch_axis, 1)))
    for key, view in slots.items():
        if isinstance(key, History):
            value, axis = nodes[key.node].inputs[0], spec.windows[key.node][0]
            found.append(Memory("window", key.node, view, spec.rows.get(value), axis, key))
        elif isinstance(key, Queue):
            value = nodes[key.node].inputs[key.input]
            name = f"{key.node}:{key.input}"
            found.append(Memory("queue", name, view, spec.rows.get(value), spec.time_axes[value], key))
        elif isinstance(key, Remaining):
            found.append(Memory("lengths", key.node, view, (0, 1)))
        elif not isinstance(key, Static) and key not in seen:
            raise AssertionError(f"{key} has no name in a snapshot")
    return tuple(sorted(found, key=lambda memory: (memory.kind, memory.name)))
