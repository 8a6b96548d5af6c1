"""Softmax-13, LogSoftmax-13, Hardmax-13 (1, 11): normalised along one axis.

    Softmax = exp(x - max) / sum exp(x - max)      LogSoftmax = x - max - log sum exp(x - max)
    Hardmax = 1 at the first largest element, else 0

Before opset 13 all axes from `axis` on are taken as one (the importer marks that by `coerce_2d`). Hardmax compares every
place with that of the largest element, which `arg_reduce` finds (NaN before all numbers).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.reductions import Softmax
from .reduce import flattened, reduce_typed
from .registry import Op, attr, need, register, unsupported


def _axes(node: Node, rank: int) -> range:
    """The axes that are normalised together."""
    axis = int(attr(node, "axis", -1))
    flat = bool(attr(node, "coerce_2d", 0))
    if not -rank <= axis < rank + flat and rank:
        raise ShapeError(f"{node}: axis {axis} lies outside a value of {rank} axes")
    axis += rank if axis < 0 else 0
    return range(axis, rank if flat else min(axis + 1, rank))


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    _axes(node, len(x.shape))
    return [Fact(x.shape, x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    if given.size == 0:
        return [given]
    axes = _axes(node, given.ndim)
    if node.op == "Hardmax":
        rows = given.reshape(*given.shape[: axes.start], -1, *given.shape[axes.stop :])
        made = np.zeros_like(rows)
        np.put_along_axis(made, np.argmax(rows, axis=axes.start, keepdims=True), 1, axes.start)
        return [made.reshape(given.shape)]
    x = np.asarray(given, np.float32) if given.dtype == np.float16 else given
    where = tuple(axes)
    x = x - np.max(x, axis=where, keepdims=True)
    e = np.exp(x)
    total = np.sum(e, axis=where, keepdims=True)
    return [(x - np.log(total) if node.op == "LogSoftmax" else e / total).astype(given.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    rank = len(outs[0].shape)
    axes = _axes(node, rank)
    return [Link(0, axis, 0, axis) for axis in range(rank) if axis not in axes]


def lower(node: Node, b: Builder) -> None:
    """Rows of adjoining elements; another axis than the last is moved there."""
    x = b.f32(b.view(node.inputs[0]))
    rank = len(x.shape)
    axes = _axes(node, rank)
    order = [axis for axis in range(rank) if axis not in axes] + list(axes)
    moved = b.rows(x.transpose(order), len(axes))
    n = x.size if len(axes) == rank else int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    flat = moved.reshape((x.size // n, n))
    if flat is None:
        flat = b.dense(moved).reshape((x.size // n, n))
        assert flat is not None
    if order == list(range(rank)):
        y = out = b.new(node.outputs[0])
    else:
        out = b.alloc(moved.shape)
        y = out.transpose([order.index(axis) for axis in range(rank)])
        b.bind(node.outputs[0], y)
    log = int(node.op == "LogSoftmax")
    b.emit("softmax_f32", Softmax(x=flat, y=out, rows=flat.shape[0], n=n, x_row=flat.strides[0], y_row=n, log=log))


def lower_hardmax(node: Node, b: Builder) -> None:
    x = b.f32(b.view(node.inputs[0]))
    rank = len(x.shape)
    axes = tuple(_axes(node, rank)) if rank else ()
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    found = b.alloc(kept, np.int64)
    reduce_typed(b, "arg_reduce", "Max", flattened(b, x, axes), found)
    extents = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    n = prod(extents)
    ints = n > 1 << 24  # float32 holds every place below, and is quicker
    number = np.int64 if ints else np.float32
    places = b.packed(("places", tuple(extents)), lambda: np.arange(n, dtype=number).reshape(extents))
    b.map([found, places], [("EQ", 0, 1)], b.new(node.outputs[0]), ints=ints)


register(
    Op("Softmax", infer, evaluate, flow, lower, why="normalises over time"),
    Op("LogSoftmax", infer, evaluate, flow, lower, why="normalises over time"),
    Op("Hardmax", infer, evaluate, flow, lower_hardmax, runs="arg_reduce, map", why="normalises over time"),
)
