"""Scorer: a model over the rows of tables, with a state for each key."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import given
from ..errors import ArgumentError, FeedError, StateError
from ..model import Model
from . import columns, state_table
from .book import Book, Undo
from .steps import Ports, refuse_lag, stepped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Scorer"]

LATE, NAN = ("raise", "drop"), ("raise", "keep")


class Scorer:
    """A model over the rows of tables: each row is one step of the signal that its key names, and its state is kept.

    Parameters
    ----------
    model : Model
        One that streams without looking ahead: it gives a prediction for each row.
    key : name, or names
        The column that says whose step a row is, or several: integers, text, bytes, dates or times, also dictionaries.
    features : name, names, or dict of input name to such
        What the model takes at a step: a column for each value, in their order, or one column of lists of them.
    time : name, optional
        The column that puts the rows of a key in order: integers, floats, dates or timestamps. Rows of equal time keep the order
        of the table. None: so do all.
    late : {"raise", "drop"}
        What is done with a row that is older than the last one of its key in the tables before: an error, or the row has
        null for a prediction and changes nothing.
    cast : bool
        Columns of other numbers than the model takes: False: an error, True: they are cast, where nothing is cut off.
    nan : {"raise", "keep"}
        NaN in a feature: an error, or the model gets it.
    inputs : dict of input name to array, optional
        Inputs without time, the same for all keys, as in `Model.pool`.
    threads : int
        As in `Model.pool`.

    Raises
    ------
    NotStreamableError, StateError, FeedError, ShapeError, DtypeError, ArgumentError
        As `Model.pool`; the model looks ahead or strides over time; an argument means nothing.

    Notes
    -----
    The bits are those of a `Stream` for each key, however the rows are cut into tables. Threads wait for each other.
    """

    def __init__(
        self,
        model: Model,
        *,
        key: str | Sequence[str],
        features: str | Sequence[str] | Mapping[str, str | Sequence[str]],
        time: str | None = None,
        late: str = "raise",
        cast: bool = False,
        nan: str = "raise",
        inputs: Mapping[str, ArrayLike] | None = None,
        threads: int | None = None,
    ) -> None:
        if not isinstance(model, Model):
            raise ArgumentError(f"model: a Model expected, as lstm_infer.load gives it, got {given.shown(model)}")
        if time is not None and not isinstance(time, str):
            raise ArgumentError(f"time: the name of a column expected, got {given.shown(time)}")
        for what, value, known in (("late", late, LATE), ("nan", nan, NAN)):
            if value not in known:
                raise ArgumentError(f"{what}: one of {list(known)} expected, got {given.shown(value)}")
        self._key, self._time = _names("key", key), time
        if time in self._key or len(set(self._key)) != len(self._key):
            raise ArgumentError(f"key, time: columns of their own expected, got {list(self._key)} and {time!r}")
        for name in (*self._key, time):
            if name in (state_table.FORM, state_table.STATE):
                raise ArgumentError(f"key, time: {name!r} is a column of state_table(); give it another name")
        self._late, self._nan, self._cast = late, nan, given.flag("cast", cast)
        self._pool = model.pool(inputs=inputs, threads=threads)
        plan = self._pool._batches.plan
        refuse_lag(plan)
        self._ports = Ports(plan)
        self._features = self._told(features)
        self._book = Book(self._pool, self._key, time)
        self._lock, self._process, self._halfway = threading.Lock(), os.getpid(), False

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._pool)

    def __repr__(self) -> str:
        return f"<lstm_infer.keyed.Scorer: {len(self)} keys>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise ArgumentError("a scorer is not pickled: pass on the model and state_table(), and make one of these")

    @property
    def nbytes(self) -> int:
        """Bytes of memory: of the pool, of the keys, and to work in."""
        return self._pool.nbytes + self._book.nbytes

    def score(self, table: Any) -> Any:
        """Feed each row to the signal of its key; the predictions, row by row.

        Parameters
        ----------
        table : pyarrow.Table or RecordBatch, or what has `__arrow_c_stream__` (polars, pandas, duckdb)
            The columns named when the scorer was made, and any others.

        Returns
        -------
        pyarrow.RecordBatch where one was given, else pyarrow.Table
            A column for each output of the model, by its name: numbers, or lists of equal length in C order. A row that was
            dropped has nulls.

        Raises
        ------
        FeedError
            A column is not there.
        DtypeError, ShapeError
            A column is of another type, or a row has not as many values as a step takes.
        StateError
            A row is late.
        ArgumentError
            It is no table; a key, a time or a feature is null; a feature is NaN.

        Notes
        -----
        A call that raises leaves every key as it was before, and adds none.
        """
        rows, undo = columns.as_table("table", table), Undo()
        with self._alone():
            try:
                results, dropped = self._scored(rows, undo)
                made = {port.name: _column(results[port.name], dropped) for port in self._ports.outs}
                if isinstance(table, pa.RecordBatch):
                    return pa.RecordBatch.from_arrays(list(made.values()), names=list(made))
                return pa.table(made)
            except BaseException:
                for back in reversed(undo):
                    back()
                raise

    def expire(self, before: Any) -> int:
        """End the signals of keys whose last row is older than this; how many.

        Parameters
        ----------
        before : a time as the time column has it

        Raises
        ------
        ArgumentError
            There is no time column, or this is no time of its type.

        Notes
        -----
        It goes over all keys, a fraction of a microsecond for each: call it now and then, not with every table.
        """
        if self._time is None:
            raise ArgumentError("before: this scorer has no time column; Scorer(time=...) says which it is")
        with self._alone():
            return self._book.expire(before)

    def state_table(self) -> Any:
        """All that is kept, as a pyarrow.Table: a row for each key, with its last time and its state.

        Write it where tables are written, and `from_state_table` goes on from it, with the same bits. Rows of several such
        tables can be joined, and one can be split by its keys.
        """
        with self._alone():
            ids = self._book.ids[: len(self._book.keys)]
            return pa.table({**self._book.table(), **state_table.states_of(self._pool, ids)})

    @classmethod
    def from_state_table(cls, table: Any, model: Model, **options: Any) -> Scorer:
        """A scorer that goes on from what `state_table` gave, of this process or another one.

        Parameters
        ----------
        table : pyarrow.Table or RecordBatch, or what has `__arrow_c_stream__`
        model : Model
            Of the same file, in the same precision.
        **options
            As `Scorer` takes them.

        Raises
        ------
        FormatError
            A state is damaged, or of another model.
        FeedError, ArgumentError, DtypeError
            The table lacks a column, or a key is there twice; as `Scorer`.
        """
        rows = columns.as_table("table", table)
        made = cls(model, **options)
        if rows.num_rows == 0:
            return made
        book = made._book
        numbers = book.keys.numbers(rows)
        if len(book.keys) != rows.num_rows:
            twice = int(np.flatnonzero(np.bincount(numbers) > 1)[0])
            raise ArgumentError(f"table: the key {book.keys.shown(twice)} is there twice")
        times = book.times(rows)
        book.last = None if times is None else times.copy()
        book.ids = state_table.with_states(made._pool, rows)
        return made

    # ---- inside -----------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """With no other thread inside."""
        if self._process != os.getpid():  # a fork has one thread: what another one had begun is never ended there
            self._halfway = self._halfway or self._lock.locked()
            self._process, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if self._halfway:
                raise StateError(
                    "another thread was in a call of the scorer when the process forked, so its keys may be halfway; make a "
                    "new one, from a state_table() of before"
                )
            yield

    def _told(self, features: Any) -> dict[str, tuple[str, ...]]:
        """The columns of each input."""
        inputs = [port.name for port in self._ports.ins]
        if not isinstance(features, Mapping):
            if len(inputs) != 1:
                raise FeedError(
                    f"features: this model takes {inputs} at a step; a dict of input name to columns expected"
                )
            return {inputs[0]: _names("features", features)}
        if set(features) != set(inputs):
            raise FeedError(
                f"features: columns for {inputs} expected, got {[str(name) for name in features]}; what is the same for all keys "
                "is bound by inputs="
            )
        return {name: _names(f"features: {name!r}", value) for name, value in features.items()}

    def _scored(self, table: Any, undo: Undo) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_] | None]:
        """The outputs, and which rows were dropped. `undo`: gets what takes back all that was changed, step by step."""
        feeds = {
            port.name: columns.features_of(
                table, self._features[port.name], port.shape, port.dtype, self._cast, self._nan, f"input {port.name!r}"
            )
            for port in self._ports.ins
        }
        book, n_old = self._book, len(self._book.keys)
        book.begin(undo)
        times, numbers = book.times(table), book.keys.numbers(table)
        late = book.late(numbers, times, n_old)
        if late is not None and times is not None:
            if self._late == "raise":
                book.refuse_late(late, numbers, times)
            numbers = np.where(late, -1, numbers)
        keys, starts, rows = book.ordered(numbers, times)
        book.open(n_old, times, undo)
        book.keep(keys[keys < n_old], undo)
        if book.last is not None and times is not None:
            book.last[keys] = times[rows[starts[1:] - 1]]
        return stepped(self._pool, self._ports, feeds, book.ids[keys], (starts, rows), table.num_rows), late


def _names(what: str, value: Any) -> tuple[str, ...]:
    """One name, or several."""
    found = (value,) if isinstance(value, str) else given.names(what, value)
    if not found:
        raise ArgumentError(f"{what}: the name of a column, or several, expected, got none")
    return found


def _column(rows: NDArray[Any], dropped: NDArray[np.bool_] | None) -> Any:
    """An output as a column: numbers, or lists of them."""
    n, width = rows.shape
    valid = None if dropped is None else pa.array(~dropped).buffers()[1]
    if rows.dtype == np.bool_:
        values = pa.array(rows.reshape(-1))
    else:
        values = pa.Array.from_buffers(pa.from_numpy_dtype(rows.dtype), rows.size, [None, pa.py_buffer(rows)])
    if width == 1:
        buffers = values.buffers()
        return pa.Array.from_buffers(values.type, n, [valid, *buffers[1:]])
    return pa.Array.from_buffers(pa.list_(values.type, width), n, [valid], children=[values])
