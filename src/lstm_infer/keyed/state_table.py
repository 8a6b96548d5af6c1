"""The states of many signals of a pool, as two columns of a table: what a snapshot of each holds, and the header that says so.

A snapshot (docs/snapshots.md) is its header and what its entries hold. The header is the same for all signals of a scorer: a
dictionary of one value. So rows of tables of several scorers may be joined, split and put into another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import _states
from ..errors import ArgumentError, FormatError
from ..pool import StreamPool
from ..pools.moves import places_of
from ..streams.snapshot import take
from . import columns

__all__ = ["FORM", "STATE", "states_of", "with_states"]

FORM, STATE = "lstm_infer_form", "lstm_infer_state"
CHECKSUM = slice(8, 16)
"""Where it stands in a header: it is of one signal, so 0 here."""

Numbers = NDArray[np.int64]


def states_of(pool: StreamPool, ids: Numbers) -> dict[str, Any]:
    """The two columns for these signals."""
    rows, places = pool._alone(lambda: pool._rows(pool._found(ids))), places_of(pool._batches.plan)
    width = sum(n for _, n in places)
    held, at = np.empty((len(ids), width), np.uint8), 0
    for begin, n in places:
        held[:, at : at + n] = rows[:, begin : begin + n]
        at += n
    form = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(ids), np.int8)), pa.array([_form(pool)], pa.binary()))
    state = pa.Array.from_buffers(pa.binary(width), len(ids), [None, pa.py_buffer(held)])
    return {FORM: form, STATE: state}


def with_states(pool: StreamPool, table: Any) -> Numbers:
    """A new signal for each row of a table with these columns; their ids."""
    forms, states = columns.column_of(table, FORM), columns.column_of(table, STATE)
    if columns.family(forms.type) != "bytes" or not pa.types.is_fixed_size_binary(states.type) != (
        columns.family(states.type) == "bytes"
    ):
        raise ArgumentError(f"columns {FORM!r} and {STATE!r} are bytes, got {forms.type} and {states.type}")
    plan = pool._batches.plan
    places = places_of(plan)
    width = sum(n for _, n in places)
    if {value for chunk in forms.chunks for value in _distinct(chunk)} - {_form(pool)} or any(
        memory.check for memory in plan.memories
    ):
        return _each(pool, forms, states)
    held = np.concatenate([np.empty((0, width), np.uint8), *(_payload(chunk, width) for chunk in states.chunks)])
    ids = pool.open_many(len(table))
    rows = np.zeros((len(table), pool._row_bytes), np.uint8)
    at = 0
    for begin, n in places:
        rows[:, begin : begin + n] = held[:, at : at + n]
        at += n
    pool._alone(lambda: pool._put_rows(pool._found(ids), rows))
    return ids


def _distinct(chunk: Any) -> list[bytes]:
    """The headers that a chunk has."""
    found: list[bytes] = (chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk.unique()).to_pylist()
    return found


def _payload(chunk: Any, width: int) -> NDArray[np.uint8]:
    """What a chunk of states holds, [rows, bytes]."""
    data, starts = columns.stretches(chunk)
    if starts is not None:
        if (np.diff(starts) != width).any():
            raise FormatError(f"column {STATE!r}: {width} bytes in each row expected; the table is damaged")
        data = data[int(starts[0]) : int(starts[-1])]
    if len(data) != len(chunk) * width:
        raise FormatError(f"column {STATE!r}: {width} bytes in each row expected; the table is damaged")
    return data.reshape(len(chunk), width)


def _each(pool: StreamPool, forms: Any, states: Any) -> Numbers:
    """The signals one by one, as snapshots: of another release, say, or of what has to be looked at."""
    ids = []
    for row, (form, state) in enumerate(zip(forms.to_pylist(), states.to_pylist(), strict=True)):
        if len(form) < CHECKSUM.stop:
            raise FormatError(f"row {row}: column {FORM!r} holds no header of a snapshot; the table is damaged")
        snapshot = form + state
        total = _states.checksum(snapshot).to_bytes(8, "little")
        try:
            ids.append(pool.restore(snapshot[: CHECKSUM.start] + total + snapshot[CHECKSUM.stop :]))
        except FormatError as error:
            raise FormatError(f"row {row}: {error}") from None
    return np.array(ids, np.int64)


def _form(pool: StreamPool) -> bytes:
    """The header of the snapshot of a signal, without its checksum."""
    plan = pool._batches.plan
    snapshot = take(plan, pool._signs, plan.first_phase, False, plan.first_state(), None)
    header = snapshot[: int.from_bytes(snapshot[40:44], "little")]
    return header[: CHECKSUM.start] + bytes(8) + header[CHECKSUM.stop :]
