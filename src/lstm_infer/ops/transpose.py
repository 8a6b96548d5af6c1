"""Transpose-25: axes in another order. A view, never a copy."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .registry import Op, attr, need, register


def _perm(node: Node, rank: int) -> list[int]:
    perm = list(attr(node, "perm", range(rank - 1, -1, -1)))
    if sorted(perm) != list(range(rank)):
        raise ShapeError(f"{node}: perm {perm} is no order of {rank} axes")
    return perm


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    return [Fact(tuple(x.shape[p] for p in _perm(node, len(x.shape))), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    return [np.transpose(x, _perm(node, x.ndim))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, axis, 0, out) for out, axis in enumerate(_perm(node, len(outs[0].shape)))]


def lower(node: Node, b: Builder) -> None:
    x = b.view(node.inputs[0])
    b.bind(node.outputs[0], x.transpose(_perm(node, len(x.shape))))


register(Op("Transpose", infer, evaluate, flow, lower, dtypes="any", runs="view", moves="axes"))
