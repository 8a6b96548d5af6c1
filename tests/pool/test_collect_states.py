"""A pool under any order of acts: signals open, submit, cancel, reset, move and close, from a thread and from an event loop.

Beside each signal goes a stream of its own, which is fed what was stepped: answers and states are the same, bit for bit.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test

import lstm_infer
import stream_models
from lstm_infer import StateError

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

FRAMES = np.random.default_rng(0).uniform(-1, 1, (16, 1, 1, stream_models.INPUTS)).astype(np.float32)
WHICH = st.lists(st.integers(0, 15), min_size=1, max_size=4)


@cache
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.state_io())


class Acts(RuleBasedStateMachine):
    """What waits is settled before anything acts ahead of it."""

    signals: Any = Bundle("signals")

    def __init__(self) -> None:
        super().__init__()
        self.pool = model().pool(max_wait=0.0002, max_batch=5)
        self.twins: dict[int, lstm_infer.Stream] = {}
        self.waits: list[tuple[int, Future[Any], int]] = []
        self.submitted: list[Future[Any]] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def settle(self) -> None:
        assert not wait([future for _, future, _ in self.waits], 20).not_done
        for id, future, which in self.waits:
            if not future.cancelled():
                assert future.result().tobytes() == self.twins[id].step(FRAMES[which]).tobytes()
        self.waits.clear()
        self.submitted.clear()
        for id, twin in self.twins.items():
            assert self.pool.snapshot(id) == twin.snapshot()

    @rule(target=signals)
    def open(self) -> int:
        id = self.pool.open()
        self.twins[id] = model().stream()
        return id

    @rule(id=signals, which=WHICH)
    def submit(self, id: int, which: list[int]) -> None:
        for k in which:
            self.submitted.append(self.pool.submit(id, FRAMES[k]))
            self.waits.append((id, self.submitted[-1], k))

    @rule(id=signals, which=st.integers(0, 15))
    def submit_with_a_call_back_that_would_end_the_thread(self, id: int, which: int) -> None:
        def leave(_: Future[Any]) -> None:
            raise SystemExit

        future = self.pool.submit(id, FRAMES[which])
        self.waits.append((id, future, which))
        with suppress(SystemExit):  # where it is done already, it runs here
            future.add_done_callback(leave)

    @rule(id=signals, which=WHICH)
    def astep(self, id: int, which: list[int]) -> None:
        async def ask() -> list[Any]:
            return [asyncio.ensure_future(self.pool.astep(id, FRAMES[k])) for k in which]

        async def answer(future: asyncio.Future[Any]) -> Any:
            return await future

        for k, future in zip(which, asyncio.run_coroutine_threadsafe(ask(), self.loop).result(20), strict=True):
            self.waits.append((id, asyncio.run_coroutine_threadsafe(answer(future), self.loop), k))

    @rule(id=signals, frame=st.sampled_from([FRAMES[0][0, 0], FRAMES[0].astype(np.float64), "x"]))
    def submit_what_is_wrong(self, id: int, frame: Any) -> None:
        future = self.pool.submit(id, frame)
        assert isinstance(future.exception(20), lstm_infer.LstmInferError)

    @rule(place=st.integers(0, 99))
    def cancel(self, place: int) -> None:
        """Of those of `submit`: whether a task was in time, its own thread alone knows."""
        if self.submitted:
            self.submitted[place % len(self.submitted)].cancel()

    @rule(id=consumes(signals))
    def close(self, id: int) -> None:
        self.pool.close(id)
        mine = [future for one, future, _ in self.waits if one == id]
        assert not wait(mine, 20).not_done
        errors = [future.exception() is not None for future in mine if not future.cancelled()]
        assert errors == sorted(errors), "those that were stepped came first"
        for future in mine:
            assert future.cancelled() or isinstance(future.exception(), StateError | None)
        self.waits = [one for one in self.waits if one[0] != id]
        del self.twins[id]

    @rule(id=signals)
    def reset(self, id: int) -> None:
        self.settle()
        self.pool.reset(id)
        self.twins[id].reset()

    @rule(target=signals, id=signals)
    def move(self, id: int) -> int:
        self.settle()
        new = self.pool.restore(self.pool.snapshot(id))
        self.twins[new] = self.twins[id].fork()
        return new

    @rule(id=signals, which=st.integers(0, 15))
    def step(self, id: int, which: int) -> None:
        self.settle()
        assert self.pool.step({id: FRAMES[which]})[id].tobytes() == self.twins[id].step(FRAMES[which]).tobytes()  # type: ignore

    def teardown(self) -> None:
        try:
            self.settle()
            assert set(self.pool.ids.tolist()) == set(self.twins)
        finally:
            with self.pool:
                pass
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


def test_any_order_of_acts() -> None:
    run_state_machine_as_test(Acts, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))  # type: ignore[no-untyped-call]
