"""Products and maps of quantised files in standard operators."""

from __future__ import annotations

import numpy as np

from ...graph.fact import Fact
from ...graph.ir import Node
from .dialect import Said, rule, say
from .draft import Draft
from .quantised_lstm import dynamic_product, dynamic_sums, zeros_of

__all__: list[str] = []

MS = "com.microsoft"


def _dequantised(d: Draft, x: str, scale: str, zero: str, axis: int = 1) -> str:
    inputs = [x, _row(d, scale), *([_row(d, zero)] if zero else [])]
    attrs = {"axis": axis} if d.facts[inputs[1]].shape else {}
    return d.op("DequantizeLinear", inputs, d.facts[x].shape, attrs=dict(attrs))


def _quantised(said: Said, x: str, scale: str, zero: str) -> None:
    d = said.d
    zero = zero or d.const(0, said.outs[0].dtype)
    d.op("QuantizeLinear", [x, _row(d, scale), _row(d, zero)], said.shape, said.outs[0].dtype, out=said.out)


def _row(d: Draft, name: str) -> str:
    """A scale or zero point as one number, or a row."""
    fact = d.facts[name]
    size = int(np.prod(fact.shape))
    return d.reshaped(name, () if size == 1 else (size,))


@rule("QuantizeDequantize", domain="lstm_infer")
def _both(said: Said) -> None:
    d = said.d
    axis = int(said.attr("axis", 1))
    scale, zero = _row(d, said.x(1)), _row(d, said.x(2))
    attrs = {"axis": axis} if d.facts[scale].shape else {}
    q = d.op("QuantizeLinear", [said.x(0), scale, zero], said.shape, d.facts[zero].dtype, dict(attrs))
    d.op("DequantizeLinear", [q, scale, zero], said.shape, attrs=dict(attrs), out=said.out)


def _sums(d: Draft, a: str, w: str, a_zero: str, w_zero: str) -> str:
    """Exact sums of products of integers, as float32."""
    shape = (*d.facts[a].shape[:-1], d.facts[w].shape[-1])
    zeros = [a_zero or d.const(0, d.facts[a].dtype), *([_row(d, w_zero)] if w_zero else [])]
    return d.cast(d.op("MatMulInteger", [a, w, *zeros], shape, np.int32), np.float32)


def _end(said: Said, made: str, bias: str) -> None:
    if bias:
        said.d.same("Add", [made, bias], said.out)
    else:
        said.d.alias(made, said.out)


def _turned(said: Said, index: int, key: str) -> str:
    name = said.x(index)
    return said.d.transposed(name, [1, 0]) if said.attr(key, 0) else name


@rule("StaticQuantizeMatMul", domain="lstm_infer")
def _static(said: Said) -> None:
    d = said.d
    w = _turned(said, 3, "transB")
    scale, zero = _row(d, said.x(1)), _row(d, said.x(2))
    q = d.op("QuantizeLinear", [said.x(0), scale, zero], said.fact(0).shape, d.facts[zero].dtype)
    total = _sums(d, q, w, zero, said.x(5))
    scales = d.same("Mul", [scale, _row(d, said.x(4))])
    _end(said, d.same("Mul", [total, scales]), said.x(6))


@rule("DynamicQuantizeMatMul", domain=MS)
def _dynamic(said: Said) -> None:
    d = said.d
    zero = _row(d, said.x(3)) if said.x(3) else d.const(0, said.fact(1).dtype)
    _end(said, dynamic_product(d, said.x(0), said.x(1), _row(d, said.x(2)), zero), said.x(4))


@rule("DynamicQuantizeConv", domain="lstm_infer")
def _dynamic_conv(said: Said) -> None:
    d, w = said.d, said.x(1)
    zeros = zeros_of(d, _row(d, said.x(3))) if said.x(3) else []
    column = (d.facts[w].shape[0], *[1] * (len(d.facts[w].shape) - 2))

    def sums(q: str, x_zero: str) -> str:
        return d.op("ConvInteger", [q, w, x_zero, *zeros], said.shape, np.int32, dict(said.node.attrs))

    made = dynamic_sums(d, said.x(0), said.x(2), sums)
    _end(said, made, d.reshaped(said.x(4), column) if said.x(4) else "")


@rule("MatMulIntegerToFloat", domain=MS)
def _to_float(said: Said) -> None:
    d = said.d
    total = _sums(d, said.x(0), said.x(1), _row(d, said.x(4)) if said.x(4) else "", said.x(5))
    scales = d.same("Mul", [_row(d, said.x(2)), _row(d, said.x(3))])
    _end(said, d.same("Mul", [total, scales]), said.x(6))


@rule("QGemm", domain=MS)
def _qgemm(said: Said) -> None:
    d = said.d
    a, w = _turned(said, 0, "transA"), _turned(said, 3, "transB")
    total = _sums(d, a, w, _row(d, said.x(2)), said.x(5))
    if said.x(6):
        total = d.same("Add", [total, d.cast(said.x(6), np.float32)])
    scales = d.same("Mul", [_row(d, said.x(1)), _row(d, said.x(4))])
    alpha = float(said.attr("alpha", 1.0))
    scales = d.same("Mul", [scales, d.const(alpha, np.float32)]) if alpha != 1 else scales
    made = d.same("Mul", [total, scales])
    if said.x(7):
        _quantised(said, made, said.x(7), said.x(8))
    else:
        _end(said, made, "")


@rule("QLinearAdd", "QLinearMul", domain=MS)
def _map_of_two(said: Said) -> None:
    d, x = said.d, said.x
    sides = [_dequantised(d, x(0), x(1), x(2)), _dequantised(d, x(3), x(4), x(5))]
    _quantised(said, d.same(said.node.op.removeprefix("QLinear"), sides), x(6), x(7))


@rule(
    "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearGlobalAveragePool", "QLinearAveragePool", domain=MS
)
def _map_of_one(said: Said) -> None:
    d, x, op = said.d, said.x, said.node.op.removeprefix("QLinear")
    kept = {k: v for k, v in said.node.attrs.items() if k not in ("opset", "channels_last")}
    if said.attr("channels_last", 0):
        raise said.refuse("channels_last is not composed")
    whole = _dequantised(d, x(0), x(1), x(2))
    made = d.names.fresh(op)
    if op == "Softmax" and int(said.attr("opset", 13)) < 13:
        kept["coerce_2d"] = 1
    say(d, Node(op, op, [whole], [made], kept, "", d.opset), [Fact(said.shape, np.dtype(np.float32))])
    _quantised(said, made, x(3), x(4))


@rule("QLinearConcat", domain=MS)
def _joined(said: Said) -> None:
    d, x = said.d, said.x
    parts = [_dequantised(d, x(i), x(i + 1), x(i + 2)) for i in range(2, len(said.node.inputs), 3)]
    axis = int(said.attr("axis"))
    _quantised(said, d.joined(parts, axis % len(said.shape)), x(0), x(1))


@rule("QLinearWhere", domain=MS)
def _where(said: Said) -> None:
    d, x = said.d, said.x
    sides = [_dequantised(d, x(1), x(2), x(3)), _dequantised(d, x(4), x(5), x(6))]
    _quantised(said, d.same("Where", [x(0), *sides]), x(7), x(8))
