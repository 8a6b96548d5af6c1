"""Convolutions of quantised tensors: ConvInteger-10, QLinearConv-10 (also that of com.microsoft, over [N, ..., C]), and
DynamicQuantizeConv (domain "lstm_infer"), which `recognise` makes of DynamicQuantizeLinear, ConvInteger, Cast and Mul.

    ConvInteger             int32 sums of (x - x zero point) * (w - w zero point), exact
    QLinearConv             y = saturate(round half to even((sum + bias) * (x scale * w scale / y scale)) + y zero point)
    DynamicQuantizeConv     x, w, w scale, w zero point, bias: y = sum * (x scale * w scale) + bias, with the scale and zero point
                            that DynamicQuantizeLinear gives of x: of all of it, in a stream of what a step sees of each signal

Around x lies its zero point, which is 0. Sums are exact: see `exact_sums`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..graph.weights import mark
from ..program.arguments import Activation
from ..program.builder import Builder
from ..program.views import View
from . import work
from .channels_last import channels_last
from .conv import convolve, sums
from .conv import sizes as conv_sizes
from .elementwise import apply
from .exact_sums import BLOCK, centred
from .int_product import EXACT
from .qlinear import column_scale, dynamic_left, eight_bits, requantise, view_scale
from .quant import integers, one_number, range_of, round_to
from .registry import Op, attr, find, get, need, register, unsupported
from .window import Slide, windows

__all__: list[str] = []


# ---- ConvInteger -------------------------------------------------------------------------------------------


def infer_conv(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    w: Fact = need(node, ins, 1)
    for fact in (x, w):
        if fact.dtype.name not in ("int8", "uint8"):
            raise unsupported(node, f"element type {fact.dtype}")
    s = conv_sizes(node, [x, w])
    filters = w.shape[0]
    if get(ins, 2) is not None and prod(get(ins, 2).shape) != 1:
        raise unsupported(node, "a zero point of X for each channel")
    if get(ins, 3) is not None and prod(get(ins, 3).shape) not in (1, filters):
        raise ShapeError(f"{node}: a zero point {list(get(ins, 3).shape)} does not fit W {list(w.shape)}")
    return [Fact((x.shape[0], filters, *s.out), np.dtype(np.int32))]


def filter_column(zero: Any, rank: int) -> Any:
    """A zero point or scale of W, for each filter or for all."""
    return zero.reshape(()) if zero.size == 1 else zero.reshape(-1, *([1] * (rank - 1)))


def conv_sums(node: Node, x: Any, w: Any, x_zero: Any, w_zero: Any) -> Any:
    """Exact sums in NumPy, as float64."""
    s = conv_sizes(node, [Fact.of(x), Fact.of(w)])
    weights = integers(w, None if w_zero is None else filter_column(w_zero, w.ndim))
    return sums(integers(x, one_number(x_zero)), weights, s, int(attr(node, "group", 1)))


def evaluate_conv(node: Node, ins: list[Array | None]) -> list[Array]:
    y = conv_sums(node, need(node, ins, 0), need(node, ins, 1), get(ins, 2), get(ins, 3))
    return [np.asarray(y).astype(np.int64).astype(np.int32)]


def conv_exact(
    node: Node,
    b: Builder,
    x: View,
    w: Array,
    w_zero: Array | None,
    s: Slide,
    shape: tuple[int, ...],
    bias: Array | None = None,
) -> tuple[View, bool]:
    """Exact sums of x less its zero point, and whether the bias is in them: whole numbers in float32 where no sum can pass
    2^24, else int32, so many channels at a time."""
    plain = np.asarray(
        w.astype(np.float32) - (0 if w_zero is None else filter_column(w_zero, w.ndim).astype(np.float32))
    )
    key, keep = ("conv integers", mark(w), mark(w_zero)), (w, w_zero)
    groups, channels, per = int(attr(node, "group", 1)), w.shape[1], BLOCK // max(prod(w.shape[2:]), 1)
    most = 255 * int(np.abs(plain).reshape(len(plain), -1).sum(1, dtype=np.float64).max(initial=0))
    added = bias is not None and most + int(np.abs(bias.astype(np.int64)).max(initial=0)) < EXACT
    if channels <= per or most < EXACT:
        out = b.alloc(shape)
        convolve(b, x, plain, bias if added else None, out, s, groups, Activation(), key=key, keep=keep)
        return out, added
    m = shape[1] // groups
    total: View | None = None
    for start in range(0, channels, per):
        n, out, held = min(per, channels - start), b.alloc(shape), total
        for g in range(groups):
            part, seen = plain[g * m : (g + 1) * m, start : start + n], x.part(1, g * channels + start, n)
            to = out.part(1, g * m, m)
            convolve(b, seen, part, None, to, s, 1, Activation(), key=(*key, g, start), keep=keep)
        total = b.alloc(shape, np.int32)
        apply(b, 0 if held is None else ("ADD", 0, 1), [out] if held is None else [out, held], total, ints=True)
    assert total is not None
    return total, False


def exact_in_blocks(b: Builder, w: str, zero: str) -> bool:
    """Known weights of which a channel at least fits one exact block."""
    const = b.const_of(w)
    return const is not None and (not zero or b.const_of(zero) is not None) and prod(const.shape[2:]) <= BLOCK


def lower_conv(node: Node, b: Builder) -> None:
    zero = b.optional(node, 3)
    if not exact_in_blocks(b, node.inputs[1], zero):
        b.host(node, find(node).evaluate)
        return
    y = b.new(node.outputs[0])
    s = conv_sizes(node, [b.fact(name) for name in node.inputs[:2]])
    w = b.const_of(node.inputs[1])
    assert w is not None
    x_zero = b.optional(node, 2)
    x = centred(b, b.view(node.inputs[0]), b.reshape(b.view(x_zero), ()) if x_zero else None)
    total, _ = conv_exact(node, b, x, w, b.const_of(zero), s, y.shape)
    apply(b, 0, [total], y, ints=total.dtype != np.float32)


def flow_conv(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 0, 0, 0), *_seen(node, need(node, ins, 0), need(node, ins, 1), get(ins, 2))]


def _seen(node: Node, x: Fact, w: Fact, zero: Fact | None) -> list[Link]:
    """The windows, but those with padding of a zero point that is computed: what it was, a stream would have to remember."""
    s = conv_sizes(node, [x, w])
    if zero is None:
        return windows(node, s, 0.0)
    if zero.const is None:
        return []
    return windows(node, s, float(zero.const.reshape(-1)[0]))


register(
    Op(
        "ConvInteger",
        infer_conv,
        evaluate_conv,
        flow_conv,
        lower_conv,
        note="kernels of more than 256 positions, and weights that are fed: on the host",
    )
)


# ---- QLinearConv -------------------------------------------------------------------------------------------


def _conv_facts(ins: list[Any]) -> list[Any]:
    """As the inputs of ConvInteger."""
    return [ins[0], ins[3], ins[2], ins[5]]


def infer_qconv(node: Node, ins: list[Fact | None]) -> list[Fact]:
    for index in range(8):
        need(node, ins, index)
    y = infer_conv(node, _conv_facts(ins))[0]
    bias = get(ins, 8)
    if bias is not None and bias.shape != (y.shape[1],):
        raise ShapeError(f"{node}: bias takes [{y.shape[1]}], got {list(bias.shape)}")
    return [Fact(y.shape, eight_bits(node, need(node, ins, 7)).dtype)]


def evaluate_qconv(node: Node, ins: list[Array | None]) -> list[Array]:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (need(node, ins, i) for i in range(8))
    total = conv_sums(node, x, w, x_zero, w_zero)
    bias = get(ins, 8)
    if bias is not None:
        total = total + bias.reshape(-1, *([1] * (x.ndim - 2)))
    factor = column_scale(x_scale) * filter_column(w_scale, x.ndim - 1) / column_scale(y_scale)
    return [round_to(total.astype(np.float32) * factor, column_scale(y_zero), y_zero.dtype)]


def flow_qconv(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 0, 0, 0), *_seen(node, need(node, ins, 0), need(node, ins, 3), get(ins, 2))]


def lower_qconv(node: Node, b: Builder) -> None:
    w = b.const_of(node.inputs[3])
    if w is None or not exact_in_blocks(b, node.inputs[3], node.inputs[5]):
        b.host(node, find(node).evaluate)
        return
    y, spatial = b.new(node.outputs[0]), len(b.fact(node.inputs[0]).shape) - 2
    s = conv_sizes(node, [b.fact(node.inputs[0]), b.fact(node.inputs[3])])
    zero = b.const_of(node.inputs[5])
    bias = b.optional(node, 8)
    x = centred(b, b.view(node.inputs[0]), b.reshape(b.view(node.inputs[2]), ()))
    total, biased = conv_exact(node, b, x, w, zero, s, y.shape, b.const_of(bias))
    column = (y.shape[1], *([1] * spatial))
    if bias and not biased:
        added = b.alloc(y.shape, np.int32)
        apply(b, ("ADD", 0, 1), [total, b.reshape(b.view(node.inputs[8]), column)], added, ints=True)
        total = added
    scales = [view_scale(b, node.inputs[i]) for i in (1, 4, 6)]
    scales[1] = b.reshape(scales[1], column) if scales[1].shape else scales[1]
    requantise(b, total, scales, view_scale(b, node.inputs[7]), y)


_NOTE = "kernels of more than 256 positions, and weights that are fed: on the host"
_CONV = Op("QLinearConv", infer_qconv, evaluate_qconv, flow_qconv, lower_qconv, work=work.windows(3),
           opsets=(10, None), dtypes="int8, uint8",
           note=_NOTE)  # fmt: skip
register(_CONV, channels_last("QLinearConv", _CONV, (8, 9), note=_NOTE))


# ---- DynamicQuantizeConv -----------------------------------------------------------------------------------


def infer_dynamic(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    w = eight_bits(node, need(node, ins, 1))
    if x.dtype != np.float32:
        raise unsupported(node, f"element type {x.dtype}")
    s = conv_sizes(node, [x, w])
    return [Fact((x.shape[0], w.shape[0], *s.out), x.dtype)]


def evaluate_dynamic(node: Node, ins: list[Array | None]) -> list[Array]:
    x, w = need(node, ins, 0), need(node, ins, 1)
    scale, zero = range_of(x)
    total = conv_sums(node, round_to(x / scale, zero, np.uint8), w, np.asarray(zero), get(ins, 3))
    y = total.astype(np.float32) * (scale * filter_column(need(node, ins, 2), w.ndim))
    bias: Any = get(ins, 4)
    return [np.asarray(y if bias is None else y + filter_column(bias, w.ndim), np.float32)]


def flow_dynamic(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 0, 0, 0), *_seen(node, need(node, ins, 0), need(node, ins, 1), None)]


def lower_dynamic(node: Node, b: Builder) -> None:
    if not exact_in_blocks(b, node.inputs[1], b.optional(node, 3)):
        b.host(node, find(node).evaluate)
        return
    y, w = b.new(node.outputs[0]), b.const_of(node.inputs[1])
    assert w is not None
    s = conv_sizes(node, [b.fact(name) for name in node.inputs[:2]])
    x, scale = dynamic_left(node, b, b.view(node.inputs[0]), 0)
    total, _ = conv_exact(node, b, x, w, b.const_of(b.optional(node, 3)), s, y.shape)
    column = (y.shape[1], *([1] * len(s.size)))

    def each(name: str) -> View:
        view = view_scale(b, name)
        return b.reshape(view, column) if view.size > 1 else view

    bias = b.optional(node, 4)
    requantise(b, total, [scale, each(node.inputs[2])], each(bias) if bias else None, y)


register(
    Op(
        "DynamicQuantizeConv",
        infer_dynamic,
        evaluate_dynamic,
        flow_dynamic,
        lower_dynamic,
        domain="lstm_infer",
        inputs=(3, 5),
        stepwise=True,
        work=work.windows(),
    )
)
