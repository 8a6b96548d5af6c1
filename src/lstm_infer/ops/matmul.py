"""MatMul-13: matrix product over the last two axes, broadcast over those before.

A constant right side is packed once; its rows are then one matrix product, whatever the leading axes. Such a node may
have a third input that no file has: a bias, which `recognise` brings from the Add behind it.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import _core
from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..graph.weights import mark
from ..program.arguments import RANK, Activation, MatMul, MatMulDyn, MatMulI8, MatMulInt, dtype_code, filled
from ..program.builder import Builder
from ..program.packing import layout, panels
from ..program.precision import SLOT
from ..program.store import Panels
from ..program.unpacking import Piece
from ..program.views import View
from . import work
from .registry import Op, need, register


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    a: Fact = need(node, ins, 0)
    b: Fact = need(node, ins, 1)
    if not a.shape or not b.shape:
        raise ShapeError(f"{node}: MatMul takes no scalars")
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        raise ShapeError(f"{node}: {list(a.shape)} x {list(b.shape)}: inner sizes {left[-1]} and {right[-2]} differ")
    out = [*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1]]
    if len(b.shape) == 1:
        out.pop(-1)
    if len(a.shape) == 1:
        out.pop(-1 if len(b.shape) == 1 else -2)
    if a.dtype != b.dtype:
        raise OnnxImportError(f"{node}: inputs of types {a.dtype} and {b.dtype} differ; the file is broken")
    return [Fact(tuple(out), a.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    a: Array = need(node, ins, 0)
    b: Array = need(node, ins, 1)
    if a.dtype == np.float16:
        return [np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)]
    y = np.asarray(np.matmul(a, b))
    return [y + need(node, ins, 2)] if len(ins) > 2 else [y]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    a: Fact = need(node, ins, 0)
    b: Fact = need(node, ins, 1)
    rank, links = len(outs[0].shape), []
    for index, fact in ((0, a), (1, b)):
        batch = len(fact.shape) - 2
        lead = rank - len(fact.shape)
        links += [Link(index, x, 0, x + lead) for x in range(batch) if fact.shape[x] == outs[0].shape[x + lead]]
    if len(a.shape) > 1:
        links.append(Link(0, len(a.shape) - 2, 0, rank - (2 if len(b.shape) > 1 else 1)))
    if len(b.shape) > 1:
        links.append(Link(1, len(b.shape) - 1, 0, rank - 1))
    return links


@frozen
class Inputs:
    """How the inputs of a product with 8-bit weights become 8-bit numbers."""

    quantize: str = "ROW_U8"
    """One of _core.quantize_codes."""
    scale: float = 0.0
    """GIVEN: what they are divided by; zero: what is added then, -128 .. 127."""
    zero: int = 0


@frozen
class Matrix:
    """A packed constant matrix, and how its weights are held."""

    view: View
    kind: str = "f32"
    inputs: Inputs = Inputs()
    weight_zeros: int = 0


def pack(b: Builder, node: Node, weights: Array, turned: bool, scale: float = 1.0) -> Matrix:
    """A constant matrix [k, m] (turned: [m, k]), times `scale`, as packed panels of 16 columns; made once per model."""

    def scaled() -> Array:
        w = np.asarray(weights, np.float32)
        return w if scale == 1 else w * np.float32(scale)

    def make() -> Array:
        w = scaled()
        return panels(kind, [(w if turned else w.T)[None]])

    kind = b.kind(node, weights.shape[1 if turned else 0], weights, values=lambda: [scaled()])
    m, k = weights.shape if turned else weights.shape[::-1]
    panel, _ = layout(kind, [(1, k)])
    key = Panels(kind, -(-m // _core.UNITS) * panel, ("matrix", mark(weights), turned, scale))
    view = b.packed(key, make, keep=weights)
    if scale == 1:
        b.store.stands(node, weights, kind, [Piece(view, 1, m, k, panel)], turned)
    return Matrix(view, kind)


def row_bias(b: Builder, key: Any, c: Array, m: int, keep: Any = None) -> View:
    """A constant row [m] (or one number) padded to whole panels, as `bias` of matmul_f32."""

    def make() -> Array:
        out = _core.aligned_empty(-(-m // _core.UNITS) * _core.UNITS * 4).view(np.float32)
        out[:m] = np.broadcast_to(c.reshape(-1), (m,))
        return out

    return b.packed(key, make, keep)


def lower(node: Node, b: Builder) -> None:
    if b.fact(node.outputs[0]).dtype.kind != "f":
        dynamic(b, b.view(node.inputs[0]), b.view(node.inputs[1]), b.new(node.outputs[0]))
        return
    right = b.fact(node.inputs[1])
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    if right.const is not None and len(right.shape) == 2:
        k, m = right.shape
        c = b.const_of(node.inputs[2]) if len(node.inputs) > 2 else None
        bias = None if c is None else row_bias(b, ("matrix bias", id(c), m), c, m, c)
        product(b, x, pack(b, node, right.const, turned=False), bias, y, k, m)
    else:
        dynamic(b, x, b.f32(b.view(node.inputs[1])), y)


def product(
    b: Builder, x: View, w: Matrix | View, bias: View | None, y: View, k: int, m: int, act: Activation | None = None
) -> None:
    """y[..., m] = x[..., k] w + bias over all leading axes of x; y is dense."""
    if k == 0:
        b.copy(y, b.scalar(0.0) if bias is None else bias.part(0, 0, m))
        return
    n = prod(x.shape[:-1])
    flat = x.reshape((n, k))
    if flat is None:
        flat = b.dense(x).reshape((n, k))
        assert flat is not None
    w = Matrix(w) if isinstance(w, View) else w
    args = MatMul(
        x=flat, w=w.view, bias=bias, y=y, n=n, k=k, m=m, x_row=flat.strides[0], x_k=flat.strides[1], y_row=m, y_col=1,
        act=act or Activation(),
    )  # fmt: skip
    emit(b, args, w)


def emit(b: Builder, args: MatMul, w: Matrix) -> None:
    """A product with packed weights, however they are held."""
    if w.kind == "int8":
        scratch, code = b.scratch(_core.matmul_i8_scratch(args.n, args.k)), _core.quantize_codes[w.inputs.quantize]
        how: dict[str, Any] = {"weight_zeros": w.weight_zeros, "scale": w.inputs.scale, "zero": w.inputs.zero}
        args = MatMulI8(**vars(args), scratch=scratch, quantize=code, **how)
    b.emit(f"matmul_{SLOT[w.kind]}", args)


def dynamic(b: Builder, left: View, right: View, y: View) -> None:
    """Both sides computed at run time, batched over the leading axes; all of one dtype, float32 or an integer."""
    if left.size == 0 or right.size == 0:
        b.copy(y, b.scalar(0, y.dtype))
        return
    left = left.add_axis(0) if len(left.shape) == 1 else left
    right = right.add_axis(1) if len(right.shape) == 1 else right
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    n, k, m = left.shape[-2], left.shape[-1], right.shape[-1]
    out = y.reshape((*batch, n, m))
    assert out is not None
    left, right = left.expand((*batch, n, k)), right.expand((*batch, k, m))
    ints = y.dtype.kind in "iu"
    scratch = b.scratch(8 * k * m if ints else _core.matmul_dyn_scratch(k, m))
    (a_row, a_k), (b_k, b_col) = left.strides[-2:], right.strides[-2:]
    how: dict[str, Any] = {
        "a": left, "b": right, "y": out, "scratch": scratch, "n": n, "k": k, "m": m,
        "a_row": a_row, "a_k": a_k, "b_k": b_k, "b_col": b_col, "y_row": m, "batch_rank": len(batch),
        "batch": filled(batch, RANK), "a_batch": filled(left.strides[:-2], RANK), "b_batch": filled(right.strides[:-2], RANK),
        "y_batch": filled(out.strides[:-2], RANK),
    }  # fmt: skip
    if ints:
        b.emit("matmul_i64", MatMulInt(**how, dtype=dtype_code(y.dtype)))
    else:
        b.emit("matmul_dyn_f32", MatMulDyn(**how))


register(
    Op(
        "MatMul",
        infer,
        evaluate,
        flow,
        lower,
        weights=(1,),
        work=work.products(),
        dtypes="float, int, uint",
        runs="matmul_f32, matmul_dyn_f32, matmul_i64",
        why="sums over time",
    )
)
