"""Snapshots: what a stream keeps, by name, as bytes; and back into any stream that keeps the same.

How a snapshot of a stream looks is told by where it stands: so a `Form` is made once for each plan and phase, and to take a
snapshot is one pass over its table. One that has the header of a known form is put back in one pass too; any other is read
name by name, and refused by name of what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _states
from ..errors import FormatError, StateError
from ..fingerprint import Sign, check_signs, rows_of
from ..frozen import frozen
from .block import Phase
from .plan import StreamPlan
from .snapshot_format import KEY, Entry, Read, as_bytes, key_of, read, written
from .state_block import History

__all__ = ["Signs", "put", "take"]

Signs = Callable[[], Mapping[str, Sign]]
Rows = tuple[int, ...] | None
"""Signals of a batch; None: all of them."""

MOST_FORMS = 256
"""So many are kept of a plan."""


@frozen
class Form:
    """How the snapshots of so many signals look where a stream stands like this."""

    phase: Phase
    flushed: bool
    header: bytes
    entries: tuple[Entry, ...]
    table: _states.Table


def take(plan: StreamPlan, signs: Signs, phase: Phase, flushed: bool, state: NDArray[np.uint8], rows: Rows) -> bytes:
    """A snapshot of these signals."""
    phase = plan.first_phase if flushed else phase
    form = plan.forms.get((phase, flushed, _which(signs, rows))) or _form(plan, signs, phase, flushed, rows)
    return form.table.gather(form.header, state, rows)


def put(
    plan: StreamPlan, signs: Signs, data: Any, phase: Phase, flushed: bool, state: NDArray[np.uint8], rows: Rows
) -> tuple[Phase, bool]:
    """Write a snapshot to these signals of a state block; the phase in which it was taken, and whether the stream was flushed.

    `phase`, `flushed`: where the stream stands now: single signals of it cannot stand elsewhere.
    """
    data, phase = as_bytes(data), plan.first_phase if flushed else phase
    form = _known(plan, data, phase, flushed, _which(signs, rows))
    if form is not None:
        payload, at = data, len(form.header)
    else:
        found = read(data)
        form = _fitting(plan, signs, found, phase, flushed, rows)
        names = {(entry.kind, entry.name): i for i, entry in enumerate(found.entries)}
        payload, at = found.parts([names[entry.kind, entry.name] for entry in form.entries]), 0
    wrong = form.table.scatter(payload, at, state, rows)
    if wrong >= 0:
        entry = form.entries[wrong]
        raise FormatError(f"the snapshot is damaged: no {entry.kind} {entry.name!r} holds the values that it has")
    return form.phase, form.flushed


def _which(signs: Signs, rows: Rows) -> Rows | int:
    """What a form depends on: which signals, if what is bound differs between them; else how many."""
    return rows if rows is None or any(s.own for s in signs().values()) else len(rows)


def _known(plan: StreamPlan, data: bytes, phase: Phase, flushed: bool, which: Rows | int) -> Form | None:
    """The form with the header of a snapshot, if there was one before: that of where the stream stands first."""
    form: Form | None = plan.forms.get((phase, flushed, which))
    if form is not None and _states.begins_with(data, form.header):
        return form
    form = None if which is not None else plan.forms.get(key_of(data))
    return form if form is not None and _states.begins_with(data, form.header) else None


def _held(plan: StreamPlan, phase: Phase, flushed: bool) -> dict[Any, int]:
    """How many steps each window and queue holds, where that changes. What is left behind a flush is of no use."""
    return {key: 0 if flushed else n for key, n in zip(plan.fills, phase, strict=True)}


def _form(plan: StreamPlan, signs: Signs, phase: Phase, flushed: bool, rows: Rows) -> Form:
    """How a snapshot looks; found out when first asked for, and kept."""
    held = _held(plan, phase, flushed)
    memories = sorted(plan.memories, key=lambda memory: memory.batch is None)
    if rows is not None and plan.batch > 1:
        for memory in memories:
            if memory.batch is None:
                raise StateError(f"{memory} has no batch axis; a snapshot without rows is of the whole stream")
    entries, pieces = [], []
    for memory in memories:
        steps = None if memory.time is None else held.get(memory.key, memory.view.shape[memory.time])
        entries.append(
            Entry(
                memory.kind, memory.name, memory.view.dtype.name, memory.batch is not None,
                memory.shape(plan.batch, steps), -1 if steps is None else _time(plan, memory), steps or 0,
            )
        )  # fmt: skip
        pieces.append(memory.piece(plan.batch, steps))
    n_own = sum(entry.own for entry in entries)
    table = _states.Table(pieces, n_own, plan.batch, plan.layout.n_bytes)
    known = signs() if rows is None else rows_of(signs(), rows)
    header = written(known, plan.batch if rows is None else len(rows), flushed, entries)
    form = Form(phase, flushed, header, tuple(entries), table)
    if len(plan.forms) >= MOST_FORMS:
        plan.forms.clear()
    plan.forms[phase, flushed, _which(signs, rows)] = form
    if rows is None:
        plan.forms[header[KEY:]] = form
    return form


def _time(plan: StreamPlan, memory: Any) -> int:
    """The axis with the steps in the part of one signal."""
    time: int = memory.time
    gone = memory.batch is not None and len(memory.shape(plan.batch, None)) < len(memory.view.shape)
    return time - (gone and memory.batch[0] < time)


def _fitting(plan: StreamPlan, signs: Signs, found: Read, phase: Phase, flushed: bool, rows: Rows) -> Form:
    """The form that a snapshot has in this stream; refused by name of what differs."""
    mine = signs() if rows is None else rows_of(signs(), rows)
    n = plan.batch if rows is None else len(rows)
    if found.batch != n:
        check_signs(*({name: s for name, s in all_of.items() if not s.own} for all_of in (found.signs, mine)))
        hint = "; restore(snapshot, rows=[...]) puts it into single signals" if rows is None else ""
        raise FormatError(f"the snapshot is of a batch of {found.batch}, not of {n}{hint}")
    check_signs(found.signs, mine)
    there = {(entry.kind, entry.name): entry for entry in found.entries}
    then = plan.first_phase if found.flushed else _phase(plan, there)
    if rows is not None and plan.batch > 1 and (found.flushed, then) != (flushed, phase):
        raise StateError("the snapshot was taken at another phase of a model that looks ahead or strides over time")
    if not found.flushed and (then, False, None) not in plan.forms and not plan.phases.reached(then):
        raise FormatError(f"the snapshot is damaged: no stream of this model holds {list(then)} steps")
    form = _form(plan, signs, then, found.flushed, rows)
    _check_entries(there, form)
    return form


def _phase(plan: StreamPlan, there: Mapping[tuple[str, str], Entry]) -> Phase:
    """How many steps a snapshot holds of each window and queue, in the order of a phase."""
    names = {memory.key: memory for memory in plan.memories if memory.key is not None}
    found = []
    for key in plan.fills:
        memory = names[key]
        entry = there.get((memory.kind, memory.name))
        if entry is None:
            raise FormatError(f"the snapshot does not hold {memory}; it is of another model, or damaged")
        if isinstance(key, History) and entry.time < 0:
            raise FormatError(f"the snapshot is damaged: {memory} has no steps")
        found.append(entry.held)
    return tuple(found)


def _check_entries(there: Mapping[tuple[str, str], Entry], form: Form) -> None:
    """Everything that this stream keeps, and nothing else, in the sizes that it keeps it."""
    mine = {(entry.kind, entry.name): entry for entry in form.entries}
    for kind, name in [*mine, *there]:
        a, b = there.get((kind, name)), mine.get((kind, name))
        if a is None or b is None:
            have = "does not hold" if a is None else "holds"
            raise FormatError(
                f"the snapshot {have} the {kind} {name!r}, which this stream {'has' if a is None else 'has not'}"
            )
        if a.dtype != b.dtype:
            raise FormatError(f"the snapshot has the {kind} {name!r} as {a.dtype}, this stream as {b.dtype}")
        if a != b:
            raise FormatError(
                f"the snapshot is of other sizes: the {kind} {name!r} is {list(a.shape)} there and {list(b.shape)} here; "
                "make the stream with the same shapes and inputs"
            )
