"""StaticQuantizeMatMul (domain "lstm_infer"): a product with a known matrix of 8 bits, of floats that QuantizeLinear and
DequantizeLinear round to 8 bits just before; `recognise` makes it.

    x, x scale, x zero, w [K, M] (transB: [M, K]), w scale, w zero, bias [M]      scales and zero points of x are one number

    y = sum over k of (q[k] - x zero)(w[k] - w zero) * (x scale * w scale) + bias      q: x as QuantizeLinear-13 gives it
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from . import work
from .elementwise import apply
from .int_product import int_matrix, signed_zero
from .matmul import Inputs, product, row_bias
from .matmul import flow as matmul_flow
from .matmul import infer as matmul_infer
from .quant import integers, round_to
from .registry import Op, attr, get, known, need, register


def _matrix(node: Node, ins: list[Any]) -> Any:
    """The fact of w as [K, M]."""
    w: Fact = need(node, ins, 3)
    return w._replace(
        shape=w.shape[::-1] if attr(node, "transB", 0) else w.shape, dtype=np.dtype(np.float32), const=None
    )


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    for index in range(1, 6):
        known(node, need(node, ins, index), "what a product is quantised with")
    return matmul_infer(node, [x._replace(dtype=np.dtype(np.float32), const=None), _matrix(node, ins)])


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x, x_scale, x_zero, w, w_scale, w_zero = (need(node, ins, i) for i in range(6))
    w = w.T if attr(node, "transB", 0) else w
    q = round_to(x.astype(np.float32) / x_scale, x_zero, x_zero.dtype)
    y = (integers(q, x_zero) @ integers(w, w_zero)).astype(np.float32) * (x_scale * w_scale)
    return [np.asarray(y if get(ins, 6) is None else y + get(ins, 6), np.float32)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    links = matmul_flow(node, [need(node, ins, 0), _matrix(node, ins)], outs)
    return [replace(link, input=3 * link.input) for link in links]


def lower(node: Node, b: Builder) -> None:
    scale, zero = (b.const_of(name) for name in node.inputs[1:3])
    w = int_matrix(b, node, (node.inputs[3], node.inputs[4], node.inputs[5]), turned=bool(attr(node, "transB", 0)))
    assert w is not None and scale is not None
    y, last = b.new(node.outputs[0]), b.optional(node, 6)
    c, m = b.const_of(last), y.shape[-1]
    bias = row_bias(b, ("matrix bias", id(c), m), c, m, c) if c is not None and c.size in (1, m) else None
    w = replace(w, inputs=Inputs("GIVEN", float(scale.reshape(-1)[0]), signed_zero(zero)))
    x = b.f32(b.view(node.inputs[0]))
    product(b, x, w, bias, y, x.shape[-1], m)
    if last and bias is None:
        apply(b, ("ADD", 0, 1), [y, b.f32(b.view(last))], y)


register(
    Op("StaticQuantizeMatMul", infer, evaluate, flow, lower, domain="lstm_infer", inputs=(6, 7), weights=(3,), work=work.products(),
       runs="matmul_i8", why="sums over time")
)  # fmt: skip
