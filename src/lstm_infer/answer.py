"""How a model streams, asked once: what the analysis found, and whether a stream of it can be planned."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from .analysis.analyse import Reading, read
from .analysis.roles import Roles
from .analysis.spec import StreamSpec
from .errors import LstmInferError, NotStreamableError
from .feeds import check_batch
from .graph.budget import open_budget, within_memory
from .graph.ir import Graph
from .programs import Programs

__all__ = ["MAX_CHUNK", "Answer"]

MAX_CHUNK = 64
"""Longest block of a stream, where the caller does not say."""


class Answer:
    """What is asked of a model's analysis: whatever is asked first, the answers are the same."""

    def __init__(self, graph: Graph, roles: Roles, states: Mapping[str, str] | None, programs: Programs) -> None:
        self._graph, self._roles, self._states, self._programs = graph, roles, states, programs
        self._lock = threading.RLock()
        self._reading: Reading | None = None
        self._planned: StreamSpec | NotStreamableError | None = None

    def reading(self) -> Reading:
        """What the analysis found."""
        with self._lock:
            if self._reading is None:
                self._reading = self._read(self._roles)
            return self._reading

    @within_memory("the plan of a stream")
    def answer(self) -> StreamSpec | NotStreamableError:
        """How the model streams, or why it cannot; raises where the caller has to say which states there are."""
        spec = self.reading().spec
        if isinstance(spec, NotStreamableError):
            return spec
        if isinstance(spec, LstmInferError):
            raise spec
        with self._lock:
            if self._planned is None:
                self._planned = self._plan(spec)
            return self._planned

    def _read(self, roles: Roles) -> Reading:
        with open_budget(self._graph.allowance), within_memory("the analysis"):
            return read(self._graph, roles, self._states)

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
            return error
        return None
