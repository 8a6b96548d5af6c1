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
    from .pools import batches, collector, packed
    from .pools import sequences as whole
    from .pools.sequences import One
    from .streams.asked import Asked, Sizes
    from .streams.plan import StreamPlan
    from .typing import Array, ArrayIn, Feeds

    Named = dict[str, Array | None]
    Result = Array | Named
else:
    errors, given, pools, batches = Later("errors"), Later("given"), Later("pool"), Later("pools.batches")
    whole, collector = Later("pools.sequences"), Later("pools.collector")
    packed, bar = Later("pools.packed"), Later("progress")

__all__ = ["ManySignals"]

MOST_THREADS = 64
"""More are not used."""
MAX_WAIT, MAX_BATCH, MAX_PENDING = 0.002, 64, 16384
"""Frames of `submit`: 64 is the largest plan of a pool; in 2 ms 500 callers bring half of that, 32 ms each."""
WORTH = 4000
"""Work of a step from which on sequences are faster side by side: a stream takes the small ones at 0.1 us a step."""


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
        try:
            pool = self.pool(threads=threads, inputs=inputs)
        except errors.NotStreamableError:
            if inputs:
                raise
            return self._whole(given_all)
        plan = pool._batches.plan
        ones = [whole.checked(plan, index, sequence) for index, sequence in enumerate(given_all)]
        return self._through(pool, plan, ones, threads, inputs)

    # ---- inside -----------------------------------------------------------------------------------------

    def _so_many(self, threads: int | None) -> int:
        return min(self._threads if threads is None else given.number("threads", threads, 1), MOST_THREADS)

    def _through(
        self,
        pool: StreamPool,
        plan: StreamPlan,
        ones: list[One],
        threads: int,
        inputs: Mapping[str, ArrayLike] | None,
    ) -> Iterator[tuple[int, Result]]:
        pays = plan.call is not None and plan.blocks[-1].work >= WORTH
        together = [one for one in ones if one.steps > 0] if pays else []
        for one in whole.through(pool, plan, together, threads):
            yield one.index, one.answer()
        for one in ones:
            if not pays or one.steps <= 0:
                yield one.index, self._alone(one, inputs)

    def _alone(self, one: One, inputs: Mapping[str, ArrayLike] | None) -> Any:
        """A sequence through a stream of its own."""
        stream = self.stream(inputs=inputs)  # type: ignore[attr-defined]
        try:
            made = stream.run(dict(one.feeds))
            if stream._plan.spec.steady:
                found = made
            else:
                tail = stream.flush()
                outputs = stream._plan.spec.outputs
                tail = tail if isinstance(tail, dict) else {outputs[0].name: tail}
                found = {
                    o.name: np.concatenate([made[o.name], tail[o.name]], o.axis)
                    if o.kind == "time"
                    else made[o.name]
                    if tail[o.name] is None
                    else tail[o.name]
                    for o in outputs
                }
        except errors.LstmInferError as error:
            raise whole.of_sequence(one.index, error) from None
        one.results = found
        return one.answer()

    def _whole(self, sequences: list[Any]) -> Iterator[tuple[int, Result]]:
        """Those of a model that does not stream."""
        names = [port.name for port in self._ports]
        fed = []
        for index, sequence in enumerate(sequences):
            if not isinstance(sequence, Mapping) and len(names) != 1:
                raise whole.of_sequence(
                    index, errors.FeedError(f"this model takes {len(names)} inputs; feed a dict with {names}")
                )
            fed.append(sequence if isinstance(sequence, Mapping) else {names[0]: sequence})
        axes = packed.pack_axes(self._streams.reading().roles, names, self.outputs) if len(fed) > 1 else None  # type: ignore[attr-defined]
        alike = [[index] for index in range(len(fed))] if axes is None else packed.groups(fed, axes, names)
        seen = False
        for places in alike:
            made = None if axes is None or len(places) == 1 else self._packed([fed[index] for index in places], axes)
            if made is not None and not seen:  # what the graph does not show, bits do
                seen = packed.same_bits(self._one(places[0], fed[places[0]]), made[0])
                made, axes = (made, axes) if seen else (None, None)
            for k, index in enumerate(places):
                found = self._one(index, fed[index]) if made is None else made[k]
                named = isinstance(sequences[index], Mapping) or len(found) != 1
                answer: Any = found if named else next(iter(found.values()))
                yield index, answer

    def _packed(self, fed: list[Any], axes: dict[str, int]) -> list[Named] | None:
        """Sequences as one batch; None: they are run alone, which says what is wrong with which."""
        try:
            made: Any = packed.split(self.run(packed.together(fed, axes)), axes, len(fed))  # type: ignore[attr-defined]
        except errors.LstmInferError:
            return None
        found: list[Named] | None = made
        return found

    def _one(self, index: int, feeds: Any) -> Named:
        try:
            found: Named = self.run(feeds)  # type: ignore[attr-defined]
        except errors.LstmInferError as error:
            raise whole.of_sequence(index, error) from None
        return found
