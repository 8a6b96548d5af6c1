"""What it costs to compute a node in NumPy, in nanoseconds or so: for operators that do more than visit each element.

The walk asks before it folds (walk/walk.py): a product of constants that costs more than it may is left to the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..graph.budget import spend
from ..graph.fact import Fact
from ..graph.ir import Node
from .registry import Work, attr, find

__all__ = ["ahead", "of", "per_element", "products", "windows"]

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


def ahead(node: Node, times: int, *facts: Fact) -> None:
    """Account for what a shape rule computes itself, so many times a plain operator over these values: where what is in
    them decides the shape, or where the value follows from a shape alone."""
    spend(node, times * _visits(facts, ()))


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
        visits = _visits(ins, outs) + _EACH * _padded(node, ins[0], outs[0], w)
        if w is None:
            return visits + 8 * y * prod(int(k) for k in attr(node, "kernel_shape", [1]))
        filters = max(w.shape[0], 1)
        macs, seen = y * prod(w.shape[1:]), y // filters * prod(w.shape[1:])
        groups = int(attr(node, "group", 1))
        return visits + macs // (8 if w.dtype.kind == "f" else 1) + 8 * seen * max(groups, 1)

    return work


def _padded(node: Node, x: Fact | None, y: Fact, w: Fact | None) -> int:
    """Elements of the input with its padding: a window may be far wider than what it slides over."""
    kernel = [int(k) for k in attr(node, "kernel_shape", ())] if w is None else [*w.shape[2:]]
    if x is None or len(x.shape) < 3 or not kernel:
        return 0
    n = len(kernel)
    strides, dilations, pads = (
        [int(v) for v in attr(node, name, ()) or (default,) * count]
        for name, default, count in (("strides", 1, n), ("dilations", 1, n), ("pads", 0, 2 * n))
    )
    reads = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(y.shape[2:], strides, kernel, dilations, strict=False)]
    given = [size + a + b for size, a, b in zip(x.shape[2:], pads, pads[n:], strict=False)]
    return prod(x.shape[:2]) * prod(max(pair) for pair in zip(reads, given, strict=False))
