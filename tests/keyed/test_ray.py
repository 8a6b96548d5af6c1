"""The callables for Ray Data in Ray itself: two workers on this machine."""

from __future__ import annotations

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

from lstm_infer.keyed import Scorer, part_of  # noqa: E402
from lstm_infer.ray import Keyed, Sequences, score_keyed, with_part  # noqa: E402

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
    killed = Keyed(path, before=folders[0], after=folders[1], **OPTIONS)
    parts = with_part(second, "key", 3)
    killed(parts.filter(pa.compute.equal(parts["lstm_infer_part"], 1)))
    assert [p.name for p in Path(folders[1]).iterdir()] == ["part-1.parquet"]
    assert job(second, before=folders[0], after=folders[1]) == want[1]
    states = pa.concat_tables(pq.read_table(file) for file in sorted(Path(folders[1]).iterdir()))
    kept = {row["key"]: row for row in scorer.state_table().to_pylist()}
    assert {row["key"]: row for row in states.to_pylist()} == kept


def test_all_rows_of_a_key_are_in_one_part() -> None:
    one = table(0)
    parts = with_part(one, ["key"], 5)
    assert (
        parts.column_names[-1] == "lstm_infer_part"
        and parts["lstm_infer_part"].to_pylist() == part_of(one, "key", 5).tolist()
    )
    assert len(set(zip(one["key"].to_pylist(), parts["lstm_infer_part"].to_pylist(), strict=True))) == 20
