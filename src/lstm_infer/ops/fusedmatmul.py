"""FusedMatMul-1 and TransposeMatMul-1 of com.microsoft: alpha * A' B', where ' is a transpose of the last two axes.

Refused: transBatchA, transBatchB.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import View
from . import matmul, work
from .elementwise import apply
from .registry import Op, attr, need, register, unsupported


def _order(node: Node, index: int, rank: int) -> list[int]:
    """Axes of an input as MatMul takes them."""
    order = list(range(rank))
    if attr(node, ("transA", "transB")[index], 0) and rank > 1:
        order[-2:] = reversed(order[-2:])
    return order


def _alpha(node: Node) -> float:
    return float(np.float32(attr(node, "alpha", 1.0)))


def _turned(node: Node, ins: list[Fact | None]) -> list[Fact | None]:
    made: list[Fact | None] = []
    for index in (0, 1):
        fact: Fact = need(node, ins, index)
        made.append(Fact(tuple(fact.shape[a] for a in _order(node, index, len(fact.shape))), fact.dtype))
    return made


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    if attr(node, "transBatchA", 0) or attr(node, "transBatchB", 0):
        raise unsupported(node, "transBatchA or transBatchB")
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    return matmul.infer(node, _turned(node, ins))


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    a, b = (need(node, ins, i).transpose(_order(node, i, need(node, ins, i).ndim)) for i in (0, 1))
    y: Any = matmul.evaluate(node, [a, b])[0]
    return [np.asarray(y * y.dtype.type(_alpha(node)))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    links = []
    for link in matmul.flow(node, _turned(node, ins), outs):
        axis = _order(node, link.input, len(need(node, ins, link.input).shape))[link.axis]
        links.append(replace(link, axis=axis))
    return links


def lower(node: Node, b: Builder) -> None:
    def side(index: int) -> View:
        view = b.f32(b.view(node.inputs[index]))
        return view.transpose(_order(node, index, len(view.shape)))

    x, y, weights = side(0), b.new(node.outputs[0]), b.const_of(node.inputs[1])
    if weights is not None and weights.ndim == 2:
        k, m = (weights.shape[a] for a in _order(node, 1, 2))
        packed = matmul.pack(b, node, weights, bool(attr(node, "transB", 0)))
        matmul.product(b, x, packed, None, y, k, m)
    else:
        matmul.dynamic(b, x, side(1), y)
    if _alpha(node) != 1:
        apply(b, ("MUL", 0, _alpha(node)), [y], y)


for _name in ("FusedMatMul", "TransposeMatMul"):
    register(
        Op(
            _name,
            infer,
            evaluate,
            flow,
            lower,
            domain="com.microsoft",
            inputs=(2, 2),
            weights=(1,),
            work=work.products(),
        )
    )
