"""Frames that are submitted one by one, by threads and by event loops: stepped together, each signal with the bits it has alone."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from forked import in_a_child
from in_threads import together
from lstm_infer import ArgumentError, BudgetError, DtypeError, QueueFullError, ShapeError, StateError
from lstm_infer.pool import _POOLS

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

I = stream_models.INPUTS
LONG = 60.0
"""A wait that no test sees the end of."""


@pytest.fixture(scope="module")
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.state_io())


@pytest.fixture(autouse=True)
def no_frame_is_left() -> Iterator[None]:
    """Pools in which frames wait live on."""
    yield
    for pool in list(_POOLS):
        pool.close()


def frames(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 1, 1, I)).astype(np.float32)


def alone(model: lstm_infer.Model, fed: Any) -> list[bytes]:
    stream = model.stream()
    return [stream.step(x).tobytes() for x in fed]


def until(true: Any) -> bool:
    limit = time.monotonic() + 10
    while not true() and time.monotonic() < limit:
        time.sleep(0.005)
    return bool(true())


def threads() -> int:
    return sum(thread.name == "lstm_infer collector" for thread in threading.enumerate())


@contextmanager
def busy(pool: lstm_infer.StreamPool) -> Iterator[None]:
    """Somebody else is in the pool: what is to be stepped waits."""
    inside, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=pool._alone, args=(lambda: (inside.set(), leave.wait(10)),))
    thread.start()
    inside.wait(10)
    try:
        yield
    finally:
        leave.set()
        thread.join()


# ---- bits and order


@pytest.mark.parametrize("name", every_road.ROADS)
def test_each_signal_has_the_bits_that_it_has_alone(name: str) -> None:
    """From three threads, signals of their own, several frames of each at once."""
    road = every_road.ROADS[name]()
    model = road.load()
    bound = {key: value[:1] if road.batch > 1 else value for key, value in road.bound.items()}
    pool, beside = model.pool(inputs=bound, max_wait=0.001, max_batch=5), model.pool(inputs=bound)
    n, steps = 9, 6
    # a twin begins as the signal does: what random nodes draw goes with it
    ids = [pool.open() for _ in range(n)]
    twins = [beside.restore(pool.snapshot(id)) for id in ids]
    signals = [road.signal(k, steps) for k in range(n)]
    if road.batch > 1:
        signals = [{name: np.take(a, [0], a.shape.index(road.batch)) for name, a in s.items()} for s in signals]
    parts = [[road.part(s, t, t + 1) for t in range(steps)] for s in signals]
    parts = [[{k: a[0] if road.axes[k] is None else a for k, a in p.items()} for p in row] for row in parts]
    results: dict[int, list[Any]] = {}

    def go(first: int) -> None:
        mine = range(first, n, 3)
        futures = {k: [pool.submit(ids[k], part) for part in parts[k]] for k in mine}
        for k in mine:
            results[k] = [future.result(20) for future in futures[k]]

    together(*(functools.partial(go, k) for k in range(3)))
    for k, twin in enumerate(twins):
        for part, found in zip(parts[k], results[k], strict=True):
            want = beside.step({twin: part})[twin]
            assert found.keys() == want.keys()
            for port, value in want.items():
                assert found[port] is value or found[port].tobytes() == value.tobytes()
    assert pool.stats().frames == n * steps and pool.stats().failed == 0
    for id, twin in zip(ids, twins, strict=True):
        assert pool.snapshot(id) == beside.snapshot(twin)


def test_several_event_loops_and_a_thread(model: lstm_infer.Model) -> None:
    pool, fed, n = model.pool(), frames(30), 12
    ids = [pool.open() for _ in range(n)]
    results: dict[int, list[bytes]] = {}

    async def caller(k: int) -> None:
        results[k] = []
        for x in fed:
            answer = await asyncio.wait_for(pool.astep(ids[k], x), 20)
            assert isinstance(answer, np.ndarray)
            results[k].append(answer.tobytes())

    async def callers(mine: range) -> None:
        await asyncio.gather(*map(caller, mine))

    def run(k: int) -> None:
        asyncio.run(callers(range(k, n - 1, 2)), debug=True)  # an answer from another thread is an error then

    def by_hand() -> None:
        results[n - 1] = [pool.submit(ids[n - 1], x).result(20).tobytes() for x in fed]  # type: ignore[union-attr]

    together(lambda: run(0), lambda: run(1), by_hand)
    want = alone(model, fed)
    assert all(results[k] == want for k in range(n))


def test_many_frames_of_one_signal_are_steps_one_after_the_other(model: lstm_infer.Model) -> None:
    pool, fed = model.pool(max_wait=0), frames(40)
    a, b = pool.open(), pool.open()
    futures = [(pool.submit(a, x), pool.submit(b, x)) for x in fed]
    want = alone(model, fed)
    assert [one.result(20).tobytes() for one, _ in futures] == want  # type: ignore[union-attr]
    assert [two.result(20).tobytes() for _, two in futures] == want  # type: ignore[union-attr]
    assert pool.stats().calls >= 40


def test_a_frame_is_copied(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=LONG, max_batch=2), frames(2)
    futures = []
    for row in (x[0].copy(), {"x": x[0].copy()}):
        futures.append(pool.submit(pool.open(), row))
        (row["x"] if isinstance(row, dict) else row)[...] = 7
    assert futures[0].result(20).tobytes() == alone(model, x)[0]  # type: ignore[union-attr]
    assert futures[1].result(20)["y"].tobytes() == alone(model, x)[0]  # type: ignore


# ---- when a batch begins


def test_a_full_batch_does_not_wait(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=LONG, max_batch=4), frames(8)
    futures = [pool.submit(pool.open(), row) for row in x[:3]]
    assert not wait(futures, 0.05).done and pool.stats().pending == 3 and pool.stats().calls == 0
    futures += [pool.submit(pool.open(), row) for row in x[3:]]
    assert not wait(futures, 20).not_done
    assert (pool.stats().calls, pool.stats().frames, pool.stats().mean_batch) == (2, 8, 4.0)


def test_frames_behind_others_do_not_fill_a_batch(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=0.05, max_batch=3), frames(5)
    id = pool.open()
    futures = [pool.submit(id, row) for row in x]
    assert [f.result(20).tobytes() for f in futures] == alone(model, x)  # type: ignore[union-attr]
    assert pool.stats().calls == 5


def test_the_wait_is_that_of_the_oldest_frame(model: lstm_infer.Model) -> None:
    pool = model.pool(max_wait=0.2)
    ids, x = [pool.open() for _ in range(2)], frames(2)
    began = time.monotonic()
    first = pool.submit(ids[0], x[0])
    time.sleep(0.1)
    second = pool.submit(ids[1], x[1])
    assert not first.done()
    wait([first, second], 20)
    assert time.monotonic() - began >= 0.2 and pool.stats().calls == 1
    stats = pool.stats()
    assert 0.05 <= stats.wait_p50 <= stats.wait_p99 <= stats.latency_p99 and stats.wait_p99 >= 0.19
    assert stats.wait_p50 <= stats.latency_p50


def test_nothing_runs_while_nothing_comes(model: lstm_infer.Model) -> None:
    pool = model.pool(max_wait=0.001)
    pool.submit(pool.open(), frames(1)[0]).result(20)
    time.sleep(0.05)
    began = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - began < 0.01, "under 1 % of a core"


def test_no_stats_before_the_first_frame(model: lstm_infer.Model) -> None:
    stats = model.pool().stats()
    assert stats == lstm_infer.PoolStats(0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0) and stats.mean_batch == 0


def test_the_times_are_of_the_last_frames(model: lstm_infer.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lstm_infer.pools.collector.KEPT", 4)
    pool = model.pool(max_wait=0.1, max_batch=3)
    ids, x = [pool.open() for _ in range(3)], frames(1)[0]
    pool.submit(ids[0], x).result(20)
    assert pool.stats().wait_p99 > 0.09
    for _ in range(3):
        wait([pool.submit(id, x) for id in ids], 20)
    assert pool.stats().frames == 10 and pool.stats().wait_p99 < 0.09


def test_a_signal_that_always_waits_does_not_keep_others_from_their_turn(model: lstm_infer.Model) -> None:
    """More signals than a batch has: who has had a step goes behind who has not."""
    pool, x = model.pool(max_wait=0, max_batch=2), frames(1)[0]
    ids, order = [pool.open() for _ in range(5)], list[int]()
    with busy(pool):
        pool.submit(ids[0], x)
        assert until(lambda: pool.stats().pending == 0)
        futures = [(id, pool.submit(id, x)) for _ in range(6) for id in ids[:2]] + [
            (id, pool.submit(id, x)) for id in ids[2:]
        ]
        for id, future in futures:
            future.add_done_callback(lambda _, id=id: order.append(id))  # type: ignore[misc]
    assert not wait([future for _, future in futures], 20).not_done
    assert set(order[:5]) == set(ids)


def test_the_wait_of_a_frame_behind_others_is_its_own(model: lstm_infer.Model) -> None:
    """Of two that were behind, the one of the signal that came first is the younger."""
    pool, x = model.pool(max_wait=0.3), frames(1)[0]
    a, b = pool.open(), pool.open()
    pool.submit(a, x), pool.submit(b, x)
    began = time.monotonic()
    old = pool.submit(b, x)
    time.sleep(0.25)
    pool.submit(a, x)
    old.result(20)
    assert time.monotonic() - began < 0.45, "not 0.25 + 0.3"


# ---- the bound


def test_more_than_may_wait_is_refused(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=LONG, max_pending=3, max_batch=3), frames(4)
    a, b = pool.open(), pool.open()
    futures = [pool.submit(a, x[0]), pool.submit(a, x[1]), pool.submit(b, x[2])]

    async def one() -> None:
        await pool.astep(b, x[3])

    assert until(lambda: pool._collector._waits == 3), "in the hands of the thread"
    for call in (lambda: pool.submit(b, x[3]), lambda: asyncio.run(one())):
        with pytest.raises(QueueFullError, match=r"3 frames wait in the pool already \(max_pending\)"):
            call()
    assert pool.stats().pending == 3
    with pool:
        pass
    assert not wait(futures, 20).not_done


def test_there_is_room_again_when_frames_were_stepped(model: lstm_infer.Model) -> None:
    pool, fed = model.pool(max_wait=0, max_pending=2), frames(200)
    id, futures, refused = pool.open(), list[Future[Any]](), 0
    for x in fed:
        while True:
            try:
                futures.append(pool.submit(id, x))
            except QueueFullError:
                refused += 1
                futures[-1].result(20)
                continue
            break
    assert [f.result(20).tobytes() for f in futures] == alone(model, fed)
    assert refused and pool.stats().pending == 0


# ---- cancelled


def test_a_cancelled_frame_is_not_stepped(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=LONG, max_batch=2), frames(4)
    a, b = pool.open(), pool.open()
    futures = [pool.submit(a, row) for row in x]
    assert futures[0].cancel() and futures[2].cancel()
    others = [pool.submit(b, row) for row in x[:4]]  # each call has to be full
    assert futures[1].result(20).tobytes() == alone(model, x[[1, 3]])[0]  # type: ignore[union-attr]
    assert wait([*futures[:3], *others[:3]], 20).not_done == set()
    with pytest.raises(CancelledError):
        futures[2].result(0)
    pool.submit(pool.open(), x[0])
    assert futures[3].result(20).tobytes() == alone(model, x[[1, 3]])[1]  # type: ignore[union-attr]
    assert pool.stats().cancelled == 2


def test_a_cancelled_task_takes_its_frame_out(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=0.05), frames(3)
    id = pool.open()

    async def go() -> bytes:
        async def step(row: Any) -> Any:
            return await pool.astep(id, row)

        tasks = [asyncio.create_task(step(row)) for row in x]
        await asyncio.sleep(0)  # all three wait
        tasks[1].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[1], asyncio.CancelledError)
        return found[0].tobytes() + found[2].tobytes()  # type: ignore[union-attr, no-any-return]

    assert asyncio.run(go()) == b"".join(alone(model, x[[0, 2]]))


def test_a_frame_that_is_being_stepped_only_loses_its_answer(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=0), frames(2)
    ids = pool.open(), pool.open()

    async def go() -> bytes:
        with busy(pool):
            one, two = pool.astep(ids[0], x[0]), pool.submit(ids[1], x[0])
            while pool.stats().pending:
                await asyncio.sleep(0.001)
            assert one.cancel() and not two.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        later: Any = await asyncio.wait_for(pool.astep(ids[0], x[1]), 20)
        return later.tobytes()  # type: ignore[no-any-return]

    assert asyncio.run(go()) == alone(model, x)[1]


# ---- what is wrong with one


def test_what_is_wrong_with_a_frame_fails_it_alone() -> None:
    model = every_road.ROADS["tokens"]().load()
    pool, n = model.pool(max_wait=LONG, max_batch=24), 24
    ids, x = [pool.open() for _ in range(n)], np.random.default_rng(0).integers(0, every_road.WORDS, (n, 1, 1))
    fed: list[Any] = list(x)
    fed[3], fed[11], fed[12] = x[3].astype(np.int32), np.full((1, 1), every_road.WORDS), x[12, :, [0, 0]]
    fed[19] = "what"
    before = {k: pool.snapshot(ids[k]) for k in (3, 11, 12, 19)}
    futures = [pool.submit(id, frame) for id, frame in zip(ids, fed, strict=True)]
    for k, kind in ((3, DtypeError), (11, ShapeError), (12, ShapeError), (19, DtypeError)):
        with pytest.raises(kind, match=f"signal {ids[k]}: "):
            futures[k].result(20)
        assert pool.snapshot(ids[k]) == before[k]
    stream = model.stream()
    for k in set(range(n)) - {3, 11, 12, 19}:
        stream.reset()
        assert futures[k].result(20).tobytes() == stream.step(x[k]).tobytes()  # type: ignore[union-attr]
        assert pool.snapshot(ids[k]) == stream.snapshot()
    assert (pool.stats().failed, pool.stats().calls) == (4, 1)


def test_an_id_that_is_not_open_is_refused_at_once(model: lstm_infer.Model) -> None:
    pool, x = model.pool(), frames(1)[0]
    closed = pool.open()
    pool.close(closed)
    for id in (closed, 12345, -1, 1 << 70):
        with pytest.raises(StateError, match="no signal"):
            pool.submit(id, x)
    with pytest.raises(ArgumentError, match="id: "):
        pool.submit("a", x)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="no event loop runs"):
        pool.astep(pool.open(), x)
    assert threads() == 0 or pool.stats().pending == 0


def test_a_loop_that_is_closed_loses_its_answers_only(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=0), frames(2)
    id = pool.open()

    async def go() -> Any:
        return [pool.astep(id, x[0])]  # in a list: not waited for

    with busy(pool):
        asyncio.run(go())
    assert pool.submit(id, x[1]).result(20).tobytes() == alone(model, x)[1]  # type: ignore[union-attr]


# ---- closed


def test_frames_of_a_closed_signal_fail_at_once(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=LONG, max_batch=2, max_pending=3), frames(2)
    a, b, c = (pool.open() for _ in range(3))
    waits = [pool.submit(a, x[0]), pool.submit(a, x[1])]
    pool.close(a)
    new = pool.open()  # in the same place
    for future in waits:
        with pytest.raises(StateError, match=f"no signal {a} in this pool"):
            future.result(20)
    stats = pool.stats()
    assert (stats.pending, stats.failed, stats.calls) == (0, 2, 0)
    live = [pool.submit(b, x[0]), pool.submit(b, x[1])]  # there is room for them, and they fill no batch
    assert not wait(live, 0.05).done
    live.append(pool.submit(c, x[0]))
    assert live[0].result(20).tobytes() == live[2].result(20).tobytes() == alone(model, x)[0]  # type: ignore[union-attr]
    assert pool.snapshot(new) == model.stream().snapshot()
    taken = pool.stream(b)
    assert taken.step(x[1]).tobytes() == alone(model, x)[1]
    with pytest.raises(StateError, match=f"no signal {b} in this pool"):
        live[1].result(20)


def test_frames_of_a_closed_pool_fail(model: lstm_infer.Model) -> None:
    x = frames(1)[0]

    async def go() -> None:
        with model.pool(max_wait=LONG) as pool:
            ids = [pool.open() for _ in range(3)]
            one, two, behind = pool.submit(ids[0], x), pool.astep(ids[1], x), pool.submit(ids[0], x)
            gone = pool.submit(ids[2], x)
            gone.cancel()
        for future in (one, behind):
            with pytest.raises(StateError, match="its frame was not stepped: the pool is closed"):
                future.result(20)
        with pytest.raises(StateError, match="its frame was not stepped: the pool is closed"):
            await asyncio.wait_for(two, 20)
        assert gone.cancelled()
        for call in (pool.submit, pool.astep):
            with pytest.raises(StateError, match="the pool is closed"):
                call(ids[0], x)
        assert pool.stats().pending == 0

    asyncio.run(go())


def test_reset_acts_ahead_of_what_waits(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=LONG, max_batch=2), frames(2)
    a, b = pool.open(), pool.open()
    pool.step({a: x[0]})
    future = pool.submit(a, x[1])
    pool.reset(a)
    pool.submit(b, x[0])
    assert future.result(20).tobytes() == alone(model, x[1:])[0]  # type: ignore[union-attr]


# ---- the thread


def test_the_thread_begins_with_the_first_frame_and_ends_with_the_pool(model: lstm_infer.Model) -> None:
    gc.collect()
    assert until(lambda: threads() == 0)
    x = frames(1)[0]
    with model.pool() as pool:
        id = pool.open()
        pool.step({id: x})
        assert threads() == 0
        for _ in range(3):
            pool.submit(id, x).result(20)
        assert threads() == 1
    assert until(lambda: threads() == 0)
    pool = model.pool()
    pool.submit(pool.open(), x).result(20)
    del pool
    gc.collect()
    assert until(lambda: threads() == 0)


def test_where_there_is_no_thread_to_be_had(model: lstm_infer.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool, x = model.pool(max_wait=0), frames(1)[0]
    id = pool.open()
    monkeypatch.setattr(threading.Thread, "start", none)
    with pytest.raises(BudgetError, match=r"no thread to be had.*use step\(\)"):
        pool.submit(id, x)
    assert pool.stats().pending == 0
    monkeypatch.undo()
    assert pool.submit(id, x).result(20).tobytes() == alone(model, [x])[0]  # type: ignore[union-attr]


def test_a_pool_lives_as_long_as_frames_wait_in_it(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=0.1), frames(2)
    id = pool.open()
    futures = [pool.submit(id, row) for row in x]
    del pool
    gc.collect()
    assert [f.result(20).tobytes() for f in futures] == alone(model, x)  # type: ignore[union-attr]
    assert until(lambda: threads() == 0)


def test_a_call_back_may_use_the_pool(model: lstm_infer.Model) -> None:
    """It submits the next frame, from the thread that steps; the last one closes the signal."""
    pool, fed = model.pool(max_wait=0), frames(20)
    id, found, done = pool.open(), list[bytes](), threading.Event()

    def go_on(future: Future[Any]) -> None:
        found.append(future.result().tobytes())
        if len(found) < len(fed):
            pool.submit(id, fed[len(found)]).add_done_callback(go_on)
        else:
            pool.close(id)
            done.set()

    pool.submit(id, fed[0]).add_done_callback(go_on)
    assert done.wait(20) and found == alone(model, fed) and id not in pool


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
def test_a_signal_handler_may_submit(model: lstm_infer.Model) -> None:
    """Wherever the main thread stands, in `submit` too."""
    pool, x = model.pool(max_wait=0, max_pending=1 << 20), frames(1)[0]
    a, b = pool.open(), pool.open()
    mine, its = list[Future[Any]](), list[Future[Any]]()
    before = signal.signal(signal.SIGALRM, lambda *_: its.append(pool.submit(b, x)))
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        limit = time.monotonic() + 0.5
        while time.monotonic() < limit and len(mine) < 5000:
            mine.append(pool.submit(a, x))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert its and not wait([*mine, *its], 60).not_done
    assert pool.stats().frames == len(mine) + len(its)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_collects_for_itself(model: lstm_infer.Model) -> None:
    pool, x = model.pool(max_wait=0.2), frames(2)
    id = pool.open()
    pool.submit(id, x[0]).result(20)
    waits = pool.submit(id, x[1])

    def there() -> bytes:
        assert pool.stats().pending == 0
        return pool.submit(id, x[1]).result(20).tobytes()  # type: ignore[union-attr]

    found = in_a_child(there)
    assert found == waits.result(20).tobytes() == alone(model, x)[1]  # type: ignore[union-attr]


# ---- nothing ends the thread: others wait for it


def test_call_backs_that_would_end_the_thread(model: lstm_infer.Model, caplog: pytest.LogCaptureFixture) -> None:
    """They are said where the standard library says what else a call-back raises."""

    def leave(future: Future[Any]) -> None:
        raise SystemExit

    pool, fed = model.pool(max_wait=LONG, max_batch=4), frames(2)
    ids = [pool.open() for _ in range(4)]
    first, second = ([pool.submit(id, x) for id in ids[:3]] for x in fed)
    for future in first[:2]:
        future.add_done_callback(leave)
    last = [pool.submit(ids[3], x) for x in fed]
    for row in zip([*first, last[0]], [*second, last[1]], strict=True):
        assert [future.result(20).tobytes() for future in row] == alone(model, fed)  # type: ignore[union-attr]
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [SystemExit]
    assert pool.stats().calls == 2 and threads() >= 1


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_a_batch_that_cannot_be_served_fails_alone(
    model: lstm_infer.Model, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lstm_infer.pools import collector

    outcomes = collector._outcomes

    def once(entries: Any) -> Any:
        monkeypatch.setattr(collector, "_outcomes", outcomes)
        raise error

    pool, x = model.pool(max_wait=LONG, max_batch=2), frames(1)[0]
    ids = [pool.open() for _ in range(2)]
    monkeypatch.setattr(collector, "_outcomes", once)
    for future in [pool.submit(id, x) for id in ids]:
        with pytest.raises(StateError, match=f"its frame may not have been stepped: {error.__name__}"):
            future.result(20)
    for future in [pool.submit(id, x) for id in ids]:
        assert future.result(20).tobytes() == alone(model, [x])[0]  # type: ignore[union-attr]


ANSWERS = {"set_result": (7,), "set_exception": (ValueError(),), "set_running_or_notify_cancel": ()}


@pytest.mark.parametrize(
    ("how", "stepped"), [(how, False) for how in ANSWERS] + [("set_result", True), ("set_exception", True)]
)
def test_a_future_that_somebody_else_answers(model: lstm_infer.Model, how: str, stepped: bool) -> None:
    """It is not theirs to do, before its step or while that runs; the other frames of the batch know nothing of it."""
    pool, x = model.pool(max_wait=LONG, max_batch=3), frames(1)[0]
    ids = [pool.open() for _ in range(3)]
    futures = [pool.submit(id, x) for id in ids[:2]]
    with busy(pool):
        if not stepped:
            getattr(futures[0], how)(*ANSWERS[how])
        futures.append(pool.submit(ids[2], x))
        if stepped:
            assert until(futures[0].running)
            getattr(futures[0], how)(*ANSWERS[how])
    for future in futures if how == "set_running_or_notify_cancel" else futures[1:]:
        assert future.result(20).tobytes() == alone(model, [x])[0]  # type: ignore[union-attr]


def test_a_task_that_is_cancelled_between_the_look_and_the_answer(model: lstm_infer.Model) -> None:
    """By another thread, say, though asyncio forbids it: the other answers of the batch come all the same."""

    class Between(asyncio.Future[Any]):
        looks = 0

        def done(self) -> bool:
            was = super().done()
            Between.looks += 1
            if Between.looks == 2:  # the thread looked first, now the loop does
                self.cancel()
            return was

    async def go() -> list[Any]:
        loop = asyncio.get_running_loop()
        loop.create_future = lambda: Between(loop=loop)  # type: ignore[method-assign, assignment]
        first = pool.astep(ids[0], x)
        del loop.create_future
        others = [pool.astep(id, x) for id in ids[1:]]
        return [first, *await asyncio.wait_for(asyncio.gather(*others), 20)]

    pool, x = model.pool(max_wait=LONG, max_batch=3), frames(1)[0]
    ids = [pool.open() for _ in range(3)]
    first, *found = asyncio.run(go())
    assert first.cancelled() and Between.looks >= 2
    assert [y.tobytes() for y in found] == alone(model, [x]) * 2
