"""Ray Data: callables for `map_batches` and `map_groups`, and keyed state over a data set. Needs `pip install 'lstm_infer[ray]'`.

Every worker loads the model for itself; a native file (`convert`) is mapped, so that those of a machine share its pages.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from .keyed import Scorer, part_of, run_sequences
from .model import load

if TYPE_CHECKING:
    import ray.data

__all__ = ["PART", "Keyed", "Sequences", "score_keyed", "with_part"]

PART = "lstm_infer_part"


class Sequences:
    """For `map_batches`: the columns of a batch, and the outputs of a model over the sequence in each row.

    Parameters
    ----------
    model : str
        Path of the model, on every machine.
    column : name, or dict of input name to name
        As `keyed.run_sequences` takes it.
    threads : int
        As in `Model.run_many`.
    **options
        As `load` takes them.
    """

    def __init__(self, model: str, column: str | dict[str, str], threads: int = 1, **options: Any) -> None:
        self._model, self._column, self._threads = load(model, **options), column, threads

    def __call__(self, batch: Any) -> Any:
        """A pyarrow.Table in, the same with a column for each output out."""
        return _beside(batch, run_sequences(self._model, batch, self._column, threads=self._threads))


class Keyed:
    """For `map_groups` over parts: a scorer for all keys of a part, that goes on from one folder and leaves its states in another.

    Parameters
    ----------
    model : str
        Path of the model, on every machine.
    before, after : str, optional
        Folders of state tables, a file a part: read from there, written there. They differ, so that a part that is done again
        gives the same again.
    load_options : dict, optional
        As `load` takes them.
    **options
        As `keyed.Scorer` takes them.
    """

    def __init__(
        self,
        model: str,
        before: str | None = None,
        after: str | None = None,
        load_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._model, self._options = load(model, **(load_options or {})), options
        self._before, self._after = before, after

    def __call__(self, group: Any) -> Any:
        """All rows of a part in, the same with a column for each output out."""
        if group.num_rows == 0:
            return group
        name = f"part-{group[PART][0].as_py()}.parquet"
        if self._before is not None and (there := Path(self._before, name)).exists():
            scorer = Scorer.from_state_table(pq.read_table(there), self._model, **self._options)
        else:
            scorer = Scorer(self._model, **self._options)
        made = _beside(group.drop_columns([PART]), scorer.score(group))
        if self._after is not None:
            Path(self._after).mkdir(parents=True, exist_ok=True)
            whole = Path(self._after, f".{name}.{os.getpid()}")
            pq.write_table(scorer.state_table(), whole)
            whole.replace(Path(self._after, name))
        return made


def with_part(batch: Any, key: str | Sequence[str], parts: int) -> Any:
    """For `map_batches`: the batch with a column `PART` that says to which of so many parts the key of a row belongs."""
    return batch.append_column(PART, pa.array(part_of(batch, key, parts)))


def score_keyed(
    dataset: ray.data.Dataset,
    model: str,
    *,
    key: str | Sequence[str],
    parts: int,
    workers: int = 1,
    **options: Any,
) -> ray.data.Dataset:
    """Keyed state over a data set: the rows, with a column for each output of the model.

    Parameters
    ----------
    dataset : ray.data.Dataset
    model : str
        Path of the model, on every machine.
    key : name, or names
        As in `keyed.Scorer`.
    parts : int
        All rows of a key go to one of so many parts, whose rows and states are held at once. It stays the same from job to job.
    workers : int
        Actors of Ray, each with a CPU of its own.
    **options
        As `Keyed` takes them: `features`, `time`, `before`, `after` and others.

    Raises
    ------
    ray.exceptions.RayTaskError
        When it is run: whatever `keyed.Scorer` raises in a worker.
    """
    from ray.data import ActorPoolStrategy

    deal: Any = with_part
    told = dataset.map_batches(deal, fn_kwargs={"key": key, "parts": parts}, batch_format="pyarrow")
    return told.groupby(PART).map_groups(
        Keyed,
        fn_constructor_kwargs={"model": model, "key": key, **options},
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers),
    )


def _beside(table: Any, made: Any) -> Any:
    for name in made.column_names:
        table = table.append_column(name, made[name])
    return table
