"""The general path of a pool: what `_pool` does not take in one crossing is checked, sorted, run batch by batch, and joined.

Here are the dict form, models that look ahead or stride over time (signals of equal phase together), steps on the host, and
what is said of a call that is wrong. A call is all or nothing: the rows of its signals are kept until it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import _core, _pool, given, views
from .._stream import Standing
from ..errors import ArgumentError, DtypeError, LstmInferError, ShapeError, StateError
from ..program.program import step_failed
from ..stream import Stream
from ..streams import shapes
from ..streams.asked import Source
from ..streams.block import Phase
from ..streams.general import FLUSHED, call_block, joined, piece
from ..within import within_memory
from .batch import Batch
from .batches import Batches
from .beside import Rows, one_by_one, side_by_side
from .told import Ids, behind_ids, check_frame, id_array, named, no_such, one_id, own_feeds, shared_feeds, twice

if TYPE_CHECKING:
    from ..streams.shapes import Arrays

__all__ = ["Calls", "Where"]

Where = tuple[Phase, bool]
"""Where a signal stands besides its row: its phase, and whether it was flushed."""


class Calls(_pool.PoolCore):
    """A pool as far as its calls go."""

    __slots__ = ("_arena", "_batches", "_source", "_where")

    _source: Source
    _batches: Batches
    _where: dict[int, Where]
    """By slot, of those that do not stand where all begin."""
    _arena: NDArray[np.uint8] | None

    # ---- the two forms ----

    @within_memory("the pool")
    def _slow(self, ids: Any, frames: Any, out: Any, chunk: bool) -> Any:
        if frames is not None:
            array = id_array(ids)
            fed, filled, _ = views.views_of(frames, out)
            made = self._alone(lambda: self._many(array, fed, filled, chunk))
            return made if out is None else out
        if not isinstance(ids, Mapping):
            raise ArgumentError(f"ids, frames or {{id: frame}} expected, got {given.shown(ids)} alone")
        if out is not None:
            raise ArgumentError("out: goes with the array form, not with {id: frame}")
        told = dict(ids)
        return self._alone(lambda: self._each(told, chunk))

    def _many(self, ids: Ids, frames: Any, out: Any, chunk: bool) -> Any:
        """The array form."""
        self._check_open()
        rig = self._batches.rig(len(ids))
        result = None if rig is None else self._fast(rig, ids, frames, out, chunk)
        if result is not None:
            self._equip(rig)
            return result
        slots, n = self._found(ids), len(ids)
        feeds = shared_feeds(self._batches.plan, frames, n)
        one = {name: array[0] if n else np.empty(array.shape[1:], array.dtype) for name, array in feeds.items()}
        batches = self._fitting(one, chunk)
        try:
            check_frame(batches.plan, one, chunk)
        except ShapeError as error:
            raise behind_ids(error, "chunk" if chunk else "frame") from None
        self._refuse_flushed(ids, slots)
        dense = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        several = isinstance(frames, Mapping)
        rig = batches.rig(n)
        if rig is not None:
            x: Any = dense if several or len(dense) != 1 else next(iter(dense.values()))
            result = self._fast(rig, ids, x, out, chunk)
            if result is not None:
                self._batches = batches
                self._equip(rig)
                return result

        def body() -> Any:
            made = self._rows_of(batches, ids, slots, dense, chunk)
            self._batches = batches  # of the sizes that are fed: the next call finds its plans
            whole = _arrays(batches, made, not chunk and _with_time(batches, dense)[1])
            if out is None:
                return whole if several or len(whole) != 1 else next(iter(whole.values()))
            targets = shapes.check_out(batches.plan, out, {name: array.shape for name, array in whole.items()}, feeds)
            for name, target in (targets or {}).items():
                target[...] = whole[name]
            return out

        return self._kept(slots, body)

    def _each(self, frames: Mapping[Any, Any], chunk: bool) -> dict[Any, Any]:
        """The dict form."""
        self._check_open()
        quick = self._alike(frames, chunk)
        if quick is not None:
            return quick
        for id in frames:
            if self._slot(one_id(id)) < 0:
                raise no_such(one_id(id))
        told = own_feeds(lambda feeds: self._fitting(feeds, chunk).plan if feeds else self._batches.plan, frames, chunk)
        alike = dict[Any, list[int]]()
        for index, (_, feeds, _) in enumerate(told):
            alike.setdefault(tuple(array.shape for array in feeds.values()), []).append(index)
        ids = np.array([id for id, _, _ in told], np.int64)
        slots = self._found(ids)
        self._refuse_flushed(ids, slots)
        results = list[Any]([None] * len(told))

        def body() -> None:
            for which in alike.values():
                names = told[which[0]][1]
                stacked = {name: np.stack([told[i][1][name] for i in which]) for name in names}
                batches = self._fitting(told[which[0]][1], chunk)
                made = self._rows_of(batches, ids[which], slots[which], stacked, chunk)
                for k, i in enumerate(which):
                    row = {name: rows[k] for name, rows in made.items()}
                    results[i] = row if told[i][2] or len(row) != 1 else next(iter(row.values()))
                self._batches = batches

        self._kept(slots, body)
        return dict(zip(frames, results, strict=True))

    def _alike(self, frames: Mapping[Any, Any], chunk: bool) -> dict[Any, Any] | None:
        """The dict form where every frame is an array like the first: the array form. None: they are not, or it is for the
        general path, which says what is wrong."""
        rig, arrays = self._batches.rig(len(frames)), list(frames.values())
        if rig is None or {*map(type, frames)} != {int} or {*map(type, arrays)} != {np.ndarray}:
            return None
        first = arrays[0]
        shape, dtype = first.shape, first.dtype
        if any(a.shape != shape or a.dtype != dtype for a in arrays):
            return None
        try:
            ids = np.fromiter(frames, np.int64, len(arrays))
        except OverflowError:
            return None
        # twice as fast as np.stack, which makes a view of each
        whole = np.concatenate(arrays).reshape(len(arrays), *first.shape) if first.ndim else np.stack(arrays)
        result = self._fast(rig, ids, whole, None, chunk)
        if result is None:
            return None
        if isinstance(result, dict):
            rows = [dict(zip(result, row, strict=True)) for row in zip(*map(_split, result.values()), strict=True)]
            return dict(zip(frames, rows, strict=True))
        return dict(zip(frames, _split(result), strict=True))

    # ---- what both do ----

    def _rows_of(self, batches: Batches, ids: Ids, slots: Ids, feeds: Arrays, chunk: bool) -> dict[str, Rows]:
        """Step these signals, each fed a row of the arrays; the outputs of each."""
        rig = batches.rig(len(ids))
        if rig is not None:
            result = self._fast(rig, ids, dict(feeds), None, chunk)
            if result is not None:
                return {name: [*_split(array)] for name, array in result.items()}
        feeds, dropped = _with_time(batches, feeds) if not chunk else (feeds, False)
        made: dict[str, Rows] = {o.name: [None] * len(ids) for o in batches.spec.outputs}
        phases = dict[Phase, list[int]]()
        for index, slot in enumerate(slots.tolist()):
            phases.setdefault(self._where.get(slot, (batches.plan.first_phase, False))[0], []).append(index)
        for phase, which in phases.items():
            for at, batch in batches.cut(len(which)):
                rows = which[at : at + batch.n]
                mine = {name: array[rows] for name, array in feeds.items()}
                results = self._batch(batch, ids[rows], slots[rows], mine, phase, chunk)
                for name, found in results.items():
                    for k, row in enumerate(rows):
                        made[name][row] = found[k]
        if not chunk:
            for o in batches.plan.spec.outputs:
                if o.kind == "time":
                    made[o.name] = [_stepped(row, o.axis, dropped) for row in made[o.name]]
        return made

    def _batch(self, batch: Batch, ids: Ids, slots: Ids, feeds: Arrays, phase: Phase, chunk: bool) -> dict[str, Rows]:
        """As many signals of one phase as a batch has."""
        plan = batch.plan
        leading = chunk and plan.spec.mode == "frame"
        lead = {name: int(leading and name in plan.spec.streamed) for name in feeds}
        try:
            wide = {name: side_by_side(a, batch.axes[name], lead[name]) for name, a in feeds.items()}
            results, then = self._blocks(batch, slots, wide, phase, chunk)
        except LstmInferError as error:
            self._blame(ids, feeds, chunk, error)
        if then != phase or phase != plan.first_phase:
            for slot in slots.tolist():
                self._where[slot] = then, False
        rows = {o.name for o in plan.spec.outputs if o.kind == "time" and o.axis == batch.axes[o.name]}
        return {
            name: one_by_one(a, batch.axes[name], int(leading), batch.n, name in rows) for name, a in results.items()
        }

    def _blocks(
        self, batch: Batch, slots: Ids, feeds: Arrays, phase: Phase, chunk: bool
    ) -> tuple[dict[str, NDArray[Any] | None], Phase]:
        """The outputs of a batch, and the phase in which it then stands."""
        plan, at, then = batch.plan, 0, phase
        n = shapes.chunk_length(plan, feeds) if chunk else 1
        made = []
        self._load(batch.layout, slots, batch.block)
        for block in plan.cut(n, phase):
            fed = {name: piece(plan, name, a, at, block.n) for name, a in feeds.items()} if chunk else feeds
            made.append(call_block(self, plan, block, fed, batch.block))
            at, then = at + block.n, block.next_phase
        self._store(batch.layout, slots, batch.block)
        if not chunk:
            return {o.name: made[0].get(o.name) for o in plan.spec.outputs}, then
        return joined(plan, made), then

    # ---- inside ----

    def _kept(self, slots: Ids, body: Any) -> Any:
        """What the body does to these signals is all done, or nothing."""
        before, where = self._rows(slots), {slot: self._where.get(slot) for slot in slots.tolist()}
        try:
            return body()
        except BaseException:
            self._put_rows(slots, before)
            for slot, stood in where.items():
                if stood is None:
                    self._where.pop(slot, None)
                else:
                    self._where[slot] = stood
            raise

    def _found(self, ids: Ids) -> Ids:
        found, wrong = self._slots(ids)
        if wrong is not None:
            raise no_such(int(ids[found])) if wrong == -1 else twice(int(ids[found]))
        return found  # type: ignore[no-any-return]

    def _fitting(self, feeds: Arrays, chunk: bool) -> Batches:
        """The plans for the sizes, of axes that the file leaves open, that are fed."""
        now = self._batches
        new = shapes.other_sizes(now.plan, feeds, 1 if chunk and now.spec.mode == "frame" else 0)
        if not new:
            return now
        other = now.of_sizes(new)
        if other.one.layout.row_bytes != now.one.layout.row_bytes:
            raise shapes.no_fit(now.plan, new, "pool")
        return other

    def _refuse_flushed(self, ids: Ids, slots: Ids) -> None:
        if self._where:
            for id, slot in zip(ids.tolist(), slots.tolist(), strict=True):
                if self._where.get(slot, ((), False))[1]:
                    raise StateError(f"signal {id}: {FLUSHED.replace('the stream', 'it')}")

    def _check_open(self) -> None:
        raise NotImplementedError("_check_open")

    def _borrowed(self, slot: int) -> Stream:
        """A signal as a stream of its own; the row stays as it is."""
        batches = self._batches
        stream = Stream(self._source, batches.asked, batches.plan)
        self._load(batches.one.layout, np.array([slot]), stream._state)
        phase, flushed = self._where.get(slot, (batches.plan.first_phase, False))
        stream._stand(Standing(batches.plan, phase, flushed, stream._first))
        return stream

    def _failed(self, error: _core.StepError, ids: Ids, frames: Any, chunk: bool) -> NoReturn:
        feeds = frames if isinstance(frames, dict) else {self._batches.plan.fed.names[0]: frames}
        self._blame(ids, feeds, chunk, step_failed(error, ()))

    def _blame(self, ids: Ids, feeds: Arrays, chunk: bool, error: LstmInferError) -> NoReturn:
        """Which signal does a call fail on: each is tried alone."""
        for k, id in enumerate(ids.tolist()):
            stream, frame = self._borrowed(self._slot(id)), {name: array[k] for name, array in feeds.items()}
            steps = not chunk and self._batches.spec.lag == 0 and self._batches.spec.rate == 1
            try:
                (stream.step if steps else stream.run)(frame)
            except LstmInferError as own:
                raise named(id, own) from None
        raise error


def _split(array: NDArray[Any]) -> list[NDArray[Any]]:
    """The rows of an array, as arrays also where each is one number."""
    return list(array) if array.ndim > 1 else [array[k, ...] for k in range(len(array))]


def _stepped(row: NDArray[Any] | None, axis: int, dropped: bool) -> NDArray[Any] | None:
    """What a step gives: None where it is no step of the output yet, the time axis as the frame has it."""
    if row is None or row.shape[axis] == 0:
        return None
    return np.squeeze(row, axis) if dropped and row.shape[axis] == 1 else row


def _with_time(batches: Batches, feeds: Arrays) -> tuple[Arrays, bool]:
    """Frames with their time axis, and whether they came without it."""
    plan, ready, dropped = batches.plan, dict(feeds), False
    for name, array in feeds.items():
        axis = shapes.time_axis(plan, name)
        if axis is not None and array.ndim == len(plan.step_facts[name].shape):
            ready[name], dropped = np.expand_dims(array, axis + 1), True
    return ready, dropped


def _arrays(batches: Batches, made: Mapping[str, Rows], dropped: bool) -> dict[str, NDArray[Any]]:
    """The outputs of the array form; `dropped`: without their time axis."""
    whole = {}
    for o in batches.plan.spec.outputs:
        fact = batches.plan.out_facts[o.name]
        gone = o.axis if dropped and o.kind == "time" else None
        shape = tuple(extent for axis, extent in enumerate(fact.shape) if axis != gone)
        whole[o.name] = _together(o.name, made[o.name], shape, fact.dtype)
    return whole


def _together(name: str, rows: Rows, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An output of the array form: NaN where it does not exist yet. `shape`: of one where none exists."""
    there = [row for row in rows if row is not None]
    found = {row.shape for row in there} or {shape}
    if len(found) > 1:
        raise ShapeError(
            f"output {name!r}: the signals stand at different phases of a model that looks ahead or strides over time, and "
            f"give {sorted(found)}; use the form {{id: frames}}"
        )
    if len(there) == len(rows):
        return np.stack(there) if there else np.empty((0, *shape), dtype)
    if dtype.kind not in "fc":
        raise DtypeError(
            f"output {name!r} of {dtype} does not exist yet for some signals, and has no NaN; use the form {{id: frame}}"
        )
    whole = np.full((len(rows), *found.pop()), np.nan, dtype)
    for k, row in enumerate(rows):
        if row is not None:
            whole[k] = row
    return whole
