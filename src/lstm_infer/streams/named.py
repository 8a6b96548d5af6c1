"""The states of a stream by name, and what resets single rows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import given, views
from ..errors import ArgumentError, FeedError, ShapeError, StateError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..program.views import View
    from ..records import StateInfo
    from .plan import StreamPlan

    Block = NDArray[np.uint8]
    Places = Mapping[str, tuple[NDArray[Any], StateInfo]]
    """By name: the memory of a state, and what it is."""

__all__ = ["States", "check_state", "checked_rows", "memory_of", "reset_rows"]


def memory_of(view: View, block: Block) -> NDArray[Any]:
    """What a view shows of a state block."""
    start = view.buffer.offset + view.byte_offset
    return block[start : start + view.size * view.dtype.itemsize].view(view.dtype).reshape(view.shape)


def check_name(places: Places, name: Any) -> None:
    """Refuse what is no state."""
    if not isinstance(name, str) or name not in places:
        raise FeedError(f"there is no state {given.shown(name)}; this stream carries {sorted(places) or 'none'}")


def check_state(places: Places, name: str, value: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """The memory of a state, and the value to be written to it."""
    check_name(places, name)
    memory, info = places[name]
    array = given.array(f"state {name!r}", value)
    if array.dtype != info.dtype:
        raise views.wrong_dtype(f"state {name!r}", info.dtype, array.dtype)
    if array.shape != memory.shape:
        lead = array.shape[0] == 1 and array.shape[1:] == memory.shape if array.ndim == memory.ndim + 1 else False
        if not lead:
            raise ShapeError(f"state {name!r} takes {_shown(memory.shape, info.shape)}, got {list(array.shape)}")
    return memory, array.reshape(memory.shape)


def _shown(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> str:
    """A shape that a state has now, with what the file leaves open left open."""
    if None not in declared:
        return str(list(shape))
    said = "[" + ", ".join("?" if m is None else str(n) for n, m in zip(shape, declared, strict=True)) + "]"
    size = [n for n, m in zip(shape, declared, strict=True) if m is None]
    return f"{said} (? is {', '.join(map(str, size))} until a first frame or load(..., inputs={{...}}) says it)"


def reset_rows(plan: StreamPlan, rows: Sequence[int], now: Block, first: Block) -> None:
    """Back to the first state for these signals of a batch."""
    if plan.fills:
        raise StateError("single rows of a stream that looks ahead or strides over time cannot be reset")
    for memory in plan.memories:  # refused before anything is reset
        if memory.batch is None:
            raise StateError(f"{memory} has no batch axis; reset() without rows resets the whole stream")
    for memory in plan.memories:
        assert memory.batch is not None
        view, (axis, before) = memory.view, memory.batch
        after = view.shape[axis] // (before * plan.batch)
        shape = (*view.shape[:axis], before, plan.batch, after, *view.shape[axis + 1 :])
        index = (slice(None),) * (axis + 1) + (list(rows),)
        memory_of(view, now).reshape(shape)[index] = memory_of(view, first).reshape(shape)[index]


def checked_rows(batch: int, rows: Any, *, once: bool = False) -> tuple[int, ...]:
    """Signals of a batch, as a caller names them; `once`: at least one, and none of them twice."""
    asked = given.items("rows", rows)
    if asked and all(isinstance(row, (bool, np.bool_)) for row in asked):
        raise ArgumentError("rows: their numbers expected, got a mask; write np.flatnonzero(mask)")
    found = tuple(given.number("rows", row) for row in asked)
    for row in found:
        if not 0 <= row < batch:
            raise ShapeError(f"row {row} lies outside a batch of {batch}")
    if once and not 0 < len(set(found)) == len(found):
        raise ShapeError(f"rows: each of one or more rows once expected, got {list(found)}")
    return found


class States(MutableMapping[str, "NDArray[Any]"]):
    """The states of a stream by name: copies out, checked values in."""

    def __init__(
        self,
        places: Places,
        copy: Callable[[str], NDArray[Any]],
        write: Callable[[Mapping[str, ArrayLike]], None],
    ) -> None:
        self._places, self._copy, self._write = places, copy, write

    def __getitem__(self, name: str) -> NDArray[Any]:
        check_name(self._places, name)
        return self._copy(name)

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        check_name(self._places, name)
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
