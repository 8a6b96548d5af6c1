"""Signals of a pool join, leave and are stepped at random: each gives, bit for bit, what it gives alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models

KINDS = ("step", "step", "step", "run", "dict", "dict run", "open", "open", "close", "reset", "move", "stream")


class Twins:
    """A pool, and a stream of its own for each of its signals."""

    def __init__(self, model: lstm_infer.Model, bound: dict[str, Any], seed: int, **options: Any) -> None:
        self.model, self.bound, self.rng = model, bound, np.random.default_rng(seed)
        self.pool = model.pool(inputs=bound, **options)
        self.alone: dict[int, lstm_infer.Stream] = {}
        self.plan = model.stream(inputs=bound)._plan
        self.time = {} if self.plan.spec.mode == "frame" else dict(self.plan.spec.roles.time)
        self.steady = model.streaming.lag == 0 and model.streaming.rate == 1

    def open(self) -> None:
        stream = self.model.stream(inputs=self.bound)
        settled = self.plan.first_state() is self.plan.first_state()
        self.alone[self.pool.open() if settled else self.pool.adopt(stream)] = stream

    def some(self) -> list[int]:
        ids = self.rng.permutation(list(self.alone))
        return [int(i) for i in ids[: self.rng.integers(1, len(ids) + 1)]]

    def draw(self, n: int, steps: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """What n signals are fed: frames with their time axis, or chunks."""
        fed = {}
        for name, fact in self.plan.step_facts.items():
            shape, axis = list(fact.shape), self.time.get(name)
            if steps is not None and axis is not None:
                shape[axis] = steps
            elif steps is not None and self.plan.spec.mode == "frame" and name in self.plan.spec.streamed:
                shape.insert(0, steps)
            if fact.dtype.kind in "iu":
                fed[name] = self.rng.integers(0, every_road.WORDS, (n, *shape)).astype(fact.dtype)
            else:
                fed[name] = self.rng.uniform(-1, 1, (n, *shape)).astype(fact.dtype)
        return fed

    def dropped(self, fed: dict[str, Any]) -> dict[str, Any]:
        return {n: np.squeeze(a, self.time[n] + 1) if n in self.time else a for n, a in fed.items()}

    def act(self, kind: str) -> None:
        if kind == "open" or not self.alone:
            return self.open()
        ids = self.some()
        if kind == "close":
            if len(self.alone) > 3:
                self.pool.close(ids[0])
                del self.alone[ids[0]]
        elif kind == "reset":
            self.pool.reset(ids)
            for id in ids:
                self.alone[id].reset()
        elif kind == "move":
            new = self.pool.restore(self.pool.snapshot(ids[0]))
            self.alone[new] = self.alone[ids[0]].fork()
        elif kind == "stream":
            stream = self.pool.stream(ids[0])
            assert stream.snapshot() == self.alone[ids[0]].snapshot()
            self.alone[self.pool.adopt(stream)] = self.alone.pop(ids[0])
        else:
            self.feed(kind, ids)
        return None

    def feed(self, kind: str, ids: list[int]) -> None:
        chunk = "run" in kind or not self.steady
        steps = int(self.rng.integers(0, 9)) if "run" in kind else 1
        fed = self.draw(len(ids), steps if chunk else None)
        if not chunk and self.rng.random() < 0.5:
            fed = self.dropped(fed)
        wants = []
        for k, id in enumerate(ids):
            frame, stream = {name: a[k] for name, a in fed.items()}, self.alone[id]
            wants.append(stream.run(frame) if chunk else stream.step(frame))
        calls = self.pool.run if chunk else self.pool.step
        if kind.startswith("dict") or not self.steady:
            got = calls({id: {name: a[k] for name, a in fed.items()} for k, id in enumerate(ids)})
            rows = [got[id] for id in ids]
        else:
            out = None
            if self.rng.random() < 0.3 and all(w is not None for w in wants[0].values()):
                out = {n: np.full((len(ids), *w.shape), 7, w.dtype) for n, w in wants[0].items()}
            order = np.array(ids) if self.rng.random() < 0.5 else ids
            found = calls(order, fed, out)
            assert out is None or found is out
            rows = [{name: a[k] for name, a in found.items()} for k in range(len(ids))]
        for want, row in zip(wants, rows, strict=True):
            assert want.keys() == row.keys()
            for name, value in want.items():
                if value is None:
                    assert row[name] is None or np.isnan(row[name]).all()
                else:
                    assert row[name].dtype == value.dtype and row[name].shape == value.shape
                    assert row[name].tobytes() == value.tobytes(), name

    def end(self) -> None:
        """What is left stands where it stands alone."""
        assert len(self.pool) == len(self.alone) and set(self.pool.ids.tolist()) == set(self.alone)
        for id, stream in self.alone.items():
            assert self.pool.snapshot(id) == stream.snapshot()
            a, b = self.pool.flush(id), stream.flush()
            for one, other in zip(*(v.values() if isinstance(v, dict) else [v] for v in (a, b)), strict=True):
                assert one is None or one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", every_road.ROADS)
@pytest.mark.parametrize("max_chunk", [64, 4])
def test_every_road(name: str, max_chunk: int) -> None:
    road = every_road.ROADS[name]()
    bound = {key: value[:1] if road.batch > 1 else value for key, value in road.bound.items()}
    twins = Twins(road.load(), bound, 5, max_chunk=max_chunk)
    for _ in range(90):
        twins.rng.random()
        twins.act(KINDS[twins.rng.integers(len(KINDS))])
    for _ in range(30):  # more at once than the largest batch, of several sizes
        twins.open()
    for _ in range(6):
        twins.feed("step", twins.some())
    twins.end()


def test_a_model_without_a_seed_draws_for_each_signal() -> None:
    road = every_road.ROADS["random"]()
    object.__setattr__(road, "options", {})
    twins = Twins(road.load(), {}, 3)
    kinds = [kind for kind in KINDS if kind != "move"]  # one that is restored begins again with numbers of its own
    for _ in range(60):
        twins.act(kinds[twins.rng.integers(len(kinds))])
    twins.end()
    pool, x = twins.pool, np.zeros((2, 1, 1, every_road.I), np.float32)
    two = [pool.open(), pool.open()]
    first = pool.step(two, x)
    assert first[0].tobytes() != first[1].tobytes()
    pool.reset(two)
    assert pool.step(two, x).tobytes() == first.tobytes()


BIG = [
    pytest.param(stream_models.state_io, {}, id="lstm"),
    pytest.param(stream_models.state_io, {"precision": "f16"}, id="lstm f16"),
    pytest.param(stream_models.state_io, {"precision": "int8"}, id="lstm int8"),
    pytest.param(stream_models.padded_in_front, {}, id="causal conv"),
    pytest.param(stream_models.frame, {}, id="frame"),
]


@pytest.mark.parametrize(("build", "options"), BIG)
def test_a_thousand_alive(build: Any, options: dict[str, Any]) -> None:
    """Every output of a call equals that of streams stepped alone."""
    twins = Twins(lstm_infer.load(build(), **options), {}, 11, reserve=500)
    for _ in range(1000):
        twins.open()
    for _ in range(150):
        ids = [int(i) for i in twins.rng.choice(list(twins.alone), twins.rng.integers(1, 32), replace=False)]
        twins.feed("step", ids)
        twins.pool.close(ids[0])
        del twins.alone[ids[0]]
        twins.open()
    everybody = [int(i) for i in twins.rng.permutation(list(twins.alone))]
    twins.feed("step", everybody)
    twins.feed("run", everybody[:130])
    assert len(twins.pool) == 1000


def test_a_step_of_a_model_that_looks_ahead_is_nan_or_none() -> None:
    """centred_conv looks two steps ahead: two steps without an output, then one for each."""
    model = lstm_infer.load(stream_models.centred_conv())
    pool, stream = model.pool(), model.stream()
    a, b = pool.open(), pool.open()
    x = np.random.default_rng(0).uniform(-1, 1, (6, 1, stream_models.INPUTS, 1)).astype(np.float32)
    whole = [stream.run(frame) for frame in x]
    for t in range(4):
        got = pool.step([b], x[t : t + 1])
        assert got.shape == (1, 1, 1, stream_models.CLASSES)
        assert np.isnan(got).all() if t < 2 else got[0].tobytes() == whole[t].tobytes()
    ahead = pool.step([a, b], np.stack([x[0], x[4]]))
    assert np.isnan(ahead[0]).all() and ahead[1].tobytes() == whole[4].tobytes()
    each = pool.step({a: x[1], b: x[5]})
    assert each[a] is None and each[b].tobytes() == whole[5].tobytes()
    with pytest.raises(lstm_infer.ShapeError, match=r"different phases.*\{id: frames\}"):
        pool.run([a, pool.open()], np.stack([np.concatenate([x[0], x[1]], 2)] * 2))


def test_steps_without_their_time_axis() -> None:
    model = lstm_infer.load(stream_models.centred_conv())
    pool, stream = model.pool(), model.stream()
    id = pool.open()
    x = np.random.default_rng(0).uniform(-1, 1, (4, 1, stream_models.INPUTS, 1)).astype(np.float32)
    whole = [stream.run(frame) for frame in x]
    got = [pool.step([id], frame[None, ..., 0]) for frame in x]
    assert got[0].shape == (1, 1, stream_models.CLASSES)
    assert got[3][0].tobytes() == whole[3].tobytes()


def test_why_signals_are_stepped_one_at_a_time() -> None:
    road = every_road.ROADS["open size"]()
    text = road.load().summary()
    assert "pool: one signal at a time: node 'ReduceMean_0'" in text
    assert "pool:" not in lstm_infer.load(stream_models.state_io()).summary()


@pytest.mark.parametrize(
    "node",
    [
        ("Slice", ["x", "back", "far", "one", "back"], {}),
        ("CumSum", ["x", "last"], {}),
        ("Softmax", ["x"], {"axis": 1}),
    ],
    ids=lambda node: node[0],
)
def test_what_goes_along_the_batch_keeps_signals_apart(
    node: tuple[str, list[str], dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flip of the batch, a sum along it: a pool has no such neighbours."""
    op, ins, attrs = node
    consts = every_road.consts() | {"back": np.array([-1]), "far": np.array([-(2**31)])}
    monkeypatch.setattr(every_road, "consts", lambda: consts)
    crossing = every_road.n(op, ins, ["m"], name="cross", **attrs)
    ports = [("x", every_road.FLOAT, ["T", "B", every_road.I])], [("seq", every_road.FLOAT, ["T", "B", every_road.H])]
    model = every_road.Road([crossing, *every_road.lstm("m")], *ports, every_road.ONE).load()
    x = np.random.default_rng(0).uniform(-1, 1, (5, 4, 1, every_road.I)).astype(np.float32)
    with model.pool() as pool:
        got = pool.run(np.array([pool.open() for _ in range(5)]), x)
        assert pool._batches.apart
    for row, chunk in zip(got, x, strict=True):
        np.testing.assert_array_equal(row, model.stream().run(chunk))


@pytest.mark.parametrize("mode", ["the output", "the state", "per step"])
@pytest.mark.parametrize(
    "node",
    [
        ("Softmax", ["s"], {"axis": 0}),
        ("ReduceSum", ["s", "first"], {"keepdims": 1}),
        ("Slice", ["s", "back", "far", "first", "back"], {}),
        ("CumSum", ["s", "last"], {}),
    ],
    ids=lambda node: node[0],
)
def test_a_side_input_mixed_over_the_batch(
    node: tuple[str, list[str], dict[str, int]], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the first input does not see it; the bits of two signals do."""
    op, ins, attrs = node
    more = {"back": np.array([-1]), "far": np.array([-(2**31)]), "first": np.array([0]), "last": np.array(0)}
    consts = every_road.consts() | more
    monkeypatch.setattr(every_road, "consts", lambda: consts)
    mixed = every_road.n(op, ins, ["m"], name="mixed", **attrs)
    F, I, H = every_road.FLOAT, every_road.I, every_road.H
    if mode == "the output":
        body = [
            *every_road.lstm("x"),
            every_road.n("ReduceSum", ["m", "axes"], ["c"]),
            every_road.n("Add", ["seq", "c"], ["y"]),
        ]
        consts["axes"] = np.array([1])
        out = "y"
    else:
        body, out = [every_road.n("Add", ["x", "m"], ["a"]), *every_road.lstm("a")], "seq"
    ports = [("x", F, ["T", "B", I]), ("s", F, ["B", I])], [(out, F, ["T", "B", H])]
    model = every_road.Road([mixed, *body], *ports, every_road.ONE).load()
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (5, 4, 1, I)).astype(np.float32)
    s = rng.uniform(-1, 1, (1, I)).astype(np.float32)
    own = rng.uniform(-1, 1, (5, 1, I)).astype(np.float32)
    per_step = mode == "per step"
    with model.pool(inputs=None if per_step else {"s": s}) as pool:
        ids = np.array([pool.open() for _ in range(5)])
        got = pool.run(ids, {"x": x, "s": own} if per_step else x)
        got = got[out] if isinstance(got, dict) else got
    for row, chunk, mine in zip(got, x, own, strict=True):
        if per_step:
            want = model.stream().run({"x": chunk, "s": mine})
        else:
            want = model.stream(inputs={"s": s}).run(chunk)
        np.testing.assert_array_equal(row, want[out] if isinstance(want, dict) else want)
