"""Errors of one model against another on the same data: over a signal, and as they grow over a long one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.spec import StreamSpec
from ..drive.driver import one_or_all
from ..drive.inputs import Feeds, stream_spec
from ..drive.through import Live, run_signal
from ..drive.timing import Call, interleave
from ..model import Model
from .records import GrowthPoint, OutputError

__all__ = ["errors", "growth", "outputs_of", "step_times"]

CHUNK = 256


def outputs_of(model: Model, feeds: Feeds) -> Feeds:
    """What a model gives for the data, streamed in chunks or run whole."""
    return run_signal(model, feeds, chunk=CHUNK).arrays


def difference(got: NDArray[Any], want: NDArray[Any]) -> NDArray[np.float64]:
    """|got - want|; 0 where both are the same, infinities and NaN too; infinite where one alone is no number."""
    a, b = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        d = np.where(same, 0.0, np.abs(a - b))
    return np.where(np.isnan(d), np.inf, d)


def _both_nan(got: NDArray[Any], want: NDArray[Any]) -> NDArray[np.bool_]:
    """Where there is nothing to compare."""
    return np.isnan(got.astype(np.float64)) & np.isnan(want.astype(np.float64))


def errors(got: Mapping[str, NDArray[Any]], want: Mapping[str, NDArray[Any]]) -> tuple[OutputError, ...]:
    """Of each output that holds numbers."""
    found = []
    for name, reference in want.items():
        if reference.dtype.kind not in "biuf" or not reference.size:
            continue
        d = difference(got[name], reference)
        finite = reference[np.isfinite(reference)].astype(np.float64)
        span = float(finite.max() - finite.min()) if finite.size else 0.0
        largest = float(d.max())
        relative = 0.0 if not largest else largest / span if span else np.inf
        some = d[~_both_nan(got[name], reference)]
        mean, differing = (float(some.mean()), float((some > 0).mean())) if some.size else (0.0, 0.0)
        compared = 1 - float(np.isnan(reference.astype(np.float64)).mean())
        found.append(OutputError(name, largest, mean, span, relative, differing, compared))
    return tuple(found)


def growth(
    models: Mapping[str, Model], feeds: Feeds, steps: int, seconds: float, say: Callable[[str], None]
) -> tuple[dict[str, tuple[GrowthPoint, ...]], int]:
    """Errors of models against the first of them, over the data again and again, the states carried on.

    Returns a point for each power of ten from 10 on, and for the last step reached; and how many steps were reached
    before `steps` or so many seconds were over. Empty where the model does not stream.
    """
    first = next(iter(models))
    spec = stream_spec(models[first])
    if not isinstance(spec, StreamSpec):
        return {}, 0
    live = {name: Live(model, spec, feeds, {}) for name, model in models.items()}
    length = live[first].steps
    marks = [10**n for n in range(1, 12) if 10**n < steps] + [steps]
    points: dict[str, list[GrowthPoint]] = {name: [] for name in models if name != first}
    since = {name: _Sum() for name in points}
    began, done = time.perf_counter(), 0

    def mark() -> None:
        for name in points:
            points[name].append(since[name].point(done))
            since[name] = _Sum()

    while done < steps and length:
        at = done % length
        n = min(CHUNK, length - at, marks[0] - done)
        made = {name: one.run(at, at + n) for name, one in live.items()}
        for name, sums in since.items():
            sums.add(made[name], made[first])
        done += n
        if done == marks[0]:
            mark()
            marks.pop(0)
            say(f"long run: step {done:,}")
        if time.perf_counter() - began > seconds:
            break
    if done and points and (not (last := next(iter(points.values()))) or last[-1].steps != done):
        mark()
    return {name: tuple(found) for name, found in points.items()}, done


class _Sum:
    """Differences, added up."""

    def __init__(self) -> None:
        self.largest, self.total, self.n = 0.0, 0.0, 0

    def add(self, got: Mapping[str, NDArray[Any] | None], want: Mapping[str, NDArray[Any] | None]) -> None:
        for name, reference in want.items():
            other = got[name]
            if reference is not None and other is not None and reference.size and reference.dtype.kind in "biuf":
                d = difference(other, reference)[~_both_nan(other, reference)]
                self.largest = max(self.largest, float(d.max(initial=0.0)))
                self.total, self.n = self.total + d.sum(), self.n + d.size

    def point(self, steps: int) -> GrowthPoint:
        if not self.n:
            return GrowthPoint(steps, np.nan, np.nan)
        return GrowthPoint(steps, self.largest, float(self.total / self.n))


def step_times(models: Mapping[str, Model], feeds: Feeds, rounds: int) -> dict[str, float]:
    """µs of a step of each model, by turns: a stream's step where there is one, else a chunk over its steps, else a run."""
    timed = {}
    for name, model in models.items():
        timed[name] = _call(model, feeds)
    found = interleave({name: call for name, (call, _) in timed.items()}, rounds)
    return {name: timing.median / timed[name][1] for name, timing in found.items()}


def _call(model: Model, feeds: Feeds) -> tuple[Call, int]:
    """A call, and how many steps it takes."""
    spec = stream_spec(model)
    if not isinstance(spec, StreamSpec):
        return lambda: run_signal(model, feeds), 1
    live = Live(model, spec, feeds, {})
    n = 1 if spec.steady else min(max(live.steps, 1), 16 * spec.rate)
    x = one_or_all(live.part(0, n))
    if spec.steady and live.steps:
        frame = one_or_all({name: part[0] if spec.mode == "frame" else part for name, part in live.part(0, 1).items()})
        return lambda: live.stream.step(frame), 1
    return lambda: live.stream.run(x), n
