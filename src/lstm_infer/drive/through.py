"""A whole signal through a model: streamed in chunks, or run at once where it cannot stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.spec import StreamSpec
from ..errors import FeedError, NotStreamableError, ShapeError
from ..model import Model
from ..stream import Stream
from .driver import named, one_or_all
from .inputs import Feeds, stream_spec

__all__ = ["Live", "Outcome", "run_signal"]


@dataclass
class Outcome:
    """What came out: arrays by output name, and on which axis each has its steps (None: it has none)."""

    arrays: Feeds
    time: dict[str, int | None]
    streamed: bool
    steps: int = 0
    states: Feeds = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Live:
    """A stream of a model that streams, opened for the signal that is fed to it.

    Parameters
    ----------
    feeds : dict of input to array
        The streamed inputs whole, in the layout that `Stream.run` takes; side inputs, and states where they begin.
    initial : dict of state to array
        First states besides.

    Raises
    ------
    FeedError, ShapeError
        Something is missing, unknown, or not as long as the rest; LstmInferError where they do not fit the model.
    """

    def __init__(self, model: Model, spec: StreamSpec, feeds: Feeds, initial: Feeds) -> None:
        self.model, self.spec = model, spec
        fed = dict(feeds)
        first = {s.name: fed.pop(s.name) for s in model.states if s.name in fed} | initial
        missing = [name for name in spec.streamed if name not in fed]
        unknown = [name for name in fed if name not in (*spec.streamed, *spec.side)]
        if missing or unknown:
            raise FeedError(f"the model takes {[*spec.streamed, *spec.side]}; missing: {missing}, not known: {unknown}")
        self.axes = {name: 0 if spec.mode == "frame" else model._roles.time[name] for name in spec.streamed}
        for name, axis in self.axes.items():
            if fed[name].ndim <= axis:
                raise ShapeError(f"input {name!r} of rank {fed[name].ndim} has no steps along axis {axis}")
        self.fed = {name: fed[name] for name in spec.streamed}
        lengths = {name: fed[name].shape[axis] for name, axis in self.axes.items()}
        if len(set(lengths.values())) != 1:
            raise ShapeError(f"the streamed inputs have different numbers of steps: {lengths}")
        self.steps: int = next(iter(lengths.values()))
        self.stream: Stream = model.stream(
            batch=self._batch(), initial=first, inputs={name: fed[name] for name in spec.side if name in fed}
        )

    @property
    def time(self) -> dict[str, int | None]:
        """On which axis each output has its steps."""
        frames = self.spec.mode == "frame"
        return {o.name: o.axis if o.kind == "time" else 0 if frames else None for o in self.spec.outputs}

    def run(self, start: int, stop: int) -> dict[str, NDArray[Any] | None]:
        """What these steps of the signal give, by output name."""
        return named(self.stream.run(one_or_all(self.part(start, stop))), self.spec)

    def part(self, start: int, stop: int) -> Feeds:
        """These steps of the streamed inputs."""
        return {
            name: np.ascontiguousarray(array[(slice(None),) * self.axes[name] + (slice(start, stop),)])
            for name, array in self.fed.items()
        }

    def flush(self) -> dict[str, NDArray[Any] | None]:
        """The tail that a model keeps back which looks ahead."""
        return named(self.stream.flush(), self.spec) if self.spec.mode == "time" else {}

    def _batch(self) -> int:
        for name in self.spec.streamed:
            axis = self.model._roles.batch.get(name)
            if axis is not None:
                axis += self.spec.mode == "frame"
                if axis < self.fed[name].ndim:
                    return int(self.fed[name].shape[axis])
        return 1


def run_signal(
    model: Model,
    feeds: Mapping[str, NDArray[Any]],
    *,
    whole: bool = False,
    chunk: int = 256,
    initial: Mapping[str, NDArray[Any]] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Stream the signal in chunks, or run it whole where the model cannot stream (or `whole` is set).

    Raises
    ------
    LstmInferError
        Inputs or first states do not fit the model.
    """
    spec = stream_spec(model)
    if whole or isinstance(spec, NotStreamableError):
        notes = [f"run whole: {spec}"] if isinstance(spec, NotStreamableError) and not whole else []
        return _run_whole(model, {**feeds, **(initial or {})}, notes)
    live = Live(model, spec, dict(feeds), dict(initial or {}))
    made: dict[str, list[NDArray[Any]]] = {o.name: [] for o in spec.outputs}

    def take(results: Mapping[str, NDArray[Any] | None]) -> None:
        for name, value in results.items():
            if value is not None:
                made[name].append(value)

    for start in range(0, live.steps, chunk):
        take(live.run(start, start + chunk))
        progress(min(start + chunk, live.steps))
    take(live.flush())
    time = live.time
    arrays = {}
    for name, pieces in made.items():
        axis = time[name]
        if pieces:
            arrays[name] = pieces[-1] if axis is None else np.concatenate(pieces, axis)
    return Outcome(arrays, time, True, live.steps, dict(live.stream.state), [])


def _run_whole(model: Model, feeds: Feeds, notes: list[str]) -> Outcome:
    B = next(
        (feeds[i.name].shape[i.batch_axis] for i in model.inputs if i.name in feeds and i.batch_axis is not None), 1
    )
    for state in model.states:
        if state.kind == "input" and state.name not in feeds:
            shape = [B if a == state.batch_axis else n for a, n in enumerate(state.shape)]
            if None in shape:
                raise FeedError(
                    f"nothing in the file says the size of state {state.name!r} {shape}; give its first value"
                )
            feeds[state.name] = np.zeros([n for n in shape if n is not None], state.dtype)
            notes.append(f"state {state.name!r} starts at zero")
    arrays = model.run(feeds)
    return Outcome(arrays, {o.name: o.time_axis for o in model.outputs}, False, 0, {}, notes)
