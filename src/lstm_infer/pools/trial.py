"""Signals are seen to stay apart: two of them in a batch, fed what is drawn, have the bits that each has alone.

What the analysis reads off the graph follows the batch from the first input. A side input, or a place that an index names,
may bring the signals together all the same; then their bits tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .. import _pool
from ..errors import LstmInferError
from ..graph.fact import Fact
from ..streams import shapes
from ..streams.general import call_block, piece
from ..streams.plan import StreamPlan
from .batch import Batch
from .beside import one_by_one, side_by_side

if TYPE_CHECKING:
    from ..streams.shapes import Arrays

__all__ = ["what_meets"]

STEPS = 5
"""Fed to each signal."""


class Room:
    """Memory to work in."""

    _arena: NDArray[np.uint8] | None = None


def what_meets(one: Batch, pair: Batch) -> str:
    """The output or the state of a signal that another one of the batch changes; empty where there is none, or where the model
    does not take what is drawn."""
    rng, plan = np.random.default_rng(0), one.plan
    drawn = {
        name: np.stack([_drawn(plan, name, fact, rng) for _ in range(pair.n)]) for name, fact in plan.step_facts.items()
    }
    if any(pair.axes[name] == shapes.time_axis(plan, name) for name in drawn):
        return ""
    own, joint = _begun(one, pair)
    try:
        together = _bits(pair, joint, drawn)
        for k in range(pair.n):
            alone = _bits(one, own[k], {name: array[k : k + 1] for name, array in drawn.items()})
            for name, found in alone.items():
                if found[0] != together[name][k]:
                    return name
    except LstmInferError:
        return ""
    return ""


def _drawn(plan: StreamPlan, name: str, fact: Fact, rng: np.random.Generator) -> NDArray[Any]:
    """What one signal is fed with all steps: small numbers, as indices 0 and 1."""
    shape, time = list(fact.shape), shapes.time_axis(plan, name)
    if time is not None:
        shape[time] *= STEPS
    elif plan.spec.mode == "frame" and name in plan.spec.streamed:
        shape.insert(0, STEPS)
    draw = rng.uniform(-1, 1, shape) if fact.dtype.kind in "fcV" else rng.integers(0, 2, shape)
    return draw.astype(fact.dtype)


def _begun(one: Batch, pair: Batch) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
    """First states of two signals, as each has it alone and as a pool puts them side by side: what random nodes draw begins
    with a number of the signal's own."""
    rows = _pool.PoolCore()
    rows._begin(one.layout.row_bytes)
    slots = np.array([rows._slot(rows._add(one.layout, one.plan.first_state())) for _ in range(pair.n)])
    own, joint = [one.first.copy() for _ in slots], pair.first.copy()
    for k, state in enumerate(own):
        rows._load(one.layout, slots[k : k + 1], state)
    rows._load(pair.layout, slots, joint)
    return own, joint


def _bits(batch: Batch, state: NDArray[np.uint8], drawn: Arrays) -> dict[str, list[bytes]]:
    """By name, signal by signal: each output, one block behind the other, and what is kept. `drawn`: [signals, *chunk]."""
    plan, made, at = batch.plan, dict[str, list[bytes]](), 0
    frames = plan.spec.mode == "frame"
    rows = {o.name for o in plan.spec.outputs if o.kind == "time" and o.axis == batch.axes[o.name]}
    feeds = {
        name: side_by_side(array, batch.axes[name], int(frames and name in plan.spec.streamed))
        for name, array in drawn.items()
    }
    for block in plan.cut(STEPS, plan.first_phase):
        fed = {name: piece(plan, name, array, at, block.n) for name, array in feeds.items()}
        at += block.n
        for name, array in call_block(Room(), plan, block, fed, state).items():
            parts = one_by_one(array, batch.axes[name], 0, batch.n, name in rows)
            _add(made, name, [part.tobytes() for part in parts if part is not None])
    for memory in plan.memories if not plan.first_phase else ():
        near, between, n0, s0, n1, s1, run, _ = memory.piece(batch.n, None)
        places = [state[near + k * between :] for k in range(batch.n)]
        _add(made, str(memory), [as_strided(place, (n0, n1, run), (s0, s1, 1)).tobytes() for place in places])
    return made


def _add(made: dict[str, list[bytes]], name: str, parts: list[bytes]) -> None:
    made[name] = [before + part for before, part in zip(made.get(name, [b""] * len(parts)), parts, strict=True)]
