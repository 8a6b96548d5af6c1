"""What a pool refuses, and that it is all or nothing; ids, threads, forks, memory."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import sys
import threading
import time
from collections import UserDict
from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from forked import in_a_child
from in_threads import together
from lstm_infer import ArgumentError, DtypeError, FeedError, FormatError, ShapeError, StateError

I = stream_models.INPUTS


@pytest.fixture(scope="module")
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.state_io())


def frames(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 1, 1, I)).astype(np.float32)


def standing(pool: lstm_infer.StreamPool) -> dict[int, bytes]:
    return {id: pool.snapshot(id) for id in pool.ids.tolist()}


# ---- ids


def test_an_id_is_never_used_twice(model: lstm_infer.Model) -> None:
    pool, seen = model.pool(), set()
    for _ in range(50):
        id = pool.open()
        assert isinstance(id, int) and 0 <= id < 1 << 63 and id not in seen and id in pool
        seen.add(id)
        pool.close(id)
        assert id not in pool and len(pool) == 0
    assert pool.nbytes == model.pool(reserve=1).nbytes, "its place is"


@pytest.mark.parametrize("wrong", ["closed", "never", "negative", "huge"])
def test_an_id_that_is_not_open_is_named(model: lstm_infer.Model, wrong: str) -> None:
    pool = model.pool()
    good, closed = pool.open(), pool.open()
    pool.close(closed)
    id = {"closed": closed, "never": 12345, "negative": -1, "huge": 1 << 62}[wrong]
    before = standing(pool)
    calls = [
        lambda: pool.step([good, id], frames(2)),
        lambda: pool.step(np.array([good, id]), frames(2)),
        lambda: pool.run(np.array([good, id]), frames(2)),
        lambda: pool.step({good: frames(1)[0], id: frames(1)[0]}),
        lambda: pool.reset([good, id]),
        lambda: pool.reset(id),
        lambda: pool.close(id),
        lambda: pool.flush(id),
        lambda: pool.snapshot(id),
        lambda: pool.stream(id),
    ]
    for call in calls:
        with pytest.raises(StateError, match=f"no signal {id} in this pool"):
            call()
        assert standing(pool) == before


def test_what_is_no_id_is_not_in_a_pool(model: lstm_infer.Model) -> None:
    pool = model.pool()
    id = pool.open()
    assert id in pool and np.int64(id) in pool
    for other in (True, np.True_, 0.0, None, str(id), -1, 1 << 70, np.uint64(2**64 - 1), [id]):
        assert other not in pool


def test_an_id_that_is_named_twice(model: lstm_infer.Model) -> None:
    pool = model.pool()
    a, b = pool.open(), pool.open()
    pool.step([a], frames(1))
    before = standing(pool)
    for call in (
        lambda: pool.step(np.array([a, b, a]), frames(3)),
        lambda: pool.run([b, b], frames(2)),
        lambda: pool.reset([a, a]),
    ):
        with pytest.raises(FeedError, match="is named twice"):
            call()
        assert standing(pool) == before


def test_no_signals(model: lstm_infer.Model) -> None:
    pool = model.pool()
    assert pool.step(np.empty(0, np.int64), frames(0)).shape == (0, 1, 1, stream_models.CLASSES)
    assert pool.step([], frames(0)[:, 0]).shape == (0, 1, stream_models.CLASSES)
    assert pool.step({}) == {} and pool.run({}) == {}
    pool.reset([])


# ---- what a call is given


def test_shapes_and_dtypes(model: lstm_infer.Model) -> None:
    pool = model.pool()
    ids = [pool.open() for _ in range(3)]
    x = frames(3)
    for error, call, text in [
        (ShapeError, lambda: pool.step(ids, x[:2]), r"takes \[3, \.\.\.\], a frame for each id, got \[2"),
        (ShapeError, lambda: pool.step(ids, x[..., :2]), "input 'x' takes"),
        (ShapeError, lambda: pool.run(ids, x[..., :2]), "input 'x' takes"),
        (DtypeError, lambda: pool.step(ids, x.astype(np.float64)), "takes float32, got float64"),
        (DtypeError, lambda: pool.step(ids, x.tolist()), "takes an array of float32, got list"),
        (FeedError, lambda: pool.step(ids, {"x": x, "z": x}), "no input 'z'"),
        (FeedError, lambda: pool.step(ids, {}), "input 'x' is missing"),
        (ShapeError, lambda: pool.step(ids, x, np.empty((2, 1, 1, stream_models.CLASSES), np.float32)), "out: "),
        (FeedError, lambda: pool.step(ids, x, {"z": x}), "out: there is no output 'z'"),
        (ShapeError, lambda: pool.step({ids[0]: x[0], ids[1]: x[0, ..., :2]}), f"signal {ids[1]}: step: input 'x'"),
        (DtypeError, lambda: pool.run({ids[2]: x[0].astype(int)}), f"signal {ids[2]}: input 'x' takes float32"),
        (ArgumentError, lambda: pool.step(ids), "alone"),
        (ArgumentError, lambda: pool.step({ids[0]: x[0]}, None, x), "out: goes with the array form"),
        (ArgumentError, lambda: pool.step({ids[0]: x[0]}, x), "the other form"),
        (ArgumentError, lambda: pool.step(np.array(ids)[None], x), r"ids: \[N\] expected"),
        (ArgumentError, lambda: pool.step([1.5], x[:1]), "the number that open"),
        (ArgumentError, lambda: pool.step(np.ones(3), x), "whole numbers expected"),
        (ArgumentError, lambda: pool.open("x"), "a dict by name"),
        (FeedError, lambda: pool.open({"nobody": x}), "no state 'nobody'"),
        (ShapeError, lambda: pool.open({"h0": x}), "state 'h0' takes"),
    ]:
        before = standing(pool)
        with pytest.raises(error, match=text):
            call()
        assert standing(pool) == before


def test_strided_frames_and_out(model: lstm_infer.Model) -> None:
    pool, other = model.pool(), model.pool()
    ids, twins = [pool.open() for _ in range(5)], [other.open() for _ in range(5)]
    x = frames(10)
    out = np.empty((5, 1, 1, stream_models.CLASSES), np.float32)
    assert pool.step(np.array(ids), x[::2], out) is out
    want = other.step(twins, x[::2].copy())
    assert out.tobytes() == want.tobytes()
    with pytest.raises(FeedError, match="shares memory"):
        pool.step(ids, x[:5], x.reshape(-1)[:15].reshape(5, 1, 1, stream_models.CLASSES))


def test_first_values(model: lstm_infer.Model) -> None:
    pool = model.pool()
    h = np.random.default_rng(0).uniform(-1, 1, (1, 1, stream_models.HIDDEN)).astype(np.float32)
    stream, id, plain = model.stream(initial={"h0": h}), pool.open({"h0": h}), pool.open()
    x = frames(2)
    want = [stream.step(x[0]), stream.step(x[1])]
    assert pool.step([id], x[:1])[0].tobytes() == want[0].tobytes()
    pool.reset(id)
    assert pool.step([plain, id], x[[1, 0]])[1].tobytes() == want[0].tobytes()
    moved = pool.stream(id)
    assert moved.step(x[1]).tobytes() == want[1].tobytes()
    moved.reset()
    back = pool.adopt(moved)
    pool.step([back], x[1:])
    pool.reset([back])
    assert pool.step([back], x[:1])[0].tobytes() == want[0].tobytes()


def test_a_signal_in_the_place_of_another_has_nothing_of_it(model: lstm_infer.Model) -> None:
    """Neither its first values, to which a reset goes back, nor how far it was."""
    pool, h = model.pool(), np.ones((1, 1, stream_models.HIDDEN), np.float32)
    for leave in (pool.close, pool.stream):
        leave(pool.open({"h0": h}))
        id = pool.open()
        pool.reset(id)
        assert pool.snapshot(id) == model.stream().snapshot() and id & 0xFFFFFFFF == 0, "the same place"
        pool.close(id)
    ahead = lstm_infer.load(stream_models.centred_conv())
    pool, x = ahead.pool(), np.ones((1, 1, I, 4), np.float32)
    for leave in (pool.close, pool.stream):
        id = pool.open()
        pool.run([id], x)
        pool.flush(id)
        leave(id)
        id = pool.open()
        assert pool.snapshot(id) == ahead.stream().snapshot() and id & 0xFFFFFFFF == 0
        pool.close(id)


# ---- all or nothing


@pytest.mark.parametrize("n", [1, 3, 40, 200])
@pytest.mark.parametrize("form", ["step", "run", "dict", "dict run"])
def test_a_signal_that_fails_is_named_and_no_signal_moves(n: int, form: str) -> None:
    model = every_road.ROADS["tokens"]().load()
    pool = model.pool()
    ids = [pool.open() for _ in range(n)]
    rng = np.random.default_rng(n)
    steps = 7 if "run" in form else 1
    x = rng.integers(0, every_road.WORDS, (n, steps, 1))
    pool.run(ids, x)
    before, bad = standing(pool), ids[2 * n // 3]
    x[2 * n // 3, -1] = every_road.WORDS
    call = pool.run if "run" in form else pool.step
    given = ({id: x[k] for k, id in enumerate(ids)},) if form.startswith("dict") else (np.array(ids), x)
    with pytest.raises(ShapeError, match=rf"signal {bad}: node .*index lies outside its axis"):
        call(*given)
    assert standing(pool) == before


@pytest.mark.parametrize("begun", [True, False])
def test_a_signal_that_fails_on_the_general_path(begun: bool) -> None:
    """Of a model that looks ahead: what went well before is taken back."""
    road = every_road.ROADS["tokens"]()
    object.__setattr__(road, "nodes", [
        every_road.n("Gather", ["table", "x"], ["e"]),
        every_road.n("Transpose", ["e"], ["bit"], perm=[1, 2, 0]),
        every_road.n("Conv", ["bit", "K5"], ["c"], name="conv", pads=[2, 2]),
        every_road.n("Transpose", ["c"], ["tbi"], perm=[2, 0, 1]),
        *every_road.gru("tbi"),
        every_road.HEAD,
    ])  # fmt: skip
    model = road.load()
    assert model.streaming.lag == 2
    pool = model.pool()
    ids = [pool.open() for _ in range(70)]
    x = np.random.default_rng(0).integers(0, every_road.WORDS, (70, 1, 1))
    for k in range(4 if begun else 0):
        pool.step(ids[k:], x[k:])
    before = standing(pool)
    x[66] = -1 - every_road.WORDS
    with pytest.raises(ShapeError, match=rf"signal {ids[66]}: node"):
        pool.step(ids, x)
    assert standing(pool) == before


def test_flushed_signals() -> None:
    model = lstm_infer.load(stream_models.centred_conv())
    pool, stream = model.pool(), model.stream()
    a, b = pool.open(), pool.open()
    x = np.random.default_rng(0).uniform(-1, 1, (1, 1, I, 6)).astype(np.float32)
    assert pool.run([a], x)[0].tobytes() == stream.run(x[0]).tobytes()
    assert pool.flush(a).tobytes() == stream.flush().tobytes()
    with pytest.raises(StateError, match=f"signal {a}: it was flushed"):
        pool.run([b, a], np.concatenate([x, x]))
    with pytest.raises(StateError, match="flushed"):
        pool.flush(a)
    stream.reset()
    pool.reset([a, b])
    assert pool.run([b, a], np.concatenate([x, x]))[1].tobytes() == stream.run(x[0]).tobytes()


def test_snapshots_of_others(model: lstm_infer.Model) -> None:
    pool = model.pool()
    other = lstm_infer.load(stream_models.state_io(1))
    with pytest.raises(FormatError):
        pool.restore(other.stream().snapshot())
    with pytest.raises(FormatError):
        pool.adopt(other.stream())
    with pytest.raises(FormatError, match="batch of 2"):
        pool.adopt(model.stream(2))
    with pytest.raises(ArgumentError, match="a Stream expected"):
        pool.adopt(pool)  # type: ignore[arg-type]
    assert len(pool) == 0
    batch = model.stream(3)
    batch.run(np.random.default_rng(0).uniform(-1, 1, (4, 3, I)).astype(np.float32))
    id, row = pool.restore(batch.snapshot([1])), model.stream()
    row.restore(batch.snapshot([1]))
    assert pool.step([id], frames(1))[0].tobytes() == row.step(frames(1)[0]).tobytes()


# ---- the end of a pool


async def waited(pool, id):
    return await pool.astep(id, frames(1)[0])


def test_a_closed_pool(model: lstm_infer.Model) -> None:
    with model.pool() as pool:
        id = pool.open()
        assert repr(pool) == "<lstm_infer.StreamPool: 1 signal>"
        kept = pool.snapshot(id)
    assert len(pool) == 0 and not pool.ids.size and repr(pool) == "<lstm_infer.StreamPool: closed>"
    calls = {
        "open": pool.open,
        "open_many": lambda: pool.open_many(2),
        "step": lambda: pool.step([id], frames(1)),
        "step of a dict": lambda: pool.step({id: frames(1)[0]}),
        "run": lambda: pool.run({id: frames(1)}),
        "flush": lambda: pool.flush(id),
        "reset": lambda: pool.reset(id),
        "snapshot": lambda: pool.snapshot(id),
        "restore": lambda: pool.restore(kept),
        "adopt": lambda: pool.adopt(model.stream()),
        "stream": lambda: pool.stream(id),
        "submit": lambda: pool.submit(id, frames(1)[0]),
        "astep": lambda: asyncio.run(waited(pool, id)),
        "close": lambda: pool.close(id),
        "with": lambda: pool.__enter__(),
    }
    public = {name for name in dir(pool) if not name.startswith("_") and callable(getattr(pool, name))}
    assert public - {"stats"} <= set(calls)
    for call in calls.values():
        with pytest.raises(StateError, match="the pool is closed"):
            call()
    pool.close()


@pytest.mark.parametrize("form", ["step", "run"])
@pytest.mark.parametrize("n", [0, 3])
def test_a_pool_that_is_closed_while_a_call_waits_for_it(model: lstm_infer.Model, n: int, form: str) -> None:
    pool, x = model.pool(), frames(n)
    ids = np.array([pool.open() for _ in range(n)], np.int64)
    call = getattr(pool, form)
    call(ids, x)
    inside, leave, seen = threading.Event(), threading.Event(), list[BaseException]()

    def close() -> None:  # what `with pool:` does at its end, after a while
        inside.set()
        leave.wait(20)
        pool._shut()

    def step() -> None:
        try:
            call(ids, x)
        except StateError as error:
            seen.append(error)

    closes, steps = threading.Thread(target=pool._alone, args=(close,)), threading.Thread(target=step)
    closes.start()
    inside.wait(20)
    steps.start()
    time.sleep(0.1)  # it waits now
    leave.set()
    closes.join()
    steps.join()
    assert "the pool is closed" in str(seen[0])


def test_a_pool_is_neither_pickled_nor_copied(model: lstm_infer.Model) -> None:
    pool = model.pool()
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(ArgumentError, match="a pool is not"):
            call(pool)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_has_the_signals_too(model: lstm_infer.Model) -> None:
    pool = model.pool()
    id = pool.open()
    pool.step([id], frames(1))
    there = in_a_child(lambda: pool.step([id], frames(1, 2)).tobytes())
    assert there == pool.step([id], frames(1, 2)).tobytes()


# ---- threads


def test_threads_wait_for_each_other() -> None:
    """Two threads on signals of their own: calls long enough to release the GIL, each with the bits of a stream alone."""
    model = every_road.ROADS["lstm"]().load()
    pool = model.pool()
    ids = np.array([pool.open() for _ in range(128)])
    x = np.random.default_rng(0).uniform(-1, 1, (64, 400, 1, every_road.I)).astype(np.float32)
    results: dict[int, list[bytes]] = {0: [], 1: []}

    def go(half: int) -> None:
        for _ in range(4):
            results[half].append(pool.run(ids[64 * half : 64 * half + 64], x).tobytes())

    together(lambda: go(0), lambda: go(1))
    stream = model.stream()
    want = [stream.run(x[0]).tobytes() for _ in range(4)]
    assert results[0] == results[1]
    assert [found[: len(want[0])] for found in results[0]] == want


def test_a_call_inside_a_call_is_refused(model: lstm_infer.Model) -> None:
    pool = model.pool()
    id = pool.open()

    class Odd(UserDict[str, Any]):
        def __iter__(self) -> Any:
            pool.step([id], frames(1))
            return super().__iter__()

    with pytest.raises(StateError, match="a call inside a call"):
        pool.step([id], Odd(x=frames(1)))
    pool.step([id], frames(1))


# ---- memory


@pytest.mark.parametrize("build", [stream_models.state_io, stream_models.centred_conv])
def test_signals_that_come_and_go_leave_nothing(build: Any) -> None:
    model, rng = lstm_infer.load(build()), np.random.default_rng(0)
    pool, alive, held = model.pool(), list[int](), list[int]()
    x = np.zeros((1, 1, I, 3) if build is stream_models.centred_conv else (1, 3, 1, I), np.float32)
    for turn in range(12_000):
        if len(alive) < 50 or (len(alive) < 200 and rng.random() < 0.5):
            alive.append(pool.open())
            if turn % 3 == 0:
                pool.run(alive[-1:], x)
        else:
            id = alive.pop(int(rng.integers(len(alive))))
            pool.stream(id) if turn % 7 == 0 else pool.close(id)
        if turn in (4000, 11_999):
            gc.collect()
            held.append(sys.getallocatedblocks())
    assert held[1] - held[0] < 600 and len(pool._where) <= len(alive), held
    assert pool._table_bytes < 1 << 19, "one slab is enough for 200"


def test_signals_stand_where_they_stood_when_the_pool_grows() -> None:
    """Slab by slab, while those that are there are stepped, and memory that is let go comes into other hands."""
    model = lstm_infer.load(stream_models.wide())
    pool, alone = model.pool(), dict[int, lstm_infer.Stream]()
    x = np.random.default_rng(0).uniform(-1, 1, (10, 1, 1, 24)).astype(np.float32)
    rows = (1 << 18) // pool._row_bytes
    while pool._table_bytes < 4 * rows * pool._row_bytes:
        for id in pool.open_many(rows // 3).tolist():
            alone[id] = model.stream()
        ids = np.random.default_rng(len(alone)).permutation(list(alone))[:10]
        got = pool.step(ids, x)
        for id, frame, y in zip(ids.tolist(), x, got, strict=True):
            np.testing.assert_array_equal(y, alone[id].step(frame))
        gc.collect()
        np.full(rows * pool._row_bytes // 4, 7.0, np.float32)
    assert all(pool.snapshot(id) == stream.snapshot() for id, stream in alone.items())


def test_a_signal_takes_its_state_and_little_more(model: lstm_infer.Model) -> None:
    n = 10_000
    empty, pool = model.pool(), model.pool()
    for _ in range(n):
        pool.open()
    state = model.stream().nbytes
    assert (pool.nbytes - empty.nbytes) / n <= state + 128


def test_a_step_with_out_keeps_no_memory(model: lstm_infer.Model) -> None:
    pool = model.pool()
    ids, x = np.array([pool.open() for _ in range(100)]), frames(100)
    out = pool.step(ids, x)
    for _ in range(3):
        pool.step(ids, x, out)
    before = sys.getallocatedblocks()
    for _ in range(200):
        pool.step(ids, x, out)
    assert sys.getallocatedblocks() - before < 20


def test_an_output_without_axes_stays_an_array() -> None:
    """One number a frame: an array without axes, as a stream gives it."""
    n, info = every_road.n, every_road.helper.make_tensor_value_info
    nodes = [
        n("Mul", ["h", "half"], ["h2"]),
        n("Add", ["h2", "x"], ["hn"]),
        n("ReduceSum", ["hn"], ["y"], keepdims=0),
    ]
    ports = [(name, every_road.FLOAT, [3]) for name in ("x", "h", "hn")]
    weights = [every_road.numpy_helper.from_array(np.float32(0.5), "half")]
    graph = every_road.helper.make_graph(
        nodes, "g", [info(*p) for p in ports[:2]], [info("y", every_road.FLOAT, []), info(*ports[2])], weights
    )
    opsets = [every_road.helper.make_opsetid("", 17)]
    model = lstm_infer.load(every_road.helper.make_model(graph, opset_imports=opsets, ir_version=8), states={"h": "hn"})
    pool, x = model.pool(), np.arange(3, dtype=np.float32)
    a, b = pool.open(), pool.open()
    want = model.stream().step(x)
    assert isinstance(want, np.ndarray) and want.shape == ()
    for found in (pool.step({a: x, b: x})[a], pool.step({a: x, b: {"x": x}})[b]["y"]):
        assert isinstance(found, np.ndarray) and found.shape == ()
    assert pool.step([a, b], np.stack([x, x])).shape == (2,)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("form", ["dict", "array"])
def test_plans_of_the_sizes_that_are_fed_are_kept(form: str, ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an axis that the file leaves open: the second call plans nothing. `ahead`: on the general path."""
    road = every_road.ROADS["open size"]()
    x = road.signal(0, 1)["x"][0]
    if ahead:
        n, weights = every_road.n, np.random.default_rng(0).uniform(-0.5, 0.5, (1, 15, 1)).astype(np.float32)
        consts = every_road.consts() | {"k": np.ones((1, 1, 5), np.float32), "narrow_W": weights}
        monkeypatch.setattr(every_road, "consts", lambda: consts)
        nodes = [
            n("ReduceMean", ["x", "one"], ["m"], keepdims=1),
            n("Conv", ["m", "k"], ["c"], pads=[2, 2]),
            n("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
            n("GRU", ["t", "narrow_W", "gru_R"], ["Y"], hidden_size=every_road.H),
            n("Squeeze", ["Y", "one"], ["seq"]),
            every_road.HEAD,
        ]
        road = every_road.Road(nodes, [("x", every_road.FLOAT, ["B", "F", "T"])], [every_road.Y], {"x": 2})
        x = np.ones((1, 4, 1), np.float32)
    pool = road.load().pool()
    ids = [pool.open() for _ in range(3)]
    fed: tuple[Any, ...] = (dict.fromkeys(ids, x),) if form == "dict" else (ids, np.stack([x] * 3))
    before = pool._batches
    pool.step(*fed)
    plans = pool._batches
    assert plans is not before
    pool.step(*fed)
    assert pool._batches is plans


# ---- many at once


@pytest.mark.parametrize("road", ["lstm", "random", "frame with states"])
def test_many_signals_begin_and_end_at_once(road: str) -> None:
    made = every_road.ROADS[road]()
    if road == "random":
        object.__setattr__(made, "options", {})  # each signal draws numbers of its own
    model = made.load()
    pool = model.pool()
    one, many = pool.open(), pool.open_many(3000)
    assert many.dtype == np.int64 and len(set(many.tolist()) | {one}) == 3001 == len(pool)
    assert set(pool.ids.tolist()) == {one, *many.tolist()}
    if road == "random":
        assert len({pool.snapshot(int(id)) for id in many[:20]}) == 20
    else:
        assert {pool.snapshot(int(id)) for id in many} == {pool.snapshot(one)}
    with pytest.raises(StateError, match="no signal 7"):
        pool.close([*many[:5].tolist(), 7])
    with pytest.raises(FeedError, match="named twice"):
        pool.close(many[[0, 1, 0]])
    assert len(pool) == 3001, "no signal was closed"
    pool.close(many)
    assert pool.ids.tolist() == [one]
    again = pool.open_many(3000)
    assert not set(again.tolist()) & set(many.tolist()), "an id is never used twice"
    assert pool.open_many(0).shape == (0,)
    with pytest.raises(ArgumentError, match="n: a whole number from 0 on"):
        pool.open_many(-1)


def test_rows_of_a_large_pool_are_apart(model: lstm_infer.Model) -> None:
    """Behind some 32 MB rows come in larger pieces: each signal still has a place of its own, also after a call at random."""
    pool, n = model.pool(), 250_000
    ids = pool.open_many(n)
    assert pool.nbytes / n < model.stream().nbytes + 128, "a piece is little beside what is there"
    rng = np.random.default_rng(7)
    chosen = rng.permutation(n)[:3000]
    first, second = frames(3000, 1), frames(3000, 2)
    once = pool.step(ids[chosen], first)
    twice = pool.step(ids[chosen[::-1]], second)[::-1]
    for k in range(0, 3000, 15):
        stream = model.stream()
        assert once[k].tobytes() == stream.step(first[k]).tobytes()
        assert twice[k].tobytes() == stream.step(second[2999 - k]).tobytes()
    fresh = pool.snapshot(pool.open())
    rest = np.delete(ids, chosen)
    others = [*rest[:: n // 40].tolist(), int(rest[-1])]
    assert {pool.snapshot(id) for id in others} == {fresh}, "nobody else moved"
