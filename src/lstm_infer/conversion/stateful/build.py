"""A model to the draft of one step: its batch open where the model's is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
from .merged import BATCH, FixedSizeError, Open, merged, merged_carries
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
                return _open(model, spec, chunk, opset, None)
            except FixedSizeError as error:
                why = str(error)
            except ConvertError:
                raise
            except LstmInferError as error:
                why = f"several signals cannot be walked at once: {error}"
        size = batch or fixed or 1
        if fixed is not None and size != fixed:
            raise ConvertError(f"batch: {size} is not what the model takes, which is {fixed}")
        spec = spec.alone if size == 1 and spec.alone else spec
        return replace(_open(model, spec, chunk, opset, size), why_fixed=why if fixed is None and batch is None else "")


def _check(spec: StreamSpec) -> None:
    size = spec.roles.time_size
    if spec.mode == "time" and size not in (None, 1):
        raise ConvertError(f"the file is fixed to {size} time steps and cannot be walked at others")


def _check_signals(model: Model, spec: StreamSpec) -> None:
    try:
        check_batch(2, spec)
    except (StateError, ShapeError) as error:
        raise FixedSizeError(str(error).partition(";")[0]) from error
    if spec.alone:
        raise FixedSizeError("a signal alone streams in another way than several")
    for node in model._graph.walk():
        if registry.is_stepwise(node):
            raise FixedSizeError(f"{node} rounds by the range of all it is given, and each signal has its own")


Place = tuple[str, int]


def _open(model: Model, spec: StreamSpec, chunk: int, opset: int, batch: int | None) -> Built:
    """With all open sizes open, or else those alone that the batch is."""
    places = _open_places(spec)
    if places:
        try:
            return _opened(model, spec, chunk, opset, batch, places)
        except NoMultipleError:
            raise
        except (FixedSizeError, LstmInferError):
            pass  # what is wrong with them is wrong with fewer of them too, or they are fixed
    return _opened(model, spec, chunk, opset, batch, {})


def _open_places(spec: StreamSpec) -> dict[str, list[Place]]:
    """Axes that the source leaves open besides time and batch, those that are equal together, by a name for each size."""
    ports = {port.name: port.shape or () for port in spec.roles.inputs}
    together: dict[int, list[Place]] = {}
    for name, axis in spec.roles.stay_open():
        if name in ports:
            together.setdefault(spec.roles.open_sizes[name, axis], []).append((name, axis))
    found: dict[str, list[Place]] = {}
    for places in together.values():
        said = ports[places[0][0]][places[0][1]]
        wish = said if isinstance(said, str) and said != BATCH and said not in found else f"size_{len(found)}"
        found[wish] = places
    return found


def _opened(
    model: Model, spec: StreamSpec, chunk: int, opset: int, batch: int | None, places: Mapping[str, list[Place]]
) -> Built:
    """Drafts at some sizes, merged. `batch`: None leaves it open."""
    base = {name: 2 * spec.roles.open_sizes[axes[0]] + 1 for name, axes in places.items()}
    sizes = [Open(BATCH, *PROBES)] if batch is None else []
    sizes += [Open(name, n, n + n // 2 + 1) for name, n in base.items()]
    first = {BATCH: batch or PROBES[0], **base}
    changed = [first, *({**first, one.name: one.other} for one in sizes)]
    changed += [{**first, **{one.name: one.other for one in sizes}}] if len(sizes) > 1 else []

    def draft(now: Mapping[str, int]) -> tuple[Draft, list[Carry], Step]:
        axes = {place: now[name] for name, found in places.items() for place in found}
        return _one(model, spec, chunk, opset, now[BATCH], axes)

    made = [draft(now) for now in changed]
    drafts, carries, step = [one[0] for one in made], [one[1] for one in made], made[0][2]
    if not sizes:
        return Built(tidied(drafts[0]), carries[0], spec, step, chunk, batch)
    draft_of_all = merged(drafts, sizes)
    return Built(tidied(draft_of_all), merged_carries(carries, draft_of_all.inputs), spec, step, chunk, batch)


def _one(
    model: Model, spec: StreamSpec, chunk: int, opset: int, batch: int, sizes: Mapping[Place, int]
) -> tuple[Draft, list[Carry], Step]:
    """The draft for one batch, and these sizes of open axes."""
    fed = Fed.of(model._graph, spec, batch, {}, sizes)
    if fed.dropped and spec.roles.batch_size is None and batch != 1:
        raise FixedSizeError("an axis of 1 is squeezed away")
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
