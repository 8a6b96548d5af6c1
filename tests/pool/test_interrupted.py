"""A handler of a signal that raises while a call runs: the call is done and its result is there, or nothing was done."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import numpy as np
import pytest

import lstm_infer
import stream_models

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or threading.current_thread() is not threading.main_thread(),
    reason="sets a timer that sends this thread a signal",
)
SIGNALS, STEPS = 24, 8


class Stop(BaseException):
    """What Ctrl-C raises, say."""


def stop(number: int, frame: FrameType | None) -> None:
    raise Stop


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("steps", [STEPS, 40 * STEPS])
def test_a_call_that_raises_has_done_nothing(steps: int, threads: int) -> None:
    model = lstm_infer.load(stream_models.wide())
    x = np.random.default_rng(3).standard_normal((SIGNALS, steps, 1, 24)).astype(np.float32)
    with model.pool(threads=threads) as pool:
        ids = np.array([pool.open() for _ in range(SIGNALS)])
        pool.run(ids, x)  # plans are made
        pool.reset(ids)
        twin = model.stream(batch=SIGNALS)
        done: list[np.ndarray] = []
        seen = 0
        before = signal.signal(signal.SIGALRM, stop)
        try:
            for after in np.geomspace(2e-5, 3e-3, 40):
                begun = len(done)
                try:
                    signal.setitimer(signal.ITIMER_REAL, after)
                    done.extend(
                        map(pool.run, [ids] * 50, [x] * 50)
                    )  # what has ended is in the list, whatever comes then
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Stop:
                    seen += 1
                for _ in done[begun:]:
                    twin.run(np.ascontiguousarray(x[:, :, 0].swapaxes(0, 1)))
                assert np.array_equal(_rows(pool, ids), _rows_of(twin)), f"after {after:.1e} s, {len(done)} calls"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert seen > 10


def _rows(pool: lstm_infer.StreamPool, ids: np.ndarray) -> list[np.ndarray]:
    return np.concatenate([state for id in ids for state in _taken(pool, int(id))], axis=None)


def _taken(pool: lstm_infer.StreamPool, id: int) -> list[np.ndarray]:
    stream = pool.stream(pool.restore(pool.snapshot(id)))
    return [stream.state[name] for name in sorted(stream.state)]


def _rows_of(stream: lstm_infer.Stream) -> np.ndarray:
    states = [stream.state[name] for name in sorted(stream.state)]
    axes = {info.name: info.batch_axis for info in stream._plan.spec.states}
    return np.concatenate(
        [
            np.take(state, [row], axes[name])
            for row in range(stream.batch)
            for name, state in zip(sorted(stream.state), states, strict=True)
        ],
        axis=None,
    )
