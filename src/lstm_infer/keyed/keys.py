"""The keys that a scorer has seen, numbered: one column of them, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import given
from .._keys import KeyTable, hashes
from . import columns
from .columns import Column

__all__ = ["Keys", "part_of"]

Numbers = NDArray[np.int64]

OF_A_COLUMN = 0x9E3779B97F4A7C15
"""The factor of what stands in front in a key of several columns: odd, so that nothing is lost."""

A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Keys:
    """Numbers from 0 on, in the order in which keys are first seen. Several columns: each has numbers of its own, and the key is
    the row of those."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._kinds: list[Any] = []
        """The types of the columns, from the first table on."""
        self._each: list[KeyTable] = []
        self._rows = KeyTable(8 * len(self._names)) if len(self._names) > 1 else None

    def __len__(self) -> int:
        return len(self._all) if self._each else 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(table.nbytes for table in (*self._each, *([] if self._rows is None else [self._rows])))

    @property
    def _all(self) -> KeyTable:
        return self._each[0] if self._rows is None else self._rows

    def numbers(self, table: Any) -> Numbers:
        """The number of the key of each row; a key that was not there before is added."""
        found = [columns.column_of(table, name) for name in self._names]
        if not self._each:
            kinds = [columns.plain(column.type) for column in found]
            widths = [columns.bits_of(name, kind) for name, kind in zip(self._names, kinds, strict=True)]
            self._kinds, self._each = kinds, [KeyTable(width) for width in widths]
        each = [
            _numbered(known, columns.like(name, column, kind))
            for known, name, column, kind in zip(self._each, self._names, found, self._kinds, strict=True)
        ]
        if self._rows is None:
            return each[0]
        return self._rows.number(np.stack(each, 1).reshape(-1).view(np.uint8), None, True)

    def marks(self) -> tuple[int, ...]:
        """What `forget` takes to come back to this place."""
        return tuple(map(len, (*self._each, *([] if self._rows is None else [self._rows]))))

    def forget(self, marks: tuple[int, ...]) -> None:
        """What was added since these marks were made."""
        if not marks or not any(marks):
            self._kinds, self._each = [], []
            self._rows = KeyTable(8 * len(self._names)) if self._rows is not None else None
            return
        for known, mark in zip((*self._each, *([] if self._rows is None else [self._rows])), marks, strict=True):
            known.forget(mark)

    def grouped(self, numbers: Numbers, order: Numbers | None) -> tuple[Numbers, Numbers, Numbers]:
        """The rows of each key: the keys, where each begins, the rows."""
        return self._all.grouped(numbers, order)

    def arrays(self) -> list[Any]:
        """A column for each part of the keys, in the order of their numbers."""
        made = [_array(table, kind) for table, kind in zip(self._each, self._kinds, strict=True)]
        if self._rows is None or not made:
            return made
        rows = self._rows.values()[0].view(np.int64).reshape(-1, len(made))
        return [array.take(pa.array(rows[:, k])) for k, array in enumerate(made)]

    def shown(self, number: int) -> str:
        """A key, for a message."""
        return ", ".join(repr(array[number].as_py()) for array in self.arrays())


def _numbered(known: KeyTable, column: Column) -> Numbers:
    """The numbers of a column, chunk by chunk."""
    found = [_chunk(known, chunk) for chunk in column.chunks]
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.int64), *found])


def _chunk(known: KeyTable, chunk: Any) -> Numbers:
    if not pa.types.is_dictionary(chunk.type):
        return known.number(*columns.stretches(chunk), True)
    indices = chunk.indices.to_numpy()
    used = np.zeros(len(chunk.dictionary), bool)
    used[indices] = True  # a value that no row has is no key
    there = np.flatnonzero(used)
    place = np.full(len(used), -1, np.int64)
    place[there] = known.number(*columns.stretches(chunk.dictionary.take(pa.array(there))), True)
    numbers: Numbers = place[indices]
    return numbers


def _array(table: KeyTable, kind: Any) -> Any:
    """The values of a table as Arrow has them."""
    data, starts = table.values()
    if starts is None:
        if pa.types.is_boolean(kind):
            return pa.array(data).cast(kind)
        return pa.Array.from_buffers(kind, len(table), [None, pa.py_buffer(data)])
    wide = pa.large_string() if columns.family(kind) == "text" else pa.large_binary()
    return pa.Array.from_buffers(wide, len(table), [None, pa.py_buffer(starts), pa.py_buffer(data)]).cast(kind)


def part_of(table: Any, key: str | Sequence[str], parts: int) -> NDArray[np.int64]:
    """To which of so many parts the key of each row belongs: the same in every process, on every machine, in later releases.

    Parameters
    ----------
    table : pyarrow.Table or RecordBatch, or what has `__arrow_c_stream__`
    key : name, or names
        As in `Scorer`. Integers count by their value, text by its bytes, dates, times and timestamps by their instant, whatever
        their width or unit.
    parts : int

    Returns
    -------
    int64 [rows]
        From 0 on.

    Raises
    ------
    FeedError, DtypeError, ArgumentError
        A column is not there, is of a type that is no key, or has nulls; `parts` is less than 1.
    """
    rows, n = columns.as_table("table", table), given.number("parts", parts, 1)
    names = (key,) if isinstance(key, str) else given.names("key", key)
    total = np.zeros(rows.num_rows, np.uint64)
    for name in names:
        column = columns.column_of(rows, name)
        kind = columns.plain(column.type)
        columns.bits_of(name, kind)
        each = [hashes(*_laid(chunk)) for chunk in column.chunks]
        total = total * np.uint64(OF_A_COLUMN) + np.concatenate([np.empty(0, np.uint64), *each])
    return ((total >> np.uint64(32)) % np.uint64(n)).astype(np.int64)


def _laid(chunk: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, int]:
    """The keys of a chunk one after the other, where each begins, and their width."""
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    if pa.types.is_uint64(chunk.type):
        chunk = chunk.view(pa.int64())
    elif pa.types.is_integer(chunk.type):
        chunk = chunk.cast(pa.int64())
    elif pa.types.is_date32(chunk.type):
        chunk = chunk.cast(pa.timestamp("s"))
    elif pa.types.is_date64(chunk.type):
        chunk = chunk.view(pa.timestamp("ms"))
    elif pa.types.is_time32(chunk.type):
        chunk = chunk.cast(pa.int32()).cast(pa.int64()).view(pa.duration(chunk.type.unit))
    if pa.types.is_timestamp(chunk.type) or pa.types.is_duration(chunk.type) or pa.types.is_time64(chunk.type):
        second = A_SECOND[chunk.type.unit]
        whole, rest = np.divmod(chunk.view(pa.int64()).to_numpy(), second)
        return np.stack([whole, rest * (A_SECOND["ns"] // second)], 1).reshape(-1).view(np.uint8), None, 16
    data, starts = columns.stretches(chunk)
    return data, starts, 0 if starts is not None else len(data) // max(len(chunk), 1) or 1
