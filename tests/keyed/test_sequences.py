"""Sequences in the rows of a table are those of `run_many`; keys belong to the same part everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from lstm_infer import ArgumentError, DtypeError, ShapeError

pa = pytest.importorskip("pyarrow", reason="tables need pyarrow")
keyed = pytest.importorskip("lstm_infer.keyed")

I = stream_models.INPUTS


def arrays_of(column: Any) -> list[Any]:
    """The rows of a column of lists."""
    return [np.array(row.as_py(), np.float32) for row in column]


@pytest.mark.parametrize("form", ["flat", "lists of lists", "fixed lists", "chunks"])
@pytest.mark.parametrize("build", ["hidden_state", "both_ways", "centred_conv", "last_step"])
def test_sequences_in_rows(build: str, form: str) -> None:
    model = lstm_infer.load(getattr(stream_models, build)())
    rng = np.random.default_rng(0)
    steps = [rng.uniform(-1, 1, (n, I)).astype(np.float32) for n in (5, 40, 1, 9)]
    column = {
        "flat": lambda: pa.array([x.reshape(-1) for x in steps], pa.list_(pa.float32())),
        "lists of lists": lambda: pa.array([x.tolist() for x in steps], pa.list_(pa.list_(pa.float32()))),
        "fixed lists": lambda: pa.array([x.tolist() for x in steps], pa.large_list(pa.list_(pa.float32(), I))),
        "chunks": lambda: pa.chunked_array(
            [pa.array([x.reshape(-1) for x in steps[a:b]], pa.list_(pa.float32())) for a, b in ((0, 3), (3, 4))]
        ),
    }[form]()
    whole = pa.table({"id": np.arange(4), "x": column})
    made = keyed.run_sequences(model, pa.concat_tables([whole.slice(1), whole.slice(0, 1)]), "x")
    sliced = keyed.run_sequences(model, whole.slice(1, 2).to_batches()[0], {"x": "x"})
    want = [model.run({"x": (x.T[None] if build == "centred_conv" else x[:, None])})["y"] for x in steps]
    timed = build != "last_step"
    for k, row in enumerate([1, 2, 3, 0]):
        assert arrays_of(made["y"])[k].tobytes() == want[row].tobytes()
        assert len(made["y"][k]) == (len(steps[row]) if timed else want[row].size)
    assert [row.tobytes() for row in arrays_of(sliced["y"])] == [want[1].tobytes(), want[2].tobytes()]


@pytest.mark.parametrize("build", ["hidden_state", "both_ways", "centred_conv", "last_step", "state_io", "frame"])
def test_no_rows_have_the_columns_of_some(build: str) -> None:
    """Engines put blocks together, of which some are empty."""
    model = lstm_infer.load(getattr(stream_models, build)())
    table = pa.table({"x": pa.array([[0.5] * (4 * I)], pa.list_(pa.float32()))})
    made = [keyed.run_sequences(model, part, "x") for part in (table, table.slice(0, 0))]
    assert made[1].num_rows == 0 and made[0].schema == made[1].schema
    assert pa.concat_tables(made) == made[0]


def test_frame_models_and_several_inputs() -> None:
    for name in ("frame with states", "gru, two inputs, two outputs"):
        road = every_road.ROADS[name]()
        model, rng = road.load(), np.random.default_rng(1)
        n_in = len(road.axes)
        rows = [[rng.uniform(-1, 1, n * every_road.I).astype(np.float32) for n in (3, 8)] for _ in range(n_in)]
        table = pa.table({f"c{k}": pa.array(each, pa.list_(pa.float32())) for k, each in enumerate(rows)})
        made = keyed.run_sequences(model, table, dict(zip(road.axes, table.column_names, strict=True)))
        shape = (-1, 1, every_road.I)
        for k in range(2):
            fed = {port: each[k].reshape(shape) for port, each in zip(road.axes, rows, strict=True)}
            want = model.run_many([fed])[0]
            assert {out: arrays_of(made[out])[k].tobytes() for out in want} == {o: a.tobytes() for o, a in want.items()}


def test_what_is_wrong_with_sequences() -> None:
    model = lstm_infer.load(stream_models.hidden_state())
    for column, error, text in (
        (
            pa.array([[0.0] * I, [0.0] * (I + 1)], pa.list_(pa.float32())),
            ShapeError,
            f"row 1: {I + 1} numbers are no whole",
        ),
        (pa.array([[0.0] * I], pa.list_(pa.float64())), DtypeError, "lists of float32"),
        (pa.array([0.0], pa.float32()), DtypeError, "lists of float32"),
        (pa.array([[0.0, None]], pa.list_(pa.float32())), DtypeError, "without nulls"),
        (pa.array([[0.0], None], pa.list_(pa.float32())), ArgumentError, "1 nulls, the first in row 1"),
    ):
        with pytest.raises(error, match=text):
            keyed.run_sequences(model, pa.table({"x": column}), "x")
    with pytest.raises(ArgumentError, match="a column of its own"):
        keyed.run_sequences(model, pa.table({"x": [[0.0]]}), {"z": "x"})


def test_parts_are_the_same_everywhere() -> None:
    """Written down: other numbers would mix the states of one job with the keys of the next."""
    numbers = np.arange(1000)
    text = [f"device-{k}" for k in numbers]
    table = pa.table({"n": numbers, "t": text, "d": pa.array(text).dictionary_encode(), "s": numbers.astype(np.int16)})
    by = {name: keyed.part_of(table, name, 7) for name in table.column_names}
    assert by["n"].tolist() == by["s"].tolist() and by["t"].tolist() == by["d"].tolist()
    assert by["n"][:12].tolist() == [5, 6, 4, 6, 1, 1, 1, 5, 0, 3, 1, 3] and by["t"][:12].tolist() == [
        6,
        5,
        3,
        2,
        4,
        3,
        1,
        0,
        6,
        1,
        3,
        5,
    ]
    assert keyed.part_of(table, ["n", "t"], 7)[:12].tolist() == [1, 3, 1, 5, 0, 3, 5, 5, 6, 2, 4, 1]
    for parts in by.values():
        assert np.bincount(parts, minlength=7).min() > 100
    rows = np.random.default_rng(0).permutation(1000)
    assert (keyed.part_of(table.take(pa.array(rows)), "t", 7) == by["t"][rows]).all()
    with pytest.raises(ArgumentError, match="parts: a whole number from 1 on"):
        keyed.part_of(table, "n", 0)
