"""What a model does with many signals at once: those that live in a pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ._stream import MAX_CHUNK
from .later import Later
from .within import within_memory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from . import errors, given
    from . import pool as pools
    from . import progress as bar
    from .answer import Answer
    from .fingerprint import Fingerprint
    from .graph.ir import Port
    from .pool import StreamPool
    from .pools import batches, collector, whole
    from .streams.asked import Asked, Sizes
    from .streams.plan import StreamPlan
    from .typing import Array, ArrayIn, Feeds

    Named = dict[str, Array | None]
    Result = Array | Named
else:
    errors, given, pools, batches = Later("errors"), Later("given"), Later("pool"), Later("pools.batches")
    whole, collector, bar = Later("pools.whole"), Later("pools.collector"), Later("progress")

__all__ = ["ManySignals"]

MOST_THREADS = 64
"""More are not used."""
MAX_WAIT, MAX_BATCH, MAX_PENDING = 0.002, 64, 16384
"""Frames of `submit`: 64 is the largest plan of a pool; in 2 ms 500 callers bring half of that, 32 ms each."""


class ManySignals:
    """A model as far as many signals go."""

    __slots__ = ()

    _streams: Answer
    _fingerprint: Fingerprint
    _ports: list[Port]
    _threads: int
    """Where nobody says otherwise."""

    def _replan(self, asked: Asked, sizes: Sizes) -> StreamPlan:
        """The plan of the same stream for other extents of open axes."""
        return self._streams.plan(asked, sizes)

    @within_memory("the pool")
    def pool(
        self,
        *,
        reserve: int = 0,
        threads: int | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
        max_chunk: int = MAX_CHUNK,
        max_wait: float = MAX_WAIT,
        max_batch: int = MAX_BATCH,
        max_pending: int = MAX_PENDING,
    ) -> StreamPool:
        """Many live signals of one file, that join and leave at any call and are stepped together.

        Parameters
        ----------
        reserve : int
            Room for so many signals is made now, and what calls of as many need.
        threads : int
            So many share a call that is large enough (from about 0.3 ms on), that of the caller among them; they sleep between
            calls and end with the pool. The bits do not depend on it. None: as many as `load(threads=)` said.
        inputs : dict of input name to array, optional
            Inputs without a time axis, as `stream` takes them for one signal: the same for all signals of the pool.
        max_chunk : int
            As in `stream`.
        max_wait : float
            Seconds that a frame of `submit` or `astep` waits for others at most before a step begins; 0: for none.
        max_batch : int
            So many are not kept waiting, nor are more stepped at once.
        max_pending : int
            So many wait at most; `submit` refuses what comes then.

        Raises
        ------
        NotStreamableError, StateError, FeedError, ShapeError, DtypeError, ArgumentError
            As in `stream`.

        Examples
        --------
        >>> import numpy as np
        >>> import lstm_infer
        >>> from lstm_infer.cli.demo.show import MODEL
        >>> with lstm_infer.load(MODEL).pool() as pool:  # a frame is [1, 1], of one signal
        ...     alice, bob = pool.open(), pool.open()
        ...     y = pool.step([bob, alice], np.zeros((2, 1, 1), np.float32))
        >>> y.shape
        (2, 1, 1)
        """
        bound = {} if inputs is None else given.named("inputs", inputs)
        reserve, max_chunk = given.number("reserve", reserve, 0), given.number("max_chunk", max_chunk, 1)

        threads = self._so_many(threads)
        max_batch, max_pending = given.number("max_batch", max_batch, 1), given.number("max_pending", max_pending, 1)
        collects = collector.Collector(given.seconds("max_wait", max_wait), max_batch, max_pending)

        def opened(batch: int, inputs: Mapping[str, ArrayLike], max_chunk: int) -> tuple[Asked, StreamPlan]:
            return self._streams.open(batch, {}, inputs, max_chunk)

        made = batches.Batches(opened, self._replan, bound, max_chunk)
        return pools.StreamPool(self, made, reserve, threads, collects)

    @overload
    def run_many(
        self,
        sequences: Iterable[Feeds],
        *,
        threads: int | None = None,
        progress: bool = False,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> list[Named]: ...

    @overload
    def run_many(
        self,
        sequences: Iterable[ArrayIn | Feeds],
        *,
        threads: int | None = None,
        progress: bool = False,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> list[Result]: ...

    def run_many(
        self,
        sequences: Iterable[ArrayIn | Feeds],
        *,
        threads: int | None = None,
        progress: bool = False,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> list[Named] | list[Result]:
        """Run whole sequences of unequal length, each from the first state; the results in their order.

        Parameters
        ----------
        sequences : iterable of arrays, or of dicts of input name to array
            Each as `Stream.run` takes it, of one signal; of a model that does not stream, as `run` takes it.
        threads : int
            As in `pool`.
        progress : bool
            Say on the standard error how many are done: a bar where rich is installed, else a line.
        inputs : dict of input name to array, optional
            As in `stream`.

        Returns
        -------
        list of arrays, or of dicts of output name to array
            What one stream gives from `run` on the whole, and `flush`. An array where an array was given and one comes out.

        Raises
        ------
        FeedError, ShapeError, DtypeError, StateError, ArgumentError
            A sequence does not fit; says which. Nothing was run then.

        Notes
        -----
        Models that look ahead or stride over time are run one sequence at a time. So are those that do not stream, but for
        sequences of equal sizes: they are one batch where the model is seen to keep the signals of a batch apart.
        """
        given_all = list(given.items("sequences", sequences))
        results: list[Any] = [None] * len(given_all)
        try:
            come = self.iter_many(given_all, threads=threads, inputs=inputs)
        except errors.ShapeError as error:
            if isinstance(sequences, np.ndarray):
                hint = "an array is taken apart along its first axis; one sequence alone is given as [x]"
                error.args = (f"{error}; {hint}", *error.args[1:])
            raise
        if given.flag("progress", progress):
            come = bar.told(come, len(given_all), "sequences")
        for index, result in come:
            results[index] = result
        return results

    def iter_many(
        self,
        sequences: Iterable[ArrayIn | Feeds],
        *,
        threads: int | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """The same as they come: (place in `sequences`, result), the longest ones first.

        Parameters, errors and results are those of `run_many`.
        """
        given_all = list(given.items("sequences", sequences))
        threads = self._so_many(threads)
        model: Any = self
        try:
            pool = self.pool(threads=threads, inputs=inputs)
        except errors.NotStreamableError:
            if inputs:
                raise
            return whole.unstreamed(model, given_all)
        return whole.streamed(model, pool, given_all, threads, inputs)

    # ---- inside -----------------------------------------------------------------------------------------

    def _so_many(self, threads: int | None) -> int:
        return min(self._threads if threads is None else given.number("threads", threads, 1), MOST_THREADS)
