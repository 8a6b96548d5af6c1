"""The states of a stream by name, and what resets single rows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DtypeError, FeedError, ShapeError, StateError
from ..program.views import View
from ..records import StateInfo
from .plan import StreamPlan
from .state_block import History, Remaining

__all__ = ["States", "check_state", "memory_of", "reset_rows"]

Block = NDArray[np.uint8]
Places = Mapping[str, tuple[NDArray[Any], StateInfo]]
"""By name: the memory of a state, and what it is."""


def memory_of(view: View, block: Block) -> NDArray[Any]:
    """What a view shows of a state block."""
    start = view.buffer.offset + view.byte_offset
    return block[start : start + view.size * view.dtype.itemsize].view(view.dtype).reshape(view.shape)


def check_state(places: Places, name: str, value: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """The memory of a state, and the value to be written to it."""
    if name not in places:
        raise FeedError(f"there is no state {name!r}; this stream carries {sorted(places) or 'none'}")
    memory, info = places[name]
    array = np.asarray(value)
    if array.dtype != info.dtype:
        raise DtypeError(f"state {name!r} takes {info.dtype}, got {array.dtype}; convert it with astype")
    if array.shape != memory.shape:
        lead = array.shape[0] == 1 and array.shape[1:] == memory.shape if array.ndim == memory.ndim + 1 else False
        if not lead:
            raise ShapeError(f"state {name!r} takes {list(memory.shape)}, got {list(array.shape)}")
    return memory, array.reshape(memory.shape)


def reset_rows(plan: StreamPlan, rows: Sequence[int], now: Block, first: Block) -> None:
    """Back to the first state for these signals of a batch."""
    if plan.fills:
        raise StateError("single rows of a stream that looks ahead or strides over time cannot be reset")
    for row in rows:
        if not 0 <= row < plan.batch:
            raise ShapeError(f"row {row} lies outside a batch of {plan.batch}")
    histories = _histories(plan)  # refused before anything is reset
    for name, (view, info) in plan.states.items():
        if info.batch_axis is None:
            raise StateError(f"state {name!r} has no batch axis; reset() without rows resets the whole stream")
        index = (slice(None),) * info.batch_axis + (list(rows),)
        memory_of(view, now)[index] = memory_of(view, first)[index]
    for view, axis, before in histories:
        after = view.shape[axis] // (before * plan.batch)
        shape = (*view.shape[:axis], before, plan.batch, after, *view.shape[axis + 1 :])
        index = (slice(None),) * (axis + 1) + (list(rows),)
        memory_of(view, now).reshape(shape)[index] = memory_of(view, first).reshape(shape)[index]


def _histories(plan: StreamPlan) -> list[tuple[View, int, int]]:
    """Memory of windows and of lengths: where it lies, the axis with the batch, and what stands before it there."""
    found: list[tuple[View, int, int]] = []
    for key, view in plan.layout.slots.items():
        if isinstance(key, Remaining):
            found.append((view, 0, 1))
        elif isinstance(key, History):
            place = plan.spec.rows.get(key.node)
            if place is None:
                raise StateError(f"the memory of node {key.node!r} has no batch axis; reset() without rows resets all")
            found.append((view, *place))
    return found


class States(MutableMapping[str, NDArray[Any]]):
    """The states of a stream by name: copies out, checked values in."""

    def __init__(
        self,
        places: Places,
        copy: Callable[[str], NDArray[Any]],
        write: Callable[[Mapping[str, ArrayLike]], None],
    ) -> None:
        self._places, self._copy, self._write = places, copy, write

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._places:
            raise FeedError(f"there is no state {name!r}; this stream carries {sorted(self._places) or 'none'}")
        return self._copy(name)

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        self._write({name: value})

    def __delitem__(self, name: str) -> None:
        raise StateError("a state cannot be removed; reset() sets it back")

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n!r}: {m.dtype}{list(m.shape)}" for n, (m, _) in self._places.items())
        return f"{{{shown}}}"
