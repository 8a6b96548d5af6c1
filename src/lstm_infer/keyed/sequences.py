"""Whole sequences in the rows of a table: a row is a sequence, its column a list of the values of all its steps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ArgumentError, DtypeError, NotStreamableError, ShapeError
from . import columns

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["run_sequences"]


def run_sequences(model: Model, table: Any, column: str | dict[str, str], *, threads: int | None = None) -> Any:
    """Run a model over the sequence in each row of a table; a column for each output, a row for each row.

    Parameters
    ----------
    model : Model
    table : pyarrow.Table or RecordBatch, or what has `__arrow_c_stream__`
    column : name, or dict of input name to name
        Lists of numbers of the model's own type: of T steps and F values a step, ``T * F`` numbers, step by step; lists of T
        numbers where F is 1; or T lists of F numbers.
    threads : int
        As in `Model.run_many`.

    Returns
    -------
    pyarrow.Table
        Lists again, by the output's name: of T numbers, or of T lists, where an output has time; else of its numbers. Null where a
        sequence is too short to have it.

    Raises
    ------
    FeedError, DtypeError, ShapeError, ArgumentError
        A column is not there, is of another type, has nulls, or does not hold whole steps; as `Model.run_many`.

    Notes
    -----
    The results are those of `Model.run_many`.
    """
    rows = columns.as_table("table", table)
    inputs = {info.name: info for info in model.inputs if info.name not in {s.name for s in model.states}}
    told = column if isinstance(column, dict) else dict.fromkeys(inputs, column)
    if told.keys() != inputs.keys() or len(set(told.values())) != len(told):
        raise ArgumentError(f"column: a column of its own for each of {list(inputs)} expected, got {column!r}")
    fed = [_sequences(told[name], columns.column_of(rows, told[name]), info) for name, info in inputs.items()]
    many = [dict(zip(inputs, row, strict=True)) for row in zip(*fed, strict=True)]
    found = model.run_many(many, threads=threads)
    outputs = {info.name: info for info in model.outputs}
    names = list(found[0]) if found else _outputs(model)
    return pa.table({name: _lists([made[name] for made in found], outputs[name]) for name in names})


def _outputs(model: Model) -> list[str]:
    """The outputs that a sequence would have, where there is none."""
    try:
        return list(model.streaming.outputs)
    except NotStreamableError:
        return [info.name for info in model.outputs]


def _sequences(name: str, column: Any, info: Any) -> list[NDArray[Any]]:
    """The sequences of a column, each as the model takes it, of one signal."""
    rest = [n for axis, n in enumerate(info.shape) if axis not in (info.time_axis, info.batch_axis)]
    if any(n is None for n in rest):
        raise ShapeError(f"input {info.name!r} has open sizes {list(info.shape)}; fix them by load(inputs=)")
    found = list[NDArray[Any]]()
    for chunk in column.chunks:
        values, ends = _numbers(name, chunk, info.dtype)
        for begin, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            flat = values[begin:stop]
            if len(flat) % max(prod(rest), 1):
                raise ShapeError(
                    f"column {name!r}, row {len(found)}: {len(flat)} numbers are no whole steps of {prod(rest)} values"
                )
            steps = flat.reshape(-1, *rest)
            if info.time_axis is not None and info.time_axis > 0:
                at = info.time_axis - (info.batch_axis is not None and info.batch_axis < info.time_axis)
                steps = np.moveaxis(steps, 0, at)
            lead = int(info.time_axis is None)  # a model of one step: `run` has its own leading axis
            if info.batch_axis is not None:
                steps = np.expand_dims(steps, info.batch_axis + lead)
            found.append(np.ascontiguousarray(steps))
    return found


def _numbers(name: str, chunk: Any, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The numbers of a chunk of lists, one after the other, and where each row begins in them."""
    if isinstance(chunk.type, pa.BaseExtensionType):
        chunk = columns.stored(chunk)
    ends: NDArray[np.int64] = np.arange(len(chunk) + 1)
    depth = 0
    while pa.types.is_nested(chunk.type):
        if chunk.null_count or pa.types.is_struct(chunk.type):
            raise DtypeError(f"column {name!r} is of {chunk.type}, with nulls or not lists of numbers")
        if pa.types.is_fixed_size_list(chunk.type):
            ends = ends * chunk.type.list_size
        else:
            offsets = chunk.offsets.to_numpy().astype(np.int64)
            ends = (offsets - offsets[0])[ends]
        chunk, depth = chunk.flatten(), depth + 1
    if not depth or chunk.null_count or chunk.type != pa.from_numpy_dtype(dtype):
        raise DtypeError(f"column {name!r}: lists of {dtype} without nulls expected, got {chunk.type}; cast it")
    return chunk.to_numpy(zero_copy_only=False), ends


def _lists(arrays: Sequence[NDArray[Any] | None], info: Any) -> Any:
    """An output of all sequences as a column; null where a sequence is too short to have it."""
    time = info.time_axis
    there = [array if time is None else np.moveaxis(array, time, 0) for array in arrays if array is not None]
    if not there:
        return pa.nulls(len(arrays), _kind(info))
    width = 1 if time is None else max(prod(there[0].shape[1:]), 1)
    values = pa.array(np.concatenate([array.reshape(-1) for array in there]))
    if width > 1:
        values = pa.FixedSizeListArray.from_arrays(values, width)
    ends = pa.array(np.cumsum([0, *(0 if array is None else array.size // width for array in arrays)]), pa.int64())
    missing = None if len(there) == len(arrays) else pa.array([array is None for array in arrays])
    return pa.LargeListArray.from_arrays(ends, values, mask=missing)


def _kind(info: Any) -> Any:
    """The type of such a column where no sequence has the output; of sizes that the file leaves open it says nothing."""
    values = pa.from_numpy_dtype(info.dtype)
    rest = [1 if axis == info.batch_axis else n for axis, n in enumerate(info.shape) if axis != info.time_axis]
    width = 1 if info.time_axis is None or None in rest else prod(rest)
    return pa.large_list(pa.list_(values, width) if width > 1 else values)
