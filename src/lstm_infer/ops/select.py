"""NonZero-13, Compress-11, TopK-24, Unique-11: elements chosen by their values.

TopK is the slot `topk`: equal elements in the order of their positions, NaN counts as largest, always sorted. NonZero,
Unique and the condition of Compress decide shapes: refused where they depend on the data.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import dtype_code
from ..program.builder import Builder
from ..program.reductions import TopK
from . import work
from .common import normal_axis, pass_through
from .registry import Op, attr, known, need, register


def infer_nonzero(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Any = known(node, need(node, ins, 0), "a shape (the number of elements that are not 0)")
    work.ahead(node, 2 + x.ndim, need(node, ins, 0))
    return [Fact.of(evaluate_nonzero(node, [x])[0])]


def evaluate_nonzero(node: Node, ins: list[Array | None]) -> list[Array]:
    return [np.array(np.nonzero(np.atleast_1d(need(node, ins, 0))), np.int64)]


# ---- Compress -------------------------------------------------------------------------------------------------------


def _chosen(node: Node, ins: list[Fact | None]) -> tuple[int | None, Array]:
    """The axis (None: flattened) and the positions that stay."""
    x: Fact = need(node, ins, 0)
    condition: Any = known(node, need(node, ins, 1), "a shape (the number of true conditions)")
    if condition.dtype != np.bool_ or condition.ndim != 1:
        raise OnnxImportError(f"{node}: the condition is {condition.dtype}{list(condition.shape)}; the file is broken")
    axis = attr(node, "axis", None)
    axis = None if axis is None else normal_axis(node, int(axis), len(x.shape))
    n = int(np.prod(x.shape, dtype=np.int64)) if axis is None else x.shape[axis]
    found = np.flatnonzero(condition)
    if found.size and found[-1] >= n:
        raise ShapeError(f"{node}: the condition names position {found[-1]} of {n}")
    return axis, found


def infer_compress(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    axis, found = _chosen(node, ins)
    return [Fact((found.size,) if axis is None else (*x.shape[:axis], found.size, *x.shape[axis + 1 :]), x.dtype)]


def evaluate_compress(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    axis, found = _chosen(node, [None if a is None else Fact.of(a) for a in ins])
    return [np.take(x, found, axis)]


def flow_compress(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    axis, _ = _chosen(node, ins)
    return [] if axis is None else pass_through(ins, outs, {axis: None})


def lower_compress(node: Node, b: Builder) -> None:
    axis, positions = _chosen(node, [b.fact(name) for name in node.inputs])
    found = positions.tolist()
    x, out = b.view(node.inputs[0]), b.new(node.outputs[0])
    if axis is None:
        x, axis = b.reshape(x, (x.size,)), 0
    cuts = [0, *(i for i in range(1, len(found)) if found[i] != found[i - 1] + 1), len(found)]
    for start, stop in pairwise(cuts):
        b.copy(out.part(axis, start, stop - start), x.part(axis, found[start], stop - start))


# ---- TopK -----------------------------------------------------------------------------------------------------------


def _top(node: Node, ins: list[Fact | None]) -> tuple[int, int]:
    """(axis, k)."""
    x: Fact = need(node, ins, 0)
    k: Any = known(node, need(node, ins, 1), "k").reshape(-1)[0]
    axis = normal_axis(node, int(attr(node, "axis", -1)), len(x.shape))
    if not 0 <= int(k) <= x.shape[axis]:
        raise ShapeError(f"{node}: k = {int(k)} lies outside 0..{x.shape[axis]}")
    return axis, int(k)


def infer_topk(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    axis, k = _top(node, ins)
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return [Fact(shape, x.dtype), Fact(shape, np.dtype(np.int64))]


def evaluate_topk(node: Node, ins: list[Array | None]) -> list[Array]:
    """A stable sort of the flipped axis, read from its end, keeps equal elements in order."""
    x: Array = need(node, ins, 0)
    axis, k = _top(node, [Fact.of(x), Fact.of(need(node, ins, 1))])
    if attr(node, "largest", 1):
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    order = np.take(order, np.arange(k), axis).astype(np.int64)
    return [np.take_along_axis(x, order, axis), order]


def flow_topk(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return pass_through(ins, outs, {_top(node, ins)[0]: None})


def lower_topk(node: Node, b: Builder) -> None:
    axis, k = _top(node, [b.fact(name) for name in node.inputs])
    x = b.view(node.inputs[0])
    shape = x.shape
    x = b.reshape(x, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])))
    values, indices = (b.new(node.outputs[n]) if b.wanted(node, n) else None for n in range(2))
    n_outer, n, n_inner = x.shape
    x_outer, x_r, x_inner = x.strides
    args = TopK(
        x=x, values=values, indices=indices, scratch=b.scratch(16 * k), dtype=dtype_code(x.dtype),
        least=int(not attr(node, "largest", 1)), n_outer=n_outer, n=n, k=k, n_inner=n_inner,
        x_outer=x_outer, x_r=x_r, x_inner=x_inner,
    )  # fmt: skip
    b.emit("topk", args)


# ---- Unique ---------------------------------------------------------------------------------------------------------


def _unique(node: Node, x: Array) -> list[Array]:
    axis = attr(node, "axis", None)
    axis = None if axis is None else normal_axis(node, int(axis), x.ndim)
    values, first, back, counts = np.unique(x, True, True, True, axis=axis)
    back = back.reshape(-1)
    if not attr(node, "sorted", 1):
        order = np.argsort(first, kind="stable")
        values, first, counts = np.take(values, order, axis or 0), first[order], counts[order]
        back = np.argsort(order, kind="stable")[back]
    return [values, *(a.astype(np.int64) for a in (first, back, counts))][: len(node.outputs)]


def infer_unique(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = known(node, need(node, ins, 0), "a shape (the number of different elements)")
    work.ahead(node, 100, need(node, ins, 0))
    return [Fact.of(array) for array in _unique(node, x)]


def evaluate_unique(node: Node, ins: list[Array | None]) -> list[Array]:
    return _unique(node, need(node, ins, 0))


register(
    Op("NonZero", infer_nonzero, evaluate_nonzero, note="constant input only", dtypes="any", runs="known"),
    Op(
        "Compress",
        infer_compress,
        evaluate_compress,
        flow_compress,
        lower_compress,
        note="constant condition only",
        dtypes="any",
        runs="copy",
    ),
    Op(
        "TopK",
        infer_topk,
        evaluate_topk,
        flow_topk,
        lower_topk,
        work=work.per_element(30),
        note="constant k only",
        dtypes="float, int, uint",
        runs="topk",
        sizes=(1,),
        why="ranks over time",
    ),
    Op(
        "Unique",
        infer_unique,
        evaluate_unique,
        work=work.per_element(100),
        note="constant input only",
        dtypes="any",
        runs="known",
    ),
)
