"""Ray Data: callables for `map_batches` and `map_groups`, and keyed state over a data set. Needs `pip install 'lstm_infer[ray]'`.

Every worker loads the model for itself; a native file (`convert`) is mapped, so that those of a machine share its pages.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from . import given
from .errors import ArgumentError
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
        if _nothing(batch):
            return batch
        return _beside(batch, run_sequences(self._model, batch, self._column, threads=self._threads))


class Keyed:
    """For `map_groups` over parts: a scorer for all keys of a part, that goes on from one folder and leaves its states in another.

    Parameters
    ----------
    model : str
        Path of the model, on every machine.
    parts : int
        How many there are, as `with_part` dealt them out.
    before, after : str, optional
        Folders of state tables, a file a part: read from there, written there. They differ, so that a part that is done again
        gives the same again. A part that has no rows keeps its states: its file is taken over.
    load_options : dict, optional
        As `load` takes them.
    **options
        As `keyed.Scorer` takes them.

    Raises
    ------
    ArgumentError
        `before` is not there, is of another number of parts, or is `after`.
    """

    def __init__(
        self,
        model: str,
        *,
        parts: int,
        before: str | None = None,
        after: str | None = None,
        load_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._model, self._options = load(model, **(load_options or {})), options
        self._parts, self._after = given.number("parts", parts, 1), after
        self._before = {} if before is None else _files(before, self._parts)
        if after is not None:
            Path(after).mkdir(parents=True, exist_ok=True)
            if before is not None and os.path.samefile(before, after):
                raise ArgumentError(f"before, after: two folders expected, got {after!r} for both")
            for file in self._before.values():
                _taken_over(file, Path(after, file.name))

    def __call__(self, group: Any) -> Any:
        """All rows of a part in, the same with a column for each output out."""
        if _nothing(group):
            return group
        rows = group.drop_columns([PART])
        if group.num_rows == 0:
            return _beside(rows, Scorer(self._model, **self._options).score(rows))
        part = group[PART][0].as_py()
        if part in self._before:
            scorer = Scorer.from_state_table(self._states(part), self._model, **self._options)
        else:
            scorer = Scorer(self._model, **self._options)
        made = _beside(rows, scorer.score(rows))
        if self._after is not None:
            name = f"part-{part}-of-{self._parts}.parquet"
            whole = Path(self._after, f".{name}.{uuid4().hex}")
            pq.write_table(scorer.state_table(), whole)
            whole.replace(Path(self._after, name))
        return made

    def _states(self, part: int) -> Any:
        """What the job before left of a part."""
        found = pq.read_table(self._before[part])
        if (part_of(found, self._options["key"], self._parts) != part).any():
            raise ArgumentError(
                f"{self._before[part]}: its keys belong to other parts than {part} of {self._parts}; join the files, and deal "
                "their rows out by part_of"
            )
        return found


def _files(folder: str, parts: int) -> dict[int, Path]:
    """By part: the state tables of a folder."""
    if not Path(folder).is_dir():
        raise ArgumentError(f"before: there is no folder {folder!r}; a first job is given none")
    found = dict[int, Path]()
    for file in sorted(Path(folder).glob("part-*.parquet")):
        name = re.fullmatch(r"part-(\d+)-of-(\d+)\.parquet", file.name)
        if name is None or int(name[2]) != parts:
            raise ArgumentError(
                f"before: {file} is no state table of one of {parts} parts; parts stays the same from job to job, and to "
                "change it, join the files and deal their rows out by part_of"
            )
        found[int(name[1])] = file
    return found


def _taken_over(file: Path, to: Path) -> None:
    """A file in another folder too, unless one is there: all of it or nothing, whoever else does the same."""
    with suppress(FileExistsError):
        try:
            os.link(file, to)
        except FileExistsError:
            raise
        except OSError:  # of another disk, or one that has no links
            whole = to.with_name(f".{to.name}.{uuid4().hex}")
            shutil.copyfile(file, whole)
            if to.exists():
                whole.unlink()
            else:
                whole.replace(to)


def with_part(batch: Any, key: str | Sequence[str], parts: int) -> Any:
    """For `map_batches`: the batch with a column `PART` that says to which of so many parts the key of a row belongs."""
    return batch if _nothing(batch) else _beside(batch, pa.table({PART: part_of(batch, key, parts)}))


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
        fn_constructor_kwargs={"model": model, "key": key, "parts": parts, **options},
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers),
    )


def _nothing(table: Any) -> bool:
    """A block of no rows of which nothing says what columns it would have: engines pass them on."""
    return table.num_rows == 0 and not table.column_names


def _beside(table: Any, made: Any) -> Any:
    """A table with more columns."""
    for name in made.column_names:
        if name in table.column_names:
            raise ArgumentError(f"the table has a column {name!r}, which is the name of a new one; rename or drop it")
        table = table.append_column(name, made[name])
    return table
