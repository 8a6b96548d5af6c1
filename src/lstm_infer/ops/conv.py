"""Conv-22 (1, 11): sliding weighted sums.

    Y[n][m][o] = bias[m] + sum over channels c and kernel positions k of W[m][c][k] X[n][c][i]
    i = o * stride + k * dilation - pad; X is 0 outside

    X [N, C, 1 to 3 spatial axes]   W [M, C / group, kernel]   bias [M]

X may be any strided view; constant weights are packed once for each group, and a basis of waves over one channel is folded
(folded.py). Weights that are computed become a matrix product over gathered patches. Also FusedConv of com.microsoft:
Y = activation(Conv(X, W, bias) + Z).
Refused: more than 3 spatial axes, negative pads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from .. import _core
from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..graph.weights import mark
from ..program.arguments import Activation, Conv, MatMul, filled
from ..program.builder import Builder
from ..program.packing import aligned, layout, panels
from ..program.precision import SLOT
from ..program.store import Panels
from ..program.unpacking import Piece
from ..program.views import View
from . import activation, work
from .elementwise import apply
from .folded import fold, folded_product
from .matmul import Matrix, dynamic, emit, row_bias
from .registry import Op, attr, need, register, unsupported
from .window import Slide, met, padded, patches, patches_of, slide, windows

__all__ = ["convolve", "sizes"]


def sizes(node: Node, ins: list[Fact | None]) -> Slide:
    """The window; shapes are checked against each other."""
    x, w = need(node, ins, 0).shape, need(node, ins, 1).shape
    groups = int(attr(node, "group", 1))
    if len(w) != len(x) or len(x) < 3:
        raise ShapeError(f"{node}: X {list(x)} and W {list(w)} should both have [.., .., spatial axes]")
    if groups < 1 or x[1] != w[1] * groups or w[0] % groups:
        raise ShapeError(f"{node}: X {list(x)}, W {list(w)} and {groups} groups do not fit each other")
    kernel = attr(node, "kernel_shape", None)
    if kernel is not None and tuple(kernel) != w[2:]:
        raise OnnxImportError(f"{node}: kernel_shape {list(kernel)} is not that of W {list(w)}; the file is broken")
    bias = ins[2] if len(ins) > 2 else None
    if bias is not None and bias.shape != (w[0],):
        raise ShapeError(f"{node}: bias takes [{w[0]}], got {list(bias.shape)}")
    return slide(node, x, w[2:])


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    s = sizes(node, ins)
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    activation.of(node)
    y = (x.shape[0], need(node, ins, 1).shape[0], *s.out)
    if len(ins) > 3 and ins[3] is not None and ins[3].shape != y:
        raise ShapeError(f"{node}: Z takes {list(y)}, got {list(ins[3].shape)}")
    return [Fact(y, x.dtype)]


def sums(x: Any, w: Any, s: Slide, groups: int) -> Any:
    """The convolution of arrays in NumPy, in their own dtype."""
    n, spatial = x.shape[0], len(s.size)
    p = patches_of(x, s, 0).reshape(n, groups, -1, *s.out, *s.kernel)
    p = np.moveaxis(p, range(3, 3 + spatial), range(2, 2 + spatial))  # [N, G, out..., C / G, kernel...]
    p = p.reshape(n, groups, prod(s.out), -1)
    y = p @ w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)  # [N, G, positions, M / G]
    return y.transpose(0, 1, 3, 2).reshape(n, w.shape[0], *s.out)


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    s = sizes(node, [None if a is None else Fact.of(a) for a in ins])
    given: Any = need(node, ins, 0)
    x, w = (a.astype(np.float32) if a.dtype == np.float16 else a for a in (given, need(node, ins, 1)))
    y = sums(x, w, s, int(attr(node, "group", 1)))
    bias: Any = ins[2] if len(ins) > 2 else None
    if bias is not None:
        y = y + bias.reshape(-1, *([1] * len(s.size)))
    if len(ins) > 3 and ins[3] is not None:
        y = y + ins[3]
    return [np.asarray(activation.meaning(node, y)).astype(given.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    links = [Link(0, 0, 0, 0), *windows(node, sizes(node, ins), 0.0)]
    if len(ins) > 3 and ins[3] is not None:
        links += [Link(3, axis, 0, axis) for axis in range(len(outs[0].shape))]
    return links


def lower(node: Node, b: Builder) -> None:
    ins = [b.fact(name) if name else None for name in node.inputs]
    s, groups, act = sizes(node, ins), int(attr(node, "group", 1)), activation.of(node)
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    behind = b.optional(node, 3)
    w, bias_name = b.const_of(node.inputs[1]), b.optional(node, 2)
    bias, first = b.const_of(bias_name), Activation() if behind else act
    fixed = w is not None and x.shape[1] > 0 and (not bias_name or bias is not None)
    if w is not None and not bias_name and not behind and act == Activation() and _waves(b, x, w, y, s):
        return
    if fixed and w is not None:
        kind = b.kind(node, prod(w.shape[1:]), w, groups=groups)
        convolve(b, x, w, bias, y, s, groups, first, pad_planes=True, kind=kind, node=node)
    else:
        _computed(b, x, b.f32(b.view(node.inputs[1])), y, s, groups)
    extra = []
    if bias_name and not fixed:
        extra.append(b.reshape(b.f32(b.view(bias_name)), (y.shape[1], *([1] * len(s.size)))))
    made: Any = ("ADD", 0, 1) if extra else 0
    if behind:
        extra.append(b.f32(b.view(behind)))
        made = ("ADD", made, len(extra))
    if not fixed or behind:
        made = activation.formula(act, made)
        if made != 0:
            apply(b, made, [y, *extra], y)


def _waves(b: Builder, x: View, w: Array, y: View, s: Slide) -> bool:
    """A basis of waves over one channel (a short-time Fourier transform written as a Conv), folded; False where it is none."""
    if w.ndim != 3 or x.shape[1] != 1:
        return False
    table = w[:, 0]
    found = fold(table)
    if found is not None:
        windows = patches(padded(b, x, s, 0.0), s)  # [n, 1, positions, kernel]
        folded_product(b, windows.drop(1), table, found, y, w)
    return found is not None


def _from_first(x: View, s: Slide) -> tuple[View, Slide]:
    """The same windows over x without what lies before the first of them, so that no `begin` is below 0."""
    for a, begin in enumerate(s.begin):
        first = min(max(-begin, 0), s.size[a])
        x = x.part(2 + a, first, s.size[a] - first)
    return x, replace(s, size=x.shape[2:], begin=tuple(max(begin, 0) for begin in s.begin))


def convolve(
    b: Builder,
    x: View,
    w: Array,
    bias: Array | None,
    y: View,
    s: Slide,
    groups: int,
    act: Activation,
    *,
    key: Any = None,
    keep: Any = None,
    pad_planes: bool = False,
    kind: str = "f32",
    node: Node | None = None,
) -> None:
    """y = act(Conv(x, w, bias)) with constant weights. key: of the packed copy, where w was made just now.

    Terms that see nothing but padding at every position are left out, but for weights of 8 bits: their scale is that of the
    whole filter, at every length. pad_planes: x with zeros around it is laid out once,
    where several lines of positions read the same rows; else each line has its rows copied. kind: how weights are held.
    node: whose weights they are.
    """
    key, keep = key or ("conv", mark(w)), w if keep is None else keep
    seen = tuple(slice(0, n) for n in s.kernel) if kind == "int8" else met(s)
    begin = tuple(p - at.start * d for p, at, d in zip(s.begin, seen, s.dilation, strict=True))
    kernel = tuple(at.stop - at.start for at in seen)
    x, s = _from_first(x, replace(s, kernel=kernel, begin=begin))
    if pad_planes and prod(s.kernel[:-1]) > 1 and prod(s.out[:-1]) > 1 and (any(s.begin) or any(s.end)):
        x = padded(b, x, s, 0.0)
        s = replace(s, size=x.shape[2:], begin=(0,) * len(s.size), end=(0,) * len(s.size))
    filters, spatial = w.shape[0], len(s.size)
    k, m = w.shape[1] * prod(kernel), filters // groups
    held = _packed(b, w, seen, groups, kind, key, keep, node)
    if kind == "int8":
        _quantised(b, x, held, m, bias, y, s, act)
        return
    panel_floats = -(-m // _core.UNITS) * _core.UNITS

    def pack_bias() -> Array:
        assert bias is not None
        out = _core.aligned_empty(groups * panel_floats * 4).view(np.float32)
        out.reshape(groups, panel_floats)[:, :m] = np.asarray(bias, np.float32).reshape(groups, m)
        return out

    start = None if bias is None else b.packed(("conv bias", id(bias), groups), pack_bias, bias)

    extent, out, stride, dilation = (filled(v, 3, 1) for v in (s.kernel, s.out, s.stride, s.dilation))
    scratch = b.scratch(_core.conv_scratch(x.shape[1], groups, extent, out, stride, dilation))
    args = Conv(
        x=x, w=held[0], bias=start, y=y, scratch=scratch,
        n=x.shape[0], channels=x.shape[1], filters=filters, groups=groups, spatial=spatial,
        in_=filled(s.size, 3, 1), out=out, kernel=extent, stride=stride, dilation=dilation, pad=filled(s.begin, 3),
        x_stride=filled(x.strides, 5), y_stride=filled(y.strides, 5), w_group=panel_floats * k, act=act,
    )  # fmt: skip
    b.emit(f"conv_{SLOT[kind]}", args)


def _packed(
    b: Builder, w: Array, seen: Sequence[slice], groups: int, kind: str, key: Any, keep: Any, node: Node | None
) -> list[View]:
    """What is seen of the weights as panels, those of all groups one behind the other; int8: each group by itself."""
    m, kernel = w.shape[0] // groups, tuple(at.stop - at.start for at in seen)
    k, n = w.shape[1] * prod(kernel), -(-m // _core.UNITS)
    panel, _ = layout(kind, [(1, k)])
    key = (key, groups, *((at.start, at.stop) for at in seen))

    def pack(some: Sequence[int]) -> Array:
        rows = [w[(slice(g * m, (g + 1) * m), slice(None), *seen)].reshape(1, m, k) for g in some]
        return aligned(np.concatenate([panels(kind, [one]) for one in rows]))

    each = [[g] for g in range(groups)] if kind == "int8" else [range(groups)]
    held = [
        b.packed(Panels(kind, len(some) * n * panel, (*key, *some[:1])), partial(pack, some), keep) for some in each
    ]
    if node is not None and kernel == w.shape[2:] and (kind != "int8" or prod(kernel) == 1):
        # the weights of a wider kernel in 8 bits are kept beside it
        at = [(view, i * n) for view, some in zip(held, each, strict=True) for i in range(len(some))]
        b.store.stands(node, w, kind, [Piece(view, 1, m, k, panel, 0, first) for view, first in at])
    return held


def _quantised(
    b: Builder, x: View, held: Sequence[View], m: int, bias: Array | None, y: View, s: Slide, act: Activation
) -> None:
    """Weights of 8 bits: the patch that each position reads is quantised by itself, and multiplied with them."""
    groups, n, spatial = len(held), x.shape[0], len(s.size)
    k = x.shape[1] // groups * prod(s.kernel)
    seen = patches(padded(b, x, s, 0.0), s)  # [n, c, positions..., kernel...]
    order = [0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial)]
    positions = prod(s.out)
    rows = b.reshape(seen.transpose(order), (n, positions, groups, k))
    for g, packed in enumerate(held):
        start = None
        if bias is not None:
            row = np.asarray(bias, np.float32)[g * m : (g + 1) * m]
            start = row_bias(b, ("conv bias", id(bias), groups, g), row, m, bias)
        for i in range(n):
            taken, out = rows.part(0, i, 1).part(2, g, 1), y.part(0, i, 1).part(1, g * m, m)
            args = MatMul(
                x=taken, w=packed, bias=start, y=out, n=positions, k=k, m=m, x_row=taken.strides[1], x_k=taken.strides[3],
                y_row=1, y_col=positions, act=act,
            )  # fmt: skip
            emit(b, args, Matrix(packed, "int8"))


def _computed(b: Builder, x: View, w: View, y: View, s: Slide, groups: int) -> None:
    """Weights made at run time: gathered patches times the weights, group by group."""
    n, c, spatial = x.shape[0], x.shape[1], len(s.size)
    p = patches(padded(b, x, s, 0.0), s)
    order = [0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial)]
    k, m = c // groups * prod(s.kernel), y.shape[1] // groups
    gathered = b.reshape(p.transpose(order), (n, groups, k, prod(s.out)))
    left = b.reshape(w, (1, groups, m, k))
    dynamic(b, left, gathered, b.reshape(y, (n, groups, m, prod(s.out))))


register(
    Op("Conv", infer, evaluate, flow, lower, work=work.windows(1), weights=(1,), note="up to 3 spatial axes"),
    Op(
        "FusedConv",
        infer,
        evaluate,
        flow,
        lower,
        weights=(1,),
        work=work.windows(1),
        domain="com.microsoft",
        inputs=(2, 4),
        note="up to 3 spatial axes",
    ),
)
