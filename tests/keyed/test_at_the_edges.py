"""A scorer at the edges of its types, behind a call that failed, and over tables of any kind in any order."""

from __future__ import annotations

import datetime as dt
import os
import threading
from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from forked import in_a_child
from lstm_infer import ArgumentError, DtypeError, LstmInferError, ShapeError

pa = pytest.importorskip("pyarrow", reason="tables need pyarrow")
keyed = pytest.importorskip("lstm_infer.keyed")

from lstm_infer.keyed import columns  # noqa: E402

I = stream_models.INPUTS
TEXTS = ["", "a", "a\0", "é", "e\u0301", "\U0001f600", "\U0010ffff", "\ufeff", "a" * 100_000]


@pytest.fixture(scope="module")
def tokens() -> lstm_infer.Model:
    """A model of whole numbers, which refuses those that are too large."""
    return every_road.ROADS["tokens"]().load()


@pytest.fixture(scope="module")
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.state_io())


def lists(x: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


# ---- types


@pytest.mark.parametrize("first", [pa.int64(), pa.float64()])
def test_a_call_that_fails_leaves_no_type_of_time(tokens: lstm_infer.Model, first: Any) -> None:
    scorer = keyed.Scorer(tokens, key="k", time="t", features="w")
    with pytest.raises(ShapeError, match="row 1: node"):
        scorer.score(pa.table({"k": [1, 1], "t": pa.array([1, 2]).cast(first), "w": [1, every_road.WORDS]}))
    times = [0.75] if first == pa.int64() else [2**60 + 1]  # what the other type would not hold
    scorer.score(pa.table({"k": [1], "t": times, "w": [1]}))
    assert scorer.state_table()["t"].to_pylist() == times


def test_times_that_are_further_apart_than_an_int64_says(model: lstm_infer.Model) -> None:
    x, t = np.random.default_rng(0).uniform(-1, 1, (2, I)).astype(np.float32), np.array([9 * 10**18, -9 * 10**18])
    mine, sorted_first = (keyed.Scorer(model, key="k", time="t", features="x") for _ in range(2))
    found = mine.score(pa.table({"k": [1, 1], "t": t, "x": lists(x)}))["y"].to_pylist()
    want = sorted_first.score(pa.table({"k": [1, 1], "t": t[::-1].copy(), "x": lists(x[::-1].copy())}))["y"].to_pylist()
    assert found == want[::-1] and mine.state_table() == sorted_first.state_table()


def test_times_are_not_rounded(tokens: lstm_infer.Model) -> None:
    scorer = keyed.Scorer(tokens, key="k", time="t", features="w")
    scorer.score(pa.table({"k": [1], "t": pa.array([1.5], pa.float32()), "w": [1]}))
    scorer.score(pa.table({"k": [1], "t": pa.array([2.25], pa.float64()), "w": [1]}))
    with pytest.raises(DtypeError, match="of double does not go into float"):
        scorer.score(pa.table({"k": [1], "t": pa.array([2.3], pa.float64()), "w": [1]}))
    assert scorer.state_table()["t"].to_pylist() == [2.25]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        (pa.int64(), [-1, -(2**63), 2**63 - 1, 0]),
        (pa.uint64(), [2**64 - 1, 2**63, 0]),
        (pa.string(), TEXTS),
        (pa.binary(), [text.encode() for text in TEXTS] + [b"\xff\xfe"]),
    ],
)
def test_keys_at_the_ends_of_their_type(tokens: lstm_infer.Model, kind: Any, keys: list[Any]) -> None:
    scorer = keyed.Scorer(tokens, key="k", features="w")
    table = pa.table({"k": pa.array(keys * 2, kind), "w": np.arange(2 * len(keys)) % every_road.WORDS})
    scorer.score(table)
    state = scorer.state_table()
    assert len(scorer) == len(keys) and state["k"].to_pylist() == keys
    other = keyed.Scorer.from_state_table(state, tokens, key="k", features="w")
    assert other.score(table) == scorer.score(table)
    parts = keyed.part_of(table, "k", 7)
    assert parts.tolist() == keyed.part_of(table, "k", 7).tolist() and parts[: len(keys)].tolist() * 2 == parts.tolist()


def test_a_part_is_the_same_whatever_the_width_of_a_key() -> None:
    kinds = [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]
    made = [keyed.part_of(pa.table({"k": pa.array([0, 5, 100], kind)}), "k", 1000).tolist() for kind in kinds]
    assert made == made[:1] * len(kinds) and len(set(made[0])) == 3


def test_a_part_is_the_same_whatever_the_unit_of_a_timestamp() -> None:
    times = pa.array([0, 1, -1, 1_600_000_000, -62_135_596_800] + list(range(50)), pa.timestamp("s", "UTC"))
    units = {unit: times[:4].cast(pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")}
    parts = {unit: keyed.part_of(pa.table({"k": k}), "k", 1000).tolist() for unit, k in units.items()}
    assert len(set(map(tuple, parts.values()))) == 1
    assert len(set(keyed.part_of(pa.table({"k": times}), "k", 1000).tolist())) > 45


def test_a_part_is_the_same_whatever_the_unit_of_a_date_or_a_time() -> None:
    counts = list(range(50))
    days, seconds = pa.array(counts, pa.date32()), pa.array(counts, pa.time32("s"))
    spans = pa.array([-1, *counts], pa.duration("s"))
    for column, kinds in (
        (days, [pa.date64()]),
        (seconds, [pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
        (spans, [pa.duration(unit) for unit in ("ms", "us", "ns")]),
    ):
        parts = [keyed.part_of(pa.table({"k": k}), "k", 1000).tolist() for k in (column, *map(column.cast, kinds))]
        assert parts == parts[:1] * len(parts) and len(set(parts[0])) > 45


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pa.array([1], pa.date32()), pa.array([86_400_001]).view(pa.date64())),
        (pa.array([1], pa.time32("s")), pa.array([1500], pa.time32("ms"))),
        (pa.array([1], pa.duration("ns")), pa.array([2**62], pa.duration("s"))),
    ],
)
def test_a_date_or_a_time_that_the_first_type_does_not_hold(tokens: lstm_infer.Model, before: Any, after: Any) -> None:
    scorer = keyed.Scorer(tokens, key="k", features="w")
    scorer.score(pa.table({"k": before, "w": [1]}))
    with pytest.raises(DtypeError, match=r"column 'k' of .* does not go into"):
        scorer.score(pa.table({"k": after, "w": [1]}))
    assert len(scorer) == 1


def test_bytes_of_no_length_are_no_key(tokens: lstm_infer.Model) -> None:
    with pytest.raises(DtypeError, match="fixed_size_binary"):
        keyed.Scorer(tokens, key="k", features="w").score(pa.table({"k": pa.array([b""], pa.binary(0)), "w": [1]}))


def test_a_time_that_is_between_two_of_the_column(tokens: lstm_infer.Model) -> None:
    def left(times: Any, before: Any) -> int:
        scorer = keyed.Scorer(tokens, key="k", time="t", features="w")
        scorer.score(pa.table({"k": [1, 2, 3], "t": times, "w": [1, 1, 1]}))
        scorer.expire(before)
        return len(scorer)

    whole, half = pa.array([1, 2, 3]), dt.datetime(1970, 1, 1, 0, 0, 1, 500_000)
    naive, aware = whole.cast(pa.timestamp("s")), whole.cast(pa.timestamp("s", "Asia/Tokyo"))
    for times, before in [
        (whole, 2.5),
        (naive, half),
        (whole.cast(pa.duration("s")), dt.timedelta(seconds=1.5)),
        (aware, dt.datetime(1970, 1, 1, 0, 0, 2)),
        (naive, dt.datetime(1970, 1, 1, 0, 0, 2, tzinfo=dt.UTC)),
    ]:
        with pytest.raises(ArgumentError, match="before: a time of"):
            left(times, before)
    assert left(whole, 2.0) == left(whole, 2) == left(naive, 2) == left(naive, dt.datetime(1970, 1, 1, 0, 0, 2)) == 2
    assert left(aware, dt.datetime(1970, 1, 1, 9, 0, 2, tzinfo=dt.timezone(dt.timedelta(hours=9)))) == 2
    assert left(whole.cast(pa.int32()).cast(pa.date32()), dt.date(1970, 1, 3)) == 2
    assert left(whole.cast(pa.float64()), 2.5) == 1


# ---- features


def test_a_cast_that_loses_a_number_is_refused(model: lstm_infer.Model) -> None:
    scorer = keyed.Scorer(model, key="k", features="x", cast=True, nan="keep")
    large, x = np.zeros((2, I)), np.array([[np.inf, np.nan, 3e38, 1, 0]] * 2)
    large[1, 2] = 1e39
    with pytest.raises(DtypeError, match=r"'x' of .*double.* does not go into .*float.*: 1e\+39"):
        scorer.score(pa.table({"k": [1, 2], "x": lists(large)}))
    assert len(scorer) == 0
    scorer.score(pa.table({"k": [1, 2], "x": lists(x)}))


@pytest.mark.parametrize(
    ("dtype", "held", "lost"), [("float16", 2048, 2049), ("float16", -65504, 70000), ("bool", 1, 2)]
)
def test_whole_numbers_that_a_type_does_not_hold(dtype: str, held: int, lost: int) -> None:
    def fed(number: int) -> Any:
        return columns.features_of(pa.table({"x": [number]}), ["x"], (1,), np.dtype(dtype), True, "keep", "input 'x'")

    assert fed(held).tolist() == [[held]]
    with pytest.raises(DtypeError, match=str(lost)):
        fed(lost)


def test_a_tensor_is_taken_in_c_order_however_it_lies() -> None:
    """NumPy's order of the axes in memory becomes a permutation of the tensor's type."""
    model = lstm_infer.load(stream_models.hidden_state())
    steps = np.random.default_rng(0).uniform(-1, 1, (3, 4, I)).astype(np.float32)
    turned = np.ascontiguousarray(steps.transpose(0, 2, 1)).transpose(0, 2, 1)
    plain, permuted = (pa.FixedShapeTensorArray.from_numpy_ndarray(x) for x in (steps, turned))
    assert list(permuted.type.permutation) == [1, 0]
    found = [keyed.run_sequences(model, pa.table({"x": x}), "x")["y"] for x in (plain, permuted, permuted.slice(1))]
    assert found[0] == found[1] and found[0].slice(1) == found[2]


def test_a_dictionary_of_views(tokens: lstm_infer.Model) -> None:
    """As polars writes them; Arrow neither takes from them nor casts them."""
    views = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 2]), pa.array(["x", "y", "z"], pa.string_view()))
    plain = pa.array(["x", "y", "x", "z"])
    made = []
    for key in (views, plain, views.slice(1), plain.slice(1)):
        scorer = keyed.Scorer(tokens, key="k", features="w")
        made.append(scorer.score(pa.table({"k": key, "w": np.arange(len(key))})))
        assert set(scorer.state_table()["k"].to_pylist()) == set(key.to_pylist())
    assert made[0] == made[1] and made[2] == made[3]


def test_a_checkpoint_of_many_keys(tokens: lstm_infer.Model) -> None:
    """Each row is the state of its key, and goes back to it."""
    keys, words = np.random.default_rng(0).permutation(3000), np.arange(3000) % every_road.WORDS
    scorer = keyed.Scorer(tokens, key="k", features="w")
    scorer.score(pa.table({"k": keys, "w": words}))
    held = dict(zip(*(scorer.state_table()[name].to_pylist() for name in ("k", "lstm_infer_state")), strict=True))
    want = dict[int, bytes]()
    for word in range(every_road.WORDS):
        stream = tokens.stream()
        stream.step(np.array([[word]]))
        want[word] = stream.snapshot()[-len(held[0]) :]
    assert len(set(want.values())) == every_road.WORDS
    assert held == {key: want[word] for key, word in zip(keys.tolist(), words.tolist(), strict=True)}
    other = keyed.Scorer.from_state_table(scorer.state_table(), tokens, key="k", features="w")
    assert other.state_table() == scorer.state_table()


def test_names_of_the_columns_of_a_checkpoint_are_taken(tokens: lstm_infer.Model) -> None:
    for name in ("lstm_infer_state", "lstm_infer_form"):
        for options in ({"key": name}, {"key": ["k", name]}, {"key": "k", "time": name}):
            with pytest.raises(ArgumentError, match=rf"'{name}' is a column of state_table\(\)"):
                keyed.Scorer(tokens, features="w", **options)


# ---- rows


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), I)])
def test_no_rows_of_lists(model: lstm_infer.Model, kind: Any) -> None:
    scorer = keyed.Scorer(model, key="k", features="x")
    empty = pa.table({"k": pa.array([], pa.int64()), "x": pa.array([], kind)})
    assert scorer.score(empty).num_rows == 0 and len(scorer) == 0
    some = pa.table({"k": [1], "x": pa.array([[0.5] * I], kind)})
    assert scorer.score(pa.concat_tables([empty, some, empty])) == keyed.Scorer(model, key="k", features="x").score(
        some
    )
    with pytest.raises(DtypeError, match="numbers expected"):
        scorer.score(empty.set_column(1, "x", pa.array([], pa.list_(pa.string()))))


def test_a_null_inside_a_list_names_its_row(model: lstm_infer.Model) -> None:
    x = [[0.0] * I, [1.0] * I, [1.0, None] + [2.0] * (I - 2)]
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), I)):
        with pytest.raises(ArgumentError, match="column 'x' has 1 nulls, the first in row 2"):
            keyed.Scorer(model, key="k", features="x").score(pa.table({"k": [1, 2, 3], "x": pa.array(x, kind)}))


# ---- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("inside", [False, True])
def test_a_fork_has_the_keys_too_unless_a_thread_was_inside(tokens: lstm_infer.Model, inside: bool) -> None:
    scorer, table = keyed.Scorer(tokens, key="k", features="w"), pa.table({"k": [1, 2], "w": [3, 4]})
    scorer.score(table)
    begun, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with scorer._alone():
            begun.set()
            leave.wait(20)

    def again() -> bytes:
        try:
            return scorer.score(table)["y"].combine_chunks().flatten().to_numpy().tobytes()  # type: ignore[no-any-return]
        except lstm_infer.StateError as error:
            return str(error).encode()

    thread = threading.Thread(target=hold)
    if inside:
        thread.start()
        begun.wait(20)
    there = in_a_child(again, 20)
    leave.set()
    if inside:
        thread.join()
    assert there.startswith(b"another thread was in a call of the scorer") if inside else there == again()


# ---- any tables


class Life:
    """A scorer, a stream for each of its keys, and tables that are drawn: late rows, rows that fail, chunks, checkpoints."""

    def __init__(self, model: lstm_infer.Model, seed: int) -> None:
        self.model, self.rng = model, np.random.default_rng(seed)
        self.kind, self.late, self.timed = seed % 4, ("raise", "drop")[seed // 4 % 2], seed % 5 != 0
        self.options = {"key": ["k", "j"] if self.kind == 3 else "k", "features": "w", "late": self.late}
        if self.timed:
            self.options["time"] = "t"
        self.of_time = int(self.rng.integers(3))
        self.scorer = keyed.Scorer(model, **self.options)
        self.streams, self.last = dict[int, lstm_infer.Stream](), dict[int, int]()

    def keys(self, numbers: list[int]) -> dict[str, Any]:
        texts = pa.array([f"é{k}" for k in numbers], pa.string())
        if self.kind == 3:
            names = pa.array([f"x{k % 3}" for k in numbers], pa.string())
            return {"k": pa.array([k // 3 for k in numbers], pa.int64()), "j": names}
        return {"k": [pa.array(numbers, pa.int64()), texts, texts.dictionary_encode()][self.kind]}

    def times(self, numbers: list[int]) -> Any:
        whole = pa.array(numbers, pa.int64())
        if self.of_time == 1:
            return pa.array(np.array(numbers, float) / 4)
        return whole if self.of_time == 0 else whole.cast(pa.timestamp("ms"))

    def score(self, turn: int) -> None:
        n, rng = int(self.rng.integers(0, 40)), self.rng
        keys = rng.integers(0, int(rng.integers(1, 25)), n).tolist()
        times = rng.integers(10 * turn - 4 * (turn % 2), 10 * turn + 10, n).tolist()
        words = rng.integers(0, every_road.WORDS, n)
        if n and rng.random() < 0.25:
            words[rng.integers(n)] = every_road.WORDS
        table = pa.table({**self.keys(keys), **({"t": self.times(times)} if self.timed else {}), "w": words})
        if n > 3 and rng.random() < 0.5:
            cut = int(rng.integers(1, n))
            table = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
        late = [self.timed and t < self.last.get(k, t) for k, t in zip(keys, times, strict=True)]
        wrong = any(w == every_road.WORDS and not gone for w, gone in zip(words, late, strict=True))
        if wrong or (self.late == "raise" and any(late)):
            before = self.scorer.state_table()
            with pytest.raises(LstmInferError):
                self.scorer.score(table)
            assert self.scorer.state_table() == before
            return
        rows = self.scorer.score(table)["y"].to_pylist()
        for row in sorted(range(n), key=times.__getitem__) if self.timed else range(n):
            if late[row]:
                assert rows[row] is None
                continue
            stream = self.streams.setdefault(keys[row], self.model.stream())
            self.last[keys[row]] = times[row]
            want = stream.step(np.array([[words[row]]], np.int64))
            assert np.array(rows[row], np.float32).tobytes() == want.tobytes(), row

    def expire(self) -> None:
        limit = sorted(self.last.values())[len(self.last) // 2]
        gone = [key for key, last in self.last.items() if last < limit]
        assert self.scorer.expire(before=self.times([limit])[0].as_py()) == len(gone)
        for key in gone:
            del self.streams[key], self.last[key]

    def move(self) -> None:
        state = self.scorer.state_table()
        order = pa.array(self.rng.permutation(state.num_rows))
        self.scorer = keyed.Scorer.from_state_table(state.take(order), self.model, **self.options)


@pytest.mark.parametrize("seed", range(16))
def test_any_tables(tokens: lstm_infer.Model, seed: int) -> None:
    life = Life(tokens, seed)
    for turn in range(12):
        life.score(turn)
        if life.timed and life.last and turn % 3 == 2:
            life.expire()
        if turn % 4 == 3:
            life.move()
        assert len(life.scorer) == len(life.streams)
