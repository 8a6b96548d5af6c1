"""Whole sequences of unequal length, and threads that share a call: the bits of each sequence alone."""

from __future__ import annotations

import gc
import os
import threading
import time
from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from forked import in_a_child
from lstm_infer import ArgumentError, DtypeError, FeedError, ShapeError, StreamPool, _pool
from lstm_infer.pools import whole as whole_sequences

I = stream_models.INPUTS


@pytest.fixture(autouse=True)
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models here are small: they would be run one by one."""
    monkeypatch.setattr(whole_sequences, "WORTH", 0)


def whole(stream: lstm_infer.Stream, fed: Any) -> dict[str, Any]:
    """What a stream gives for a whole sequence."""
    made, tail = stream.run(fed), stream.flush()
    names = [o.name for o in stream._plan.spec.outputs]
    tail = tail if isinstance(tail, dict) else {names[0]: tail}
    if stream._plan.spec.steady or stream._plan.spec.mode == "frame":
        return made
    return {o.name: np.concatenate([made[o.name], tail[o.name]], o.axis) for o in stream._plan.spec.outputs}


@pytest.mark.parametrize("name", every_road.ROADS)
def test_each_sequence_has_the_bits_that_it_has_alone(name: str) -> None:
    road = every_road.ROADS[name]()
    model, bound = road.load(), {key: value[:1] if road.batch > 1 else value for key, value in road.bound.items()}
    object.__setattr__(road, "batch", 1)
    lengths = [int(n) for n in np.random.default_rng(1).integers(0, 150, 80)]
    sequences = [road.signal(seed, steps) for seed, steps in enumerate(lengths)]
    results = model.run_many(sequences, inputs=bound)
    for fed, found in zip(sequences, results, strict=True):
        want = whole(model.stream(inputs=bound), fed)
        assert want.keys() == found.keys()
        for out, value in want.items():
            assert found[out].shape == value.shape and found[out].tobytes() == value.tobytes()


def test_arrays_in_arrays_out_and_in_what_order(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lstm_infer.load(stream_models.hidden_state())
    rng = np.random.default_rng(0)
    sequences = [rng.uniform(-1, 1, (n, 1, I)).astype(np.float32) for n in (3, 200, 0, 64, 65)]
    want = [model.run({"x": x})["y"] for x in sequences]
    found = model.run_many(sequences)
    assert all(isinstance(y, np.ndarray) for y in found)
    assert [y.tobytes() for y in found] == [y.tobytes() for y in want]
    come = list(model.iter_many(iter(sequences)))
    assert sorted(index for index, _ in come) == [0, 1, 2, 3, 4] and come[-1][0] == 2
    assert all(y.tobytes() == want[index].tobytes() for index, y in come)
    assert model.run_many([]) == []
    monkeypatch.setattr(whole_sequences, "WORTH", 1 << 60)
    alone = list(model.iter_many(sequences))
    assert [(index, y.tobytes()) for index, y in alone] == [(index, y.tobytes()) for index, y in enumerate(want)]


@pytest.mark.parametrize("build", [stream_models.last_step, stream_models.both_ways, stream_models.centred_conv])
def test_models_of_other_kinds(build: Any) -> None:
    """The value at the end; a model that does not stream; one that looks ahead."""
    model = lstm_infer.load(build())
    rng = np.random.default_rng(0)
    shapes = [(1, I, n) if build is stream_models.centred_conv else (n, 1, I) for n in (3, 120, 7, 9)]
    sequences = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    for x, y in zip(sequences, model.run_many(sequences), strict=True):
        assert y.tobytes() == model.run({"x": x})["y"].tobytes()


def test_what_is_wrong_with_a_sequence_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    model = lstm_infer.load(stream_models.hidden_state())
    x = np.zeros((4, 1, I), np.float32)
    for bad, error, text in [
        (x[..., :2], ShapeError, "sequence 1: run: input 'x'"),
        (x.astype(np.float64), DtypeError, "sequence 1: input 'x' takes float32"),
        ({"z": x}, FeedError, "sequence 1: there is no input 'z'"),
    ]:
        with pytest.raises(error, match=text):
            model.iter_many([x, bad])
    with pytest.raises(ArgumentError, match="progress: True or False"):
        model.run_many([x], progress=1)  # type: ignore[arg-type]
    model.run_many([x] * 3, progress=True)
    assert "3 of 3 sequences" in capsys.readouterr().err
    tokens = every_road.ROADS["tokens"]().load()
    with pytest.raises(ShapeError, match=r"sequence 2: node .*index"):
        tokens.run_many([np.zeros((5, 1), np.int64), np.ones((3, 1), np.int64), np.full((2, 1), 99)])
    both = lstm_infer.load(stream_models.both_ways())
    with pytest.raises(ShapeError, match="sequence 0: "):
        both.run_many([x[..., :2]])


# ---- threads


def large() -> tuple[lstm_infer.Model, Any]:
    """A model and chunks for 200 signals, large enough for several threads."""
    model = every_road.ROADS["lstm"]().load()
    return model, np.random.default_rng(0).uniform(-1, 1, (200, 300, 1, every_road.I)).astype(np.float32)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_bits_do_not_depend_on_threads(threads: int) -> None:
    model, x = large()
    pools = [model.pool(), model.pool(threads=threads)]
    ids = [np.random.default_rng(5).permutation([pool.open() for _ in range(200)]) for pool in pools]
    for n in (200, 37, 2):
        a, b = (pool.run(each[:n], x[:n]) for pool, each in zip(pools, ids, strict=True))
        assert a.tobytes() == b.tobytes()
    assert pools[1]._workers is not None, "no call was large enough: this test sees nothing"
    for one, other in zip(*ids, strict=True):
        assert pools[0].snapshot(int(one)) == pools[1].snapshot(int(other))
    results = model.run_many(list(x), threads=threads)
    assert results[7].tobytes() == model.stream().run(x[7]).tobytes()


def test_a_failure_in_a_part() -> None:
    model = every_road.ROADS["tokens"]().load()
    pool = model.pool(threads=2)
    ids = np.array([pool.open() for _ in range(128)])
    x = np.random.default_rng(0).integers(0, every_road.WORDS, (128, 400, 1))
    pool.run(ids, x)
    assert pool._workers is not None
    before = [pool.snapshot(int(id)) for id in ids]
    x[100, 399] = 99
    with pytest.raises(ShapeError, match=f"signal {ids[100]}: node"):
        pool.run(ids, x)
    assert [pool.snapshot(int(id)) for id in ids] == before


def sleepers() -> int:
    return sum(thread.name == "lstm_infer pool" for thread in threading.enumerate())


def until(true: Any) -> bool:
    limit = time.monotonic() + 10
    while not true() and time.monotonic() < limit:
        time.sleep(0.01)
    return bool(true())


def test_threads_begin_with_large_calls_and_end_with_the_pool() -> None:
    gc.collect()
    assert until(lambda: sleepers() == 0)
    model, x = large()
    pool = model.pool(threads=3)
    ids = [pool.open() for _ in range(200)]
    pool.step(ids[:2], x[:2, :1])
    assert sleepers() == 0, "a small call stays where it is"
    pool.run(ids, x)
    assert sleepers() == 2
    with pool:
        pass
    assert until(lambda: sleepers() == 0)
    pool = model.pool(threads=2)
    pool.run([pool.open() for _ in range(200)], x)
    assert sleepers() == 1
    del pool
    gc.collect()
    assert until(lambda: sleepers() == 0)


@pytest.mark.parametrize("there", [0, 1])
def test_where_there_are_no_more_threads(there: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that there are do the work; later on the others begin."""
    gc.collect()
    assert until(lambda: sleepers() == 0)
    start, begun = threading.Thread.start, list[int]()

    def stingy(self: threading.Thread) -> None:
        if len(begun) == there:
            raise RuntimeError("can't start new thread")
        begun.append(1)
        start(self)

    model, x = large()
    pools = [model.pool(), model.pool(threads=3)]
    ids = [[pool.open() for _ in range(200)] for pool in pools]
    monkeypatch.setattr(threading.Thread, "start", stingy)
    a, b = (pool.run(each, x) for pool, each in zip(pools, ids, strict=True))
    assert a.tobytes() == b.tobytes() and sleepers() == there
    monkeypatch.undo()
    a, b = (pool.run(each, x) for pool, each in zip(pools, ids, strict=True))
    assert a.tobytes() == b.tobytes() and sleepers() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_threads_begin_again_in_a_fork() -> None:
    model, x = large()
    pool = model.pool(threads=2)
    ids = [pool.open() for _ in range(200)]
    pool.run(ids, x)
    there = in_a_child(lambda: pool.run(ids, x)[-1, -1].tobytes())
    assert there == pool.run(ids, x)[-1, -1].tobytes()


def test_a_call_that_is_broken_off_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while the parts run."""
    model, x = large()
    pool = model.pool(threads=2)
    ids = [pool.open() for _ in range(200)]
    pool.run(ids, x)
    before = [pool.snapshot(id) for id in ids]

    def broken(self: StreamPool, share: _pool.Share) -> None:
        share.run(1)
        share.stop()
        raise KeyboardInterrupt

    monkeypatch.setattr(StreamPool, "_spread", broken)
    with pytest.raises(KeyboardInterrupt):
        pool.run(ids, x)
    monkeypatch.undo()
    assert [pool.snapshot(id) for id in ids] == before
    assert pool.run(ids, x).shape[0] == 200
