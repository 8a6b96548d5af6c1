"""ConcatFromStack (domain "lstm_infer"): ConcatFromSequence-11 of a sequence that lies along axis 0 of one tensor.

new_axis = 1: the sequence's axis moves to `axis`. new_axis = 0: it is merged into `axis`.
"""

from __future__ import annotations

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .common import normal_axis
from .registry import Op, attr, need, register


def _axis(node: Node, rank: int) -> tuple[int, bool]:
    new = bool(attr(node, "new_axis", 0))
    return normal_axis(node, int(attr(node, "axis")), rank if new else rank - 1), new


def _shape(node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    axis, new = _axis(node, len(shape))
    rest = list(shape[1:])
    if new:
        rest.insert(axis, shape[0])
    else:
        rest[axis] *= shape[0]
    return tuple(rest)


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    return [Fact(_shape(node, x.shape), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    axis, _ = _axis(node, x.ndim)
    return [np.ascontiguousarray(np.moveaxis(x, 0, axis)).reshape(_shape(node, x.shape))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x: Fact = need(node, ins, 0)
    axis, new = _axis(node, len(x.shape))
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(x.shape))]
    if new:
        return [Link(0, a, 0, o) for o, a in enumerate(order)]
    links = [Link(0, a, 0, a - 1) for a in range(1, len(x.shape)) if a - 1 != axis]
    return [*links, Link(0, 0, 0, axis)] if x.shape[1 + axis] == 1 else links


def lower(node: Node, b: Builder) -> None:
    x = b.view(node.inputs[0])
    axis, _ = _axis(node, len(x.shape))
    moved = x.transpose([*range(1, axis + 1), 0, *range(axis + 1, len(x.shape))])
    b.bind(node.outputs[0], b.reshape(moved, _shape(node, x.shape)))


register(Op("ConcatFromStack", infer, evaluate, flow, lower, domain="lstm_infer", dtypes="any", runs="view"))
