"""Ways to drive a model through a signal: a stream in random pieces, a stream one step a call, or a function by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.spec import OutputSpec, StreamSpec
from ..errors import ShapeError
from ..frozen import frozen
from ..model import Model
from ..stream import Stream
from .inputs import Feeds, Inputs

__all__ = ["Driver", "as_state", "constant_feeds", "named", "one_or_all"]

SINGLE = 4
"""Steps that follow one another one a call, wherever the other cuts are."""


def constant_feeds(inputs: Inputs) -> Feeds:
    """The inputs that were made constants, as the other side is fed them."""
    return {name: np.asarray(value) for name, value in inputs.roles.constants.items()}


def as_state(value: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """The next value of a state in the shape that it goes in with.

    Raises
    ------
    ShapeError
        It has another size.
    """
    if value.size != like.size:
        raise ShapeError(f"a state of shape {list(like.shape)} comes out as {list(value.shape)}")
    return value.reshape(like.shape)


def one_or_all(parts: Feeds) -> Any:
    """What a stream takes: a dict of several inputs, or the one array."""
    return parts if len(parts) != 1 else next(iter(parts.values()))


def named(results: Any, spec: StreamSpec) -> dict[str, NDArray[Any] | None]:
    """What a stream returned, by name."""
    if isinstance(results, dict):
        return results
    timed = [o.name for o in spec.outputs if o.kind in ("time", "frame")] or [spec.outputs[0].name]
    return {timed[0] if len(spec.outputs) > 1 else spec.outputs[0].name: results}


@frozen
class Driver:
    """A model that streams, and what goes into it."""

    model: Model
    inputs: Inputs
    spec: StreamSpec

    @property
    def frames(self) -> bool:
        """Is there no time axis: every call is a step."""
        return self.spec.mode == "frame"

    def each_step(self, output: OutputSpec) -> bool:
        """Does a run give an output for every step; without a time axis only frames do, the rest is the value at the end."""
        return output.kind == "time" or self.frames

    def step_feeds(self, feeds: Feeds, t: int, n: int = 1) -> Feeds:
        """The streamed inputs of a step: one whole frame, or a slice of extent n along time."""
        if self.frames:
            return {name: np.ascontiguousarray(feeds[name][t]) for name in self.spec.streamed}
        return self.inputs.frames(feeds, self.spec.streamed, t, t + n)

    def alone(self, feeds: Feeds, T: int, B: int) -> dict[str, Any]:
        """What a stream gives one step at a time."""
        stream = self.open(feeds, B)

        def results() -> Iterable[Any]:
            for t in range(T):
                x = one_or_all(self.step_feeds(feeds, t))
                yield self._framed(stream.step(x)) if self.frames else stream.run(x)

        return self._together(results())

    def signal(self, rng: np.random.Generator, T: int, B: int) -> Feeds:
        """First states, side inputs, and T steps of the streamed inputs, each drawn by itself."""
        drawn = [self.inputs.draw(rng, 1, B) for _ in range(T)]
        feeds = dict(drawn[0])
        for name in self.spec.streamed:
            steps = [one[name] for one in drawn]
            feeds[name] = np.stack(steps) if self.frames else np.concatenate(steps, self.inputs.roles.time[name])
        return feeds

    def open(self, feeds: Feeds, B: int) -> Stream:
        """A stream that begins with the states of the feeds, its side inputs bound."""
        return self.model.stream(
            batch=B,
            initial={name: feeds[name] for name in self.inputs.states},
            inputs={name: feeds[name] for name in self.spec.side},
        )

    def by_hand(
        self,
        run: Callable[[Feeds], Feeds | None],
        feeds: Feeds,
        T: int,
        *,
        n: int = 1,
        carried: Mapping[str, str] | None = None,
        first: Feeds | None = None,
    ) -> tuple[Feeds, Feeds]:
        """Calls of n steps each, the states carried by the caller: what a stream returns, and the outputs of the
        last call. Empty where a call has no answer.

        `carried`: inputs and the outputs that hold their next values, if not those of the model; `first`: how they
        begin, if not with the feeds.
        """
        carried = self.inputs.states if carried is None else carried
        fixed = {name: feeds[name] for name in self.spec.side}
        begin = {name: feeds[name] for name in carried} if first is None else first
        state = dict(begin)
        made: list[Feeds] = []
        for t in range(0, T, n):
            out = run({**fixed, **state, **self.step_feeds(feeds, t, n)})
            if out is None:
                return {}, {}
            state = {name: as_state(out[after], begin[name]) for name, after in carried.items()}
            made.append(out)
        found = dict(made[-1])
        for output in self.spec.outputs:
            if output.kind == "time":
                found[output.name] = np.concatenate([out[output.name] for out in made], output.axis)
            elif self.frames:
                found[output.name] = np.stack([out[output.name] for out in made])
        return found, made[-1]

    def in_pieces(
        self, rng: np.random.Generator, stream: Stream, feeds: Feeds, T: int, B: int
    ) -> dict[str, NDArray[Any] | None]:
        """The stream's outputs, fed in random pieces, and once taken over by another stream."""
        single = int(rng.integers(0, max(T - SINGLE, 0) + 1))
        drawn = rng.integers(0, T + 1, int(rng.integers(1, max(T // 4, 2))))
        cuts = sorted({0, T, *range(single, min(single + SINGLE, T)), *(int(c) for c in drawn)})
        handed_over = int(rng.integers(0, len(cuts)))
        current = stream

        def results() -> Iterable[Any]:
            nonlocal current
            for index, (start, stop) in enumerate(pairwise(cuts)):
                if index == handed_over:
                    other = self.open(feeds, B)
                    other.restore(current.snapshot())
                    current = other
                one = stop - start == 1 and self.spec.steady and bool(rng.integers(0, 2))
                if self.frames:
                    part = {name: np.ascontiguousarray(feeds[name][start:stop]) for name in self.spec.streamed}
                    part = {name: value[0] for name, value in part.items()} if one else part
                else:
                    part = self.inputs.frames(feeds, self.spec.streamed, start, stop)
                x = one_or_all(part)
                made = current.step(x) if one else current.run(x)
                yield self._framed(made) if one and self.frames else made
            if self.spec.mode == "time":
                yield current.flush()

        joined = self._together(results())
        if current is not stream:
            stream.restore(current.snapshot())
        return joined

    def _framed(self, results: Any) -> Any:
        """What `step` gives for a frame, as `run` gives it for a row of frames."""
        return {name: value[None] for name, value in named(results, self.spec).items() if value is not None}

    def _together(self, results: Iterable[Any]) -> dict[str, NDArray[Any] | None]:
        """Each output of a stream in one array."""
        pieces: dict[str, list[NDArray[Any]]] = {output.name: [] for output in self.spec.outputs}
        for one in results:
            for name, value in named(one, self.spec).items():
                if value is not None:
                    pieces[name].append(value)
        joined: dict[str, NDArray[Any] | None] = {}
        for output in self.spec.outputs:
            made = pieces[output.name]
            if self.each_step(output) and made:
                joined[output.name] = np.concatenate(made, output.axis if output.kind == "time" else 0)
            else:
                joined[output.name] = made[-1] if made else None
        return joined
