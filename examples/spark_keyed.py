"""
A state for each key in Spark
=============================

Over a batch of rows (mapInPandas), and over a live stream (applyInPandasWithState).

.. code-block:: sh

    pip install '.[arrow]' pandas 'pyspark>=3.5'      # and a Java that Spark takes
    python examples/spark_keyed.py

It makes rows of 50 devices, scores them in Spark, stops halfway and goes on, and compares the bits with a stream for each device.
"""

from __future__ import annotations

# sphinx_gallery_start_ignore
import contextlib

with contextlib.suppress(ImportError):  # of this folder: says what to install
    import needs  # noqa: F401
# sphinx_gallery_end_ignore

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql.streaming.state import GroupState, GroupStateTimeout

import lstm_infer
from lstm_infer.cli.demo.show import MODEL

SCHEMA = "device string, at double, x float, y float"
PARTS = 4


# ---- a batch of rows


def keyed(path: str, before: str | None, after: str) -> Any:
    """For mapInPandas, behind `repartition(PARTS, key)`: a scorer for the keys of each partition."""

    def score(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        from lstm_infer.keyed import Scorer

        model = lstm_infer.load(path)  # a native file is mapped: the processes of a machine share its pages
        options: Any = {"key": "device", "time": "at", "features": "x"}
        name = f"part-{TaskContext.get().partitionId()}.parquet"
        if before is not None:  # a job leaves a file of every partition, also of those without rows
            scorer = Scorer.from_state_table(pq.read_table(f"{before}/{name}"), model, **options)
        else:
            scorer = Scorer(model, **options)
        for frame in frames:
            made = scorer.score(pa.Table.from_pandas(frame, preserve_index=False))
            yield frame.assign(y=made["y"].to_numpy())
        whole = f"{after}/.{name}.{uuid4().hex}"  # a task may run twice: each writes all of it
        pq.write_table(scorer.state_table(), whole)
        os.replace(whole, f"{after}/{name}")

    return score


def batch(spark: SparkSession, path: str, rows: pd.DataFrame, before: str | None, after: str) -> pd.DataFrame:
    """The rows with their predictions; goes on from the states in `before` and leaves its own in `after`."""
    os.makedirs(after, exist_ok=True)
    told = spark.createDataFrame(rows).selectExpr("device", "at", "float(x) x")
    parts = told.repartition(PARTS, "device").sortWithinPartitions("at")
    return parts.mapInPandas(keyed(path, before, after), SCHEMA).toPandas()


# ---- a live stream


def live(path: str) -> Any:
    """For applyInPandasWithState: Spark keeps the snapshot of each device's stream in its own checkpoint."""
    models: list[lstm_infer.Model] = []  # one for each task

    def score(key: tuple[str], frames: Iterator[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
        if not models:
            models.append(lstm_infer.load(path))
        stream = models[0].stream()
        if state.exists:
            stream.restore(bytes(state.get[0]))
        frame = pd.concat(list(frames)).sort_values("at")
        y = stream.run(frame["x"].to_numpy(np.float32).reshape(-1, 1, 1))
        state.update((stream.snapshot(),))
        yield frame.assign(y=np.asarray(y).reshape(-1))

    return score


def streamed(spark: SparkSession, path: str, source: str, sink: str, checkpoint: str) -> None:
    """Score all that lies in a folder and was not scored before, a file a micro-batch."""
    rows = spark.readStream.schema("device string, at double, x float").option("maxFilesPerTrigger", 1).parquet(source)
    made = rows.groupBy("device").applyInPandasWithState(
        live(path), SCHEMA, "snapshot binary", "append", GroupStateTimeout.NoTimeout
    )
    query = made.writeStream.format("parquet").option("path", sink).option("checkpointLocation", checkpoint)
    query.trigger(availableNow=True).start().awaitTermination()


# ---- do they give the bits of a stream for each device


def drawn(seed: int, n: int = 2000) -> pd.DataFrame:
    """Rows of 50 devices, later ones for a larger seed."""
    rng = np.random.default_rng(seed)
    device = [f"device-{k}" for k in rng.integers(0, 50, n)]
    x = rng.uniform(-1, 1, n).astype(np.float32)
    return pd.DataFrame({"device": device, "at": seed + rng.random(n), "x": x})


def alone(path: str, rows: pd.DataFrame) -> pd.DataFrame:
    """A stream for each device."""
    model, found = lstm_infer.load(path), []
    for _, mine in rows.sort_values("at").groupby("device"):
        y = model.stream().run(mine["x"].to_numpy(np.float32).reshape(-1, 1, 1))
        found.append(mine.assign(y=np.asarray(y).reshape(-1)))
    return pd.concat(found)


def same(found: pd.DataFrame, want: pd.DataFrame) -> bool:
    """Row by row, bit by bit."""
    a, b = (frame.sort_values(["device", "at"])["y"].to_numpy(np.float32) for frame in (found, want))
    return a.tobytes() == b.tobytes()


def main() -> int:
    """Both ways, each stopped in between."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the Python with these packages
        path = f"{folder}/model.lsi"
        lstm_infer.convert(MODEL, path)
        spark = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", PARTS)
            .getOrCreate()
        )
        print(f"Spark {spark.version}, lstm_infer {lstm_infer.__version__}")
        halves = [drawn(0), drawn(1)]
        want = alone(path, pd.concat(halves))
        first = batch(spark, path, halves[0], None, f"{folder}/states-0")
        second = batch(spark, path, halves[1], f"{folder}/states-0", f"{folder}/states-1")
        right = same(pd.concat([first, second]), want)
        again = same(batch(spark, path, halves[1], f"{folder}/states-0", f"{folder}/states-1"), second)
        print(
            f"mapInPandas: {len(want)} rows in two jobs, the bits of streams: {right}; the second job again, the same: {again}"
        )
        os.makedirs(f"{folder}/in")
        for k, half in enumerate(halves):  # the query ends, and another one goes on from its checkpoint
            pq.write_table(pa.Table.from_pandas(half, preserve_index=False), f"{folder}/in/{k}.parquet")
            streamed(spark, path, f"{folder}/in", f"{folder}/out", f"{folder}/checkpoint")
        live_right = same(pq.read_table(f"{folder}/out").to_pandas(), want)
        print(f"applyInPandasWithState: {len(want)} rows in two queries, the bits of streams: {live_right}")
        spark.stop()
        left = sorted(Path(f"{folder}/states-1").glob("*.parquet"))
        print(f"state tables: {sum(pq.read_metadata(file).num_rows for file in left)} devices in {len(left)} files")
    return 0 if right and again and live_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
