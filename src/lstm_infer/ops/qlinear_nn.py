"""Quantised layers of com.microsoft: QLinearAveragePool, QLinearGlobalAveragePool, QLinearSoftmax, QLinearWhere.

    QLinearAveragePool         y = saturate(round half to even(AveragePool(x real) / y scale) + y zero point)
    QLinearGlobalAveragePool   the same from the exact sum of integers, times x scale / (y scale * count)
    QLinearSoftmax             y = saturate(round half to even(Softmax(x real) * floor(1 / y scale)) + y zero point)
    QLinearWhere               z = saturate(round half to even((condition ? x real : y real) / z scale) + z zero point)

where `real` = (x - x zero point) * x scale. Sources: the kernels of onnxruntime of the same names.
onnxruntime's QLinearSoftmax wraps an int8 probability of 1 round to -128; here it saturates.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from . import pool, softmax, work
from .channels_last import channels_last
from .common import broadcast, pass_broadcast
from .elementwise import Formula, apply
from .qlinear import column_scale, eight_bits, real, real_view, requantise, view_scale
from .quant import integers, limits, quantise, round_to
from .reduce import reduce
from .registry import Op, attr, get, need, register, unsupported

# ---- an operator on floats between a dequantisation and a quantisation: inputs x, scale, zero, y scale, y zero -------


def _inner(node: Node) -> Node:
    """The operator on floats; its input and output are values of its own."""
    attrs = dict(node.attrs)
    if node.op == "QLinearSoftmax":
        old = int(attr(node, "opset")) < 13
        attrs = {"axis": attr(node, "axis", 1 if old else -1), "coerce_2d": int(old)}
    return replace(node, op=node.op.removeprefix("QLinear"), domain="", inputs=[f"{node.outputs[0]}/x"],
                   outputs=[f"{node.outputs[0]}/y"], attrs=attrs)  # fmt: skip


def _float(fact: Fact) -> Fact:
    return Fact(fact.shape, np.dtype(np.float32))


_LAYERS = {"QLinearAveragePool": pool, "QLinearSoftmax": softmax}


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = eight_bits(node, need(node, ins, 0))
    need(node, ins, 3)
    return [Fact(_LAYERS[node.op].infer(_inner(node), [_float(x)])[0].shape, x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    y: Any = _LAYERS[node.op].evaluate(_inner(node), [real(given, ins[1], get(ins, 2))])[0]
    scale, zero = column_scale(need(node, ins, 3)), get(ins, 4)
    y = y * np.floor(1 / scale) if node.op == "QLinearSoftmax" else y / scale
    return [round_to(y, None if zero is None else column_scale(zero), given.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Windows do not pass: what they are padded with is the zero point, which is known to this node only."""
    links = _LAYERS[node.op].flow(_inner(node), [_float(need(node, ins, 0))], outs)
    return [link for link in links if link.kind == "same"]


def lower(node: Node, b: Builder) -> None:
    inner, y = _inner(node), b.new(node.outputs[0])
    b.facts[inner.inputs[0]], b.facts[inner.outputs[0]] = (_float(b.fact(v)) for v in (node.inputs[0], node.outputs[0]))
    b.views[inner.inputs[0]] = real_view(b, node, 0)
    _LAYERS[node.op].lower(inner, b)
    made, scale, zero = b.view(inner.outputs[0]), view_scale(b, node.inputs[3]), b.optional(node, 4)
    if node.op == "QLinearSoftmax":
        scaled = b.alloc(made.shape)
        apply(b, ("MUL", 0, ("FLOOR", ("DIV", 1.0, 1))), [made, scale], scaled)
        made, scale = scaled, b.scalar(1.0)
    quantise(b, made, scale, view_scale(b, zero) if zero else None, y)


# ---- QLinearGlobalAveragePool ----------------------------------------------------------------------------------------


def infer_global(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = eight_bits(node, need(node, ins, 0))
    if len(x.shape) < 3 or 0 in x.shape[2:]:
        raise ShapeError(f"{node}: takes [N, C, ...], got {list(x.shape)}")
    if prod(x.shape[2:]) > 1 << 16:
        raise unsupported(node, f"a mean over {prod(x.shape[2:])} positions")  # sums are exact below 2^24
    return [Fact((*x.shape[:2], *([1] * (len(x.shape) - 2))), x.dtype)]


def evaluate_global(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    total = integers(x, column_scale(need(node, ins, 2))).sum(tuple(range(2, x.ndim)), keepdims=True)
    count = np.float32(prod(x.shape[2:]))
    factor = column_scale(need(node, ins, 1)) / (column_scale(need(node, ins, 3)) * count)
    return [round_to(total.astype(np.float32) * factor, column_scale(need(node, ins, 4)), x.dtype)]


def flow_global(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, a, 0, a) for a in range(2)]


def lower_global(node: Node, b: Builder) -> None:
    x, y = b.view(node.inputs[0]), b.new(node.outputs[0])
    centred, total, scale = b.alloc(x.shape), b.alloc(y.shape), b.alloc(())
    apply(b, ("SUB", 0, 1), [x, view_scale(b, node.inputs[2])], centred)
    reduce(b, "Sum", centred, tuple(range(2, len(x.shape))), total)
    apply(b, ("MUL", 0, float(prod(x.shape[2:]))), [view_scale(b, node.inputs[3])], scale)
    one = b.scalar(1.0)
    requantise(b, total, [view_scale(b, node.inputs[1]), one, scale], view_scale(b, node.inputs[4]), y)


# ---- QLinearWhere: condition, x, scale, zero, y, scale, zero, z scale, z zero ------------------------------------------


def infer_where(node: Node, ins: list[Fact | None]) -> list[Fact]:
    for index in range(9):
        need(node, ins, index)
    x, y = (eight_bits(node, need(node, ins, i)) for i in (1, 4))
    return [Fact(broadcast(node, [ins[0], x, y]), eight_bits(node, need(node, ins, 8)).dtype)]


def evaluate_where(node: Node, ins: list[Array | None]) -> list[Array]:
    zero: Any = need(node, ins, 8)
    x, y = (real(ins[i], ins[i + 1], ins[i + 2]) for i in (1, 4))
    z = np.where(need(node, ins, 0), x, y) / column_scale(need(node, ins, 7))
    return [round_to(z, column_scale(zero), zero.dtype)]


def flow_where(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    links = pass_broadcast(node, [ins[0], ins[1], ins[4]], outs)
    return [replace(link, input=(0, 1, 4)[link.input]) for link in links]


def lower_where(node: Node, b: Builder) -> None:
    z = b.new(node.outputs[0])
    views = [b.view(name) if i in (0, 1, 4) else view_scale(b, name) for i, name in enumerate(node.inputs)]
    chosen: Formula = ("SELECT", 0, ("MUL", ("SUB", 1, 3), 2), ("MUL", ("SUB", 4, 6), 5))
    low, high = limits(z.dtype)
    apply(b, ("MIN", ("MAX", ("ADD", ("ROUND", ("DIV", chosen, 7)), 8), low), high), views, z, fits=True)


_HOW: dict[str, Any] = {"domain": "com.microsoft", "dtypes": "int8, uint8"}
_AVERAGE = Op(
    "QLinearAveragePool",
    infer,
    evaluate,
    flow,
    lower,
    work=work.windows(),
    **_HOW,
    why="reduces over the whole time axis",
)
_GLOBAL = Op(
    "QLinearGlobalAveragePool",
    infer_global,
    evaluate_global,
    flow_global,
    lower_global,
    **_HOW,
    why="reduces over the whole time axis",
)
register(
    channels_last("QLinearAveragePool", _AVERAGE, (4, 5)),
    channels_last("QLinearGlobalAveragePool", _GLOBAL, (5, 5)),
    Op("QLinearSoftmax", infer, evaluate, flow, lower, inputs=(4, 5), **_HOW, why="normalises over time"),
    Op("QLinearWhere", infer_where, evaluate_where, flow_where, lower_where, inputs=(9, 9), **_HOW),
)
