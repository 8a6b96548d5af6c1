"""ArgMax-13, ArgMin-13: where the largest or smallest element of an axis stands, an int64.

The first of equal ones, or the last (select_last_index). NaN counts before every number, for both. The slot `arg_reduce`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .common import normal_axis
from .reduce import flattened, reduce_typed
from .registry import Op, attr, need, register


def _axis(node: Node, rank: int) -> int:
    return normal_axis(node, int(attr(node, "axis", 0)), rank)


def _keep(node: Node) -> bool:
    return bool(attr(node, "keepdims", 1))


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    axis = _axis(node, len(x.shape))
    if x.shape[axis] == 0:
        raise ShapeError(f"{node}: axis {axis} of {list(x.shape)} is empty")
    return [Fact((*x.shape[:axis], *([1] if _keep(node) else []), *x.shape[axis + 1 :]), np.dtype(np.int64))]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    axis = _axis(node, x.ndim)
    find = np.argmax if node.op == "ArgMax" else np.argmin
    if attr(node, "select_last_index", 0):
        made = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis)
    else:
        made = find(x, axis=axis)
    made = np.asarray(made, np.int64)
    return [np.expand_dims(made, axis) if _keep(node) else made]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    rank = len(need(node, ins, 0).shape)
    kept = [axis for axis in range(rank) if axis != _axis(node, rank)]
    return [Link(0, axis, 0, axis if _keep(node) else place) for place, axis in enumerate(kept)]


def lower(node: Node, b: Builder) -> None:
    x, out = b.view(node.inputs[0]), b.new(node.outputs[0])
    flat = flattened(b, x, (_axis(node, len(x.shape)),))
    last = int(attr(node, "select_last_index", 0) != 0)
    reduce_typed(b, "arg_reduce", node.op.removeprefix("Arg"), flat, out, last)


for _name in ("ArgMax", "ArgMin"):
    register(
        Op(
            _name,
            infer,
            evaluate,
            flow,
            lower,
            dtypes="float, int, uint",
            runs="arg_reduce",
            why="reduces over the whole time axis",
        )
    )
