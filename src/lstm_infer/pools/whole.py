"""Whole sequences of a model: side by side in a pool, through a stream each, or, where it does not stream, as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import FeedError, LstmInferError
from . import packed
from . import sequences as abreast

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..analysis.roles import Roles
    from ..graph.ir import Port
    from ..records import OutputInfo
    from ..stream import Stream
    from .sequences import One
    from .signals import Signals

    Named = dict[str, NDArray[Any] | None]
    Result = NDArray[Any] | Named
    Inputs = Mapping[str, ArrayLike] | None

__all__ = ["streamed", "unstreamed"]

WORTH = 4000
"""Work of a step from which on sequences are faster side by side: a stream takes the small ones at 0.1 us a step."""


class Runs(Protocol):
    """What is needed of a model."""

    _ports: list[Port]

    @property
    def outputs(self) -> tuple[OutputInfo, ...]: ...

    @property
    def _roles(self) -> Roles: ...

    def run(self, feeds: Any) -> Any: ...

    def stream(self, *, inputs: Inputs = None) -> Stream: ...


def streamed(
    model: Runs, pool: Signals, sequences: Sequence[Any], threads: int, inputs: Inputs
) -> Iterator[tuple[int, Result]]:
    """Those of a model that streams, as they end; all are checked before the first runs."""
    plan = pool._batches.plan
    ones = [abreast.checked(plan, index, sequence) for index, sequence in enumerate(sequences)]
    pays = plan.call is not None and plan.blocks[-1].work >= WORTH

    def come() -> Iterator[tuple[int, Result]]:
        together = [one for one in ones if one.steps > 0] if pays else []
        for one in abreast.through(pool, plan, together, threads):
            yield one.index, one.answer()
        for one in ones:
            if not pays or one.steps <= 0:
                yield one.index, _alone(model, one, inputs)

    return come()


def _alone(model: Runs, one: One, inputs: Inputs) -> Any:
    """A sequence through a stream of its own."""
    stream = model.stream(inputs=inputs)
    try:
        made: Any = stream.run(dict(one.feeds))
        if stream._plan.spec.steady:
            found = made
        else:
            tail: Any = stream.flush()
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
    except LstmInferError as error:
        raise abreast.of_sequence(one.index, error) from None
    one.results = found
    return one.answer()


def unstreamed(model: Runs, sequences: Sequence[Any]) -> Iterator[tuple[int, Result]]:
    """Those of a model that does not stream."""
    names = [port.name for port in model._ports]
    fed = []
    for index, sequence in enumerate(sequences):
        if not isinstance(sequence, Mapping) and len(names) != 1:
            raise abreast.of_sequence(
                index, FeedError(f"this model takes {len(names)} inputs; feed a dict with {names}")
            )
        fed.append(sequence if isinstance(sequence, Mapping) else {names[0]: sequence})
    axes = packed.pack_axes(model._roles, names, model.outputs) if len(fed) > 1 else None
    alike = [[index] for index in range(len(fed))] if axes is None else packed.groups(fed, axes, names)
    seen = False
    for places in alike:
        made = None if axes is None or len(places) == 1 else _packed(model, [fed[index] for index in places], axes)
        if made is not None and not seen:  # what the graph does not show, bits do
            seen = packed.same_bits(_one(model, places[0], fed[places[0]]), made[0])
            made, axes = (made, axes) if seen else (None, None)
        for k, index in enumerate(places):
            found = _one(model, index, fed[index]) if made is None else made[k]
            named = isinstance(sequences[index], Mapping) or len(found) != 1
            answer: Any = found if named else next(iter(found.values()))
            yield index, answer


def _packed(model: Runs, fed: list[Any], axes: dict[str, int]) -> list[dict[str, NDArray[Any]]] | None:
    """Sequences as one batch; None: they are run alone, which says what is wrong with which."""
    try:
        return packed.split(model.run(packed.together(fed, axes)), axes, len(fed))
    except LstmInferError:
        return None


def _one(model: Runs, index: int, feeds: Any) -> dict[str, NDArray[Any]]:
    try:
        found: dict[str, NDArray[Any]] = model.run(feeds)
    except LstmInferError as error:
        raise abreast.of_sequence(index, error) from None
    return found
