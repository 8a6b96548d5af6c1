"""A pool as far as frames come one by one, from any threads and event loops, and are stepped together."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import views
from ..errors import BudgetError, StateError
from ..records import PoolStats
from ..streams.asked import Source
from ..within import NO_MEMORY
from .batches import Batches
from .collector import Collector
from .signals import CLOSED, Signals
from .told import no_such, one_id

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from ..typing import Array, ArrayIn, Feeds

    Frame = ArrayIn | Feeds
    Result = Array | dict[str, Array | None] | None

__all__ = ["Collecting"]


class Collecting(Signals):
    """`submit` and `astep`."""

    __slots__ = ("_collector",)

    _collector: Collector

    def __init__(self, source: Source, batches: Batches, reserve: int, threads: int, collector: Collector) -> None:
        super().__init__(source, batches, reserve, threads)
        self._collect_with(collector)

    def submit(self, id: int, frame: Frame) -> Future[Result]:
        """Have one time step of a signal done together with what others submit; its answer comes in a future.

        Parameters
        ----------
        id : int
        frame : array, or dict of input name to array
            As `Stream.step` takes it. It is copied.

        Returns
        -------
        concurrent.futures.Future
            Its result is what `Stream.step` returns. `cancel()` takes a frame out that has not been stepped; the next frame of
            the signal then follows the one before.

        Raises
        ------
        StateError
            There is no such signal, or the pool is closed.
        QueueFullError
            `max_pending` frames wait already.
        ArgumentError
            This is no id.

        Notes
        -----
        Frames of one signal are stepped in the order in which they were submitted. What is wrong with a frame is raised by the
        result of its future, and changes no signal. A frame whose signal, or pool, is closed while it waits is not stepped:
        `StateError`. `step`, `run`, `reset` and the others act at once, ahead of the frames that wait.
        """
        from concurrent.futures import Future

        future: Future[Result] = Future()
        self._await(id, frame, future, None)
        return future

    def astep(self, id: int, frame: Frame) -> asyncio.Future[Result]:
        """The same for asyncio: ``y = await pool.astep(id, frame)`` in any number of event loops.

        Parameters, errors and order are those of `submit`. No thread waits for an answer, and the event loop never waits for a
        step: all answers of a batch come in one call of the loop.

        Returns
        -------
        asyncio.Future
            Of the loop that runs. The frame is submitted when this is called. A task that is cancelled while it waits takes its
            frame out, or only loses the answer if the frame was being stepped.

        Raises
        ------
        StateError
            There is no such signal, the pool is closed, or no event loop runs in this thread.
        QueueFullError, ArgumentError
            As in `submit`.
        """
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise StateError("astep: no event loop runs in this thread; submit() is for other code") from error
        future: asyncio.Future[Result] = loop.create_future()
        self._await(id, frame, future, loop)
        return future

    def stats(self) -> PoolStats:
        """How `submit` and `astep` fare: how many wait, sizes of batches, times."""
        return self._collector.stats()

    # ---- inside ----

    def _await(self, id: int, frame: Any, future: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        if self._why_closed:
            raise StateError(self._why_closed)
        number = id if type(id) is int and 0 <= id < 1 << 63 else one_id(id)
        if self._slot(number) < 0:
            raise no_such(number)
        try:
            frame = frame.copy() if type(frame) is np.ndarray else _copied(frame)
        except MemoryError as error:
            raise BudgetError(NO_MEMORY.format("the frame", error)) from error
        self._collector.add((future, number, frame, loop, perf_counter(), self))

    def _collect_with(self, collector: Collector) -> None:
        self._collector = collector
        weakref.finalize(self, collector.end).atexit = False

    def _shut(self, why: str = CLOSED) -> None:
        super()._shut(why)
        self._collector.end(why)


def _copied(frame: Any) -> Any:
    """A frame of which nobody else holds the memory; what is no array stays as it is, for who says so."""
    if isinstance(frame, Mapping):
        return {name: _copied(one) for name, one in frame.items()}
    array = views.viewed(frame)
    return array.copy() if isinstance(array, np.ndarray) else frame
