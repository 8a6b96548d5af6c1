"""A checkpoint is a table: written, split, joined, read by another process, it goes on with the same bits."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from lstm_infer import ArgumentError, FeedError, FormatError

pa = pytest.importorskip("pyarrow", reason="tables need pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
keyed = pytest.importorskip("lstm_infer.keyed")

I = stream_models.INPUTS
OPTIONS = {"key": "key", "time": "t", "features": "x"}
STEADY = [name for name in every_road.ROADS if name not in ("lag", "stride", "open size")]


def table(seed: int, n: int, keys: int) -> Any:
    """Rows of the time from `seed` on."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n * I).astype(np.float32)
    key = [f"device {k}" for k in rng.integers(0, keys, n)]
    return pa.table({"key": key, "t": seed + rng.random(n), "x": pa.FixedSizeListArray.from_arrays(pa.array(x), I)})


@pytest.fixture(scope="module")
def model() -> lstm_infer.Model:
    return lstm_infer.load(stream_models.state_io())


@pytest.mark.parametrize("name", STEADY)
def test_it_holds_what_snapshots_hold(name: str) -> None:
    """Each row is the snapshot of a stream of that key, and the other way round."""
    road = every_road.ROADS[name]()
    bound = {key: value[:1] if road.batch > 1 else value for key, value in road.bound.items()}
    model, n = road.load(), 7
    facts = model.stream(inputs=bound)._plan.step_facts
    options: dict[str, Any] = {"key": "key", "features": {port: port for port in facts}, "inputs": bound}
    rng, streams = np.random.default_rng(0), [model.stream(inputs=bound) for _ in range(n)]
    columns, fed = {}, []
    for port, fact in facts.items():
        x = rng.integers(0, 9, (n, *fact.shape)) if fact.dtype.kind in "iu" else rng.uniform(-1, 1, (n, *fact.shape))
        fed.append((port, x.astype(fact.dtype)))
        columns[port] = pa.FixedSizeListArray.from_arrays(pa.array(fed[-1][1].reshape(-1)), x[0].size)
    scorer = keyed.Scorer(model, **options)
    scorer.score(pa.table({"key": np.arange(n), **columns}))
    for k, stream in enumerate(streams):
        stream.step({port: x[k] for port, x in fed})
    state = scorer.state_table()
    for row, stream in zip(state.to_pylist(), streams, strict=True):
        snapshot = stream.snapshot()
        assert row["lstm_infer_form"] + row["lstm_infer_state"] == snapshot[:8] + bytes(8) + snapshot[16:]
    other = keyed.Scorer.from_state_table(state, model, **options)
    assert other.state_table() == state and len(other) == n


def test_through_files_and_in_parts(model: lstm_infer.Model, tmp_path: Path) -> None:
    scorer, halves = keyed.Scorer(model, **OPTIONS), [keyed.Scorer(model, **OPTIONS) for _ in range(2)]
    mine = [0, 1]
    for seed in (0, 1):
        whole = table(seed, 500, 40)
        scorer.score(whole)
        side = pa.array([int(key[7:]) % 2 for key in whole["key"].to_pylist()])
        for k in mine:
            halves[k].score(whole.filter(pa.compute.equal(side, k)))
    pq.write_table(scorer.state_table(), tmp_path / "one.parquet")
    with (
        pa.OSFile(str(tmp_path / "one.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, scorer.state_table().schema) as file,
    ):
        file.write_table(scorer.state_table())
    joined = pa.concat_tables(half.state_table() for half in halves)
    plain = scorer.state_table().to_pandas() if "pandas" in sys.modules else None
    forms = {
        "parquet": pq.read_table(tmp_path / "one.parquet"),
        "ipc": pa.ipc.open_file(str(tmp_path / "one.arrow")).read_all(),
        "joined": joined,
        "other order": scorer.state_table().take(pa.array(np.random.default_rng(0).permutation(len(scorer)))),
        "plain bytes": joined.cast(
            pa.schema([*list(joined.schema)[:2], ("lstm_infer_form", pa.binary()), ("lstm_infer_state", pa.large_binary())])
        ),
    } | ({} if plain is None else {"pandas": pa.Table.from_pandas(plain)})  # fmt: skip
    later = table(2, 500, 60)
    want = scorer.score(later)
    for form, state in forms.items():
        assert keyed.Scorer.from_state_table(state, model, **OPTIONS).score(later) == want, form
    half = keyed.Scorer.from_state_table(joined.slice(0, 5), model, **OPTIONS)
    assert len(half) == 5


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"), pa.duration("s")])
def test_a_file_keeps_keys_and_times_in_another_width(kind: Any, tmp_path: Path) -> None:
    """Parquet gives date64 back as date32 and time32[s] as time32[ms], others other units."""
    of_file = {pa.date32(): pa.date64(), pa.time64("us"): pa.time64("ns"), pa.duration("s"): pa.duration("ms")}.get(
        kind
    )
    model = every_road.ROADS["tokens"]().load()
    times = pa.array([0, 86_400_000, 172_800_000] if kind == pa.date64() else [0, 1, 2], pa.int64())
    when = times.cast(pa.int32()).cast(kind) if kind.bit_width == 32 else times.cast(kind)
    rows = pa.table({"k": when, "t": when, "w": [1, 2, 3]})
    scorer = keyed.Scorer(model, key="k", time="t", features="w")
    scorer.score(rows)
    pq.write_table(scorer.state_table(), tmp_path / "state.parquet")
    state = pq.read_table(tmp_path / "state.parquet")
    for k, name in enumerate(state.column_names[:2]) if of_file else ():
        state = state.set_column(k, name, state[name].cast(of_file))
    assert state["k"].type != kind and state["t"].type != kind
    resumed = keyed.Scorer.from_state_table(state, model, key="k", time="t", features="w")
    assert resumed.score(rows) == scorer.score(rows) and len(resumed) == 3
    assert (keyed.part_of(state, "k", 1000) == keyed.part_of(rows, "k", 1000)).all()


def test_an_empty_one(model: lstm_infer.Model) -> None:
    scorer = keyed.Scorer(model, **OPTIONS)
    state = scorer.state_table()
    assert state.num_rows == 0 and state.column_names[:2] == ["key", "t"]
    again = keyed.Scorer.from_state_table(state, model, **OPTIONS)
    assert again.score(table(0, 50, 5)) == scorer.score(table(0, 50, 5))


def test_what_does_not_fit_is_refused(model: lstm_infer.Model) -> None:
    scorer = keyed.Scorer(model, **OPTIONS)
    scorer.score(table(0, 100, 5))
    state = scorer.state_table()

    def changed(name: str, value: Any) -> Any:
        return state.set_column(state.column_names.index(name), name, value)

    def go(other: Any, of: lstm_infer.Model = model) -> None:
        keyed.Scorer.from_state_table(other, of, **OPTIONS)

    with pytest.raises(FormatError, match=r"row 0: .*other weights"):
        go(state, lstm_infer.load(stream_models.state_io(seed=99)))
    with pytest.raises(FormatError, match=r"row 0: .*precision"):
        go(state, lstm_infer.load(stream_models.state_io(), precision="f16"))
    with pytest.raises(FeedError, match="there is no column 'lstm_infer_state'"):
        go(state.drop_columns(["lstm_infer_state"]))
    with pytest.raises(FeedError, match="there is no column 't'"):
        go(state.drop_columns(["t"]))
    with pytest.raises(ArgumentError, match=r"the key 'device .' is there twice"):
        go(pa.concat_tables([state, state.slice(0, 1)]))
    with pytest.raises(ArgumentError, match="nulls"):
        go(changed("lstm_infer_state", pa.array([None] * 5, state.schema.field("lstm_infer_state").type)))
    with pytest.raises(ArgumentError, match="are bytes"):
        go(changed("lstm_infer_form", pa.array([1] * 5)))
    with pytest.raises(FormatError, match="bytes in each row expected; the table is damaged"):
        go(changed("lstm_infer_state", pa.array([b"x" * 3] * 5)))
    with pytest.raises(FormatError, match="no header"):
        go(changed("lstm_infer_form", pa.array([b"x"] * 5)))
    with pytest.raises(FormatError, match="row 0: "):
        go(changed("lstm_infer_form", pa.array([b"x" * 300] * 5)))


JOB = """
import os, signal, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
import lstm_infer
from lstm_infer.keyed import Scorer

folder, die_after = sys.argv[1], int(sys.argv[2])
model = lstm_infer.load(folder + "/model.onnx")
options = dict(key="key", time="t", features="x")
names = sorted(os.listdir(folder + "/in"))
if os.path.exists(folder + "/state.parquet"):
    state = pq.read_table(folder + "/state.parquet")
    scorer = Scorer.from_state_table(state, model, **options)
    done = int(state.schema.metadata[b"done"])
else:
    scorer, done = Scorer(model, **options), 0
for k, name in enumerate(names[done:], done):
    made = scorer.score(pq.read_table(f"{folder}/in/{name}"))
    if k == die_after:  # predictions are half written, the state is not
        open(f"{folder}/out/{name}", "wb").write(b"PAR1 half")
        os.kill(os.getpid(), signal.SIGKILL)
    pq.write_table(made, f"{folder}/out/{name}")
    state = scorer.state_table().replace_schema_metadata({"done": str(k + 1)})
    pq.write_table(state, folder + "/state.new")
    os.replace(folder + "/state.new", folder + "/state.parquet")
"""


def test_a_job_that_was_killed_goes_on_with_the_same_bits(tmp_path: Path, model: lstm_infer.Model) -> None:
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    source = stream_models.state_io()
    (tmp_path / "model.onnx").write_bytes(source if isinstance(source, bytes) else source.SerializeToString())
    tables = [table(seed, 400, 30 + 10 * seed) for seed in range(5)]
    for k, one in enumerate(tables):
        pq.write_table(one, tmp_path / "in" / f"{k}.parquet")
    for die_after, code in ((3, -9), (99, 0)):
        argv = [sys.executable, "-c", textwrap.dedent(JOB), str(tmp_path), str(die_after)]
        assert subprocess.run(argv, check=False).returncode == code
    scorer = keyed.Scorer(model, **OPTIONS)
    for k, one in enumerate(tables):
        assert pq.read_table(tmp_path / "out" / f"{k}.parquet") == scorer.score(one), k
    kept = pq.read_table(tmp_path / "state.parquet").replace_schema_metadata(None)
    assert kept.to_pylist() == scorer.state_table().to_pylist()  # a file may number its dictionary otherwise
