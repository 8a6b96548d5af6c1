"""The callables for Ray Data in Ray itself: two workers on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_infer
import stream_models

pytest.importorskip("pyarrow", reason="tables need pyarrow")
ray = pytest.importorskip("ray", reason="an adapter for Ray Data")
pytest.importorskip("ray.data")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from lstm_infer import ArgumentError  # noqa: E402
from lstm_infer.keyed import Scorer, part_of  # noqa: E402
from lstm_infer.ray import PART, Keyed, Sequences, score_keyed, with_part  # noqa: E402

I = stream_models.INPUTS
OPTIONS: dict[str, Any] = {"key": "key", "time": "t", "features": "x"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)  # of Ray: shuffles take some beside the workers
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("model") / "model.lsi"
    lstm_infer.convert(stream_models.hidden_state(), file)
    return str(file)


def table(seed: int, n: int = 300, keys: int = 20) -> Any:
    rng = np.random.default_rng(seed)
    x = pa.array(rng.uniform(-1, 1, n * I).astype(np.float32))
    key = [f"k{k}" for k in rng.integers(0, keys, n)]
    return pa.table({"key": key, "t": seed + rng.random(n), "x": pa.FixedSizeListArray.from_arrays(x, I)})


def rows_of(dataset: Any) -> dict[Any, list[float]]:
    return {(row["key"], row["t"]): list(row["y"]) for row in dataset.take_all()}


def scored(scorer: Any, one: Any) -> dict[Any, list[float]]:
    made = scorer.score(one)["y"].to_pylist()
    return {(row["key"], row["t"]): y for row, y in zip(one.to_pylist(), made, strict=True)}


def test_sequences_over_workers(cluster: None, path: str) -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.uniform(-1, 1, (int(n), I)).astype(np.float32) for n in rng.integers(1, 60, 40)]
    rows = pa.table({"id": np.arange(40), "x": pa.array([x.reshape(-1) for x in sequences], pa.list_(pa.float32()))})
    two = ray.data.ActorPoolStrategy(size=2)
    made = ray.data.from_arrow(rows).repartition(4).map_batches(
        Sequences, fn_constructor_kwargs={"model": path, "column": "x"}, batch_format="pyarrow", compute=two
    )  # fmt: skip
    model, found = lstm_infer.load(path), {row["id"]: row["y"] for row in made.take_all()}
    for k, x in enumerate(sequences):
        want = model.stream().run(x[:, None])
        assert np.array([np.array(step) for step in found[k]], np.float32).tobytes() == want.tobytes()


def test_a_keyed_job_goes_on_from_another_and_may_be_done_again(cluster: None, path: str, tmp_path: Path) -> None:
    scorer = Scorer(lstm_infer.load(path), **OPTIONS)
    first, second = table(0), table(1)
    want = [scored(scorer, first), scored(scorer, second)]
    folders = [str(tmp_path / name) for name in ("0", "1")]

    def job(one: Any, **more: Any) -> Any:
        return rows_of(score_keyed(ray.data.from_arrow(one), path, parts=3, workers=2, **OPTIONS, **more))

    assert job(first, after=folders[0]) == want[0]
    # a job that was killed: one part has left its states, the others have not
    killed = Keyed(path, parts=3, before=folders[0], after=folders[1], **OPTIONS)
    parts = with_part(second, "key", 3)
    killed(parts.filter(pa.compute.equal(parts["lstm_infer_part"], 1)))
    before, after = ({p.name: p.read_bytes() for p in Path(folder).iterdir()} for folder in folders)
    assert sorted(after) == [f"part-{k}-of-3.parquet" for k in range(3)]
    assert [before[name] == after[name] for name in sorted(after)] == [True, False, True]
    assert job(second, before=folders[0], after=folders[1]) == want[1]
    states = pa.concat_tables(pq.read_table(file) for file in sorted(Path(folders[1]).iterdir()))
    kept = {row["key"]: row for row in scorer.state_table().to_pylist()}
    assert {row["key"]: row for row in states.to_pylist()} == kept


def in_parts(worker: Any, one: Any, parts: int) -> dict[Any, list[float]]:
    """What Ray does with a worker, without it."""
    dealt, found = with_part(one, "key", parts), {}
    for k in range(parts):
        found |= {
            (r["key"], r["t"]): r["y"] for r in worker(dealt.filter(pa.compute.equal(dealt[PART], k))).to_pylist()
        }
    return found


@pytest.mark.parametrize("links", [True, False])
def test_a_part_without_rows_keeps_its_states(
    path: str, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    scorer, folder = Scorer(lstm_infer.load(path), **OPTIONS), None
    for job, one in enumerate([table(0), table(1, 10, 1), table(2)]):
        after = str(tmp_path / str(job))
        worker, other = (Keyed(path, parts=4, before=folder, after=after, **OPTIONS) for _ in range(2))
        assert in_parts(worker, one, 4) == scored(scorer, one)
        assert in_parts(other, one, 4) == in_parts(Keyed(path, parts=4, before=folder, **OPTIONS), one, 4)
        folder = after
        assert sorted(p.name for p in Path(after).iterdir()) == [f"part-{k}-of-4.parquet" for k in range(4)]


def test_states_that_a_job_cannot_go_on_from(path: str, tmp_path: Path) -> None:
    states = str(tmp_path / "states")
    in_parts(Keyed(path, parts=4, after=states, **OPTIONS), table(0), 4)
    for more, said in [
        ({"before": states, "parts": 5}, "parts stays the same from job to job"),
        ({"before": str(tmp_path / "state"), "parts": 4}, "there is no folder"),
        ({"before": states, "after": f"{states}/", "parts": 4}, "two folders expected"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            Keyed(path, **OPTIONS, **more)
    one, two = (Path(states, f"part-{k}-of-4.parquet") for k in (1, 2))
    one.write_bytes(two.read_bytes())
    with pytest.raises(ArgumentError, match=r"part-1-of-4\.parquet: its keys belong to other parts"):
        in_parts(Keyed(path, parts=4, before=states, **OPTIONS), table(1), 4)


def test_blocks_without_rows(path: str, tmp_path: Path) -> None:
    worker, one = Keyed(path, parts=2, after=str(tmp_path), **OPTIONS), table(0)
    some, none = (worker(with_part(rows, "key", 2).filter(pa.compute.equal(part_of(rows, "key", 2), 0)) if rows.num_rows else
                         with_part(rows, "key", 2)) for rows in (one, one.slice(0, 0)))  # fmt: skip
    assert none.schema == some.schema and none.num_rows == 0
    assert [file.name for file in tmp_path.iterdir()] == ["part-0-of-2.parquet"]
    bare = pa.table({})
    assert worker(bare) == with_part(bare, "key", 2) == Sequences(path, "x")(bare) == bare
    lists = pa.table({"x": pa.array([[1.0] * I, [0.5] * I], pa.list_(pa.float32()))})
    assert Sequences(path, "x")(lists.slice(0, 0)).schema == Sequences(path, "x")(lists).schema


def test_a_column_that_is_there_already(path: str) -> None:
    worker, one = Keyed(path, parts=2, **OPTIONS), table(0)
    with pytest.raises(ArgumentError, match="a column 'y'"):
        in_parts(worker, one.append_column("y", one["t"]), 2)
    with pytest.raises(ArgumentError, match=f"a column '{PART}'"):
        with_part(with_part(one, "key", 2), "key", 2)
    with pytest.raises(ArgumentError, match="a column 'y'"):
        Sequences(path, "x")(pa.table({"x": pa.array([[1.0] * I], pa.list_(pa.float32())), "y": [1]}))


def test_all_rows_of_a_key_are_in_one_part() -> None:
    one = table(0)
    parts = with_part(one, ["key"], 5)
    assert (
        parts.column_names[-1] == "lstm_infer_part"
        and parts["lstm_infer_part"].to_pylist() == part_of(one, "key", 5).tolist()
    )
    assert len(set(zip(one["key"].to_pylist(), parts["lstm_infer_part"].to_pylist(), strict=True))) == 20
