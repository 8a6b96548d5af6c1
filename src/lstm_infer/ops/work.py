"""What it costs to compute a node in NumPy, in nanoseconds or so: for operators that do more than visit each element.

The walk asks before it folds (walk/walk.py): a product of constants that costs more than it may is left to the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..graph.fact import Fact
from ..graph.ir import Node
from .registry import Work, attr, find

__all__ = ["of", "per_element", "products", "windows"]

_EACH = 4
"""An element read or written."""
_CALL = 12_000
"""A handful of calls of NumPy, and what is checked before and behind them."""


def of(node: Node, ins: Sequence[Fact | None], outs: Sequence[Fact]) -> int:
    """What `evaluate` of the node costs."""
    op = find(node)
    return _CALL + (_visits(ins, outs) if op.work is None else op.work(node, list(ins), list(outs)))


def _visits(ins: Sequence[Fact | None], outs: Sequence[Fact]) -> int:
    return _EACH * sum(prod(fact.shape) for fact in (*ins, *outs) if fact is not None)


def per_element(times: int) -> Work:
    """So many times a plain operator: sorts, scatters, transforms."""

    def work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
        return times * _visits(ins, outs)

    return work


def products(left: int = 0) -> Work:
    """A matrix product; input `left` holds the rows that are summed over."""

    def work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
        fact = ins[left] if left < len(ins) else None
        shape = () if fact is None else fact.shape[-2:] if attr(node, "transA", 0) else fact.shape[-1:]
        macs = prod(outs[0].shape) * max(shape, default=1)
        fast = fact is not None and fact.dtype.kind == "f"
        return _visits(ins, outs) + (macs // 8 if fast else 2 * macs)

    return work


def windows(weights: int | None = None) -> Work:
    """A Conv with the weights in this input, or a pool: each output sees a window, of which NumPy makes a copy."""

    def work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
        y = prod(outs[0].shape)
        w = None if weights is None or weights >= len(ins) else ins[weights]
        if w is None:
            return _visits(ins, outs) + 8 * y * prod(int(k) for k in attr(node, "kernel_shape", [1]))
        filters = max(w.shape[0], 1)
        macs, seen = y * prod(w.shape[1:]), y // filters * prod(w.shape[1:])
        groups = int(attr(node, "group", 1))
        return _visits(ins, outs) + macs // (8 if w.dtype.kind == "f" else 1) + 8 * seen * max(groups, 1)

    return work
