"""Slice-13 and Split-18: parts of axes. Views, never copies.

Refused: starts, ends, axes, steps and split sizes that depend on the data.
"""

from __future__ import annotations

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .common import normal_axes, normal_axis, pass_through
from .registry import Op, attr, need, numbers, register


def _numbers(node: Node, ins: list[Fact | None], index: int, what: str) -> list[int] | None:
    if index >= len(ins) or ins[index] is None:
        return None
    return numbers(node, ins[index], what)


def _ranges(node: Node, ins: list[Fact | None]) -> dict[int, range]:
    """For each axis that is named: the positions that stay."""
    x: Fact = need(node, ins, 0)
    starts, ends = _numbers(node, ins, 1, "starts"), _numbers(node, ins, 2, "ends")
    if starts is None or ends is None:
        raise OnnxImportError(f"{node}: starts or ends are missing; the file is broken")
    given = _numbers(node, ins, 3, "axes")
    axes = normal_axes(node, list(range(len(starts))) if given is None else given, len(x.shape))
    given = _numbers(node, ins, 4, "steps")
    steps = [1] * len(starts) if given is None else given
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError(f"{node}: starts {starts}, ends {ends}, axes {list(axes)}, steps {steps} are no slices")
    return {
        axis: range(*slice(start, None if step < 0 and end < -x.shape[axis] else end, step).indices(x.shape[axis]))
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    }


def _from_end(node: Node, ins: list[Fact | None], axis: int) -> bool:
    """Does the part of this axis begin a set distance before the end; then it is no "same", also where it is all."""
    x: Fact = need(node, ins, 0)
    starts = _numbers(node, ins, 1, "starts") or []
    given = _numbers(node, ins, 3, "axes")
    axes = normal_axes(node, list(range(len(starts))) if given is None else given, len(x.shape))
    return -(1 << 31) < starts[axes.index(axis)] < 0


def infer_slice(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    shape = list(x.shape)
    for axis, part in _ranges(node, ins).items():
        shape[axis] = len(part)
    return [Fact(tuple(shape), x.dtype)]


def evaluate_slice(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    for axis, part in _ranges(node, [None if a is None else Fact.of(a) for a in ins]).items():
        x = np.take(x, np.arange(part.start, part.stop, part.step), axis)
    return [x]


def flow_slice(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x: Fact = need(node, ins, 0)
    cut = {
        axis: part
        for axis, part in _ranges(node, ins).items()
        if part != range(x.shape[axis]) or _from_end(node, ins, axis)
    }
    parts = [Link(0, axis, 0, axis, "slice", (part.start, part.stop, part.step)) for axis, part in cut.items()]
    return [*pass_through(ins, outs, cut), *parts]


def lower_slice(node: Node, b: Builder) -> None:
    view = b.view(node.inputs[0])
    for axis, part in _ranges(node, [b.fact(name) if name else None for name in node.inputs]).items():
        view = view.part(axis, part.start, len(part), part.step)
    b.bind(node.outputs[0], view)


def _pieces(node: Node, ins: list[Fact | None]) -> tuple[int, list[int]]:
    x: Fact = need(node, ins, 0)
    axis = normal_axis(node, int(attr(node, "axis", 0)), len(x.shape))
    sizes, n = _numbers(node, ins, 1, "split sizes"), x.shape[axis]
    if sizes is None:
        count = int(attr(node, "num_outputs", len(node.outputs)))
        if "num_outputs" not in node.attrs and n % count:
            raise ShapeError(f"{node}: an axis of {n} does not split into {count} equal parts")
        each = -(-n // count)
        sizes = [each] * (count - 1) + [n - each * (count - 1)]
    if sum(sizes) != n or min(sizes, default=0) < 0 or len(sizes) != len(node.outputs):
        raise ShapeError(f"{node}: an axis of {n} does not split into {sizes} for {len(node.outputs)} outputs")
    return axis, sizes


def infer_split(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    axis, sizes = _pieces(node, ins)
    return [Fact((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in sizes]


def evaluate_split(node: Node, ins: list[Array | None]) -> list[Array]:
    axis, sizes = _pieces(node, [None if a is None else Fact.of(a) for a in ins])
    return np.split(need(node, ins, 0), np.cumsum(sizes)[:-1], axis)


def flow_split(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    axis, sizes = _pieces(node, ins)
    links, start = pass_through(ins, outs, {axis: None}), 0
    for o, n in enumerate(sizes):
        whole = n == sum(sizes)
        links.append(Link(0, axis, o, axis) if whole else Link(0, axis, o, axis, "slice", (start, start + n, 1)))
        start += n
    return links


def lower_split(node: Node, b: Builder) -> None:
    view, start = b.view(node.inputs[0]), 0
    axis, sizes = _pieces(node, [b.fact(name) if name else None for name in node.inputs])
    for name, n in zip(node.outputs, sizes, strict=True):
        if name:
            b.bind(name, view.part(axis, start, n))
        start += n


register(
    Op(
        "Slice",
        infer_slice,
        evaluate_slice,
        flow_slice,
        lower_slice,
        dtypes="any",
        runs="view",
        moves="part",
        sizes=(1, 2, 3, 4),
        why="cuts the sequence",
    )
)
register(
    Op(
        "Split",
        infer_split,
        evaluate_split,
        flow_split,
        lower_split,
        dtypes="any",
        runs="view",
        moves="part",
        sizes=(1,),
    )
)
