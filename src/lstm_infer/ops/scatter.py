"""ScatterND-18, ScatterElements-18: a copy of the data with some elements replaced (or added to, multiplied ...).

ScatterND whose constant indices form a box (what exporters make of `cache[:, 1:] = x`) or a few runs is copies; all
others are the slot `scatter_nd`, in the order of the indices: of several that name one place the last one counts, and
a reduction takes them all, in that order. A state that nothing else reads is changed where it lies. An index outside its
axis is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from . import indexed, work
from .common import normal_axis
from .registry import Op, attr, need, register

_REDUCE: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "add": np.add,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


def _reduction(node: Node) -> Callable[..., Any] | None:
    name = str(attr(node, "reduction", "none"))
    if name not in _REDUCE:
        raise OnnxImportError(f"{node}: reduction {name!r} is none of {', '.join(_REDUCE)}; the file is broken")
    return _REDUCE[name]


def _store(node: Node, out: Any, at: tuple[Any, ...], updates: Any) -> None:
    function = _reduction(node)
    if function is None:
        out[at] = updates
    else:
        function.at(out, at, updates)  # type: ignore[attr-defined]


def _same_types(node: Node, x: Fact, updates: Fact) -> None:
    _reduction(node)
    if x.dtype != updates.dtype:
        raise OnnxImportError(f"{node}: data is {x.dtype}, updates are {updates.dtype}; the file is broken")


# ---- ScatterND ----------------------------------------------------------------------------------------------------


def infer_nd(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, index, updates = (need(node, ins, i) for i in range(3))
    _same_types(node, x, updates)
    depth = index.shape[-1] if index.shape else 0
    if index.dtype != np.int64 or depth > len(x.shape) or updates.shape != (*index.shape[:-1], *x.shape[depth:]):
        raise ShapeError(
            f"{node}: indices {index.dtype}{list(index.shape)} and updates {list(updates.shape)} "
            f"do not fit data of shape {list(x.shape)}"
        )
    if index.const is not None:
        for k in range(depth):
            indexed.inside(node, index.const[..., k], x.shape[k])
    return [Fact(x.shape, x.dtype)]


def evaluate_nd(node: Node, ins: list[Array | None]) -> list[Array]:
    x, index, updates = (need(node, ins, i) for i in range(3))
    out: Any = np.array(x)
    at = tuple(indexed.inside(node, index[..., k], x.shape[k]) for k in range(index.shape[-1]))
    _store(node, out, at, updates)
    return [out]


def _box(index: Any) -> list[tuple[int, int, int]] | None:
    """(start, count, step > 0) per indexed axis where the index rows name a box of positions in C order."""
    rows = index.reshape(-1, index.shape[-1])
    axes = []
    for k in range(rows.shape[1]):
        found = np.unique(rows[:, k])
        step = int(found[1] - found[0]) if len(found) > 1 else 1
        if (np.diff(found) != step).any():
            return None
        axes.append((int(found[0]), len(found), step))
    if prod(count for _, count, _ in axes) != len(rows):
        return None
    grid = np.meshgrid(*(start + step * np.arange(count) for start, count, step in axes), indexing="ij")
    return axes if (np.stack(grid, -1).reshape(rows.shape) == rows).all() else None


_MOST_RUNS = 64


def _runs(flat: Any) -> list[tuple[int, int, int]] | None:
    """(first row, position, count) of runs of neighbouring positions; None where there are too many."""
    cuts = [0, *(np.flatnonzero(np.diff(flat) != 1) + 1).tolist(), len(flat)]
    if len(cuts) > _MOST_RUNS + 1:
        return None
    return [(a, int(flat[a]), b - a) for a, b in pairwise(cuts)]


def lower_nd(node: Node, b: Builder) -> None:
    fact, name = b.fact(node.inputs[1]), node.outputs[0]
    if fact.const is None or attr(node, "reduction", "none") != "none":
        _scatter_nd(node, b)
        return
    x, updates = b.view(node.inputs[0]), b.view(node.inputs[2])
    depth = fact.shape[-1]
    index = (
        np.stack([indexed.inside(node, fact.const[..., k], x.shape[k]) for k in range(depth)], -1) if depth else None
    )
    if index is None or index.size == 0:
        b.bind(name, x if index is not None else b.reshape(updates, x.shape))
        return
    box = _box(index)
    if box is not None:
        if all(count == n for (_, count, _), n in zip(box, x.shape, strict=False)):
            b.bind(name, b.reshape(updates, x.shape))
            return
        out = b.changed(name, x)
        for axis, (start, count, step) in enumerate(box):
            out = out.part(axis, start, count, step)
        b.copy(out, b.reshape(updates, out.shape))
        return
    inner = x.shape[depth:]
    flat = np.ravel_multi_index(tuple(index.reshape(-1, depth).T), x.shape[:depth])
    runs = _runs(flat)
    if runs is None:
        _scatter_nd(node, b)
        return
    out = b.changed(name, x)
    lines, rows = out.reshape((prod(x.shape[:depth]), *inner)), b.reshape(updates, (len(flat), *inner))
    assert lines is not None
    for first, place, count in runs:
        b.copy(lines.part(0, place, count), rows.part(0, first, count))


def _scatter_nd(node: Node, b: Builder) -> None:
    x, index, updates = (b.view(name) for name in node.inputs[:3])
    out = b.changed(node.outputs[0], x)
    entries = indexed.Entries.blocks(out, index.shape[:-1], index.shape[-1])
    indexed.scatter(b, out, updates, index, entries, str(attr(node, "reduction", "none")))


def flow_nd(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Axes behind the indexed ones pass; so do indexed ones that constant indices cover whole, in order."""
    x, index, updates = (need(node, ins, i) for i in range(3))
    depth = index.shape[-1]
    shift = len(updates.shape) - len(x.shape)
    links = [Link(i, a + by, 0, a) for a in range(depth, len(x.shape)) for i, by in ((0, 0), (2, shift))]
    box = (
        _box(np.where(index.const < 0, index.const + np.array(x.shape[:depth]), index.const)) if _solid(index) else None
    )
    if box is not None:
        for a, (_, count, _) in enumerate(box):
            if count == x.shape[a]:
                links.append(Link(0, a, 0, a))
                if index.shape[:-1] == tuple(n for _, n, _ in box):
                    links.append(Link(2, a, 0, a))
    return links


def _solid(index: Fact) -> bool:
    return index.const is not None and index.const.size > 0


# ---- ScatterElements ------------------------------------------------------------------------------------------------


def infer_elements(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, index, updates = (need(node, ins, i) for i in range(3))
    _same_types(node, x, updates)
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    if (
        index.dtype not in (np.int32, np.int64)
        or index.shape != updates.shape
        or len(index.shape) != len(x.shape)
        or any(i > n for a, (i, n) in enumerate(zip(index.shape, x.shape, strict=True)) if a != axis)
    ):
        raise ShapeError(
            f"{node}: indices {index.dtype}{list(index.shape)} and updates {list(updates.shape)} "
            f"do not fit data of shape {list(x.shape)}"
        )
    return [Fact(x.shape, x.dtype)]


def evaluate_elements(node: Node, ins: list[Array | None]) -> list[Array]:
    x, index, updates = (need(node, ins, i) for i in range(3))
    axis = normal_axis(node, int(attr(node, "axis", 0)), x.ndim)
    out: Any = np.array(x)
    at = list(np.indices(index.shape, sparse=True))
    at[axis] = indexed.inside(node, index, x.shape[axis])
    _store(node, out, tuple(at), updates)
    return [out]


def lower_elements(node: Node, b: Builder) -> None:
    x, index, updates = (b.view(name) for name in node.inputs[:3])
    out = b.changed(node.outputs[0], x)
    entries = indexed.Entries.elements(out, normal_axis(node, int(attr(node, "axis", 0)), len(x.shape)), index.shape)
    indexed.scatter(b, out, updates, index, entries, str(attr(node, "reduction", "none")))


def flow_elements(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    same = [a for a in range(len(x.shape)) if a != axis and index.shape[a] == x.shape[a]]
    return [Link(i, a, 0, a) for a in same for i in range(3)]


register(
    Op(
        "ScatterND",
        infer_nd,
        evaluate_nd,
        flow_nd,
        lower_nd,
        work=work.per_element(30),
        note="constant indices in boxes or runs: copies",
        dtypes="any",
        runs="copy, else scatter_nd",
        why="writes at positions of the sequence",
        mixes="write",
    ),
    Op(
        "ScatterElements",
        infer_elements,
        evaluate_elements,
        flow_elements,
        lower_elements,
        work=work.per_element(30),
        dtypes="any",
        runs="scatter_nd",
        why="writes at positions of the sequence",
        mixes="write",
    ),
)
