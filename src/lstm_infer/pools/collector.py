"""Frames that wait to be stepped together, and the thread that steps them.

Whoever brings a frame appends it to a deque, and rings where it is the one that the thread waits for. All else is done by the
thread alone, so that there is no lock that a signal handler or a finalizer could stand inside of. While nothing waits, it
sleeps and holds nothing of the pool: a pool is alive through the frames that wait in it.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BudgetError, LstmInferError, QueueFullError, StateError
from ..records import PoolStats
from .told import no_such

if TYPE_CHECKING:
    import asyncio

__all__ = ["Collector", "Entry"]

Entry = tuple[Any, int, Any, "asyncio.AbstractEventLoop | None", float, Any]
"""The future (of asyncio where there is a loop, else of concurrent.futures), id, frame, loop, when it came, the pool."""

NEVER = sys.maxsize
KEPT = 4096
"""Frames whose times the percentiles are taken of: those of the last second or less of a busy server."""
LONGEST = 86400.0
"""Seconds of one sleep; then it looks again."""


class Collector:
    """What waits for a step of one pool. `waits` frames are in the hands of the thread, others have just arrived."""

    def __init__(self, max_wait: float, max_batch: int, max_pending: int) -> None:
        self.max_wait, self.max_batch, self.max_pending = max_wait, max_batch, max_pending
        self._arrived = deque[Entry]()
        self._ready = deque[Entry]()
        """The first frame of each signal, in the order in which they are stepped."""
        self._behind: dict[int, deque[Entry] | None] = {}
        """By id of those that are ready: the frames after the first one."""
        self._waits = 0
        self._closed = deque[int]()
        """Signals that were closed since the thread looked."""
        self._ring_at = NEVER
        """So many that have arrived wake the thread."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._starting, self._started, self._ended = threading.Lock(), False, ""
        self._calls = self._frames = self._failed = self._cancelled = 0
        self._times: NDArray[np.float64] | None = None

    # ---- for whoever brings frames; never waits ----

    def add(self, entry: Entry) -> None:
        """One more frame."""
        arrived = self._arrived
        if (
            len(arrived) + self._waits >= self.max_pending
        ):  # threads that come at the same instant may pass it by one each
            raise QueueFullError(
                f"{self.max_pending} frames wait in the pool already (max_pending): they come faster than they are stepped; "
                "wait for answers before more are submitted, or make the pool with threads= or a larger max_pending="
            )
        if not self._started:
            self._start()
        arrived.append(entry)
        if len(arrived) >= self._ring_at:
            self._ring()
        if self._ended:
            self._drop(arrived)

    def closed(self, ids: list[int]) -> None:
        """These signals are closed: what waits of them fails."""
        if self._waits or self._arrived:
            self._closed.extend(ids)
            self._ring()

    def end(self, why: str = "") -> None:
        """No more steps: what waits fails, and the thread ends."""
        self._ended = why or "the pool is gone"
        self._ring()

    def another(self) -> Collector:
        """Of the same settings, for the child of a fork: what waits here is stepped by the parent."""
        return Collector(self.max_wait, self.max_batch, self.max_pending)

    def stats(self) -> PoolStats:
        """What it has done so far."""
        waits, latencies = (0.0, 0.0), (0.0, 0.0)
        if self._times is not None and self._frames:
            times = self._times[:, : min(self._frames, KEPT)].copy()
            (w50, l50), (w99, l99) = np.percentile(times, [50, 99], axis=1).tolist()
            waits, latencies = (w50, w99), (l50, l99)
        pending = len(self._arrived) + self._waits
        return PoolStats(
            pending, self._calls, self._frames, self._failed, self._cancelled, *waits, *latencies
        )  # fmt: skip

    def _start(self) -> None:
        if self._starting.acquire(blocking=False):  # whoever is second leaves his frame to the thread of the first
            try:
                self._times = np.zeros((2, KEPT))
                threading.Thread(target=self._work, name="lstm_infer collector", daemon=True).start()
            except BaseException as error:
                self._starting.release()
                if isinstance(error, RuntimeError):
                    raise BudgetError(
                        f"submit: there is no thread to be had that steps ({error}); use step()"
                    ) from error
                raise
            self._started = True

    def _ring(self) -> None:
        self._ring_at = NEVER
        with suppress(RuntimeError):  # it rings already
            self._bell.release()

    # ---- the thread ----

    def _work(self) -> None:
        try:
            while self._due():
                self._serve(self._next())
        finally:
            self._ended = self._ended or "the thread that steps ended; make a new pool"
            left = [entry for more in self._behind.values() for entry in more or ()]
            for entries in (self._ready, deque(left), self._arrived):
                self._drop(entries)
            self._behind.clear()
            self._waits = 0

    def _due(self) -> bool:
        """Sleep until there is a batch to step; False: until the end."""
        ready, arrived = self._ready, self._arrived
        while not self._ended:
            self._sort()
            if self._closed:
                self._forget()
            if len(ready) >= self.max_batch:
                return True
            if ready:
                left = min([entry[4] for entry in ready]) + self.max_wait - perf_counter()
                if left <= 0:
                    return True
                self._ring_at, left = self.max_batch - len(ready), min(left, LONGEST)
            else:
                self._ring_at, left = 1, -1
            if len(arrived) < self._ring_at and not self._ended:  # what comes from here on rings
                self._bell.acquire(timeout=left)
            self._ring_at = NEVER
        return False

    def _sort(self) -> None:
        """What has arrived: the first of its signal, or behind others."""
        arrived, ready, behind = self._arrived, self._ready, self._behind
        while arrived:
            self._waits += 1
            entry = arrived.popleft()
            if entry[1] not in behind:
                behind[entry[1]] = None
                ready.append(entry)
            else:
                more = behind[entry[1]]
                if more is None:
                    more = behind[entry[1]] = deque()
                more.append(entry)

    def _forget(self) -> None:
        """What waits of closed signals fails."""
        gone = set[int]()
        with suppress(IndexError):
            while True:
                gone.add(self._closed.popleft())
        left = [entry for entry in self._ready if entry[1] in gone]
        left += [entry for id in gone for entry in self._behind.pop(id, None) or ()]
        if left:
            kept = [entry for entry in self._ready if entry[1] not in gone]
            self._ready.clear()
            self._ready.extend(kept)
            self._waits -= len(left)
            wanted = [entry for entry in left if _wanted(entry)]
            self._cancelled += len(left) - len(wanted)
            self._failed += len(wanted)
            _hand_out(wanted, [no_such(entry[1]) for entry in wanted])

    def _next(self) -> list[Entry]:
        """The next batch: one frame of a signal, those that were cancelled left out. Then it is the turn of the others."""
        ready, behind = self._ready, self._behind
        batch, after = list[Entry](), list[Entry]()
        while ready and len(batch) < self.max_batch:
            entry = ready.popleft()
            self._waits -= 1
            more = behind[entry[1]]
            if more:
                after.append(more.popleft())
            else:
                del behind[entry[1]]
            if _wanted(entry):
                batch.append(entry)
            else:
                self._cancelled += 1
        ready.extend(after)
        return batch

    def _serve(self, batch: list[Entry]) -> None:
        """Step a batch, and hand out what its frames gave. Behind this, the thread holds nothing of the pool."""
        try:
            outcomes = self._step(batch) if batch else []
        except BaseException as error:  # no memory, say: of these frames alone
            outcomes = [StateError(f"signal {e[1]}: its frame may not have been stepped: {error!r}") for e in batch]
        _hand_out(batch, outcomes)

    def _step(self, batch: list[Entry]) -> list[Any]:
        """What the frames of a batch give, and how long they took."""
        began = perf_counter()
        outcomes = _outcomes(batch)
        self._calls += 1
        self._failed += sum([isinstance(outcome, Exception) for outcome in outcomes])
        assert self._times is not None
        places = np.arange(self._frames, self._frames + len(batch)) % KEPT
        came = np.array([entry[4] for entry in batch])
        self._times[0, places], self._times[1, places] = began - came, perf_counter() - came
        self._frames += len(batch)
        return outcomes

    def _drop(self, entries: deque[Entry]) -> None:
        """These are not stepped."""
        dropped = list[Entry]()
        with suppress(IndexError):  # another thread may do the same
            while True:
                entry = entries.popleft()
                if _wanted(entry):
                    dropped.append(entry)
        _hand_out(dropped, [StateError(f"signal {e[1]}: its frame was not stepped: {self._ended}") for e in dropped])


def _wanted(entry: Entry) -> bool:
    """Does a frame still wait for its answer; from here on it cannot be cancelled (but in a loop)."""
    future = entry[0]
    if entry[3] is None:
        with suppress(RuntimeError):  # whoever has it did this himself
            return bool(future.set_running_or_notify_cancel())
    return not future.done()


def _outcomes(entries: list[Entry]) -> list[Any]:
    """What each of these frames gives: what a step returns, or the error with which it fails."""
    slot = entries[0][5]._slot
    known = [entry for entry in entries if slot(entry[1]) >= 0]
    if len(known) == len(entries):
        return _stepped(known)
    found = {entry[1]: outcome for entry, outcome in zip(known, _stepped(known), strict=True)}
    return [found[entry[1]] if entry[1] in found else no_such(entry[1]) for entry in entries]


def _stepped(entries: list[Entry]) -> list[Any]:
    """The same of signals that are open. Where a call fails, halves of it find those that it fails on."""
    if not entries:
        return []
    try:
        return [*entries[0][5].step({entry[1]: entry[2] for entry in entries}).values()]
    except Exception as error:
        if len(entries) > 1:
            half = len(entries) // 2
            return _stepped(entries[:half]) + _stepped(entries[half:])
        return [error.kept() if isinstance(error, LstmInferError) else error.with_traceback(None)]


def _hand_out(entries: list[Entry], outcomes: list[Any]) -> None:
    """Each loop is woken once; those without one come last, since their call-backs run here."""
    loops = {entry[3] for entry in entries}
    for loop in sorted(loops, key=lambda loop: loop is None):
        those, theirs = entries, outcomes
        if len(loops) > 1:
            which = [k for k, entry in enumerate(entries) if entry[3] is loop]
            those, theirs = [entries[k] for k in which], [outcomes[k] for k in which]
        if loop is None:
            try:
                _settle(those, theirs)
            except BaseException as error:  # of a call-back that would end this thread, for which others wait
                if threading.current_thread() is threading.main_thread():
                    raise
                _say(error)
        else:
            with suppress(Exception):  # it was closed: nobody waits for these
                loop.call_soon_threadsafe(_settle, those, theirs)


def _say(error: BaseException) -> None:
    """Where the standard library says what else a call-back raises."""
    import logging

    logging.getLogger("concurrent.futures").error("a call-back of a future raised", exc_info=error)


def _settle(entries: list[Entry], outcomes: list[Any]) -> None:
    """Futures of one loop, in that loop; or those of none. All of them, whatever the call-backs of one raise."""
    raised: BaseException | None = None
    for entry, outcome in zip(entries, outcomes, strict=True):
        future = entry[0]
        try:
            if future.done():  # cancelled since
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        except BaseException as error:
            if not isinstance(error, Exception) or not future.done():  # else somebody answered it since
                raised = error
    if raised is not None:
        raise raised
