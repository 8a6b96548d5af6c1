"""QuantizeLinear-25, DequantizeLinear-25 (10, 13, 19, 21), DynamicQuantizeLinear-11, MatMulInteger-10.

    QuantizeLinear          y = saturate(round half to even(x / scale) + zero point)      per tensor, along one axis, or
                            one scale for each block of an axis (block_size)
    DequantizeLinear        x = (y - zero point) * scale
    DynamicQuantizeLinear   uint8; scale = (max(x, 0) - min(x, 0)) / 255, zero point = round(-min / scale)
    MatMulInteger           int32 sums of (a - a zero point) * (b - b zero point), exact

Sums are exact: see `exact_sums`.
Refused: blocks of scales that are computed, 4-bit and 8-bit floats, a rounding of the scale's own type (`precision`).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import View
from . import work
from .common import normal_axis, onnx_dtype, pass_through
from .elementwise import Formula, apply
from .exact_sums import centred, exact_product, known_sums, right_side
from .matmul import flow as matmul_flow
from .matmul import infer as matmul_infer
from .reduce import reduce
from .registry import Op, attr, get, need, register, unsupported

__all__ = ["quantise", "round_to", "scales_of"]


def limits(dtype: Any) -> tuple[float, float]:
    """Smallest and largest number of an integer type."""
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def along(node: Node, x: Fact, param: Fact | None, name: str) -> tuple[int, ...]:
    """The shape in which a scale or zero point [n] or [] broadcasts to x; that of x itself, where there is one for each
    block (see `laid`)."""
    if param is None or prod(param.shape) == 1:
        return ()
    axis = normal_axis(node, int(attr(node, "axis", 1)), len(x.shape))
    block = _block(node)
    if block:
        fits = tuple(-(-n // block) if a == axis else n for a, n in enumerate(x.shape))
        if param.shape != fits:
            raise ShapeError(
                f"{node}: {name} {list(param.shape)} does not fit {list(x.shape)} in blocks of {block} along axis {axis}"
            )
        return x.shape
    if len(param.shape) != 1:
        raise unsupported(node, f"{name} of shape {list(param.shape)} without block_size")
    if param.shape[0] != x.shape[axis]:
        raise ShapeError(f"{node}: {name} {list(param.shape)} does not fit axis {axis} of {list(x.shape)}")
    return tuple(x.shape[axis] if a == axis else 1 for a in range(len(x.shape)))


def _block(node: Node) -> int:
    """Elements along the axis that have one scale; 0: no blocks."""
    block = int(attr(node, "block_size", 0))
    if block < 0:
        raise OnnxImportError(f"{node}: block_size is {block}; the file is broken")
    return block


def laid(node: Node, x: Fact, param: Any, name: str) -> Any:
    """A scale or zero point as an array that broadcasts to x: one of a block stands at each of its places."""
    shape = along(node, x, Fact.of(param), name)
    if not (shape and _block(node)):
        return param.reshape(shape)
    axis = normal_axis(node, int(attr(node, "axis", 1)), len(x.shape))
    return param.take(np.arange(x.shape[axis]) // _block(node), axis)


def placed(node: Node, b: Builder, index: int) -> View | None:
    """A scale or zero point as a view that broadcasts to input 0."""
    name = b.optional(node, index)
    if not name:
        return None
    x = b.fact(node.inputs[0])
    shape = along(node, x, b.fact(name), name)
    if not (shape and _block(node)):
        return b.reshape(b.view(name), shape)
    known = b.const_of(name)
    if known is None:
        raise unsupported(node, f"blocks of a computed {name}")
    return b.const(laid(node, x, known, name))


# ---- QuantizeLinear, DequantizeLinear ----------------------------------------------------------------------


def _quantized_type(node: Node, ins: list[Fact | None]) -> np.dtype[Any]:
    zero, code = get(ins, 2), int(attr(node, "output_dtype", 0))
    dtype = zero.dtype if zero is not None else onnx_dtype(node, code) if code else np.dtype(np.uint8)
    if dtype.name not in ("int8", "uint8", "int16", "uint16"):
        raise unsupported(node, f"element type {dtype}")
    return np.dtype(dtype)


def infer_quantize(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f" and x.dtype != np.int32:
        raise unsupported(node, f"element type {x.dtype}")
    if int(attr(node, "precision", 0)) not in (0, 1):
        raise unsupported(node, f"precision {attr(node, 'precision')}")
    for index, name in ((1, "scale"), (2, "zero point")):
        along(node, x, need(node, ins, 1) if index == 1 else get(ins, 2), name)
    return [Fact(x.shape, _quantized_type(node, ins))]


def round_to(x: Any, zero: Any, dtype: Any) -> Array:
    """saturate(round half to even(x) + zero) in NumPy."""
    low, high = limits(dtype)
    return np.asarray(np.clip(np.rint(x) + (0 if zero is None else np.asarray(zero, np.float32)), low, high)).astype(
        dtype
    )


def evaluate_quantize(node: Node, ins: list[Array | None]) -> list[Array]:
    facts = [None if a is None else Fact.of(a) for a in ins]
    x: Any = need(node, ins, 0)
    scale, zero = (None if a is None else laid(node, Fact.of(x), a, "scale") for a in (ins[1], get(ins, 2)))
    return [round_to(x.astype(np.float32) / np.asarray(scale, np.float32), zero, _quantized_type(node, facts))]


def quantise(b: Builder, x: View, scale: View, zero: View | None, out: View) -> None:
    """out = saturate(round half to even(x / scale) + zero point); out is an integer type."""
    rounded: Formula = ("ROUND", ("DIV", 0, 1))
    low, high = limits(out.dtype)
    shifted: Formula = rounded if zero is None else ("ADD", rounded, 2)
    apply(b, ("MIN", ("MAX", shifted, low), high), [x, scale, *([zero] if zero is not None else [])], out, fits=True)


def lower_quantize(node: Node, b: Builder) -> None:
    scale = placed(node, b, 1)
    assert scale is not None
    quantise(b, b.view(node.inputs[0]), scale, placed(node, b, 2), b.new(node.outputs[0]))


def infer_dequantize(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    scale: Fact = need(node, ins, 1)
    if x.dtype.name not in ("int8", "uint8", "int16", "uint16", "int32"):
        raise unsupported(node, f"element type {x.dtype}")
    for param, name in ((scale, "scale"), (get(ins, 2), "zero point")):
        along(node, x, param, name)
    code = int(attr(node, "output_dtype", 0))
    return [Fact(x.shape, onnx_dtype(node, code) if code else scale.dtype)]


def evaluate_dequantize(node: Node, ins: list[Array | None]) -> list[Array]:
    fact = infer_dequantize(node, [None if a is None else Fact.of(a) for a in ins])[0]
    x: Any = need(node, ins, 0)
    y = x.astype(np.int64)
    if get(ins, 2) is not None:
        y = y - laid(node, Fact.of(x), get(ins, 2).astype(np.int64), "zero point")
    scale = laid(node, Fact.of(x), need(node, ins, 1).astype(np.float32), "scale")
    return [(y.astype(np.float32) * scale).astype(fact.dtype)]


def lower_dequantize(node: Node, b: Builder) -> None:
    x, zero, scale = b.view(node.inputs[0]), placed(node, b, 2), placed(node, b, 1)
    assert scale is not None
    if zero is None:
        apply(b, ("MUL", 0, 1), [x, scale], b.new(node.outputs[0]))
    else:
        apply(b, ("MUL", ("SUB", 0, 2), 1), [x, scale, zero], b.new(node.outputs[0]))


def flow_same(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """All axes of x pass, but for one with blocks; a scale along an axis goes with it."""
    x: Fact = need(node, ins, 0)
    params = [i for i in (1, 2) if get(ins, i) is not None and prod(get(ins, i).shape) != 1]
    axis = normal_axis(node, int(attr(node, "axis", 1)), len(x.shape)) if params else 0
    if params and _block(node):
        others = [a for a in range(len(x.shape)) if a != axis]
        return [Link(i, a, 0, a) for i in (0, *params) for a in others]
    return [*pass_through(ins, outs, {}), *(Link(index, 0, 0, axis) for index in params)]


register(
    Op("QuantizeLinear", infer_quantize, evaluate_quantize, flow_same, lower_quantize, opsets=(10, None), exact=True,
       note="to 2 to 16 bits, per tensor, axis or block"),
    Op("DequantizeLinear", infer_dequantize, evaluate_dequantize, flow_same, lower_dequantize, opsets=(10, None), exact=True,
       note="per tensor, axis or block"),
)  # fmt: skip


# ---- QuantizeDequantize: one behind the other, with the same scale and zero point; `recognise` makes it ----------------


def infer_both(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact(infer_quantize(node, ins)[0].shape, np.dtype(np.float32))]


def evaluate_both(node: Node, ins: list[Array | None]) -> list[Array]:
    return evaluate_dequantize(node, [*evaluate_quantize(node, ins), *ins[1:]])


def lower_both(node: Node, b: Builder) -> None:
    scale, zero = placed(node, b, 1), placed(node, b, 2)
    assert scale is not None and zero is not None
    low, high = limits(b.fact(node.inputs[2]).dtype)
    code: Formula = ("MIN", ("MAX", ("ADD", ("ROUND", ("DIV", 0, 1)), 2), low), high)
    apply(b, ("MUL", ("SUB", code, 2), 1), [b.view(node.inputs[0]), scale, zero], b.new(node.outputs[0]))


register(Op("QuantizeDequantize", infer_both, evaluate_both, flow_same, lower_both, domain="lstm_infer", inputs=(3, 3),
            exact=True))  # fmt: skip


# ---- DynamicQuantizeLinear ---------------------------------------------------------------------------------


def infer_dynamic(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype != np.float32:
        raise unsupported(node, f"element type {x.dtype}")
    u8 = np.dtype(np.uint8)
    return [Fact(x.shape, u8), Fact((), np.dtype(np.float32)), Fact((), u8)]


def range_of(x: Any) -> tuple[Any, Any]:
    """Scale and zero point of a whole tensor in NumPy, as onnxruntime finds them."""
    low = np.float32(min(np.min(x, initial=0), 0))
    high = np.float32(max(np.max(x, initial=0), 0))
    scale = (high - low) / np.float32(255)
    scale = np.float32(1) if scale == 0 else scale
    return np.float32(scale), np.rint(np.clip(-low / scale, 0, 255)).astype(np.uint8)


def evaluate_dynamic(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    scale, zero = range_of(x)
    return [round_to(x / scale, zero, np.uint8), np.asarray(scale), np.asarray(zero)]


def scales_of(b: Builder, x: View, scale: View, zero: View) -> None:
    """Scale (float32) and zero point (any type) of all of x."""
    low, high = b.alloc(()), b.alloc(())
    axes = tuple(range(len(x.shape)))
    if x.size:
        reduce(b, "Min", x, axes, low)
        reduce(b, "Max", x, axes, high)
    else:
        b.copy(low, b.scalar(0.0))
        b.copy(high, b.scalar(0.0))
    span: Formula = ("DIV", ("SUB", ("MAX", 1, 0.0), ("MIN", 0, 0.0)), 255.0)
    apply(b, ("SELECT", ("EQ", span, 0.0), 1.0, span), [low, high], scale)
    apply(b, ("ROUND", ("MIN", ("MAX", ("DIV", ("NEG", ("MIN", 0, 0.0)), 1), 0.0), 255.0)), [low, scale], zero)


def lower_dynamic(node: Node, b: Builder) -> None:
    x = b.view(node.inputs[0])
    y, scale, zero = (
        b.new(node.outputs[i]) if b.wanted(node, i) else b.alloc(shape, dtype)
        for i, (shape, dtype) in enumerate(((x.shape, np.uint8), ((), np.float32), ((), np.uint8)))
    )
    scales_of(b, x, scale, zero)
    quantise(b, x, scale, zero, y)


def flow_dynamic(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """The quantised values pass, for one scale; which one a stream takes, `stepwise` says."""
    return [Link(0, a, 0, a) for a in range(len(outs[0].shape))]


_NOTE = "one scale for the whole tensor; a stream runs one step at a time"
register(Op("DynamicQuantizeLinear", infer_dynamic, evaluate_dynamic, flow_dynamic, lower_dynamic, stepwise=True,
            note=_NOTE))  # fmt: skip


# ---- MatMulInteger -----------------------------------------------------------------------------------------


def _left_zero(node: Node, ins: list[Any], index: int) -> tuple[int, ...]:
    """A zero point of the left side: one number, or one for each row (as a column)."""
    zero = get(ins, index)
    if zero is None or prod(zero.shape) == 1:
        return ()
    return (*zero.shape, 1) if len(zero.shape) == 1 else tuple(zero.shape)


def infer_matmul(node: Node, ins: list[Fact | None]) -> list[Fact]:
    for index in (0, 1):
        fact: Fact = need(node, ins, index)
        if fact.dtype.name not in ("int8", "uint8"):
            raise unsupported(node, f"element type {fact.dtype}")
    a, b = need(node, ins, 0), need(node, ins, 1)
    y = matmul_infer(node, [a, b._replace(dtype=a.dtype)])[0]
    for index, shape, of in ((2, _left_zero(node, ins, 2), a), (3, getattr(get(ins, 3), "shape", ()), b)):
        if get(ins, index) is not None and prod(shape) != 1 and np.broadcast_shapes(shape, of.shape) != of.shape:
            raise ShapeError(f"{node}: a zero point {list(shape)} does not fit {list(of.shape)}")
    return [Fact(y.shape, np.dtype(np.int32))]


def integers(x: Any, zero: Any) -> Any:
    """x - zero point in float64, in which sums of such products are exact."""
    return x.astype(np.float64) - (0 if zero is None else np.asarray(zero, np.float64))


def evaluate_matmul(node: Node, ins: list[Array | None]) -> list[Array]:
    zero: Any = get(ins, 2)
    zero = None if zero is None else zero.reshape(_left_zero(node, ins, 2))
    y = np.matmul(integers(need(node, ins, 0), zero), integers(need(node, ins, 1), one_number(get(ins, 3))))
    return [np.asarray(y).astype(np.int64).astype(np.int32)]


def one_number(zero: Any) -> Any:
    return None if zero is None else zero.reshape(()) if zero.size == 1 else zero


def product_of(node: Node, b: Builder, at: tuple[int, int, int, int], shape: tuple[int, ...]) -> View:
    """The exact product of two inputs with their zero points (positions: a, b, a's zero, b's zero)."""
    a_zero = b.optional(node, at[2])
    facts = [b.fact(name) if name else None for name in node.inputs]
    zero = b.reshape(b.view(a_zero), _left_zero(node, facts, at[2])) if a_zero else None
    given = b.view(node.inputs[at[0]])
    x = centred(b, given, zero)
    name = b.optional(node, at[3])
    found = known_sums(node, b, x, given.dtype, (node.inputs[at[1]], a_zero, name), shape)
    if found is not None:
        return found
    w, known, key, keep = right_side(b, node.inputs[at[1]], name)
    return exact_product(b, x, w, known, key, keep, shape)


def lower_matmul(node: Node, b: Builder) -> None:
    y = b.new(node.outputs[0])
    total = product_of(node, b, (0, 1, 2, 3), y.shape)
    apply(b, 0, [total], y, ints=total.dtype != np.float32)


def flow_matmul(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    links = matmul_flow(node, ins[:2], outs)
    zero = get(ins, 2)
    if zero is not None and prod(zero.shape) != 1:
        links += [Link(2, a, 0, a + len(outs[0].shape) - 2) for a in range(len(zero.shape)) if len(zero.shape) == 1]
    return links


register(
    Op(
        "MatMulInteger",
        infer_matmul,
        evaluate_matmul,
        flow_matmul,
        lower_matmul,
        work=work.products(),
        weights=(1,),
        why="sums over time",
    )
)
