"""Which signal of the pool is whose, and how far in time it is: what a scorer knows of its keys.

Every change is written down in `undo` before it is made, so that a call that fails takes all of them back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import StateError
from ..pool import StreamPool
from . import columns
from .keys import Keys

__all__ = ["Book", "Undo"]

Numbers = NDArray[np.int64]
Undo = list[Callable[[], None]]


class Book:
    """By the number of a key: its signal, and the time of its last row."""

    def __init__(self, pool: StreamPool, key: tuple[str, ...], time: str | None) -> None:
        self._pool, self._key, self._time = pool, key, time
        self.keys = Keys(key)
        self.ids = np.empty(0, np.int64)
        """With room behind them, as `last` has."""
        self.last: NDArray[Any] | None = None
        self.time_kind: Any = None
        self._before = np.empty((0, pool._row_bytes), np.uint8)
        """Memory for the states as they were before a call."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        last = 0 if self.last is None else self.last.nbytes
        return self.keys.nbytes + self.ids.nbytes + last + self._before.nbytes

    def begin(self, undo: Undo) -> None:
        """A table comes: keys are added from here on."""
        kind, marks, ids, last = self.time_kind, self.keys.marks(), self.ids, self.last

        def forget() -> None:
            self.time_kind, self.ids, self.last = kind, ids, last
            self.keys.forget(marks)

        undo.append(forget)

    def times(self, table: Any) -> NDArray[Any] | None:
        """The times of rows as numbers."""
        if self._time is None:
            return None
        column = columns.column_of(table, self._time)
        if self.time_kind is None:
            columns.times_of(self._time, column.slice(0, 0))  # refused before it is kept
            self.time_kind = column.type
        return columns.times_of(self._time, columns.like(self._time, column, self.time_kind))

    def late(self, numbers: Numbers, times: NDArray[Any] | None, n_old: int) -> NDArray[np.bool_] | None:
        """Which rows are older than the last one of their key."""
        if times is None or self.last is None or not n_old:
            return None
        old = numbers < n_old
        found: NDArray[np.bool_] = old & (times < self.last[np.where(old, numbers, 0)])
        return found if found.any() else None

    def refuse_late(self, late: NDArray[np.bool_], numbers: Numbers, times: NDArray[Any]) -> None:
        """Say which."""
        assert self.last is not None
        row = int(np.flatnonzero(late)[0])
        then, now = columns.as_times(np.array([self.last[numbers[row]], times[row]]), self.time_kind).to_pylist()
        raise StateError(
            f"row {row} is late: key {self.keys.shown(int(numbers[row]))} stands at {then}, the row is of {now} "
            f"({int(late.sum())} such rows); late='drop' leaves them out"
        )

    def ordered(self, numbers: Numbers, times: NDArray[Any] | None) -> tuple[Numbers, Numbers, Numbers]:
        """The keys, where the rows of each begin, and the rows, those of each in the order of their time."""
        keys, starts, rows = self.keys.grouped(numbers, None)
        if times is None or len(keys) == len(rows):
            return keys, starts, rows
        along = times[rows]
        back = along[1:] < along[:-1]
        back[starts[1:-1] - 1] = False  # from one key to the next
        if not back.any():
            return keys, starts, rows
        return self.keys.grouped(numbers, np.argsort(times, kind="stable"))

    def open(self, n_old: int, times: NDArray[Any] | None, undo: Undo) -> None:
        """Signals for the keys that are new, and room for what is known of them."""
        n, room = len(self.keys), len(self.ids)
        if n > room:
            ids = np.concatenate([self.ids, np.empty(max(n, 2 * room) - room, np.int64)])
            if times is not None:
                last = np.empty(0, times.dtype) if self.last is None else self.last
                self.last = np.concatenate([last, np.zeros(len(ids) - len(last), times.dtype)])
            self.ids = ids

        def close() -> None:
            if len(self._pool) != n_old:
                self._pool.close(np.setdiff1d(self._pool.ids, self.ids[:n_old]))

        undo.append(close)
        self.ids[n_old:n] = self._pool.open_many(n - n_old)

    def keep(self, keys: Numbers, undo: Undo) -> None:
        """The states and times of these keys, for when the call fails. The memory stays: to copy costs less than new memory."""
        pool, ids = self._pool, self.ids[keys]
        if len(ids) > len(self._before):
            self._before = np.empty((max(len(ids), 2 * len(self._before)), pool._row_bytes), np.uint8)
        before, last = self._before, None if self.last is None else self.last[keys]
        pool._alone(lambda: pool._rows(pool._found(ids), before))

        def put_back() -> None:
            pool._alone(lambda: pool._put_rows(pool._found(ids), before))
            if self.last is not None:
                self.last[keys] = last

        undo.append(put_back)

    def expire(self, before: Any) -> int:
        """End the signals of keys whose last row is older; how many."""
        if self.last is None:
            return 0
        n = len(self.keys)
        kept = self.last[:n] >= columns.time_of("before", before, self.time_kind)
        if kept.all():
            return 0
        keys = Keys(self._key)
        keys.numbers(pa.table(dict(zip(self._key, self.keys.arrays(), strict=True))).filter(pa.array(kept)))
        gone = self.ids[:n][~kept]
        self.keys, self.ids, self.last = keys, self.ids[:n][kept], self.last[:n][kept]
        self._pool.close(gone)
        return len(gone)

    def table(self) -> dict[str, Any]:
        """A column for each part of the keys, and one of times, by name."""
        n = len(self.keys)
        if not n:
            return {name: pa.nulls(0) for name in (*self._key, *([] if self._time is None else [self._time]))}
        made = dict(zip(self._key, self.keys.arrays(), strict=True))
        if self._time is not None and self.last is not None:
            made[self._time] = columns.as_times(self.last[:n], self.time_kind)
        return made
