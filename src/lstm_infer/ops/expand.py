"""Expand-13 and Tile-13: elements repeated along axes.

Expand is a view with stride 0, never a copy; so is Tile over an axis of extent 1. Refused: shapes and repeats that
depend on the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .registry import Op, need, numbers, register


def _numbers(node: Node, ins: list[Fact | None], what: str) -> list[int]:
    return numbers(node, need(node, ins, 1), what)


def infer_expand(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    target = _numbers(node, ins, "a shape")
    try:
        return [Fact(np.broadcast_shapes(x.shape, tuple(target)), x.dtype)]
    except ValueError:
        raise ShapeError(f"{node}: {list(x.shape)} does not broadcast with {target}") from None


def evaluate_expand(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    return [np.array(np.broadcast_to(x, infer_expand(node, [Fact.of(x), Fact.of(need(node, ins, 1))])[0].shape))]


def flow_expand(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x: Fact = need(node, ins, 0)
    lead = len(outs[0].shape) - len(x.shape)
    return [Link(0, a, 0, lead + a) for a, n in enumerate(x.shape) if n == outs[0].shape[lead + a]]


def lower_expand(node: Node, b: Builder) -> None:
    b.bind(node.outputs[0], b.view(node.inputs[0]).expand(b.fact(node.outputs[0]).shape))


def _repeats(node: Node, ins: list[Fact | None]) -> list[int]:
    x: Fact = need(node, ins, 0)
    repeats = _numbers(node, ins, "repeats")
    if len(repeats) != len(x.shape) or min(repeats, default=0) < 0:
        raise ShapeError(f"{node}: repeats {repeats} do not fit a value of shape {list(x.shape)}")
    return repeats


def infer_tile(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    return [Fact(tuple(n * r for n, r in zip(x.shape, _repeats(node, ins), strict=True)), x.dtype)]


def evaluate_tile(node: Node, ins: list[Array | None]) -> list[Array]:
    return [np.tile(need(node, ins, 0), np.asarray(need(node, ins, 1)).reshape(-1).tolist())]


def flow_tile(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, a, 0, a) for a, r in enumerate(_repeats(node, ins)) if r == 1]


def lower_tile(node: Node, b: Builder) -> None:
    x, name = b.view(node.inputs[0]), node.outputs[0]
    shape: list[int] = []
    strides: list[int] = []
    for n, stride, r in zip(x.shape, x.strides, _repeats(node, [b.fact(v) for v in node.inputs]), strict=True):
        shape += [r, n]
        strides += [0, stride]
    repeated = replace(x, shape=tuple(shape), strides=tuple(strides))
    view = repeated.reshape(b.fact(name).shape)
    if view is not None:
        b.bind(name, view)
        return
    out = b.new(name).reshape(shape)
    assert out is not None
    b.copy(out, repeated)


register(
    Op(
        "Expand",
        infer_expand,
        evaluate_expand,
        flow_expand,
        lower_expand,
        dtypes="any",
        runs="view",
        moves="repeat",
        sizes=(1,),
        extents=1,
    )
)
register(
    Op(
        "Tile",
        infer_tile,
        evaluate_tile,
        flow_tile,
        lower_tile,
        dtypes="any",
        runs="view, else copy",
        moves="repeat",
        sizes=(1,),
        extents=1,
    )
)
