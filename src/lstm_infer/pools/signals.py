"""The signals of a pool: how one begins, stands, goes on from a snapshot, and ends."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _pool
from ..errors import StateError
from ..stream import Stream
from ..streams.asked import Source
from ..streams.named import check_state, memory_of
from ..streams.snapshot import put
from .batches import Batches
from .calls import Calls, Where
from .told import no_such, one_id
from .workers import Workers

__all__ = ["Signals"]

CLOSED = "the pool is closed; model.pool() makes a new one"


class Signals(Calls):
    """A pool as far as its signals go; every method is called with nobody else in the pool."""

    __slots__ = ("_firsts", "_threads", "_why_closed", "_workers")

    _workers: Workers | None

    def __init__(self, source: Source, batches: Batches, reserve: int = 0, threads: int = 1) -> None:
        self._source, self._batches, self._arena, self._why_closed = source, batches, None, ""
        self._where: dict[int, Where] = {}
        self._firsts: dict[int, NDArray[np.uint8]] = {}
        """By slot: the first rows of signals that did not begin as all others do."""
        self._workers, self._threads = None, threads
        self._use_threads(threads)
        self._begin(batches.one.layout.row_bytes)
        self._equip(batches.rig(max(reserve, 1)))
        self._reserve(reserve)

    def _spread(self, share: _pool.Share) -> None:
        if self._workers is None:
            self._workers = Workers(self._threads - 1)
            weakref.finalize(self, self._workers.end)
        self._workers.spread(share)

    def _check_open(self) -> None:
        if self._why_closed:
            raise StateError(self._why_closed)

    def _open_slot(self, id: Any) -> int:
        """The slot of a signal."""
        self._check_open()
        number = one_id(id)
        slot = self._slot(number)
        if slot < 0:
            raise no_such(number)
        return slot

    def _opened(self, initial: Mapping[str, Any]) -> int:
        self._check_open()
        one, plan = self._batches.one, self._batches.plan
        first = plan.first_state()
        if initial:
            one.block[:] = first
            places = {name: (memory_of(view, one.block), info) for name, (view, info) in plan.states.items()}
            for memory, array in [check_state(places, name, value) for name, value in initial.items()]:
                memory[...] = array
            first = one.block
        id = self._add(one.layout, first)
        if first is not one.first:
            self._keep_first(id)
        return id

    def _opened_many(self, n: int) -> NDArray[np.int64]:
        self._check_open()
        one, first = self._batches.one, self._batches.plan.first_state()
        if first is one.first:
            return self._add_many(one.layout, first, n)
        return np.array([self._opened({}) for _ in range(n)], np.int64)  # each draws a number of its own

    def _keep_first(self, id: int) -> None:
        slot = self._slot(id)
        self._firsts[slot] = self._rows(np.array([slot]))

    def _restored(self, snapshot: Any) -> int:
        """A new signal from a snapshot."""
        self._check_open()
        one, plan = self._batches.one, self._batches.plan
        stands = put(plan, self._signs, snapshot, plan.first_phase, False, one.block, None)
        first = plan.first_state()
        id = self._add(one.layout, first)
        if first is not one.first:
            self._keep_first(id)
        self._store(one.layout, np.array([self._slot(id)]), one.block)
        self._set_stands(self._slot(id), *stands)
        return id

    def _reserve(self, n: int) -> None:
        """Room for so many signals, and the plans for calls of as many."""
        for id in self._add_many(self._batches.one.layout, self._batches.one.first, n).tolist():
            self._remove(self._slot(id))

    def _drop(self, slot: int) -> None:
        self._remove(slot)
        self._where.pop(slot, None)
        self._firsts.pop(slot, None)

    def _stands(self, slot: int) -> Where:
        return self._where.get(slot, (self._batches.plan.first_phase, False))

    def _set_stands(self, slot: int, phase: tuple[int, ...], flushed: bool) -> None:
        if flushed or phase != self._batches.plan.first_phase:
            self._where[slot] = phase, flushed
        else:
            self._where.pop(slot, None)

    def _returned(self, slot: int, stream: Stream) -> None:
        """What a borrowed stream did is what the signal did."""
        now = stream._now
        self._store(self._batches.one.layout, np.array([slot]), stream._state)
        self._set_stands(slot, now.phase, now.flushed)

    def _signs(self) -> Any:
        return self._batches.asked.signs(self._source)

    def _shut(self, why: str = CLOSED) -> None:
        for id in self._ids().tolist():
            self._drop(self._slot(id))
        self._why_closed = why
        if self._workers is not None:
            self._workers.end()
            self._workers = None
        self._equip(None)
