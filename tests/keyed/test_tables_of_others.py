"""Tables of other packages go in through Arrow's PyCapsule interface, with the bits of the same table of pyarrow."""

from __future__ import annotations

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="keyed needs pyarrow")

import lstm_infer  # noqa: E402
import stream_models  # noqa: E402
from lstm_infer.keyed import Scorer, part_of, run_sequences  # noqa: E402

NAMES = [f"f{n}" for n in range(stream_models.INPUTS)]


class Stream:
    """What has nothing but the one method."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Batch:
    def __init__(self, table):
        (self._batch,) = table.combine_chunks().to_batches()

    def __arrow_c_array__(self, requested_schema=None):
        return self._batch.__arrow_c_array__(requested_schema)


def reader(table):
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=7))


def polars(table):
    return pytest.importorskip("polars", reason="polars is not installed").from_arrow(table)


def pandas(table):
    pytest.importorskip("pandas", reason="pandas is not installed")
    return table.to_pandas()


def duckdb(table):
    return pytest.importorskip("duckdb", reason="duckdb is not installed").from_arrow(table)


OTHERS = [Stream, Batch, reader, polars, pandas, duckdb]


@pytest.fixture
def table(rng):
    features = rng.standard_normal((40, stream_models.INPUTS), np.float32)
    return pa.table(
        {
            "key": rng.choice(["pump", "fan", "valve with a name longer than a view holds"], 40),
            "at": np.arange(40),
            **{name: features[:, n] for n, name in enumerate(NAMES)},
            "all": pa.FixedSizeListArray.from_arrays(features.reshape(-1), stream_models.INPUTS),
            "sequence": pa.array([row.tolist() for row in np.repeat(features, 2, axis=1)], pa.large_list(pa.float32())),
        }
    )


@pytest.mark.parametrize("of", OTHERS)
@pytest.mark.parametrize("features", [NAMES, "all"])
def test_a_table_of_others_is_scored(of, features, table):
    if of is pandas and features == "all":
        pytest.skip("pandas has objects for lists")
    model = lstm_infer.load(stream_models.hidden_state())
    first, second = table.slice(0, 25), table.slice(25)
    want, got = (Scorer(model, key="key", time="at", features=features) for _ in range(2))
    for part in (first, second):
        assert got.score(of(part)).equals(want.score(part))
    resumed = Scorer.from_state_table(of(want.state_table()), model, key="key", time="at", features=features)
    assert resumed.score(of(second.set_column(1, "at", pa.array(np.arange(100, 115))))).num_rows == 15
    np.testing.assert_array_equal(part_of(of(table), "key", 3), part_of(table, "key", 3))


@pytest.mark.parametrize("of", [Stream, polars, duckdb])
def test_sequences_of_others_are_run(of, table):
    model = lstm_infer.load(stream_models.hidden_state())
    assert run_sequences(model, of(table), {"x": "sequence"}).equals(run_sequences(model, table, {"x": "sequence"}))


class Broken:
    def __arrow_c_stream__(self, requested_schema=None):
        raise OSError("the connection is closed")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: Stream, "what has __arrow_c_stream__, expected, got <class"),
        (lambda: Broken(), "gives no table: OSError: the connection is closed"),
        (lambda: Stream(pa.chunked_array([[1.0, 2.0]])), "gives no table"),
        (lambda: polars(pa.table({"key": [1]})).lazy(), "write x.collect()"),
        (lambda: polars(pa.table({"key": [1]}))["key"], "gives no table"),
    ],
)
def test_what_gives_no_table(given, said):
    scorer = Scorer(lstm_infer.load(stream_models.hidden_state()), key="key", features=NAMES)
    with pytest.raises(lstm_infer.ArgumentError) as caught:
        scorer.score(given())
    assert said in str(caught.value) and "\n" not in str(caught.value)
