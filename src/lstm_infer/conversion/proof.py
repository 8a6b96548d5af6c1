"""Signals for a model and what it makes of them: what a result of `convert` is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.spec import StreamSpec
from ..drive.compare import compare
from ..drive.driver import Driver, named, one_or_all
from ..drive.inputs import Feeds, settings, stream_spec
from ..errors import LstmInferError, NotStreamableError
from ..frozen import frozen
from ..model import Model
from .report import Checked

__all__ = ["Live", "Whole", "live_cases", "matched", "whole_cases"]

BEFORE = 7
"""Steps that are run before a signal that begins from other states."""


@frozen
class Whole:
    """One run of the whole model: what is fed, and what comes out."""

    case: str
    feeds: Feeds
    want: Feeds
    steps: int
    signals: int


@frozen
class Live:
    """A signal through a stream."""

    case: str
    drive: Driver
    feeds: Feeds
    """Streamed inputs whole, and side inputs."""
    initial: Feeds
    """First states by name, those of every state that has another first value than the model says."""
    first: Feeds
    """The states that a stream then has, all of them."""
    want: dict[str, NDArray[Any] | None]
    """Each output over the whole signal, flushed."""
    last: Feeds
    """The states after the last step, before the flush."""
    steps: int
    signals: int

    @property
    def side(self) -> Feeds:
        """The inputs that a stream binds."""
        return {name: self.feeds[name] for name in self.drive.spec.side}

    def pieces(self, n: int) -> Iterator[Feeds]:
        """The streamed inputs, n steps at a time: along the time axis, or as rows of frames."""
        for start in range(0, self.steps, n):
            if self.drive.frames:
                yield {x: np.ascontiguousarray(self.feeds[x][start : start + n]) for x in self.drive.spec.streamed}
            else:
                yield self.drive.inputs.frames(self.feeds, self.drive.spec.streamed, start, start + n)


def live_cases(model: Model, seed: int, *, steps: int, signals: int = 1) -> Iterator[Live]:
    """Signals from the model's own first states and from others, for each choice of networks.

    Raises
    ------
    NotStreamableError
        The model needs its whole input at once.
    LstmInferError
        Nothing can be drawn for it, or which output holds which state is the caller's to say.
    """
    spec = stream_spec(model)
    if not isinstance(spec, StreamSpec):
        raise spec.kept()
    for inputs in settings(model):
        drive = Driver(model, inputs, spec)
        rng = np.random.default_rng(seed)
        T, B = steps, drive.inputs.sizes(1, signals)[1]  # a file of one step streams as many as it is fed
        feeds = drive.signal(rng, T + BEFORE, B)
        said = "".join(f", {name}={value}" for name, value in inputs.chosen.items())
        side = {name: feeds[name] for name in spec.side}
        begin: Feeds = {}
        for case in ("in pieces", "from other states"):
            signal = _cut(drive, feeds, BEFORE * (case != "in pieces"), T)
            try:
                stream = model.stream(B, initial=begin, inputs=side)
            except NotStreamableError:
                if inputs.chosen:
                    break  # this network alone does not stream
                raise
            first = {name: np.array(value) for name, value in stream.state.items()}
            result = named(stream.run(one_or_all({x: signal[x] for x in spec.streamed})), spec)
            last = {name: np.array(value) for name, value in stream.state.items()}
            want = result if drive.frames else _joined(drive, result, named(stream.flush(), spec))
            yield Live(case + said, drive, signal, begin, first, want, last, T, B)
            other = model.stream(B, inputs=side)
            other.run(one_or_all({x: _cut(drive, feeds, 0, BEFORE)[x] for x in spec.streamed}))
            begin = {name: np.array(value) for name, value in other.state.items() if name in _settable(spec)}


def _settable(spec: StreamSpec) -> set[str]:
    """The states that a stream can begin with: what random nodes count is none."""
    return {state.name for state in spec.states if state.kind != "drawn"}


def _cut(drive: Driver, feeds: Feeds, start: int, n: int) -> Feeds:
    """n steps from `start` on, and what is not streamed."""
    if drive.frames:
        streamed = {x: np.ascontiguousarray(feeds[x][start : start + n]) for x in drive.spec.streamed}
    else:
        streamed = drive.inputs.frames(feeds, drive.spec.streamed, start, start + n)
    return {name: value for name, value in feeds.items() if name in drive.spec.side} | streamed


def _joined(
    drive: Driver, result: Mapping[str, NDArray[Any] | None], tail: Mapping[str, NDArray[Any] | None]
) -> dict[str, NDArray[Any] | None]:
    """Each output with what a flush adds."""
    found = dict(result)
    for output in drive.spec.outputs:
        more = tail.get(output.name)
        if more is not None:
            had = found.get(output.name)
            timed = output.kind == "time" and had is not None
            found[output.name] = np.concatenate([had, more], output.axis) if timed else more
    return found


def whole_cases(
    model: Model, seed: int, *, sizes: tuple[tuple[int, int], ...] = ((1, 1), (7, 1), (12, 3))
) -> Iterator[Whole]:
    """Whole runs at some numbers of steps and signals, for each choice of networks.

    Raises
    ------
    LstmInferError
        Nothing can be drawn for the model.
    """
    for inputs in settings(model):
        said = "".join(f", {name}={value}" for name, value in inputs.chosen.items())
        for T, B in dict.fromkeys(inputs.sizes(T, B) for T, B in sizes):
            feeds = inputs.draw(np.random.default_rng(seed), T, B)
            try:
                want = model.run(feeds)
            except LstmInferError:  # a length that this model does not take
                continue
            yield Whole(f"whole{said}", feeds, want, T, B)


def matched(case: Whole | Live, got: Mapping[str, NDArray[Any] | None], *, bits: bool) -> Checked:
    """One comparison: of bits, or within the tolerance of `verify`."""
    largest = excess = 0.0
    details = []
    for name, want in case.want.items():
        error, over, detail = compare(got.get(name), want, bits=bits)
        largest, excess = max(largest, error), max(excess, over)
        if detail:
            details.append(f"{name}: {detail}")
    return Checked(case.case, case.steps, case.signals, largest, excess, "; ".join(details))
