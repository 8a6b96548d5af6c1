"""BatchNormalization-15 (7, 9, 14) in evaluation mode; the importer refuses training mode.

    Y = scale * (X - mean) / sqrt(var + epsilon) + B        parameters [C], C is axis 1 of X

Constant parameters become one factor and one summand per channel, in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import View
from .elementwise import apply
from .registry import Op, attr, need, register, unsupported


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    channels = x.shape[1] if len(x.shape) > 1 else 1
    for index, name in ((1, "scale"), (2, "B"), (3, "mean"), (4, "var")):
        fact: Fact = need(node, ins, index)
        if fact.shape != (channels,):
            raise ShapeError(f"{node}: {name} takes [{channels}], got {list(fact.shape)}")
    return [Fact(x.shape, x.dtype)]


def _epsilon(node: Node) -> float:
    return float(np.float32(attr(node, "epsilon", 1e-5)))


def _folded(node: Node, ins: list[Any]) -> tuple[Any, Any]:
    scale, shift, mean, var = (np.asarray(a, a.dtype if a.dtype == np.float64 else np.float32) for a in ins[1:5])
    factor = scale / np.sqrt(var + var.dtype.type(_epsilon(node)))
    return factor, shift - mean * factor


def _column(rank: int) -> tuple[int, ...]:
    return (-1, *([1] * max(rank - 2, 0)))


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    factor, shift = (a.reshape(_column(x.ndim)) for a in _folded(node, ins))
    return [np.asarray(x * factor + shift).astype(x.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, axis, 0, axis) for axis in range(len(outs[0].shape))]


def lower(node: Node, b: Builder) -> None:
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    consts = [b.const_of(name) for name in node.inputs[1:5]]

    def column(view: View) -> View:
        return b.reshape(view, tuple(view.size if n < 0 else n for n in _column(len(x.shape))))

    if all(const is not None for const in consts):
        key = ("batchnorm", *map(id, consts), _epsilon(node))
        both = b.packed(key, lambda: np.stack(_folded(node, [None, *consts])).astype(np.float32), consts)
        factor, shift = (column(both.part(0, i, 1).drop(0)) for i in range(2))
        apply(b, ("ADD", ("MUL", 0, 1), 2), [x, factor, shift], y)
        return
    params = [column(b.f32(b.view(name))) for name in node.inputs[1:5]]
    factor_of = ("DIV", 1, ("SQRT", ("ADD", 4, _epsilon(node))))
    apply(b, ("ADD", ("MUL", ("SUB", 0, 3), factor_of), 2), [x, *params], y)


register(Op("BatchNormalization", infer, evaluate, flow, lower, note="evaluation mode only", mixes="scale"))
