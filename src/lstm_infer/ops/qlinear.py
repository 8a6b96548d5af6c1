"""Operators over quantised tensors: QLinearMatMul-21 (10), and of com.microsoft QGemm,
MatMulIntegerToFloat, DynamicQuantizeMatMul, QLinearAdd, QLinearMul, QLinearSigmoid, QLinearLeakyRelu, QLinearConcat.

    y = saturate(round half to even(sum * (a scale * b scale / y scale)) + y zero point)

where `sum` is the exact sum of the products of integers minus their zero points, as in MatMulInteger.
MatMulIntegerToFloat and DynamicQuantizeMatMul give sum * (a scale * b scale) + bias instead; the latter quantises A as
DynamicQuantizeLinear does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import View
from . import work
from .common import broadcast, normal_axis, pass_broadcast
from .elementwise import Formula, apply
from .exact_sums import centred, exact_product, known_sums, right_side
from .gemm import matrix_sizes
from .int_product import apart, dynamic_product, int_matrix, signal_axis
from .matmul import Matrix, row_bias
from .matmul import flow as matmul_flow
from .matmul import infer as matmul_infer
from .quant import (
    integers,
    limits,
    product_of,
    quantise,
    range_of,
    round_to,
    scales_of,
)
from .registry import Op, attr, get, need, register, unsupported

_EIGHT = ("int8", "uint8")


def eight_bits(node: Node, fact: Fact) -> Fact:
    if fact.dtype.name not in _EIGHT:
        raise unsupported(node, f"element type {fact.dtype}")
    return fact


def requantise(b: Builder, total: View, scales: list[View], zero: View | None, y: View) -> None:
    """y from exact sums; scales: a, b, y. y may be float32: then there are two scales, and `zero` is the bias."""
    factor: Formula = ("MUL", 1, 2)
    if len(scales) == 2:
        made: Formula = ("MUL", 0, factor)
        apply(b, made if zero is None else ("ADD", made, 3), [total, *scales, *([zero] if zero else [])], y)
        return
    low, high = limits(y.dtype)
    rounded: Formula = ("ROUND", ("MUL", 0, ("DIV", factor, 3)))
    shifted: Formula = rounded if zero is None else ("ADD", rounded, 4)
    apply(b, ("MIN", ("MAX", shifted, low), high), [total, *scales, *([zero] if zero else [])], y, fits=True)


def _row_scale(scale: Any) -> Any:
    """A scale or zero point of the left side: one number, or one for each row, as a column."""
    return scale.reshape(()) if scale.size == 1 else scale.reshape(-1, 1) if scale.ndim == 1 else scale


def column_scale(scale: Any) -> Any:
    return scale.reshape(()) if scale.size == 1 else scale


def view_scale(b: Builder, name: str, *, row: bool = False) -> View:
    view = b.f32(b.view(name))
    if view.size == 1:
        return b.reshape(view, ())
    return b.reshape(view, (view.size, 1)) if row and len(view.shape) == 1 else view


# ---- QLinearMatMul, MatMulIntegerToFloat, DynamicQuantizeMatMul ---------------------------------------------

# positions of a, b, a zero, b zero, a scale, b scale, y scale, y zero / bias; -1: there is no such input
_AT = {
    "QLinearMatMul": (0, 3, 2, 5, 1, 4, 6, 7),
    "MatMulIntegerToFloat": (0, 1, 4, 5, 2, 3, -1, 6),
    "DynamicQuantizeMatMul": (0, 1, -1, 3, -1, 2, -1, 4),
}


def _at(node: Node, ins: list[Any], which: int) -> Any:
    index = _AT[node.op][which]
    return get(ins, index) if index >= 0 else None


def infer_matmul(node: Node, ins: list[Fact | None]) -> list[Fact]:
    at = _AT[node.op]
    a: Fact = need(node, ins, at[0])
    b: Fact = eight_bits(node, need(node, ins, at[1]))
    if node.op == "DynamicQuantizeMatMul":
        if a.dtype != np.float32:
            raise unsupported(node, f"element type {a.dtype}")
    else:
        eight_bits(node, a)
    shape = matmul_infer(node, [a, b._replace(dtype=a.dtype)])[0].shape
    if node.op == "QLinearMatMul":
        return [Fact(shape, eight_bits(node, need(node, ins, 7)).dtype)]
    return [Fact(shape, np.dtype(np.float32))]


def evaluate_matmul(node: Node, ins: list[Array | None]) -> list[Array]:
    a, b = need(node, ins, _AT[node.op][0]), need(node, ins, _AT[node.op][1])
    a_zero, a_scale = _at(node, ins, 2), _at(node, ins, 4)
    if node.op == "DynamicQuantizeMatMul":
        a_scale, a_zero = range_of(a)
        a = round_to(a / a_scale, a_zero, np.uint8)
    a_zero = None if a_zero is None else _row_scale(np.asarray(a_zero))
    b_zero = _at(node, ins, 3)
    total = np.matmul(integers(a, a_zero), integers(b, None if b_zero is None else column_scale(b_zero)))
    factor = np.asarray(_row_scale(np.asarray(a_scale)) * column_scale(_at(node, ins, 5)), np.float32)
    last = _at(node, ins, 7)
    if node.op == "QLinearMatMul":
        factor = np.asarray(factor / column_scale(_at(node, ins, 6)), np.float32)
        return [round_to(total.astype(np.float32) * factor, column_scale(last), last.dtype)]
    y = total.astype(np.float32) * factor
    return [np.asarray(y if last is None else y + last, np.float32)]


def flow_matmul(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    at = _AT[node.op]
    links = matmul_flow(node, [need(node, ins, at[0]), need(node, ins, at[1])], outs)
    return [replace(link, input=at[link.input]) for link in links]


def lower_matmul(node: Node, b: Builder) -> None:
    at = _AT[node.op]
    y = b.new(node.outputs[0])
    if node.op == "DynamicQuantizeMatMul":
        matrix = int_matrix(b, node, (node.inputs[1], node.inputs[2], b.optional(node, 3)))
        if matrix is not None and y.size and len(b.fact(node.inputs[0]).shape) > 1:
            _lower_dynamic(node, b, matrix, y)
            return
        x, a_scale = dynamic_left(node, b, b.view(node.inputs[0]))
        w, known, key, keep = right_side(b, node.inputs[1], b.optional(node, 3))
        total = exact_product(b, x, w, known, key, keep, y.shape)
    else:
        total = product_of(node, b, (at[0], at[1], at[2], at[3]), y.shape)
        a_scale = view_scale(b, node.inputs[at[4]], row=True)
    scales = [a_scale, view_scale(b, node.inputs[at[5]])]
    if at[6] >= 0:
        scales.append(view_scale(b, node.inputs[at[6]]))
    last = b.optional(node, at[7])
    requantise(b, total, scales, view_scale(b, last) if last else None, y)


def _lower_dynamic(node: Node, b: Builder, w: Matrix, y: View) -> None:
    """DynamicQuantizeMatMul with a known matrix."""
    m, last = y.shape[-1], b.optional(node, 4)
    c = b.const_of(last)
    bias = row_bias(b, ("matrix bias", id(c), m), c, m, c) if c is not None and c.size == m else None
    dynamic_product(node, b, b.view(node.inputs[0]), w, bias, y, m)
    if last and bias is None:
        apply(b, ("ADD", 0, 1), [y, b.view(last)], y)


def dynamic_left(node: Node, b: Builder, x: View, axis: int | None = None) -> tuple[View, View]:
    """x quantised to uint8 by the range of all of it, minus the zero point, and its scale; in a stream of several signals by the
    range of each, along the axis that they have (or the one that has as many places)."""
    signals = apart(b)
    at = None if signals == 1 else signal_axis(node, x.shape, signals, axis)
    shape = () if at is None else tuple(signals if a == at else 1 for a in range(len(x.shape)))
    scale, zero = b.alloc(shape), b.alloc(shape)
    for i in range(1 if at is None else signals):
        part, *of = (x, scale, zero) if at is None else (view.part(at, i, 1) for view in (x, scale, zero))
        scales_of(b, part, *(b.reshape(view, ()) for view in of))
    out = b.alloc(x.shape)
    rounded: Formula = ("ADD", ("ROUND", ("DIV", 0, 1)), 2)
    apply(b, ("SUB", ("MIN", ("MAX", rounded, 0.0), 255.0), 2), [x, scale, zero], out)
    return out, scale


register(
    Op("QLinearMatMul", infer_matmul, evaluate_matmul, flow_matmul, lower_matmul, work=work.products(), weights=(3,),
       dtypes="int8, uint8", why="sums over time"),
    *(
        Op(name, infer_matmul, evaluate_matmul, flow_matmul, lower_matmul, work=work.products(),
           domain="com.microsoft", inputs=inputs,
           dtypes="int8, uint8", stepwise=stepwise, weights=(1,))
        for name, inputs, stepwise in (("MatMulIntegerToFloat", (4, 7), False), ("DynamicQuantizeMatMul", (3, 5), True))
    ),
)  # fmt: skip


# ---- QGemm -------------------------------------------------------------------------------------------------


def infer_gemm(node: Node, ins: list[Fact | None]) -> list[Fact]:
    a, w = eight_bits(node, need(node, ins, 0)), eight_bits(node, need(node, ins, 3))
    n, _, m = matrix_sizes(node, a, w)
    zero = get(ins, 8)
    return [Fact((n, m), np.dtype(np.float32) if get(ins, 7) is None else eight_bits(node, zero).dtype)]


def _alpha(node: Node) -> float:
    return float(np.float32(attr(node, "alpha", 1.0)))


def evaluate_gemm(node: Node, ins: list[Array | None]) -> list[Array]:
    a, w = need(node, ins, 0), need(node, ins, 3)
    a, w = (a.T if attr(node, "transA", 0) else a), (w.T if attr(node, "transB", 0) else w)
    total = integers(a, column_scale(need(node, ins, 2))) @ integers(w, column_scale(need(node, ins, 5)))
    c = get(ins, 6)
    total = total if c is None else total + c
    factor = np.float32(_alpha(node)) * column_scale(need(node, ins, 1)) * column_scale(need(node, ins, 4))
    if get(ins, 7) is None:
        return [np.asarray(total.astype(np.float32) * factor, np.float32)]
    zero: Any = need(node, ins, 8)
    return [round_to(total.astype(np.float32) * (factor / column_scale(get(ins, 7))), column_scale(zero), zero.dtype)]


def flow_gemm(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 1 if attr(node, "transA", 0) else 0, 0, 0), Link(3, 0 if attr(node, "transB", 0) else 1, 0, 1)]


def lower_gemm(node: Node, b: Builder) -> None:
    y = b.new(node.outputs[0])
    x = centred(b, b.view(node.inputs[0]), b.reshape(b.view(node.inputs[2]), ()))
    x = x.transpose((1, 0)) if attr(node, "transA", 0) else x
    turned, names = bool(attr(node, "transB", 0)), (node.inputs[3], node.inputs[2], node.inputs[5])
    c, dtype = b.optional(node, 6), b.fact(node.inputs[0]).dtype
    row = b.const_of(c)
    if row is not None and (row.size not in (1, y.shape[1]) or row.shape[-1:] != (row.size,)):
        row = None
    total = known_sums(node, b, x, dtype, names, y.shape, turned=turned, c=row) if row is not None or not c else None
    if total is None:
        total = known_sums(node, b, x, dtype, names, y.shape, turned=turned)
        if total is None:
            w, known, key, keep = right_side(b, node.inputs[3], node.inputs[5], transposed=turned)
            total = exact_product(b, x, w, known, key, keep, y.shape)
        if c:
            added = b.alloc(y.shape, np.int32)
            apply(b, ("ADD", 0, 1), [total, b.view(c)], added, ints=True)
            total = added
    a_scale = view_scale(b, node.inputs[1])
    if _alpha(node) != 1:
        scaled = b.alloc(a_scale.shape)
        apply(b, ("MUL", 0, _alpha(node)), [a_scale], scaled)
        a_scale = scaled
    scales = [a_scale, view_scale(b, node.inputs[4])]
    y_scale = b.optional(node, 7)
    if y_scale:
        scales.append(view_scale(b, y_scale))
    requantise(b, total, scales, view_scale(b, node.inputs[8]) if y_scale else None, y)


register(
    Op("QGemm", infer_gemm, evaluate_gemm, flow_gemm, lower_gemm, work=work.products(), domain="com.microsoft", inputs=(6, 9),
       weights=(3,), dtypes="int8, uint8", why="sums over time")
)  # fmt: skip


# ---- element by element ------------------------------------------------------------------------------------


def infer_binary(node: Node, ins: list[Fact | None]) -> list[Fact]:
    a, other = (eight_bits(node, need(node, ins, i)) for i in (0, 3))
    need(node, ins, 6)
    return [Fact(broadcast(node, [a, other]), a.dtype)]


def real(x: Any, scale: Any, zero: Any) -> Any:
    return integers(x, None if zero is None else column_scale(zero)).astype(np.float32) * column_scale(scale)


def evaluate_binary(node: Node, ins: list[Array | None]) -> list[Array]:
    """onnxruntime's order: ratios of the scales first, the zero point added before rounding. Ties are common."""
    a, other = (integers(need(node, ins, i), _zero(ins, i + 2)).astype(np.float32) for i in (0, 3))
    sa, sb, sc = (column_scale(need(node, ins, i)) for i in (1, 4, 6))
    y = a * (sa / sc) + other * (sb / sc) if node.op == "QLinearAdd" else a * other * (sa * sb / sc)
    zero = _zero(ins, 7)
    return [round_to(y if zero is None else y + np.float32(zero), None, need(node, ins, 0).dtype)]


def _zero(ins: list[Any], index: int) -> Any:
    zero = get(ins, index)
    return None if zero is None else column_scale(zero)


def flow_binary(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    links = pass_broadcast(node, [ins[0], ins[3]], outs)
    return [replace(link, input=3 * link.input) for link in links]


def real_view(b: Builder, node: Node, first: int) -> View:
    """A quantised input as float32."""
    zero = b.optional(node, first + 2)
    views = [b.view(node.inputs[first]), view_scale(b, node.inputs[first + 1])]
    out = b.alloc(views[0].shape)
    if zero:
        apply(b, ("MUL", ("SUB", 0, 2), 1), [*views, view_scale(b, zero)], out)
    else:
        apply(b, ("MUL", 0, 1), views, out)
    return out


def lower_binary(node: Node, b: Builder) -> None:
    y = b.new(node.outputs[0])
    views: list[View] = []

    def operand(index: int, *, scale: bool = True) -> Formula | None:
        name = b.optional(node, index)
        if not name:
            return None
        views.append(view_scale(b, name) if scale else b.view(name))
        return len(views) - 1

    def shifted(index: int) -> Formula:
        x, zero = operand(index, scale=False), operand(index + 2)
        assert x is not None
        return x if zero is None else ("SUB", x, zero)

    a, other = shifted(0), shifted(3)
    sa, sb, sc, zero = operand(1), operand(4), operand(6), operand(7)
    if node.op == "QLinearAdd":
        made: Formula = ("ADD", ("MUL", a, ("DIV", sa, sc)), ("MUL", other, ("DIV", sb, sc)))
    else:
        made = ("MUL", ("MUL", a, other), ("DIV", ("MUL", sa, sb), sc))
    made = made if zero is None else ("ADD", made, zero)
    low, high = limits(y.dtype)
    apply(b, ("MIN", ("MAX", ("ROUND", made), low), high), views, y, fits=True)


def infer_unary(node: Node, ins: list[Fact | None]) -> list[Fact]:
    need(node, ins, 3)
    x: Fact = eight_bits(node, need(node, ins, 0))
    return [x if x.const is None else Fact(x.shape, x.dtype)]


def evaluate_unary(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    x, zero = real(given, ins[1], get(ins, 2)), get(ins, 4)
    y = 1 / (1 + np.exp(-x)) if node.op == "QLinearSigmoid" else np.where(x >= 0, x, _leak(node) * x)
    return [round_to(y / column_scale(need(node, ins, 3)), None if zero is None else column_scale(zero), given.dtype)]


def _leak(node: Node) -> Any:
    return np.float32(attr(node, "alpha", 0.01))


def flow_unary(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, a, 0, a) for a in range(len(outs[0].shape))]


def lower_unary(node: Node, b: Builder) -> None:
    x, y, zero = real_view(b, node, 0), b.new(node.outputs[0]), b.optional(node, 4)
    real = b.alloc(y.shape)
    if node.op == "QLinearSigmoid":
        apply(b, ("SIGMOID", 0), [x], real)
    else:
        apply(b, ("SELECT", ("LT", 0, 0.0), ("MUL", float(_leak(node)), 0), 0), [x], real)
    quantise(b, real, view_scale(b, node.inputs[3]), view_scale(b, zero) if zero else None, y)


for _name in ("QLinearAdd", "QLinearMul"):
    register(Op(_name, infer_binary, evaluate_binary, flow_binary, lower_binary, domain="com.microsoft", inputs=(7, 8)))
for _name in ("QLinearSigmoid", "QLinearLeakyRelu"):
    register(Op(_name, infer_unary, evaluate_unary, flow_unary, lower_unary, domain="com.microsoft", inputs=(4, 5)))


# ---- QLinearConcat -----------------------------------------------------------------------------------------


def infer_concat(node: Node, ins: list[Fact | None]) -> list[Fact]:
    """Inputs: y scale, y zero, then x, scale, zero of each part."""
    if len(ins) < 5 or len(ins) % 3 != 2:
        raise ShapeError(f"{node}: has {len(ins)} inputs, takes 2 + 3 for each part")
    parts = [eight_bits(node, need(node, ins, i)) for i in range(2, len(ins), 3)]
    axis = normal_axis(node, int(attr(node, "axis")), len(parts[0].shape))
    shape = list(parts[0].shape)
    for part in parts[1:]:
        if part.shape[:axis] + part.shape[axis + 1 :] != parts[0].shape[:axis] + parts[0].shape[axis + 1 :]:
            raise ShapeError(f"{node}: {list(part.shape)} does not join {list(parts[0].shape)} along axis {axis}")
        shape[axis] += part.shape[axis]
    return [Fact(tuple(shape), eight_bits(node, need(node, ins, 1)).dtype)]


def evaluate_concat(node: Node, ins: list[Array | None]) -> list[Array]:
    zero: Any = need(node, ins, 1)
    reals = [real(ins[i], ins[i + 1], ins[i + 2]) / column_scale(ins[0]) for i in range(2, len(ins), 3)]
    return [round_to(np.concatenate(reals, int(attr(node, "axis"))), column_scale(zero), zero.dtype)]


def flow_concat(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    axis = normal_axis(node, int(attr(node, "axis")), len(outs[0].shape))
    return [Link(i, a, 0, a) for i in range(2, len(ins), 3) for a in range(len(outs[0].shape)) if a != axis]


def lower_concat(node: Node, b: Builder) -> None:
    y = b.new(node.outputs[0])
    axis, at = normal_axis(node, int(attr(node, "axis")), len(y.shape)), 0
    scale, zero = (view_scale(b, node.inputs[i]) for i in (0, 1))
    for i in range(2, len(node.inputs), 3):
        part = real_view(b, node, i)
        quantise(b, part, scale, zero, y.part(axis, at, part.shape[axis]))
        at += part.shape[axis]


register(
    Op(
        "QLinearConcat",
        infer_concat,
        evaluate_concat,
        flow_concat,
        lower_concat,
        domain="com.microsoft",
        inputs=(5, None),
    )
)
