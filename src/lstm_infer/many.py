"""What a model does with many signals at once: those that live in a pool."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import ArrayLike

from . import given
from .answer import MAX_CHUNK, Answer
from .fingerprint import Fingerprint
from .graph.budget import within_memory
from .pool import StreamPool
from .pools.batches import Batches
from .streams.asked import Asked, Sizes
from .streams.plan import StreamPlan

__all__ = ["ManySignals"]


class ManySignals:
    """A model as far as many signals go."""

    __slots__ = ()

    _streams: Answer
    _fingerprint: Fingerprint

    def _replan(self, asked: Asked, sizes: Sizes) -> StreamPlan:
        """The plan of the same stream for other extents of open axes."""
        return self._streams.plan(asked, sizes)

    @within_memory("the pool")
    def pool(
        self,
        *,
        reserve: int = 0,
        inputs: Mapping[str, ArrayLike] | None = None,
        max_chunk: int = MAX_CHUNK,
    ) -> StreamPool:
        """Many live signals of one file, that join and leave at any call and are stepped together.

        Parameters
        ----------
        reserve : int
            Room for so many signals is made now, and what calls of as many need.
        inputs : dict of input name to array, optional
            Inputs without a time axis, as `stream` takes them for one signal: the same for all signals of the pool.
        max_chunk : int
            As in `stream`.

        Raises
        ------
        NotStreamableError, StateError, FeedError, ShapeError, DtypeError, ArgumentError
            As in `stream`.
        """
        bound = {} if inputs is None else given.named("inputs", inputs)
        reserve, max_chunk = given.number("reserve", reserve, 0), given.number("max_chunk", max_chunk, 1)

        def opened(batch: int, inputs: Mapping[str, ArrayLike], max_chunk: int) -> tuple[Asked, StreamPlan]:
            return self._streams.open(batch, {}, inputs, max_chunk)

        return StreamPool(self, Batches(opened, self._replan, bound, max_chunk), reserve)
