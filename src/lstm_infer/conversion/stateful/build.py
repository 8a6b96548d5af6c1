"""A model to the draft of one step: its batch open where the model's is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...analysis.spec import StreamSpec
from ...drive.inputs import stream_spec
from ...errors import ConvertError, LstmInferError, ShapeError, StateError
from ...feeds import check_batch
from ...graph.budget import open_budget
from ...graph.ir import Port
from ...model import Model
from ...ops import registry
from ...streams.fed import Fed
from ...streams.reference import Reference
from . import composed, quantised  # noqa: F401  (they register how operators are said)
from .carry import Carry
from .draft import Draft
from .emit import Emitter
from .merged import FixedBatchError, merged, merged_carries
from .proto import tidied
from .repeated import in_turn
from .step import NoMultipleError, Step

__all__ = ["Built", "build"]

PROBES = 23, 29
"""Batches at which a step is walked, to see what grows with the batch: numbers that hardly occur by chance."""


@dataclass(frozen=True)
class Built:
    """A step, and what its caller has to know."""

    draft: Draft
    carries: Sequence[Carry]
    spec: StreamSpec
    step: Step
    chunk: int
    batch: int | None
    """None: open."""
    why_fixed: str = ""
    """Why the batch is not open, though the model's is."""


def build(model: Model, chunk: int | None, opset: int, batch: int | None) -> Built:
    """The draft of n steps in one call; None: as few as it works with.

    Raises
    ------
    ConvertError
        A node cannot be said so; names it.
    NotStreamableError
        The model needs its whole input at once.
    """
    spec = stream_spec(model)
    if not isinstance(spec, StreamSpec):
        raise spec.kept()
    least = 1
    while True:
        try:
            return _build(model, spec, chunk or least, opset, batch)
        except NoMultipleError as error:
            if chunk is not None or error.n != (chunk or least):
                raise
            least = error.rate


def _build(model: Model, spec: StreamSpec, chunk: int, opset: int, batch: int | None) -> Built:
    _check(spec)
    with open_budget(model._graph.allowance):
        fixed = spec.roles.batch_size or (1 if spec.one_signal or not spec.roles.batch else None)
        why = spec.one_signal
        if fixed is None and batch is None:
            try:
                _check_signals(model, spec)
                return _open(model, spec, chunk, opset)
            except FixedBatchError as error:
                why = str(error)
            except ConvertError:
                raise
            except LstmInferError as error:
                why = f"several signals cannot be walked at once: {error}"
        size = batch or fixed or 1
        if fixed is not None and size != fixed:
            raise ConvertError(f"batch: {size} is not what the model takes, which is {fixed}")
        spec = spec.alone if size == 1 and spec.alone else spec
        draft, carries, step = _one(model, spec, chunk, opset, size)
        return Built(tidied(draft), carries, spec, step, chunk, size, why if fixed is None and batch is None else "")


def _check(spec: StreamSpec) -> None:
    size = spec.roles.time_size
    if spec.mode == "time" and size not in (None, 1):
        raise ConvertError(f"the file is fixed to {size} time steps and cannot be walked at others")


def _check_signals(model: Model, spec: StreamSpec) -> None:
    try:
        check_batch(2, spec)
    except (StateError, ShapeError) as error:
        raise FixedBatchError(str(error).partition(";")[0]) from error
    if spec.alone:
        raise FixedBatchError("a signal alone streams in another way than several")
    for node in model._graph.walk():
        if registry.is_stepwise(node):
            raise FixedBatchError(f"{node} rounds by the range of all it is given, and each signal has its own")


def _open(model: Model, spec: StreamSpec, chunk: int, opset: int) -> Built:
    (small, states, step), (large, others, _) = (_one(model, spec, chunk, opset, size) for size in PROBES)
    draft = merged((small, large), PROBES)
    return Built(tidied(draft), merged_carries(states, others), spec, step, chunk, None)


def _one(model: Model, spec: StreamSpec, chunk: int, opset: int, batch: int) -> tuple[Draft, list[Carry], Step]:
    """The draft for one batch."""
    fed = Fed.of(model._graph, spec, batch, {}, None)
    if fed.dropped and spec.roles.batch_size is None and batch != 1:
        raise FixedBatchError("an axis of 1 is squeezed away")
    several = spec.mode == "time" and spec.roles.time_size is None and not spec.stepwise
    n = chunk if several else 1
    step = Step.of(fed, Reference.of(fed), n)
    ports: list[Port] = list(model._graph.outputs)
    emitter = Emitter(step, ports, opset, batch, in_turn=n != chunk)
    draft = emitter.run()
    carries = list(emitter.states.found.values())
    if n != chunk:
        draft = in_turn(draft, spec, carries, chunk)
    return draft, carries, step
