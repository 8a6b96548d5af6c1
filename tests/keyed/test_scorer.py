"""A scorer gives each row what a stream of its key gives; what is wrong with a table is refused, and changes nothing."""

from __future__ import annotations

import pickle
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from lstm_infer import ArgumentError, DtypeError, FeedError, ShapeError, StateError

sys.path.insert(0, str(Path(__file__).parents[1] / "review"))

import frame_graphs

pa = pytest.importorskip("pyarrow", reason="tables need pyarrow")
keyed = pytest.importorskip("lstm_infer.keyed")

I = stream_models.INPUTS
STEADY = [name for name in every_road.ROADS if name not in ("lag", "stride", "open size")]


@pytest.fixture(scope="module")
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.state_io())


def rows_of(column: Any) -> np.ndarray[Any, Any]:
    """A column of predictions as [rows, values]."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = whole.flatten() if pa.types.is_fixed_size_list(whole.type) else whole
    return flat.to_numpy(zero_copy_only=False).reshape(len(whole), len(flat) // max(len(whole), 1))


class Alone:
    """A stream for each key, fed a row at a time: what a scorer is compared with."""

    def __init__(self, model: lstm_infer.Model, bound: Any = None) -> None:
        self.model, self.bound, self.streams = model, bound, dict[Any, lstm_infer.Stream]()
        self.facts = model.stream(inputs=bound)._plan.step_facts

    def step(self, key: Any, values: dict[str, Any]) -> dict[str, bytes]:
        if key not in self.streams:
            self.streams[key] = self.model.stream(inputs=self.bound)
        fed = {name: np.array(values[name], fact.dtype).reshape(fact.shape) for name, fact in self.facts.items()}
        return {name: value.tobytes() for name, value in self.streams[key].step(fed).items()}


def lists(x: Any) -> Any:
    """[rows, values] as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


def drawn(rng: Any, facts: Any, n: int) -> dict[str, Any]:
    """Features of n rows: a column of lists for each input."""
    made = {}
    for name, fact in facts.items():
        shape, width = (n, prod(fact.shape)), prod(fact.shape)
        whole = fact.dtype.kind in "iu"
        values = rng.integers(0, every_road.WORDS, shape) if whole else rng.uniform(-1, 1, shape)
        flat = pa.array(values.astype(fact.dtype).reshape(-1))
        made[f"in {name}"] = pa.FixedSizeListArray.from_arrays(flat, width)
    return made


@pytest.mark.parametrize("name", STEADY)
def test_each_row_has_the_bits_of_its_key_alone(name: str) -> None:
    road = every_road.ROADS[name]()
    bound = {key: value[:1] if road.batch > 1 else value for key, value in road.bound.items()}
    model, rng = road.load(), np.random.default_rng(1)
    alone = Alone(model, bound)
    features = {port: f"in {port}" for port in alone.facts}
    scorer = keyed.Scorer(model, key="key", time="t", features=features, inputs=bound)
    for turn, (n, n_keys) in enumerate([(200, 3), (1, 1), (150, 60), (0, 1), (120, 1)]):
        key = rng.integers(0, n_keys, n)
        t = rng.integers(100 * turn, 100 * turn + 99, n)
        table = pa.table({"key": key, "t": t, **drawn(rng, alone.facts, n)})
        made = scorer.score(table)
        assert made.num_rows == n and made.column_names == [
            o.name for o in model.stream(inputs=bound)._plan.spec.outputs
        ]
        wants = dict[int, dict[str, bytes]]()
        for row in np.argsort(t, kind="stable").tolist():
            wants[row] = alone.step(int(key[row]), {port: table[f"in {port}"][row].as_py() for port in alone.facts})
        for out in made.column_names:
            found = rows_of(made[out])
            for row, want in wants.items():
                assert found[row].tobytes() == want[out], (turn, row, out)
    assert len(scorer) == len(alone.streams)


def test_a_file_of_one_step_gives_each_row_its_own() -> None:
    """Its output has no time axis: a chunk would give the value at the end alone."""
    model, rng = lstm_infer.load(frame_graphs.draw(7).data), np.random.default_rng(5)
    assert model.streaming.mode == "loop" and model.streaming.outputs == {"y0": "frame"}
    alone = Alone(model)
    table = pa.table({"key": rng.integers(0, 2, 40), **drawn(rng, alone.facts, 40)})
    found = rows_of(keyed.Scorer(model, key="key", features="in x0").score(table)["y0"])
    for row, (key, x) in enumerate(zip(table["key"].to_pylist(), table["in x0"].to_pylist(), strict=True)):
        assert found[row].tobytes() == alone.step(key, {"x0": x})["y0"], row


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_in_other_precisions(precision: str) -> None:
    model = lstm_infer.load(stream_models.state_io(), precision=precision)
    rng, alone = np.random.default_rng(2), Alone(model)
    scorer = keyed.Scorer(model, key="key", features="in x", threads=2)
    table = pa.table({"key": rng.integers(0, 40, 2000), **drawn(rng, alone.facts, 2000)})
    found = rows_of(scorer.score(table)["y"])
    for row, (key, x) in enumerate(zip(table["key"].to_pylist(), table["in x"].to_pylist(), strict=True)):
        assert found[row].tobytes() == alone.step(key, {"x": x})["y"]


def test_against_onnxruntime(tmp_path: Any) -> None:
    ort = pytest.importorskip("onnxruntime")
    source = stream_models.state_io()
    session = ort.InferenceSession(source if isinstance(source, bytes) else source.SerializeToString())
    model, rng = lstm_infer.load(source), np.random.default_rng(3)
    pairs = {s.name: s.output for s in model.states}
    scorer = keyed.Scorer(model, key="key", features=[f"f{k}" for k in range(I)])
    x, key = rng.uniform(-1, 1, (300, I)).astype(np.float32), rng.integers(0, 9, 300)
    found = rows_of(scorer.score(pa.table({"key": key, **{f"f{k}": x[:, k] for k in range(I)}}))["y"])
    states: dict[int, dict[str, Any]] = {}
    outputs = [o.name for o in session.get_outputs()]
    for row in range(300):
        mine = states.setdefault(
            int(key[row]), {s.name: np.zeros([1 if n is None else n for n in s.shape], s.dtype) for s in model.states}
        )
        made = dict(zip(outputs, session.run(None, {"x": x[row].reshape(1, 1, I), **mine}), strict=True))
        states[int(key[row])] = {name: made[out] for name, out in pairs.items()}
        assert np.abs(found[row] - made["y"].reshape(-1)).max() < 1e-5


# ---- columns


def keys_of(kind: str, numbers: Any) -> Any:
    text = [f"key {k}" for k in numbers]
    return {
        "int64": lambda: pa.array(numbers),
        "int16": lambda: pa.array(numbers, pa.int16()),
        "uint64": lambda: pa.array(numbers, pa.uint64()),
        "text": lambda: pa.array(text),
        "large text": lambda: pa.array(text, pa.large_string()),
        "text view": lambda: pa.array(text, pa.string_view()),
        "bytes": lambda: pa.array([t.encode() + b"\0" for t in text]),
        "fixed bytes": lambda: pa.array([f"{k:07d}".encode() for k in numbers], pa.binary(7)),
        "dictionary": lambda: pa.array(text).dictionary_encode(),
        "timestamp": lambda: pa.array(numbers).cast(pa.timestamp("us", "UTC")),
        "date": lambda: pa.array(numbers, pa.int32()).cast(pa.date32()),
        "decimal": lambda: pa.array(numbers).cast(pa.decimal128(20, 0)),
        "bool": lambda: pa.array([bool(k % 2) for k in numbers]),
    }[kind]()


KINDS = ["int64", "int16", "uint64", "text", "large text", "text view", "bytes", "fixed bytes", "dictionary", "timestamp",
         "date", "decimal", "bool"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_any_type_in_any_chunks(model: lstm_infer.Model, kind: str) -> None:
    rng = np.random.default_rng(4)
    numbers, x = rng.integers(0, 30, 400).tolist(), rng.uniform(-1, 1, (400, I)).astype(np.float32)
    features = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), I)
    key = keys_of(kind, numbers)
    alone, wants = Alone(model), []
    for row, one in enumerate(key.to_pylist()):
        wants.append(alone.step(one, {"x": x[row]})["y"])
    scorer = keyed.Scorer(model, key="key", features="x")
    whole = pa.table({"key": key, "x": features})
    parts = [whole.slice(0, 120), whole.slice(120, 1), whole.slice(121, 150)]
    found = [scorer.score(pa.concat_tables(parts))["y"], scorer.score(whole.slice(271).to_batches()[0])["y"]]
    assert [row.tobytes() for part in found for row in rows_of(part)] == wants
    state = scorer.state_table()
    assert len(scorer) == len(alone.streams) == state.num_rows and state["key"].to_pylist() == list(alone.streams)
    other = keyed.Scorer.from_state_table(
        state.take(pa.array(rng.permutation(state.num_rows))), model, key="key", features="x"
    )
    assert other.score(whole)["y"] == scorer.score(whole)["y"]


def test_several_key_columns(model: lstm_infer.Model) -> None:
    rng, n = np.random.default_rng(5), 500
    site = pa.array([f"s{k}" for k in rng.integers(0, 5, n)]).dictionary_encode()
    table = pa.table({"site": site, "unit": rng.integers(0, 6, n), **drawn(rng, Alone(model).facts, n)})
    alone, scorer = Alone(model), keyed.Scorer(model, key=["site", "unit"], features="in x")
    for part in (table.slice(0, 200), table.slice(200)):
        found = rows_of(scorer.score(part)["y"])
        for row, one in enumerate(part.to_pylist()):
            assert found[row].tobytes() == alone.step((one["site"], one["unit"]), {"x": one["in x"]})["y"]
    state = scorer.state_table()
    assert list(zip(state["site"].to_pylist(), state["unit"].to_pylist(), strict=True)) == list(alone.streams)


def test_features_come_in_many_forms(model: lstm_infer.Model) -> None:
    x = np.random.default_rng(6).uniform(-1, 1, (50, I)).astype(np.float32)
    flat = pa.array(x.reshape(-1))
    several = {f"f{k}": pa.chunked_array([x[:20, k].copy(), x[20:, k].copy()]) for k in range(I)}
    forms = {
        "columns": (several, list(several)),
        "fixed lists": ({"x": pa.FixedSizeListArray.from_arrays(flat, I)}, "x"),
        "lists": ({"x": pa.array(x.tolist(), pa.list_(pa.float32()))}, "x"),
        "large lists": ({"x": pa.array(x.tolist(), pa.large_list(pa.float32()))}, ["x"]),
        "tensors": ({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(x)}, "x"),
        "both": (
            {"a": x[:, 0], "x": pa.FixedSizeListArray.from_arrays(pa.array(x[:, 1:].reshape(-1)), I - 1)},
            ["a", "x"],
        ),
        "by input": (several, {"x": list(several)}),
        "dictionary": ({**several, "f0": pa.array(x[:, 0]).dictionary_encode()}, list(several)),
    }
    found = {}
    for form, (columns, features) in forms.items():
        table = pa.table({"key": np.arange(50) % 7, **columns})
        found[form] = rows_of(keyed.Scorer(model, key="key", features=features).score(table)["y"]).tobytes()
    assert len(set(found.values())) == 1, found.keys()


def test_a_column_is_read_where_it_lies(model: lstm_infer.Model) -> None:
    from lstm_infer.keyed import columns

    x = np.random.default_rng(0).uniform(-1, 1, (50, I)).astype(np.float32)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), I), "k": np.arange(50)})
    rows = columns.features_of(table, ["x"], (1, 1, I), np.dtype(np.float32), False, "raise", "x")
    assert np.shares_memory(rows, table["x"].chunk(0).flatten().to_numpy())
    data, _ = columns.stretches(table["k"].chunk(0))
    assert np.shares_memory(data, table["k"].chunk(0).to_numpy())


@pytest.mark.parametrize(
    "change, error, text",
    [
        ({"key": None}, FeedError, "there is no column 'key'"),
        ({"f0": None}, FeedError, "there is no column 'f0'"),
        ({"key": pa.array([1, None, 2])}, ArgumentError, "column 'key' has 1 nulls, the first in row 1"),
        ({"key": pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", None]))}, ArgumentError, "has 1 nulls"),
        ({"key": pa.array([0.5, 1, 2])}, DtypeError, "a float is no key"),
        ({"key": pa.array([[1], [2], [3]])}, DtypeError, "integers, text, bytes"),
        ({"t": pa.array([1, 2, None])}, ArgumentError, "column 't' has 1 nulls, the first in row 2"),
        ({"t": pa.array([1.0, float("nan"), 2.0])}, ArgumentError, "time column 't': NaN in row 1"),
        ({"t": pa.array(["a", "b", "c"])}, DtypeError, "time column 't' is of string"),
        ({"f0": pa.array([1, None, 2], pa.float32())}, ArgumentError, "column 'f0' has 1 nulls"),
        ({"f0": pa.array([1, 2, float("nan")], pa.float32())}, ArgumentError, "column 'f0': NaN in row 2"),
        ({"f0": pa.array([1.0, 2.0, 3.0])}, DtypeError, "column 'f0' is of double, the model takes float"),
        ({"f0": pa.array(["1", "2", "3"])}, DtypeError, "column 'f0' is of string; numbers expected"),
        ({"f0": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2))}, ShapeError, f"have {I + 1}"),
        ({"f0": pa.array([[1.0], [], [1.0]], pa.list_(pa.float32()))}, ShapeError, "lists of one length"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table(model: lstm_infer.Model, change: Any, error: type[Exception], text: str) -> None:
    names = [f"f{k}" for k in range(I)]
    columns = {"key": [1, 2, 3], "t": [1, 2, 3], **{name: pa.array([0.5, 0, 1], pa.float32()) for name in names}}
    wrong = {name: value for name, value in {**columns, **change}.items() if value is not None}
    scorer = keyed.Scorer(model, key="key", time="t", features=names)
    with pytest.raises(error, match=text):
        scorer.score(pa.table(wrong))
    assert len(scorer) == 0
    scorer.score(pa.table(columns))
    before = scorer.state_table()
    with pytest.raises(lstm_infer.LstmInferError):
        scorer.score(pa.table(wrong))
    assert scorer.state_table() == before


def test_types_may_not_change(model: lstm_infer.Model) -> None:
    def table(key: Any, t: Any) -> Any:
        return pa.table({"key": key, "t": t, "x": pa.array([[0.0] * I], pa.list_(pa.float32(), I))})

    scorer = keyed.Scorer(model, key="key", time="t", features="x")
    scorer.score(table(pa.array([5], pa.int32()), pa.array([0], pa.timestamp("s"))))
    scorer.score(table(pa.array([5], pa.int64()), pa.array([1000], pa.timestamp("ms"))))
    assert len(scorer) == 1 and scorer.state_table().schema.field("key").type == pa.int32()
    for key, t, text in (
        (pa.array(["5"]), pa.array([5], pa.timestamp("s")), "column 'key' is of string, and was of int32 before"),
        (pa.array([1 << 40]), pa.array([5], pa.timestamp("s")), "column 'key' of int64 does not go into int32"),
        (pa.array([5]), pa.array([5]), "column 't' is of int64, and was of timestamp"),
        (pa.array([5]), pa.array([5], pa.timestamp("s", "UTC")), "column 't' is of timestamp"),
    ):
        with pytest.raises(DtypeError, match=text):
            scorer.score(table(key, t))
    assert len(scorer) == 1


def test_casts_and_nan_where_they_are_asked_for(model: lstm_infer.Model) -> None:
    table = pa.table({"key": [1, 1], **{f"f{k}": pa.array([0.5, np.nan]) for k in range(I)}})
    names = [f"f{k}" for k in range(I)]
    with pytest.raises(ArgumentError, match="NaN in row 1"):
        keyed.Scorer(model, key="key", features=names, cast=True).score(table)
    found = rows_of(keyed.Scorer(model, key="key", features=names, cast=True, nan="keep").score(table)["y"])
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()
    tokens = every_road.ROADS["tokens"]().load()
    scorer = keyed.Scorer(tokens, key="key", features="w", cast=True)
    scorer.score(pa.table({"key": [1], "w": pa.array([3], pa.int8())}))
    with pytest.raises(DtypeError, match="column 'w' of double does not go into int64"):
        scorer.score(pa.table({"key": [1], "w": [3.5]}))


# ---- time


def test_late_rows(model: lstm_infer.Model) -> None:
    rng = np.random.default_rng(7)

    def table(keys: Any, times: Any) -> Any:
        x = rng.uniform(-1, 1, (len(keys), I)).astype(np.float32)
        return pa.table({"key": keys, "t": pa.array(times).cast(pa.timestamp("s")), "x": lists(x)})

    first, second = table(["a", "b", "a"], [5, 9, 7]), table(["b", "a", "c", "a", "b"], [8, 7, 0, 6, 10])
    strict, lenient = (keyed.Scorer(model, key="key", time="t", features="x", late=late) for late in ("raise", "drop"))
    for scorer in (strict, lenient):
        scorer.score(first)
    before = strict.state_table()
    with pytest.raises(StateError, match=r"row 0 is late: key 'b' stands at 1970-01-01 00:00:09, .* \(2 such rows\)"):
        strict.score(second)
    assert strict.state_table() == before and len(strict) == 2
    found = lenient.score(second)["y"]
    kept = second.filter(pa.array([False, True, True, False, True]))
    want = strict.score(kept)["y"]
    assert found.is_null().to_pylist() == [True, False, False, True, False]
    assert rows_of(found.drop_null()).tobytes() == rows_of(want).tobytes()
    assert lenient.state_table() == strict.state_table()
    assert lenient.score(table(["a"], [0]))["y"].null_count == 1


def test_keys_expire(model: lstm_infer.Model) -> None:
    rng, n = np.random.default_rng(8), 300
    scorer, alone = keyed.Scorer(model, key=["s", "key"], time="t", features="in x"), Alone(model)
    for turn in range(3):
        key, t = rng.integers(0, 50, n), np.sort(rng.uniform(turn, turn + 1, n))
        table = pa.table({"s": ["x"] * n, "key": key, "t": t, **drawn(rng, alone.facts, n)})
        found = rows_of(scorer.score(table)["y"])
        last = {}
        for row in range(n):
            last[int(key[row])] = t[row]
            assert found[row].tobytes() == alone.step(int(key[row]), {"x": table["in x"][row].as_py()})["y"]
        limit = turn + 0.5
        stays = {k: s for k, s in alone.streams.items() if last.get(k, -1.0) >= limit}
        assert scorer.expire(before=limit) == len(alone.streams) - len(stays) > 0
        alone.streams = stays
        assert len(scorer) == len(stays) and set(scorer.state_table()["key"].to_pylist()) == set(stays)
    assert scorer.expire(before=0.0) == 0
    assert scorer.expire(before=10.0) == len(alone.streams) and len(scorer) == 0
    for wrong in ("now", None, float("nan")):
        with pytest.raises(ArgumentError, match="before"):
            scorer.expire(before=wrong)
    with pytest.raises(ArgumentError, match="no time column"):
        keyed.Scorer(model, key="key", features="x").expire(before=1)


# ---- all or nothing


def test_a_row_that_fails_is_named_and_nothing_is_done() -> None:
    model = every_road.ROADS["tokens"]().load()
    scorer = keyed.Scorer(model, key="key", time="t", features="w")
    rng = np.random.default_rng(9)
    scorer.score(
        pa.table({"key": rng.integers(0, 20, 300), "t": np.arange(300), "w": rng.integers(0, every_road.WORDS, 300)})
    )
    before, size = scorer.state_table(), len(scorer)
    w = rng.integers(0, every_road.WORDS, 9000)
    w[8999] = 99
    table = pa.table({"key": np.arange(9000), "t": np.arange(1000, 10000), "w": w})
    with pytest.raises(ShapeError, match=r"^row 8999: node .*index"):
        scorer.score(table)
    assert len(scorer) == size and scorer.state_table() == before
    with pytest.raises(ShapeError, match=r"^one of 4 rows of a key, the first of them row 16: node .*index"):
        scorer.score(table.slice(8980).set_column(0, "key", pa.array([7] * 20)))
    assert len(scorer) == size and scorer.state_table() == before
    scorer.score(table.slice(0, 8999))
    assert len(scorer) == 8999 and scorer.nbytes > 8999 * 40


def test_an_interrupt_takes_all_back(model: lstm_infer.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, rng = keyed.Scorer(model, key="key", time="t", features="in x"), np.random.default_rng(10)
    facts = Alone(model).facts
    scorer.score(pa.table({"key": np.arange(100), "t": np.zeros(100), **drawn(rng, facts, 100)}))
    before = scorer.state_table()
    table = pa.table({"key": np.arange(50, 5050), "t": np.ones(5000), **drawn(rng, facts, 5000)})
    step, calls = lstm_infer.StreamPool.step, []

    def broken(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(lstm_infer.StreamPool, "step", broken)
    with pytest.raises(KeyboardInterrupt):
        scorer.score(table)
    monkeypatch.undo()
    assert scorer.state_table() == before and len(scorer) == 100
    other = keyed.Scorer.from_state_table(before, model, key="key", time="t", features="in x")
    assert scorer.score(table) == other.score(table) and scorer.state_table() == other.state_table()


# ---- what a scorer takes


@pytest.mark.parametrize("name", ["lag", "stride"])
def test_models_that_look_ahead_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="no prediction of its own"):
        keyed.Scorer(every_road.ROADS[name]().load(), key="key", features="x")


def test_a_size_that_the_file_leaves_open_is_to_be_fixed() -> None:
    road = every_road.ROADS["open size"]()
    table = pa.table({"key": [1], **{f"f{k}": pa.array([0.5], pa.float32()) for k in range(6)}})
    with pytest.raises(ShapeError, match="load\\(inputs=\\)"):
        keyed.Scorer(road.load(), key="key", features=[f"f{k}" for k in range(6)]).score(table)
    object.__setattr__(road, "options", {"inputs": {"x": (1, 6)}})
    assert (
        len(rows_of(keyed.Scorer(road.load(), key="key", features=[f"f{k}" for k in range(6)]).score(table)["y"])[0])
        == 6
    )


def test_what_is_wrong_with_the_arguments(model: lstm_infer.Model) -> None:
    two = every_road.ROADS["gru, two inputs, two outputs"]().load()
    for make, error, text in (
        (lambda: keyed.Scorer("m.onnx", key="k", features="x"), ArgumentError, "model: a Model"),
        (lambda: keyed.Scorer(model, key=3, features="x"), ArgumentError, "key: a sequence of names"),
        (lambda: keyed.Scorer(model, key=[], features="x"), ArgumentError, "key: the name of a column"),
        (lambda: keyed.Scorer(model, key=["k", "k"], features="x"), ArgumentError, "columns of their own"),
        (lambda: keyed.Scorer(model, key="k", time="k", features="x"), ArgumentError, "columns of their own"),
        (lambda: keyed.Scorer(model, key="k", time=1, features="x"), ArgumentError, "time: the name"),
        (lambda: keyed.Scorer(model, key="k", features="x", late="no"), ArgumentError, "late: one of"),
        (lambda: keyed.Scorer(model, key="k", features="x", nan=0), ArgumentError, "nan: one of"),
        (lambda: keyed.Scorer(model, key="k", features={"z": "x"}), FeedError, r"columns for \['x'\]"),
        (lambda: keyed.Scorer(two, key="k", features="x"), FeedError, "a dict of input name"),
        (lambda: keyed.Scorer(model, key="k", features="x").score({"k": 1}), ArgumentError, "a pyarrow Table"),
        (lambda: pickle.dumps(keyed.Scorer(model, key="k", features="x")), ArgumentError, "is not pickled"),
    ):
        with pytest.raises(error, match=text):
            make()
