"""Columns of a table as NumPy sees them: without a copy where Arrow's memory is what is wanted, checked in any case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import given
from ..errors import ArgumentError, DtypeError, FeedError, ShapeError

__all__ = [
    "as_table", "as_times", "bits_of", "column_of", "family", "features_of", "like", "plain", "stored", "stretches",
    "time_of", "times_of",
]  # fmt: skip

Column = Any
"""pa.ChunkedArray."""


def as_table(what: str, value: Any) -> Any:
    """A pa.Table of what is one, a RecordBatch, or whatever hands its columns out as Arrow has them, which is no copy."""
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if isinstance(value, type) or not any(hasattr(value, name) for name in _GIVES):
        make = ""
        if isinstance(value, list):
            make = "; write pa.Table.from_pylist(x)"
        elif hasattr(type(value), "collect"):  # of polars, lazy: its columns cost something
            make = "; write x.collect()"
        elif isinstance(value, Mapping) or hasattr(value, "columns"):
            make = "; write pa.table(x)"
        raise ArgumentError(
            f"{what}: a pyarrow Table or RecordBatch, or what has __arrow_c_stream__, expected, got {given.shown(value)}{make}"
        )
    try:
        return pa.table(value)
    except Exception as error:  # a stranger's method may raise anything
        raise ArgumentError(
            f"{what}: {given.shown(value)} gives no table: {type(error).__name__}: {error}; write pa.table({{name: column}})"
        ) from error


_GIVES = ("__arrow_c_stream__", "__arrow_c_array__")
"""Arrow's PyCapsule interface: tables of polars, pandas, duckdb and others have one of these."""


def column_of(table: Any, name: str) -> Column:
    """A column by its name; one with nulls is refused."""
    at = table.schema.get_all_field_indices(name)
    if len(at) != 1:
        wrong = f"there are {len(at)} columns {name!r}" if at else f"there is no column {name!r}"
        raise FeedError(f"{wrong}; the table has {table.schema.names}")
    found = table.column(at[0])
    if pa.types.is_dictionary(found.type):
        found = _of_values(found)
        if any(chunk.dictionary.null_count for chunk in found.chunks):
            found = found.cast(found.type.value_type)
    _refuse_nulls(name, found)
    return found


def _of_values(column: Column) -> Column:
    """A dictionary of views, which Arrow neither takes from nor casts, as one of what they show."""
    kind = pa.dictionary(column.type.index_type, plain(column.type.value_type))
    if kind.value_type == column.type.value_type:
        return column
    chunks = [
        pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(kind.value_type)) for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, kind)


def _refuse_nulls(name: str, column: Column, each: int = 1) -> None:
    """`each`: values of a row."""
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py() // each
        raise ArgumentError(
            f"column {name!r} has {column.null_count} nulls, the first in row {row}: drop these rows, or fill_null()"
        )


# ---- types

FAMILIES = {
    "int": pa.types.is_integer,
    "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
    "bytes": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t),
    "float": pa.types.is_floating,
    "date": pa.types.is_date,
    "time": pa.types.is_time,
    "duration": pa.types.is_duration,
}


def family(kind: Any) -> str:
    """Types of one family say the same in more or fewer bytes."""
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_timestamp(kind):
        return f"timestamp of zone {kind.tz}"
    return next((name for name, belongs in FAMILIES.items() if belongs(kind)), str(kind))


def plain(kind: Any) -> Any:
    """A type without its dictionary; views, of which Arrow can do little, as what they show."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    return views.get(kind, kind)


def like(name: str, column: Column, kind: Any) -> Column:
    """A column in the type that it had in the first table."""
    mine = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind == mine or (mine == column.type and kind == plain(mine)):
        return column
    if family(mine) != family(kind):
        raise DtypeError(f"column {name!r} is of {mine}, and was of {kind} before; cast it")
    column = column.cast(mine) if pa.types.is_dictionary(column.type) else column
    found = _cast(name, column, kind)
    if pa.types.is_floating(kind) and found.cast(mine) != column:  # Arrow rounds these without a word
        raise DtypeError(f"column {name!r} of {mine} does not go into {kind}, the type that it had before; cast it")
    return found


def _cast(name: str, column: Column, kind: Any) -> Column:
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DtypeError(f"column {name!r} of {column.type} does not go into {kind}: {error}") from error


# ---- keys: the bytes of each row

FIXED = (pa.types.is_integer, pa.types.is_temporal, pa.types.is_decimal, pa.types.is_fixed_size_binary)


def bits_of(name: str, kind: Any) -> int:
    """Bytes of a key of this type; 0: of any length."""
    if family(kind) in ("text", "bytes"):
        return 0
    if pa.types.is_boolean(kind):
        return 1
    if any(fixed(kind) for fixed in FIXED) and kind.bit_width:
        return int(kind.bit_width) // 8
    raise DtypeError(
        f"key column {name!r} is of {kind}; integers, text, bytes, dates and times can be keys"
        + ("; a float is no key: round it to an integer" if pa.types.is_floating(kind) else "")
    )


def stretches(array: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """The bytes of an array without nulls, and where each of its values begins if they are of any length."""
    kind, n = array.type, len(array)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary())
        kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
        kind = array.type
    buffers = array.buffers()
    if family(kind) not in ("text", "bytes"):
        width = kind.bit_width // 8
        return _bytes(buffers[1])[array.offset * width : (array.offset + n) * width], None
    offset = np.int64 if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) else np.int32
    if n == 0:
        return _bytes(None), np.zeros(1, np.int64)
    starts = np.frombuffer(buffers[1], offset)[array.offset : array.offset + n + 1]
    return _bytes(buffers[2]), starts.astype(np.int64, copy=False)


def _bytes(buffer: Any) -> NDArray[np.uint8]:
    return np.empty(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


# ---- features: a row of numbers for each row


def features_of(
    table: Any, names: Sequence[str], shape: tuple[int, ...], dtype: np.dtype[Any], cast: bool, nan: str, what: str
) -> NDArray[Any]:
    """What an input of the model takes, [rows, values of a step]: a column for each value, or one column of lists."""
    n, width = table.num_rows, prod(shape)
    there = [column_of(table, name) for name in names]
    columns = [_numbers(name, column, dtype, cast) for name, column in zip(names, there, strict=True)]
    if not n and any(pa.types.is_list(column.type) or pa.types.is_large_list(column.type) for column in there):
        return np.empty((0, width), dtype)  # lists of which nothing says how long they are
    widths = [column.type.list_size if pa.types.is_fixed_size_list(column.type) else 1 for column in columns]
    if sum(widths) != width:
        raise ShapeError(
            f"{what} takes {width} values a step, {list(shape)}; the columns {list(names)} have {sum(widths)}"
            "; a size that the file leaves open is fixed by load(inputs=)"
        )
    if len(columns) == 1 and columns[0].num_chunks == 1:
        found = _flat(columns[0].chunk(0)).reshape(n, width)
    else:
        found, at = np.empty((n, width), dtype), 0
        for column, wide in zip(columns, widths, strict=True):
            row = 0
            for chunk in column.chunks:
                found[row : row + len(chunk), at : at + wide] = _flat(chunk).reshape(len(chunk), wide)
                row += len(chunk)
            at += wide
    if nan == "raise" and dtype.kind == "f" and (wrong := np.isnan(found)).any():
        row, k = (int(i) for i in np.argwhere(wrong)[0])
        name = names[int(np.searchsorted(np.cumsum(widths), k, "right"))]
        raise ArgumentError(
            f"column {name!r}: NaN in row {row}; it would stay in the state of that key. Drop these rows, or say nan='keep'"
        )
    return found


def _numbers(name: str, column: Column, dtype: np.dtype[Any], cast: bool) -> Column:
    """A column of numbers of this type, or of lists of equal length of them."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([stored(chunk) for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind, size = column.type, 0
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        size = _equal_lengths(name, column)
    elif pa.types.is_fixed_size_list(kind):
        size = kind.list_size
    if size:
        _refuse_nulls(name, pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type), size)
    mine, wanted = kind.value_type if size else kind, pa.from_numpy_dtype(dtype)
    if not (pa.types.is_integer(mine) or pa.types.is_floating(mine) or pa.types.is_boolean(mine)):
        raise DtypeError(f"column {name!r} is of {kind}; numbers expected")
    if mine != wanted and not cast:
        raise DtypeError(
            f"column {name!r} is of {mine}, the model takes {wanted}; cast it, or say cast=True (nothing that does not fit passes)"
        )
    to = pa.list_(wanted, size) if size else wanted
    if kind == to:
        return column
    found = _cast(name, column, to)
    lossy = pa.types.is_floating(mine) or pa.types.is_boolean(wanted) or pa.types.is_float16(wanted)
    if lossy and mine != wanted and len(column):
        _refuse_lost(name, column, found)
    return found


def stored(chunk: Any) -> Any:
    """What an array of an extension type holds; of tensors in C order, which a permutation keeps in another one."""
    axes = chunk.type.permutation if isinstance(chunk.type, pa.FixedShapeTensorType) else None
    if axes is not None and list(axes) != sorted(axes) and not chunk.null_count:
        ordered = np.ascontiguousarray(chunk.to_numpy_ndarray()).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(ordered), chunk.type.storage_type.list_size)
    return chunk.storage


def _refuse_lost(name: str, column: Column, found: Column) -> None:
    """Arrow makes infinities of floats that are too large, True of all numbers but 0, and rounds to float16, without a word."""
    for chunk, made in zip(column.chunks, found.chunks, strict=True):
        before, after = _flat(chunk), _flat(made)
        lost = (
            np.isinf(after) & np.isfinite(before) if before.dtype.kind == after.dtype.kind == "f" else after != before
        )
        if lost.any():
            raise DtypeError(f"column {name!r} of {column.type} does not go into {found.type}: {before[lost][0]}")


def _equal_lengths(name: str, column: Column) -> int:
    sizes = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(sizes) > 1:
        raise ShapeError(
            f"column {name!r}: lists of one length expected, got some of {sizes[0]} and some of {sizes[1]}"
        )
    return int(sizes[0]) if sizes else 1


def _flat(chunk: Any) -> NDArray[Any]:
    """The numbers of a chunk, one after the other."""
    values = chunk.flatten() if pa.types.is_nested(chunk.type) else chunk
    found: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


# ---- times


def times_of(name: str, column: Column) -> NDArray[Any]:
    """A column of times as numbers that grow: int64, or float64 without NaN."""
    kind = column.type
    if pa.types.is_floating(kind):
        found: NDArray[Any] = _cast(name, column, pa.float64()).to_numpy()
        if np.isnan(found).any():
            raise ArgumentError(f"time column {name!r}: NaN in row {int(np.flatnonzero(np.isnan(found))[0])}")
        return found
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32())
    elif not (pa.types.is_integer(kind) or pa.types.is_temporal(kind)) or pa.types.is_interval(kind):
        raise DtypeError(f"time column {name!r} is of {kind}; integers, floats, dates or timestamps expected")
    whole: NDArray[Any] = _cast(name, column, pa.int64()).to_numpy()
    return whole


def time_of(what: str, value: Any, kind: Any) -> Any:
    """A single time, as `times_of` has it."""
    try:
        one = pa.array([value])
        if one.null_count or not _same_time(one.type, kind):
            raise pa.ArrowInvalid
        kind = pa.float64() if pa.types.is_floating(kind) else kind
        # pa.array() makes whole numbers of what is between them without a word, a cast does not
        one = pa.array([value], kind) if pa.types.is_integer(one.type) else one.cast(kind)
        return times_of(what, pa.chunked_array([one]))[0]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ArgumentError):
        raise ArgumentError(f"{what}: a time of {kind} expected, got {given.shown(value)}") from None


def _same_time(mine: Any, kind: Any) -> bool:
    """Does a single time say when it is as a column of this type does: an instant of a zone, or what a clock shows."""
    if pa.types.is_integer(mine):
        return True
    if pa.types.is_timestamp(mine) and pa.types.is_timestamp(kind):
        return (mine.tz is None) == (kind.tz is None)
    for alike in (pa.types.is_date, pa.types.is_time, pa.types.is_duration):
        if alike(kind):
            return bool(alike(mine))
    return bool(pa.types.is_floating(mine)) and not pa.types.is_temporal(kind)


def as_times(times: NDArray[Any], kind: Any) -> Any:
    """Such numbers as a column of times."""
    if pa.types.is_floating(kind):
        return pa.array(times).cast(kind)
    if pa.types.is_integer(kind):
        return pa.array(times.astype(np.int64, copy=False)).cast(kind)
    return pa.array(times.astype(f"int{kind.bit_width}")).view(kind)
