"""Plausible random inputs for any model: what `verify` and `bench` feed to both sides.

Sizes are those the model runs at. Integers that index a table stay inside it, lengths stay inside the sequence, and
every other integer is 0 or 1: what a file means by them is not written in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.find_roles import find_roles
from ..analysis.settings import switch_values
from ..analysis.spec import StreamSpec
from ..errors import LstmInferError, NotStreamableError, ShapeError
from ..frozen import frozen
from ..graph.ir import Port
from ..model import Model
from ..ops.registry import find
from ..walk.walk import Walk

__all__ = ["Feeds", "Inputs", "choices", "first_setting", "settings", "spec_or_error", "stream_spec"]

Feeds = dict[str, NDArray[Any]]


def stream_spec(model: Model) -> StreamSpec | NotStreamableError:
    """How the model streams, or why it does not."""
    return model._streams.answer()


def spec_or_error(model: Model) -> StreamSpec | LstmInferError:
    """How the model streams, why it does not, or what the caller has to say first."""
    try:
        return stream_spec(model)
    except LstmInferError as error:
        return error


def choices(model: Model) -> list[Feeds]:
    """Settings of the scalar inputs that choose between networks: one for each choice, one empty where none does."""
    roles = model._roles
    return list(roles.switches or switch_values(roles)) or [{}]


def settings(model: Model) -> Iterator[Inputs]:
    """Inputs for every choice of networks that scalar inputs make, at the sizes which that network takes."""
    options, graph = model._options, model._graph
    for chosen in choices(model):
        sizes: Mapping[tuple[str, int], int] = {}
        if chosen:
            ports = [port for port in model._ports if port.name not in chosen]
            with suppress(LstmInferError):  # what runs will say
                sizes = find_roles(graph, ports, {**options.constants, **chosen}, options.time_axis).open_sizes
        yield Inputs(model, chosen, sizes)


def first_setting(model: Model) -> Inputs:
    """Inputs for the first choice of networks; for all of them where none is made."""
    return next(settings(model))


@frozen
class _Range:
    """Integers from `low` to `high`, or to the sequence's length where `high` is None."""

    low: int
    high: int | None
    falling: bool = False
    """Sorted, longest first: packed sequences want that."""


class Inputs:
    """Draws inputs for one model.

    Raises
    ------
    ShapeError
        The sizes of the model's inputs are open and could not be found.
    """

    def __init__(self, model: Model, chosen: Feeds | None = None, sizes: Mapping[tuple[str, int], int] | None = None):
        """`chosen`: values of inputs that are not drawn; `sizes`: extents of open axes, by input and axis."""
        self.model, self.roles = model, model._roles
        self.chosen, self._sizes = chosen or {}, sizes or {}
        if self.roles.walkable:
            names = ", ".join(f"{name}: {shape}" for name, shape in self.roles.shown_sizes().items())
            raise ShapeError(
                f"the sizes of the inputs are open and could not be found ({self.roles.walkable}); give them: on the "
                f"command line --shape NAME=SIZE,SIZE..., in Python load(..., inputs={{...}}), for {names}"
            )
        self.ports: list[Port] = self.roles.inputs
        spec = spec_or_error(model)
        states = spec.states if isinstance(spec, StreamSpec) else ()
        self.states = {s.name: s.output for s in states if s.kind == "input" and s.output is not None}
        """State input to the output that holds its next value."""
        self.positive = False
        """Draw no negative numbers: spectra, say, of which the model takes a logarithm."""
        self._ranges = dict(_ranges(self.roles.walk(*self.roles.analysis_sizes())))
        for port in self.ports:
            if port.name not in self._ranges and port.dtype.kind in "iu":
                named = "len" in port.name.lower()
                self._ranges[port.name] = _Range(1, None, falling=True) if named else _Range(0, 1)

    @property
    def opens(self) -> tuple[bool, bool]:
        """Is the number of time steps open, and is the batch."""
        return (
            bool(self.roles.time) and self.roles.time_size is None,
            bool(self.roles.batch) and self.roles.batch_size is None,
        )

    @property
    def declared(self) -> tuple[int | None, int | None]:
        """The numbers of time steps and signals that the file declares, whether it insists on them or not."""
        found: list[int | None] = []
        for axes in (self.roles.time, self.roles.batch):
            sizes = [p.shape[axes[p.name]] for p in self.ports if p.name in axes and p.shape is not None]
            found.append(next((size for size in sizes if isinstance(size, int)), None))
        return found[0], found[1]

    def sizes(self, T: int, B: int) -> tuple[int, int]:
        """These, or those the file insists on."""
        open_time, open_batch = self.opens
        return T if open_time else self.roles.time_size or 1, B if open_batch else self.roles.batch_size or 1

    def draw(self, rng: np.random.Generator, T: int, B: int) -> Feeds:
        """All inputs at these sizes, states not zero."""
        facts = self.roles.feeds(T, B)
        return {port.name: self._one(rng, port, self._shape(port, facts[port.name].shape), T) for port in self.ports}

    def _shape(self, port: Port, shape: tuple[int, ...]) -> tuple[int, ...]:
        """With the sizes that a choice of networks brings along."""
        mine = {self.roles.time.get(port.name), self.roles.batch.get(port.name)}
        return tuple(n if a in mine else self._sizes.get((port.name, a), n) for a, n in enumerate(shape))

    def _one(self, rng: np.random.Generator, port: Port, shape: tuple[int, ...], T: int) -> NDArray[Any]:
        if port.name in self.chosen:
            return self.chosen[port.name]
        if port.dtype.kind == "b":
            return np.asarray(rng.integers(0, 2, shape)).astype(bool)
        if port.dtype.kind in "iu":
            found = self._ranges[port.name]
            values = np.asarray(rng.integers(found.low, (T if found.high is None else found.high) + 1, shape))
            if found.falling and values.ndim == 1:
                values = np.sort(values)[::-1]
            return np.ascontiguousarray(values.astype(port.dtype)).reshape(shape)
        if port.dtype.kind != "f":
            raise ShapeError(f"input {port.name!r} is {port.dtype}: nothing plausible can be drawn for it")
        reach = 0.5 if port.name in self.states else 1.0
        return np.asarray(rng.uniform(0 if self.positive else -reach, reach, shape)).astype(port.dtype)

    def frames(self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], start: int, stop: int) -> Feeds:
        """Steps start to stop of the streamed inputs, the time axis kept."""
        found = {}
        for name in names:
            axis = self.roles.time[name]
            found[name] = np.ascontiguousarray(feeds[name][(slice(None),) * axis + (slice(start, stop),)])
        return found


def _ranges(walked: Walk) -> Iterator[tuple[str, _Range]]:
    """What the integers of each input are good for, as far as the graph shows it."""
    comes_from = {value: value for value in walked.facts}
    for node in walked.nodes:
        if find(node).moves not in ("", "join") and node.inputs[0] in comes_from:
            comes_from[node.outputs[0]] = comes_from[node.inputs[0]]
    for node in walked.nodes:
        holds = find(node).holds
        if holds is not None:
            ins = [walked.facts[name] if name else None for name in node.inputs]
            for index, (low, high) in holds(node, ins).items():
                if index < len(node.inputs) and node.inputs[index]:
                    yield comes_from[node.inputs[index]], _Range(low, high)
