"""Ways to drive a model through a signal: a stream in random pieces, a stream one step a call, or a function by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.spec import StreamSpec
from ..model import Model
from ..stream import Stream
from .inputs import Feeds, Inputs

__all__ = ["Driver"]


@dataclass(frozen=True)
class Driver:
    """A model that streams, and what goes into it."""

    model: Model
    inputs: Inputs
    spec: StreamSpec

    def step_feeds(self, feeds: Feeds, t: int) -> Feeds:
        """The streamed inputs of one step: a slice of extent 1 along time, or one whole frame."""
        if self.spec.mode == "frame":
            return {name: np.ascontiguousarray(feeds[name][t]) for name in self.spec.streamed}
        return self.inputs.frames(feeds, self.spec.streamed, t, t + 1)

    def alone(self, feeds: Feeds, T: int, B: int) -> dict[str, Any]:
        """What a stream gives one step at a time."""
        stream = self.open(feeds, B)
        pieces: dict[str, list[NDArray[Any]]] = {output.name: [] for output in self.spec.outputs}
        for t in range(T):
            part = self.step_feeds(feeds, t)
            x = part if len(part) != 1 else next(iter(part.values()))
            results = stream.step(x) if self.spec.mode == "frame" else stream.run(x)
            self._collect(results, pieces, frame=self.spec.mode == "frame")
        return self._together(pieces)

    def signal(self, rng: np.random.Generator, T: int, B: int) -> Feeds:
        """First states, side inputs, and T steps of the streamed inputs, each drawn by itself."""
        drawn = [self.inputs.draw(rng, 1, B) for _ in range(T)]
        feeds = dict(drawn[0])
        for name in self.spec.streamed:
            frames = [one[name] for one in drawn]
            feeds[name] = (
                np.stack(frames) if self.spec.mode == "frame" else np.concatenate(frames, self.inputs.roles.time[name])
            )
        return feeds

    def open(self, feeds: Feeds, B: int) -> Stream:
        """A stream that begins with the states of the feeds, its side inputs bound."""
        return self.model.stream(
            batch=B,
            initial={name: feeds[name] for name in self.inputs.states},
            inputs={name: feeds[name] for name in self.spec.side},
        )

    def by_hand(self, run: Callable[[Feeds], Feeds | None], feeds: Feeds, T: int) -> tuple[Feeds, Feeds]:
        """T calls of one step each, the states carried by the caller: what a stream returns, and the
        outputs of the last call. Empty where a call has no answer."""
        fixed = {name: feeds[name] for name in self.spec.side}
        state = {name: feeds[name] for name in self.inputs.states}
        made: list[Feeds] = []
        for t in range(T):
            out = run({**fixed, **state, **self.step_feeds(feeds, t)})
            if out is None:
                return {}, {}
            state = {name: out[after].reshape(feeds[name].shape) for name, after in self.inputs.states.items()}
            made.append(out)
        found = dict(made[-1])
        for output in self.spec.outputs:
            if output.kind == "time":
                found[output.name] = np.concatenate([out[output.name] for out in made], output.axis)
            elif output.kind == "frame":
                found[output.name] = np.stack([out[output.name] for out in made])
        return found, made[-1]

    def in_pieces(
        self, rng: np.random.Generator, stream: Stream, feeds: Feeds, T: int, B: int
    ) -> dict[str, NDArray[Any] | None]:
        """The stream's outputs, fed in random pieces, and once taken over by another stream."""
        cuts = sorted({0, T, *(int(c) for c in rng.integers(0, T + 1, int(rng.integers(1, max(T // 4, 2)))))})
        handed_over = int(rng.integers(0, len(cuts)))
        pieces: dict[str, list[NDArray[Any]]] = {output.name: [] for output in self.spec.outputs}
        current = stream
        for index, (start, stop) in enumerate(pairwise(cuts)):
            if index == handed_over:
                other = self.open(feeds, B)
                other.restore(current.snapshot())
                current = other
            one = stop - start == 1 and self.spec.steady and bool(rng.integers(0, 2))
            if self.spec.mode == "frame":
                part = {name: np.ascontiguousarray(feeds[name][start:stop]) for name in self.spec.streamed}
                part = {name: value[0] for name, value in part.items()} if one else part
            else:
                part = self.inputs.frames(feeds, self.spec.streamed, start, stop)
            x = part if len(part) != 1 else next(iter(part.values()))
            results = current.step(x) if one else current.run(x)
            self._collect(results, pieces, frame=one and self.spec.mode == "frame")
        if self.spec.mode == "time":
            self._collect(current.flush(), pieces)
        if current is not stream:
            stream.restore(current.snapshot())
        return self._together(pieces)

    def _together(self, pieces: Mapping[str, list[NDArray[Any]]]) -> dict[str, NDArray[Any] | None]:
        """Each output of a stream in one array."""
        joined: dict[str, NDArray[Any] | None] = {}
        for output in self.spec.outputs:
            made = pieces[output.name]
            if output.kind in ("time", "frame") and made:
                joined[output.name] = np.concatenate(made, output.axis if output.kind == "time" else 0)
            else:
                joined[output.name] = made[-1] if made else None
        return joined

    def _collect(self, results: Any, pieces: dict[str, list[NDArray[Any]]], *, frame: bool = False) -> None:
        if not isinstance(results, dict):
            timed = [o.name for o in self.spec.outputs if o.kind in ("time", "frame")] or [self.spec.outputs[0].name]
            results = {timed[0] if len(self.spec.outputs) > 1 else self.spec.outputs[0].name: results}
        for name, value in results.items():
            if value is not None:
                pieces[name].append(value[None] if frame else value)
