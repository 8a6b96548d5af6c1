"""Two threads in one stream, off the fast road: each call is refused, or right as one thread's calls are."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import every_road
from in_threads import together
from lstm_infer import StateError

OFTEN = 1e-6
"""Seconds: threads take turns as often as they can."""


def test_frames_of_two_sizes() -> None:
    """Between the look at a frame and its run the other thread feeds another size: NumPy copies strided frames without the GIL."""
    stream = every_road.ROADS["open size"]().load().stream()
    ran, refused = [0, 0], [0, 0]

    def work(thread: int, size: int) -> None:
        x = np.full((1, 2 * size), size, np.float32)[:, ::2]
        end = time.monotonic() + 20  # on a busy machine one thread may meet nobody for thousands of steps
        while time.monotonic() < end and not (min(ran) > 30 and sum(refused) > 30):
            try:
                y = stream.step(x)
            except StateError:
                refused[thread] += 1
                continue
            ran[thread] += 1
            assert y.shape == x.shape
            assert (y == y[0, 0]).all(), "values of two frames"
            assert size <= y[0, 0] <= size + 2 * 60_000, "not this frame's mean and a state"

    together(lambda: work(0, 40_000), lambda: work(1, 60_000), turns=OFTEN)
    if not (min(ran) and sum(refused)):
        pytest.skip("the threads never met on this machine: no call was refused")


@pytest.mark.parametrize("name", ["stride", "lag"])
def test_steps_of_a_model_whose_calls_differ(name: str) -> None:
    """As many steps come out as of one thread that fed as many: no call runs from where the stream no longer stands."""
    model = every_road.ROADS[name]().load()
    refused = ran = 0
    for trial in range(40):
        stream = model.stream()
        fed, made, met = [0, 0], [0, 0], [0, 0]

        def work(
            thread: int, trial: int = trial, stream: Any = stream, fed: Any = fed, made: Any = made, met: Any = met
        ) -> None:
            rng = np.random.default_rng((trial, thread))
            for n in rng.integers(1, 9, 30):
                try:
                    y = stream.run(np.ones((1, every_road.I, n), np.float32))
                except StateError:
                    met[thread] += 1
                    continue
                fed[thread] += n
                made[thread] += y.shape[0]

        together(lambda work=work: work(0), lambda work=work: work(1), turns=OFTEN)
        want = model.stream()
        steps = want.run(np.ones((1, every_road.I, sum(fed)), np.float32)).shape[0]
        assert sum(made) == steps
        assert stream.snapshot() == want.snapshot()
        refused, ran = refused + sum(met), ran + min(fed)
    if not (refused and ran):
        pytest.skip("the threads never met on this machine: no call was refused")
