"""Gemm-13 (7, 9, 11): Y = alpha * A' B' + beta * C, where ' is a transpose if transA / transB says so.

    A' [N, K]   B' [K, M]   C broadcasts to [N, M]

A constant B is packed once with alpha folded in. A constant C of one row is where each sum starts; any other C is
added behind the product. Also FusedGemm of com.microsoft (files that onnxruntime saved after optimising): Gemm with an
activation behind it. Integers wrap; where alpha or beta is not whole they run on the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from . import activation, work
from .formula import Formula, apply
from .matmul import dynamic, pack, product, row_bias
from .registry import Op, attr, find, need, register, unsupported

__all__ = ["matrix_sizes"]


def matrix_sizes(node: Node, a: Fact, b: Fact) -> tuple[int, int, int]:
    """N, K, M of a product of two matrices, each transposed where the node says so."""
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ShapeError(f"{node}: takes matrices, got {list(a.shape)} and {list(b.shape)}")
    n, k = reversed(a.shape) if attr(node, "transA", 0) else a.shape
    k2, m = reversed(b.shape) if attr(node, "transB", 0) else b.shape
    if k != k2:
        raise ShapeError(f"{node}: {list(a.shape)} x {list(b.shape)}: the inner sizes {k} and {k2} differ")
    return n, k, m


def _sizes(node: Node, ins: list[Fact | None]) -> tuple[int, int, int]:
    """N, K, M; the inputs are checked against them."""
    a: Fact = need(node, ins, 0)
    b: Fact = need(node, ins, 1)
    n, k, m = matrix_sizes(node, a, b)
    c = ins[2] if len(ins) > 2 else None
    if c is not None and np.broadcast_shapes(c.shape, (n, m)) != (n, m):
        raise ShapeError(f"{node}: C {list(c.shape)} does not broadcast to [{n}, {m}]")
    return n, k, m


def _number(node: Node, name: str) -> float:
    return float(np.float32(attr(node, name, 1.0)))


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    n, _, m = _sizes(node, ins)
    types = {str(fact.dtype) for fact in ins if fact is not None}
    if len(types) > 1:
        raise OnnxImportError(f"{node}: inputs of types {', '.join(sorted(types))} differ; the file is broken")
    dtype: np.dtype[Any] = need(node, ins, 0).dtype
    if dtype.kind not in "fiu":
        raise unsupported(node, f"element type {dtype}")
    activation.of(node)
    return [Fact((n, m), dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    a: Any = need(node, ins, 0)
    b: Any = need(node, ins, 1)
    dtype = a.dtype
    a, b = (x.astype(np.float32) if dtype == np.float16 else x for x in (a, b))
    y = (a.T if attr(node, "transA", 0) else a) @ (b.T if attr(node, "transB", 0) else b)
    if dtype.kind == "f":
        y = y * y.dtype.type(_number(node, "alpha"))
    elif _number(node, "alpha") != 1:
        y = np.trunc(y * _number(node, "alpha")).astype(dtype)
    c: Any = ins[2] if len(ins) > 2 else None
    if c is not None and _number(node, "beta") != 0:
        y = y + (c if _number(node, "beta") == 1 else (c * _number(node, "beta")).astype(y.dtype))
    return [np.asarray(activation.meaning(node, y)).astype(dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    n, m = outs[0].shape
    links = [Link(0, 1 if attr(node, "transA", 0) else 0, 0, 0), Link(1, 0 if attr(node, "transB", 0) else 1, 0, 1)]
    c = ins[2] if len(ins) > 2 else None
    if c is not None:
        lead = 2 - len(c.shape)
        links += [Link(2, x, 0, x + lead) for x, size in enumerate(c.shape) if size == (n, m)[x + lead]]
    return links


def lower(node: Node, b: Builder) -> None:
    ins = [b.fact(name) if name else None for name in node.inputs]
    if b.fact(node.outputs[0]).dtype.kind != "f":
        _lower_ints(node, b)
        return
    _, k, m = _sizes(node, ins)
    alpha, beta, act = _number(node, "alpha"), _number(node, "beta"), activation.of(node)
    x = b.f32(b.view(node.inputs[0]))
    x = x.transpose((1, 0)) if attr(node, "transA", 0) else x
    weights, c_name = b.const_of(node.inputs[1]), b.optional(node, 2) if beta else ""
    c = b.const_of(c_name)
    y = b.new(node.outputs[0])
    bias = None
    if c is not None and weights is not None and (c.size == 1 or (c.size == m and c.shape[-1] == m)):
        scaled = np.asarray(c, np.float32) * np.float32(beta)
        bias, c_name = row_bias(b, ("gemm bias", id(c), beta, m), scaled, m, c), ""
    first = None if c_name else act
    if weights is not None and k:
        product(b, x, pack(b, node, weights, bool(attr(node, "transB", 0)), alpha), bias, y, k, m, first)
        scale: Any = 0
    else:
        w = b.f32(b.view(node.inputs[1]))
        dynamic(b, x, w.transpose((1, 0)) if attr(node, "transB", 0) else w, y)
        scale = ("MUL", 0, alpha) if alpha != 1 and k else 0
        if bias is not None:
            scale = ("ADD", scale, 1)
            apply(b, scale, [y, bias.part(0, 0, m)], y)
            scale = 0
    if c_name:
        added: Any = ("MUL", 1, beta) if beta != 1 else 1
        apply(b, activation.formula(act, ("ADD", scale, added)), [y, b.f32(b.view(c_name))], y)
    elif scale != 0 or (weights is None and act.name != "NONE"):
        apply(b, activation.formula(act, scale), [y], y)


def _lower_ints(node: Node, b: Builder) -> None:
    """Whole alpha and beta in C: exact, and wrapped at the width of the type."""
    alpha, beta = _number(node, "alpha"), _number(node, "beta")
    if not alpha.is_integer() or not beta.is_integer() or activation.of(node).name != "NONE":
        b.host(node, find(node).evaluate)
        return
    left, right = (b.view(name) for name in node.inputs[:2])
    left = left.transpose((1, 0)) if attr(node, "transA", 0) else left
    right = right.transpose((1, 0)) if attr(node, "transB", 0) else right
    y = b.new(node.outputs[0])
    dynamic(b, left, right, y)
    made: Formula = 0 if alpha == 1 else ("MUL", 0, alpha)
    c = b.optional(node, 2) if beta else ""
    if c:
        apply(b, ("ADD", made, 1 if beta == 1 else ("MUL", 1, beta)), [y, b.view(c)], y, ints=True)
    elif made != 0:
        apply(b, made, [y], y, ints=True)


register(
    Op(
        "Gemm",
        infer,
        evaluate,
        flow,
        lower,
        weights=(1,),
        work=work.products(),
        opsets=(7, None),
        note="integers with an alpha or beta that is not whole: on the host",
        dtypes="float, int, uint",
        runs="matmul_f32, matmul_dyn_f32, matmul_i64",
        why="sums over time",
    ),
    Op(
        "FusedGemm",
        infer,
        evaluate,
        flow,
        lower,
        weights=(1,),
        work=work.products(),
        domain="com.microsoft",
        inputs=(2, 3),
        why="sums over time",
    ),
)
