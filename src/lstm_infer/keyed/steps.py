"""Rows as steps of signals: each signal's in their order, as many signals and steps a call of the pool as go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, LstmInferError
from ..pool import StreamPool
from ..streams.plan import StreamPlan

__all__ = ["Ports", "refuse_lag", "stepped"]

Numbers = NDArray[np.int64]

AT_ONCE = 4096
"""Rows of a call of the pool: enough for the largest batches, and what they take stays in the cache."""
GROWTH = 4
"""Steps of a chunk are powers of this: a signal of n rows takes part in 3 log4(n) calls at most."""
LONGEST = GROWTH**6


@dataclass(frozen=True)
class Port:
    """An input or output of the pool: the shape of one step, and where its time axis is (-1: it has none)."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    time: int


class Ports:
    """What a step of a signal takes and gives."""

    def __init__(self, plan: StreamPlan) -> None:
        spec, self.leading = plan.spec, plan.spec.mode == "frame"
        times = spec.roles.time
        self.ins = [
            Port(name, fact.shape, np.dtype(fact.dtype), times.get(name, -1)) for name, fact in plan.step_facts.items()
        ]
        self.outs = [
            Port(o.name, plan.out_facts[o.name].shape, np.dtype(plan.out_facts[o.name].dtype), o.axis if o.kind == "time" else -1)
            for o in spec.outputs
        ]  # fmt: skip
        every = (self.leading or all(o.kind == "time" for o in spec.outputs)) and not plan.fed.per_step
        self.chunks = every and (self.leading or all(port.time >= 0 for port in self.ins))
        """May rows of a signal go in as a chunk: each step has its own values, and gives its own outputs."""

    def fed(self, port: Port, rows: NDArray[Any]) -> NDArray[Any]:
        """What a pool takes of an input, of rows [N, L, values]."""
        n, steps, _ = rows.shape
        if steps == 1:
            return rows.reshape(n, *port.shape)
        if self.leading:
            return rows.reshape(n, steps, *port.shape)
        rest = port.shape[: port.time] + port.shape[port.time + 1 :]
        return np.ascontiguousarray(np.moveaxis(rows.reshape(n, steps, *rest), 1, port.time + 1))

    def given(self, port: Port, made: NDArray[Any], steps: int) -> NDArray[Any]:
        """And back: what it gave of an output as rows [N, L, values]."""
        if steps > 1 and not self.leading:
            shape, time = made.shape, port.time + 1  # it may have several entries for a step
            made = np.moveaxis(made.reshape(*shape[:time], steps, -1, *shape[time + 1 :]), time, 1)
        return made.reshape(len(made), steps, prod(port.shape))


def refuse_lag(plan: StreamPlan) -> None:
    """Each row has a prediction of its own: refused where a model gives it later, or one for several."""
    spec = plan.spec
    if spec.lag or spec.rate != 1 or not spec.steady or plan.fills:
        raise ArgumentError(
            f"model: it looks ahead or strides over time (a lag of {spec.lag} steps, one output for {spec.rate}), so that a "
            "row has no prediction of its own; feed it through Model.pool"
        )


def stepped(
    pool: StreamPool,
    ports: Ports,
    feeds: Mapping[str, NDArray[Any]],
    ids: Numbers,
    groups: tuple[Numbers, Numbers],
    n_rows: int,
) -> dict[str, NDArray[Any]]:
    """Feed every signal its rows; the outputs, [rows, values] (rows in no group stay unwritten).

    `feeds`: by input, [rows, values]. `groups`: where the rows of each signal begin in the second array, which has the rows.
    """
    starts, rows = groups
    results = {port.name: np.empty((n_rows, prod(port.shape)), port.dtype) for port in ports.outs}
    if len(ids) == len(rows):  # a row each
        in_order = len(rows) == n_rows and bool((rows == np.arange(n_rows)).all())
        for k in range(0, len(ids), AT_ONCE):
            piece = slice(k, k + AT_ONCE)
            _call(pool, ports, feeds, ids[piece], piece if in_order else rows[piece, None], results)
        return results
    at, left = starts[:-1].copy(), np.diff(starts)
    steps = LONGEST if ports.chunks else 1
    active = np.arange(len(ids))
    while len(active):
        ready = active[left[active] >= steps]
        if not len(ready):
            steps //= GROWTH
            continue
        many = max(1, AT_ONCE // steps)
        for k in range(0, len(ready), many):
            which = ready[k : k + many]
            _call(pool, ports, feeds, ids[which], rows[at[which, None] + np.arange(steps)], results)
        at[ready] += steps
        left[ready] -= steps
        active = active[left[active] > 0]
    return results


def _call(
    pool: StreamPool,
    ports: Ports,
    feeds: Mapping[str, NDArray[Any]],
    ids: Numbers,
    where: Any,
    results: Mapping[str, NDArray[Any]],
) -> None:
    """One call: the rows [N, L] of these signals, or a slice of rows in their order."""
    in_order = isinstance(where, slice)
    x = {}
    for port in ports.ins:
        found = feeds[port.name][where]
        x[port.name] = ports.fed(port, found[:, None] if in_order else found)
    steps = 1 if in_order else where.shape[1]
    try:
        if in_order:
            pool.step(ids, x, {p.name: results[p.name][where].reshape(len(ids), *p.shape) for p in ports.outs})
            return
        made = pool.step(ids, x) if steps == 1 else pool.run(ids, x)
    except LstmInferError as error:
        raise _of_row(ids, where.start + np.arange(len(ids)) if in_order else where[:, 0], steps, error) from None
    for port in ports.outs:
        results[port.name][where] = ports.given(port, made[port.name], steps)


def _of_row(ids: Numbers, rows: Numbers, steps: int, error: LstmInferError) -> LstmInferError:
    """The same error, with the row that it is about in place of an id that no caller knows."""
    for id, row in zip(ids.tolist(), rows.tolist(), strict=True):
        if str(error).startswith(f"signal {id}: "):
            which = f"row {row}" if steps == 1 else f"one of {steps} rows of a key, the first of them row {row}"
            return error.with_text(f"{which}: {str(error).removeprefix(f'signal {id}: ')}")
    return error
