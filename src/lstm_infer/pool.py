"""StreamPool: many live signals of one model, that join and leave at any call and are stepped together.

A call of the array form is compiled (`_pool.PoolCore`); what it does not take goes through `pools/calls.py`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import given
from .errors import ArgumentError, BudgetError
from .pools.batches import Batches
from .pools.collect import Collecting
from .pools.collector import Collector
from .pools.told import one_id, one_or_more
from .stream import Stream
from .streams.asked import Source
from .streams.snapshot import take
from .within import within_memory

if TYPE_CHECKING:
    from .typing import Array, ArrayIn

__all__ = ["StreamPool"]

_POOLS: weakref.WeakSet[StreamPool] = weakref.WeakSet()


class _All:
    def __repr__(self) -> str:
        return "ALL"


_ALL: Any = _All()
"""What `close` is given where it is given nothing: None may be an id that was lost."""

MOST = 1 << 31
"""Signals: the slot of an id takes 32 bits."""
HALFWAY = (
    "another thread was in a call of the pool when the process forked, so its signals may be halfway; make a new pool"
)


class StreamPool(Collecting):
    """Live signals by id. Made by `Model.pool`; any number of threads may use it, and one call runs at a time.

    Notes
    -----
    What a signal gives has the bits that a `Stream` of it alone gives, whoever is stepped beside it.
    """

    __slots__ = ("__weakref__",)

    if not TYPE_CHECKING:

        def __new__(cls, *args, **more):
            if len(args) < 5:
                raise ArgumentError("a StreamPool is made by a model: lstm_infer.load(path).pool()")
            return super().__new__(cls)

    if not TYPE_CHECKING:  # a type checker that saw it would believe in every name

        def __getattr__(self, name):
            from .misnamed import of_pool

            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{of_pool(name)}")

    def __init__(self, source: Source, batches: Batches, reserve: int, threads: int, collector: Collector) -> None:
        super().__init__(source, batches, reserve, threads, collector)
        _POOLS.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        raise ArgumentError(
            "a pool is not pickled: its ids mean something in one process; pickle {id: pool.snapshot(id)} and restore those"
        )

    def __copy__(self) -> StreamPool:
        raise ArgumentError("a pool is not copied; restore(snapshot(id)) copies a signal")

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamPool:
        return self.__copy__()

    def __enter__(self) -> StreamPool:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """End the pool: `close()`."""
        self._alone(self._shut)

    def __len__(self) -> int:
        return self.n_open

    def __contains__(self, id: object) -> bool:
        return isinstance(id, (int, np.integer)) and not isinstance(id, bool) and self._slot(one_id(id)) >= 0

    def __repr__(self) -> str:
        n = len(self)
        said = f"{n} signal{'s' * (n != 1)}"
        return f"<lstm_infer.StreamPool: {'closed' if self._why_closed else said}>"

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all open signals, int64 [len(pool)]."""
        return self._alone(self._ids)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the pool has for itself: the rows of its signals, and what it knows of each."""
        return self._table_bytes + sum(first.nbytes for first in self._firsts.values())

    # ---- signals ----

    @within_memory("the pool")
    def open(self, initial: Mapping[str, ArrayLike] | None = None) -> int:
        """Begin a signal; its id.

        Parameters
        ----------
        initial : dict of state name to array, optional
            First values, as in `Model.stream`; states not named start as the model says.

        Raises
        ------
        FeedError, ShapeError, DtypeError, ArgumentError
            `initial` does not fit.
        """
        first = {} if initial is None else given.named("initial", initial)
        return self._alone(lambda: self._opened(first))

    @within_memory("the pool")
    def open_many(self, n: int) -> NDArray[np.int64]:
        """Begin n signals at once, as `open()` begins one; their ids, int64 [n].

        Raises
        ------
        ArgumentError, BudgetError
            n is no whole number from 0 on, or more than a pool or the machine holds.
        """
        many = given.number("n", n, 0)
        if many > MOST:
            raise BudgetError(f"n: {many} signals are more than the {MOST} that a pool can tell apart")
        return self._alone(lambda: self._opened_many(many))

    @within_memory("the pool")
    def close(self, ids: int | Iterable[int] | ArrayIn = _ALL) -> None:
        """End a signal, or several; their places are used again, their ids are not. `close()` ends the pool, as leaving its
        `with` does: all its signals and its threads, and each frame that waits gets StateError for an answer. What is called
        after it raises StateError (`model.pool()` makes a new one), but `close()` itself; `len` is 0.

        Parameters
        ----------
        ids : int, or sequence of int, optional
            Without: every signal, and the pool itself.

        Raises
        ------
        StateError, FeedError, ArgumentError
            There is no such signal, it is named twice, this is no id, or the pool is closed. No signal is closed then.
        """
        if ids is _ALL:
            self._alone(self._shut)
            return
        array = one_or_more(ids)

        def body() -> None:
            self._check_open()
            for slot in self._found(array).tolist():
                self._drop(slot)

        self._alone(body)
        self._collector.closed(array.tolist())

    @within_memory("the pool")
    def reset(self, ids: int | Iterable[int] | ArrayIn) -> None:
        """Back to the first state: one signal, or several.

        Parameters
        ----------
        ids : int, or sequence of int

        Raises
        ------
        StateError, FeedError, ArgumentError
            There is no such signal, it is named twice, or this is no id. No signal is reset then.
        """
        array = one_or_more(ids)

        def body() -> None:
            self._check_open()
            slots = self._found(array)
            common = self._batches.one
            for slot in slots.tolist():
                own = self._firsts.get(slot)
                self._put_rows(np.array([slot]), own) if own is not None else self._store(
                    common.layout, np.array([slot]), common.first
                )
                self._where.pop(slot, None)

        self._alone(body)

    @within_memory("the pool")
    def flush(self, id: int) -> Array | dict[str, Array | None]:
        """The outputs of a signal that are still behind, as `Stream.flush` gives them; then only `reset` goes on.

        Raises
        ------
        StateError
            There is no such signal, or it was flushed before.
        """

        def body() -> Any:
            slot = self._open_slot(id)
            stream = self._borrowed(slot)
            result = stream.flush()
            self._returned(slot, stream)
            return result

        found: Array | dict[str, Array | None] = self._alone(body)
        return found

    # ---- in and out ----

    @within_memory("the pool")
    def snapshot(self, id: int) -> bytes:
        """All that is kept of a signal as bytes: for `restore`, or for `Stream.restore` of a stream of one signal.

        Raises
        ------
        StateError
            There is no such signal.
        """

        def body() -> bytes:
            slot = self._open_slot(id)
            one, plan = self._batches.one, self._batches.plan
            self._load(one.layout, np.array([slot]), one.block)
            return take(plan, self._signs, *self._stands(slot), one.block, None)

        return self._alone(body)

    @within_memory("the pool")
    def restore(self, snapshot: bytes) -> int:
        """A new signal that goes on from a snapshot, of this pool, another one or a stream; its id.

        Raises
        ------
        FormatError
            It is damaged, or of another model, other bound inputs or a batch. The pool is left as it was.
        ArgumentError
            It is no bytes.
        """

        return self._alone(lambda: self._restored(snapshot))

    @within_memory("the pool")
    def stream(self, id: int) -> Stream:
        """Take a signal out of the pool: a `Stream` that goes on where it stands.

        Raises
        ------
        StateError
            There is no such signal.
        """

        def body() -> Stream:
            slot = self._open_slot(id)
            stream = self._borrowed(slot)
            if slot in self._firsts:
                self._put_rows(np.array([slot]), self._firsts[slot])
                first = stream._first.copy()
                self._load(self._batches.one.layout, np.array([slot]), first)
                stream._begins_with(first)
            self._drop(slot)
            return stream

        taken = self._alone(body)
        self._collector.closed([id])
        return taken

    @within_memory("the pool")
    def adopt(self, stream: Stream) -> int:
        """A new signal that goes on where a stream of one signal stands; its id. The stream stays as it is.

        Raises
        ------
        FormatError
            It is a stream of another model, of other bound inputs, or of several signals.
        StateError
            Another thread is inside the stream.
        ArgumentError
            It is no stream.
        """
        if not isinstance(stream, Stream):
            raise ArgumentError(f"stream: a Stream expected, got {given.shown(stream)}")
        plan = stream._plan
        first = None  # of a stream that did not begin as others do
        if stream._first is not plan.first_state():
            first = take(plan, stream._signs, plan.first_phase, False, stream._first, None)
        snapshot = stream.snapshot()

        def body() -> int:
            own = None
            if first is not None:
                slot = self._slot(self._restored(first))
                own = self._rows(np.array([slot]))
                self._drop(slot)
            id = self._restored(snapshot)
            if own is not None:
                self._firsts[self._slot(id)] = own
            return id

        return self._alone(body)


def _in_the_child() -> None:
    """A fork has one thread: what another one had begun in a pool is never ended there."""
    for pool in list(_POOLS):
        pool._workers = None  # threads do not live on in a child
        pool._collect_with(pool._collector.another())
        if not pool._forked():
            pool._shut(HALFWAY)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_the_child)
