"""How a model streams, asked once: what the analysis found, and whether a stream of it can be planned."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import log
from ._stream import MAX_CHUNK
from .analysis.analyse import Reading, read
from .analysis.roles import Roles
from .analysis.sizes import sizes_of, sizes_that_fit
from .analysis.spec import StreamSpec
from .errors import BudgetError, LstmInferError, NotStreamableError, ShapeError, StateError
from .feeds import Options, bound_inputs, check_batch
from .graph.budget import open_budget
from .graph.fact import Fact
from .graph.ir import Graph, Port
from .ops.registry import is_random
from .program.draws import Draws
from .programs import Programs
from .streams.asked import Asked, Sizes
from .streams.plan import StreamPlan
from .within import within_memory

__all__ = ["Answer"]

SMALL_BYTES = 256
KEPT_OPENED = 16
"""So many kinds of streams are opened without finding out again what they share."""


class Answer:
    """What is asked of a model's analysis: whatever is asked first, the answers are the same."""

    def __init__(self, graph: Graph, roles: Roles, ports: Sequence[Port], options: Options, programs: Programs) -> None:
        self._graph, self._roles, self._programs = graph, roles, programs
        self._ports, self._options = ports, options
        self._opened: dict[tuple[Any, ...], tuple[Asked, StreamPlan]] = {}
        self._lock = threading.RLock()
        self._reading: Reading | None = None
        self._over: BudgetError | None = None
        """The analysis asked for more than the file may cost: it would ask for that again."""
        self._planned: StreamSpec | NotStreamableError | None = None

    def reading(self) -> Reading:
        """What the analysis found."""
        with self._lock:
            if self._reading is None:
                self._reading = self._read(self._roles)
                if isinstance(self._reading.spec, LstmInferError):
                    _log(self._graph.name, self._reading.spec)
            return self._reading

    @within_memory("the plan of a stream")
    def answer(self) -> StreamSpec | NotStreamableError:
        """How the model streams, or why it cannot; raises where the caller has to say which states there are."""
        spec = self.reading().spec
        if isinstance(spec, NotStreamableError):
            return spec
        if isinstance(spec, LstmInferError):
            raise spec.kept()
        with self._lock:
            if self._planned is None:
                log.debug("load", "planning a stream")
                self._planned = self._plan(spec)
                log.debug("load", "loaded, and a stream is planned")
                _log(self._graph.name, self._planned)
            return self._planned

    def spec(self) -> StreamSpec:
        """How the model streams; raises where it cannot."""
        spec = self.answer()
        if isinstance(spec, NotStreamableError):
            raise spec.kept()
        return spec

    def draws(self, facts: Mapping[str, Fact]) -> tuple[Mapping[str, Draws], int]:
        """Where steps and signals stand in what the random nodes of a run draw, and how many signals are fed."""
        if not any(map(is_random, self._graph.walk())):
            return {}, 1
        spec = self.reading().spec
        if not isinstance(spec, StreamSpec):
            return {}, 1
        name, axis = next(iter(spec.roles.batch.items()), ("", 0))
        return spec.draws, facts[name].shape[axis] if name in facts else 1

    def open(
        self, batch: int, initial: Mapping[str, ArrayLike], inputs: Mapping[str, ArrayLike], max_chunk: int
    ) -> tuple[Asked, StreamPlan]:
        """What streams share that are asked for alike, and their plan."""
        small = None if initial else _small(inputs)
        if small is None:
            return self._open(batch, initial, inputs, max_chunk)
        key = (batch, max_chunk, small)
        found = self._opened.get(key)
        if found is None:
            found = self._open(batch, {}, inputs, max_chunk)
            if len(self._opened) < KEPT_OPENED:
                self._opened[key] = found
        return found

    def plan(self, asked: Asked, sizes: Sizes) -> StreamPlan:
        """The plan of such a stream; `sizes` besides those that it was asked for with."""
        sizes = {**asked.sizes, **sizes}
        return self._programs.stream(asked.spec, asked.batch, asked.bound, asked.max_chunk, sizes)

    def _open(
        self, batch: int, initial: Mapping[str, ArrayLike], inputs: Mapping[str, ArrayLike], max_chunk: int
    ) -> tuple[Asked, StreamPlan]:
        spec = self.spec()
        bound = {name: array.copy() for name, array in bound_inputs(self._ports, inputs, spec).items()}
        batch = check_batch(batch, spec)
        spec = spec.alone if batch == 1 and spec.alone else spec
        roles = self.reading().roles
        given = sizes_of(roles.inputs, roles.stay_open(), {**bound, **initial})
        _refuse_unsized(spec, roles, given)
        asked = Asked(spec, batch, bound, max_chunk, given)
        try:
            return asked, self.plan(asked, {})
        except ShapeError:
            known = {name: array for name, array in bound.items() if array.dtype.kind != "f"}
            sizes = sizes_that_fit(self._graph, self._ports, self._options.constants, known) if known else None
            if sizes is None:
                raise
            return asked, self.plan(asked, sizes)  # until the first frame shows the size

    def _read(self, roles: Roles) -> Reading:
        if self._over is not None:
            raise self._over.kept()
        try:
            with open_budget(self._graph.allowance) as budget, within_memory("the analysis"):
                return read(self._graph, roles, self._options.states)
        except BudgetError:
            self._over = budget.error and budget.error.kept()
            raise

    def _plan(self, spec: StreamSpec) -> StreamSpec | NotStreamableError:
        """The same, once a stream is planned: what cannot be planned is refused before it is asked for. Where it waits for
        side inputs or for open sizes, `stream` is told those first."""
        if spec.side or spec.roles.stay_open():
            return spec
        error = self._plan_fails(spec, 1)
        if error is None or isinstance(error, NotStreamableError):
            return error or spec
        if self._plan_fails(spec, 2) is None:  # several signals stream: does one, read by itself
            one = self._read(replace(self._roles, batch_size=1)).spec
            if isinstance(one, StreamSpec) and self._plan_fails(one, 1) is None:
                return replace(spec, alone=one)
        why = "one step alone cannot be run"
        return NotStreamableError(f"{why} ({error}); use run()", reason=why)

    def _plan_fails(self, spec: StreamSpec, batch: int) -> LstmInferError | None:
        try:
            self._programs.stream(spec, check_batch(batch, spec), {}, MAX_CHUNK, {})
        except LstmInferError as error:
            return error.kept()
        return None


def _log(name: str, found: object) -> None:
    """What was found out about streaming."""
    if isinstance(found, LstmInferError):
        log.info("stream", "%s: does not stream: %s", name, found)
    if not isinstance(found, StreamSpec):
        return
    fed = ", ".join(found.streamed) + (f"; beside it {', '.join(found.side)}" if found.side else "")
    log.info("stream", "%s: streams in mode %r, fed %s, lag %d", name, found.mode, fed, found.lag)
    for state in found.states:
        comes, why = state.output or "inside", state.evidence or state.kind
        log.info("stream", "%s: state %s <- %s: %s", name, state.name, comes, why)


def _small(inputs: Mapping[str, ArrayLike]) -> tuple[Any, ...] | None:
    """Rates, switches and lengths as a key; None where there is more to compare, or where a stream owns what it computed."""
    key = []
    for name, value in inputs.items():
        if type(value) is not np.ndarray or value.dtype.kind not in "iub" or value.nbytes > SMALL_BYTES:
            return None
        key.append((name, value.dtype, value.shape, value.tobytes()))
    return tuple(key)


def _refuse_unsized(spec: StreamSpec, roles: Roles, given: Sizes) -> None:
    """A stream starts with states of some size: neither the file nor `initial=` may leave it open."""
    for name, axis in roles.stay_open():
        if name in spec.pairs and (name, axis) not in roles.known_sizes and (name, axis) not in given:
            shape = roles.shown_sizes()[name]
            raise StateError(
                f"axis {axis} of the state {name!r} {shape} is open, and nothing in the file says its size; fix it with "
                f"load(..., inputs={{{name!r}: {shape}}}), a number for each that is open, or give the state by "
                f"stream(initial={{{name!r}: ...}})"
            )
