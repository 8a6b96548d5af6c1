"""Gather-13, GatherElements-13, GatherND-13: elements picked by index; negative indices count from the end.

Gather by constant indices that grow evenly along each of their axes is a view (one index, a slice, an unfold such as
arange(3)[:, None] + arange(129)); by others it is the kernel slot `gather`. GatherElements and GatherND are the slot
`gather_nd`. An index outside its axis is an error.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import Gather, dtype_code
from ..program.builder import Builder
from ..program.views import View
from . import indexed
from .common import normal_axis
from .registry import Op, attr, need, register


def _index_dtype(node: Node, fact: Fact) -> None:
    if fact.dtype not in (np.int32, np.int64):
        raise OnnxImportError(f"{node}: indices are {fact.dtype}, {node.op} takes int32 or int64; the file is broken")


def _even(index: Any) -> tuple[int, int, int] | None:
    """(start, count, step) where the indices lie evenly spaced."""
    flat = [int(i) for i in index.reshape(-1)]
    if len(flat) < 2:
        return (flat[0], 1, 1) if flat else None
    step = flat[1] - flat[0]
    return (flat[0], len(flat), step) if all(b - a == step for a, b in pairwise(flat)) else None


def _affine(index: Any) -> tuple[int, list[int]] | None:
    """(first index, growth along each axis of the indices) where the one and the other tell them all."""
    if index.size == 0:
        return None
    first = index[(0,) * index.ndim]
    steps = [
        int(np.take(index, 1, a)[(0,) * (index.ndim - 1)] - first) if n > 1 else 0 for a, n in enumerate(index.shape)
    ]
    grid = np.full(index.shape, first)
    for a, step in enumerate(steps):
        grid = grid + (step * np.arange(index.shape[a])).reshape([-1 if d == a else 1 for d in range(index.ndim)])
    return (int(first), steps) if (grid == index).all() else None


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    _index_dtype(node, index)
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    if index.const is not None:
        indexed.inside(node, index.const, x.shape[axis])
    return [Fact((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    axis = normal_axis(node, int(attr(node, "axis", 0)), x.ndim)
    return [np.asarray(np.take(x, indexed.inside(node, index, x.shape[axis]), axis))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    axis, more = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape)), len(index.shape)
    links = [Link(0, a, 0, a if a < axis else a - 1 + more) for a in range(len(x.shape)) if a != axis]
    if index.const is None:
        return [*links, *(Link(1, j, 0, axis + j) for j in range(more))]
    if index.const.size == 1:
        return [*links, Link(0, axis, 0, -1, "pick", int(index.const.reshape(-1)[0]))]
    even = _even(indexed.inside(node, index.const, x.shape[axis]))
    wide = [j for j, n in enumerate(index.shape) if n != 1]
    if even is None or len(wide) != 1:
        return links
    start, count, step = even
    to = axis + wide[0]
    if (start, count, step) == (0, x.shape[axis], 1) and index.const.reshape(-1)[0] == 0:
        return [*links, Link(0, axis, 0, to)]
    return [*links, Link(0, axis, 0, to, "slice", (start, start + count * step, step))]


_FEW = 16
"""Up to so many constant indices are copied one by one rather than making the whole operand dense first."""


def lower(node: Node, b: Builder) -> None:
    x, name = b.view(node.inputs[0]), node.outputs[0]
    fact = b.fact(node.inputs[1])
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    if fact.const is not None:
        b.bind(name, pick(b, x, axis, indexed.inside(node, fact.const, x.shape[axis])))
    else:
        _gather(b, x, axis, b.view(node.inputs[1]), b.new(name))


def pick(b: Builder, x: View, axis: int, index: Array) -> View:
    """x at constant indices (each 0 .. n-1) along an axis; the axes of the indices take its place."""
    affine = _affine(index)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    if affine is not None:
        first, steps = affine
        strides = (*x.strides[:axis], *(step * x.strides[axis] for step in steps), *x.strides[axis + 1 :])
        return replace(x, shape=shape, strides=strides, offset=x.offset + first * x.strides[axis])
    out = b.alloc(shape, x.dtype)
    if not x.is_dense and index.size <= _FEW:
        flat = out.reshape((*x.shape[:axis], index.size, *x.shape[axis + 1 :]))
        assert flat is not None
        for place, i in enumerate(index.reshape(-1)):
            b.copy(flat.part(axis, place, 1), x.part(axis, int(i), 1))
        return out
    key = ("positions", index.shape, index.tobytes())
    _gather(b, x, axis, b.packed(key, lambda: np.ascontiguousarray(index, np.int64)), out)
    return out


def _gather(b: Builder, x: View, axis: int, index: View, out: View) -> None:
    data, at = b.dense(x), b.dense(index)
    inner = prod(x.shape[axis + 1 :]) * x.dtype.itemsize
    outer, count = prod(x.shape[:axis]), prod(at.shape)
    args = Gather(
        dst=out, src=data, index=at, index_dtype=dtype_code(at.dtype),
        n_outer=outer, axis=x.shape[axis], n_index=count, inner_bytes=inner,
    )  # fmt: skip
    b.emit("gather", args)


# ---- GatherElements: out[i][j] = x[index[i][j]][j] for axis 0 ----------------------------------------------------


def infer_elements(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    _index_dtype(node, index)
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    if len(x.shape) != len(index.shape) or any(index.shape[a] > n for a, n in enumerate(x.shape) if a != axis):
        raise ShapeError(f"{node}: indices of shape {list(index.shape)} do not fit a value of shape {list(x.shape)}")
    return [Fact(index.shape, x.dtype)]


def evaluate_elements(node: Node, ins: list[Array | None]) -> list[Array]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    axis = normal_axis(node, int(attr(node, "axis", 0)), x.ndim)
    cut = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    return [np.take_along_axis(x[cut], indexed.inside(node, index, x.shape[axis]), axis)]


def flow_elements(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Axes other than the one picked along pass from data (where they are not cut) and indices."""
    x, index = need(node, ins, 0), need(node, ins, 1)
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    links = [Link(0, a, 0, a) for a, n in enumerate(x.shape) if a != axis and n == index.shape[a]]
    return [*links, *(Link(1, a, 0, a) for a in range(len(index.shape)))]


def lower_elements(node: Node, b: Builder) -> None:
    x, index = b.view(node.inputs[0]), b.view(node.inputs[1])
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    indexed.gather(b, b.new(node.outputs[0]), x, index, indexed.Entries.elements(x, axis, index.shape))


# ---- GatherND: out[b...][i...] = x[b...][index[b...][i...]] ----------------------------------------------------------


def infer_nd(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    if index.dtype != np.int64:
        raise OnnxImportError(f"{node}: indices are {index.dtype}, GatherND takes int64; the file is broken")
    batch = int(attr(node, "batch_dims", 0))
    depth = index.shape[-1] if index.shape else 0
    short = batch < 0 or batch >= min(len(x.shape), len(index.shape)) or batch + depth > len(x.shape)
    if short or x.shape[:batch] != index.shape[:batch]:
        raise ShapeError(f"{node}: indices {list(index.shape)}, batch_dims={batch}, do not fit {list(x.shape)}")
    return [Fact((*index.shape[:-1], *x.shape[batch + depth :]), x.dtype)]


def evaluate_nd(node: Node, ins: list[Array | None]) -> list[Array]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    batch, depth = int(attr(node, "batch_dims", 0)), index.shape[-1]
    lead = list(np.indices(index.shape[:-1], sparse=True))[:batch]
    at = [indexed.inside(node, index[..., k], x.shape[batch + k]) for k in range(depth)]
    return [np.array(x[(*lead, *at)])] if lead or at else [np.broadcast_to(x, (*index.shape[:-1], *x.shape)).copy()]


def flow_nd(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    batch, depth = int(attr(node, "batch_dims", 0)), index.shape[-1]
    shift = len(index.shape) - 1 - batch - depth
    links = [Link(0, a, 0, a) for a in range(batch)]
    links += [Link(0, a, 0, a + shift) for a in range(batch + depth, len(x.shape))]
    return [*links, *(Link(1, a, 0, a) for a in range(len(index.shape) - 1))]


def lower_nd(node: Node, b: Builder) -> None:
    x, index = b.view(node.inputs[0]), b.view(node.inputs[1])
    batch, depth = int(attr(node, "batch_dims", 0)), index.shape[-1]
    x = b.rows(x, len(x.shape) - batch - depth)
    indexed.gather(b, b.new(node.outputs[0]), x, index, indexed.Entries.blocks(x, index.shape[:-1], depth, batch))


def holds(node: Node, ins: list[Fact | None]) -> dict[int, tuple[int, int | None]]:
    """Positions of the axis."""
    return {1: (0, max(need(node, ins, 0).shape[int(attr(node, "axis", 0))] - 1, 0))}


register(
    Op(
        "Gather",
        infer,
        evaluate,
        flow,
        lower,
        dtypes="any",
        runs="view, else gather",
        moves="part",
        holds=holds,
        why="picks positions of the sequence",
    ),
    Op(
        "GatherElements",
        infer_elements,
        evaluate_elements,
        flow_elements,
        lower_elements,
        dtypes="any",
        runs="gather_nd",
        why="reads at positions of the sequence",
    ),
    Op(
        "GatherND",
        infer_nd,
        evaluate_nd,
        flow_nd,
        lower_nd,
        dtypes="any",
        runs="gather_nd",
        why="reads at positions of the sequence",
    ),
)
