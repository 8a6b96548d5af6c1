"""ConvTranspose-22 (1, 11): every input position spreads over a window of the output.

    Y[n][m][i * stride + k * dilation - pad] += sum over channels c of X[n][c][i] W[c][m][k]        then + bias[m]

    X [N, C, 1 to 3 spatial axes]   W [C, M / group, kernel]   bias [M]

With constant weights this is a convolution with the kernel turned round; with a stride, one for each phase of the output
(positions that lie a stride apart), each with the kernel positions that reach it. With computed weights one matrix product
makes what each position spreads; it is then added up block by block, where a block is as many neighbouring kernel
positions as the stride is wide: they touch different outputs.
Refused: more than 3 spatial axes, negative pads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as combinations
from math import gcd, prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link, Window
from ..graph.weights import mark
from ..program.arguments import Activation
from ..program.builder import Builder
from ..program.views import View
from .conv import convolve
from .elementwise import apply
from .matmul import dynamic
from .registry import Op, attr, need, register, unsupported
from .window import Slide, ints


def sizes(node: Node, ins: list[Fact | None]) -> Slide:
    """Extents; `begin` and `end` are cut off the full output."""
    x, w = need(node, ins, 0).shape, need(node, ins, 1).shape
    groups, n = int(attr(node, "group", 1)), len(x) - 2
    if len(w) != len(x) or len(x) < 3:
        raise ShapeError(f"{node}: X {list(x)} and W {list(w)} should both have [.., .., spatial axes]")
    if n > 3:
        raise unsupported(node, f"{n} spatial axes (3 are)")
    if groups < 1 or x[1] != w[0] or w[0] % groups:
        raise ShapeError(f"{node}: X {list(x)}, W {list(w)} and {groups} groups do not fit each other")
    kernel = attr(node, "kernel_shape", None)
    if kernel is not None and tuple(kernel) != w[2:]:
        raise OnnxImportError(f"{node}: kernel_shape {list(kernel)} is not that of W {list(w)}; the file is broken")
    bias = ins[2] if len(ins) > 2 else None
    if bias is not None and bias.shape != (w[1] * groups,):
        raise ShapeError(f"{node}: bias takes [{w[1] * groups}], got {list(bias.shape)}")
    stride, dilation = ints(node, "strides", n, 1), ints(node, "dilations", n, 1)
    if min(*stride, *dilation, *w[2:]) < 1:
        raise OnnxImportError(f"{node}: kernel, strides or dilations below 1; the file is broken")
    more, pads = ints(node, "output_padding", n, 0), ints(node, "pads", 2 * n, 0)
    begin, end = list(pads[:n]), list(pads[n:])
    auto = str(attr(node, "auto_pad", "NOTSET"))
    if auto not in ("NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise OnnxImportError(f"{node}: auto_pad {auto!r} is unknown; the file is broken")
    full = [(x[2 + a] - 1) * stride[a] + (w[2 + a] - 1) * dilation[a] + 1 + more[a] for a in range(n)]
    given = attr(node, "output_shape", None)
    out: list[int] = []
    for a in range(n):
        if given or auto.startswith("SAME"):
            out.append(int(given[a - n]) if given else x[2 + a] * stride[a])
            total = max(full[a] - out[a], 0)
            begin[a] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end[a] = total - begin[a]
            continue
        if auto == "VALID":
            begin[a] = end[a] = 0
        if begin[a] < 0 or end[a] < 0:
            raise unsupported(node, f"negative pads {list(pads)}")
        out.append(full[a] - begin[a] - end[a])
    if min(out) < 1:
        raise ShapeError(f"{node}: the output would have the extents {out}")
    return Slide(x[2:], w[2:], stride, dilation, tuple(begin), tuple(end), tuple(out))


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    s = sizes(node, ins)
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    return [Fact((x.shape[0], need(node, ins, 1).shape[1] * int(attr(node, "group", 1)), *s.out), x.dtype)]


def _room(s: Slide) -> list[int]:
    """Extents of the uncut output, whole blocks of one stride, at least what is kept of it."""
    blocks = [s.size[a] - 1 + -(-((s.kernel[a] - 1) * s.dilation[a] + 1) // s.stride[a]) for a in range(len(s.size))]
    return [max(blocks[a] * s.stride[a], s.begin[a] + s.out[a]) for a in range(len(s.size))]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    s, groups = sizes(node, [None if a is None else Fact.of(a) for a in ins]), int(attr(node, "group", 1))
    given: Any = need(node, ins, 0)
    x, w = (a.astype(np.float32) if a.dtype == np.float16 else a for a in (given, need(node, ins, 1)))
    n, c, spatial = x.shape[0], x.shape[1], len(s.size)
    m = w.shape[1]
    spread = x.reshape(n, groups, c // groups, -1).swapaxes(2, 3) @ w.reshape(groups, c // groups, -1)
    spread = spread.reshape(n, groups, *s.size, m, *s.kernel)
    full: Any = np.zeros((n, groups, m, *_room(s)), x.dtype)
    for k in combinations(*(range(extent) for extent in s.kernel)):
        where: Any = tuple(
            slice(k[a] * s.dilation[a], k[a] * s.dilation[a] + (s.size[a] - 1) * s.stride[a] + 1, s.stride[a])
            for a in range(spatial)
        )
        full[(..., *where)] += np.moveaxis(spread[(..., *k)], -1, 2)
    kept: Any = tuple(slice(s.begin[a], s.begin[a] + s.out[a]) for a in range(spatial))
    y = full.reshape(n, groups * m, *full.shape[3:])[(..., *kept)]
    bias: Any = ins[2] if len(ins) > 2 else None
    if bias is not None:
        y = y + bias.reshape(-1, *([1] * spatial))
    return [np.ascontiguousarray(y, given.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """An axis of which every position spreads over itself alone passes; without a stride an output needs a window."""
    s = sizes(node, ins)
    links = [Link(0, 0, 0, 0)]
    for a in range(len(s.size)):
        apart = s.begin[a] == 0 and (s.kernel[a] - 1) * s.dilation[a] < s.stride[a]
        if apart and s.out[a] == s.size[a] * s.stride[a]:
            spread = s.stride[a] > 1
            links.append(Link(0, 2 + a, 0, 2 + a, *(("spread", s.stride[a]) if spread else ())))
        elif s.stride[a] == 1 and _pads_given(node):
            far = (s.kernel[a] - 1) * s.dilation[a]  # the convolution with the kernel turned round
            begin, end = far - s.begin[a], s.out[a] - s.size[a] + s.begin[a]
            if min(begin, end) >= 0:
                window = Window(s.kernel[a], 1, s.dilation[a], begin, end)
                links.append(Link(0, 2 + a, 0, 2 + a, "window", window))
    return links


def _pads_given(node: Node) -> bool:
    """Are the pads those of the attribute, whatever the extents."""
    return not attr(node, "output_shape", None) and not str(attr(node, "auto_pad", "NOTSET")).startswith("SAME")


MOST_PHASES = 1024
"""A plan has a convolution for each; strides that make more spread what a product gives."""


@frozen
class _Phase:
    """Outputs first, first + stride, ... of one axis: a convolution with `taps` of the kernel, last first."""

    first: int
    count: int
    taps: tuple[int, ...]
    dilation: int
    begin: int


def _phases(s: Slide, a: int) -> list[_Phase]:
    """Output o takes input i by tap k where o + begin = i * stride + k * dilation."""
    stride, found = s.stride[a], []
    every = stride // gcd(stride, s.dilation[a])
    taps_of: list[list[int]] = [[] for _ in range(stride)]
    for k in range(s.kernel[a]):
        taps_of[(k * s.dilation[a] - s.begin[a]) % stride].append(k)
    for first in range(min(stride, s.out[a])):
        near, taps = first + s.begin[a], tuple(taps_of[first])
        count, dilation = -(-(s.out[a] - first) // stride), every * s.dilation[a] // stride
        begin = (taps[-1] * s.dilation[a] - near) // stride if taps else 0
        found.append(_Phase(first, count, taps[::-1], dilation, begin))
    return found


def lower(node: Node, b: Builder) -> None:
    ins = [b.fact(name) if name else None for name in node.inputs]
    s, groups = sizes(node, ins), int(attr(node, "group", 1))
    x, w, bias = b.f32(b.view(node.inputs[0])), b.const_of(node.inputs[1]), b.optional(node, 2)
    start = b.const_of(bias)
    if w is None or (bias and start is None) or x.shape[1] == 0 or prod(s.stride) > MOST_PHASES:
        _lower_computed(node, b, x, s, groups)
        return
    y, axes = b.new(node.outputs[0]), range(len(s.size))
    for phase in combinations(*(_phases(s, a) for a in axes)):
        part = y
        for a in axes:
            part = part.part(2 + a, phase[a].first, phase[a].count, s.stride[a])
        if any(not p.taps for p in phase):
            column = (y.shape[1], *([1] * len(s.size)))
            b.copy(part, b.scalar(0.0) if start is None else b.reshape(b.f32(b.view(bias)), column))
            continue
        window = Slide(
            s.size,
            tuple(len(p.taps) for p in phase),
            (1,) * len(s.size),
            tuple(p.dilation for p in phase),
            tuple(p.begin for p in phase),
            (0,) * len(s.size),
            tuple(p.count for p in phase),
        )
        taps = tuple(p.taps for p in phase)
        key = ("convtranspose", mark(w), groups, taps)
        convolve(b, x, _turned(w, groups, taps), start, part, window, groups, Activation(), key=key, keep=w)


def _turned(w: Array, groups: int, taps: Sequence[Sequence[int]]) -> Array:
    """W [C, M / group, kernel] as a Conv takes it [M, C / group, taps]."""
    c, m = w.shape[:2]
    for a, chosen in enumerate(taps):
        w = np.take(w, chosen, 2 + a)
    return w.reshape(groups, c // groups, m, *w.shape[2:]).swapaxes(1, 2).reshape(groups * m, c // groups, *w.shape[2:])


def _lower_computed(node: Node, b: Builder, x: View, s: Slide, groups: int) -> None:
    n, c, m, spatial = x.shape[0], x.shape[1], b.fact(node.inputs[1]).shape[1], len(s.size)
    full = b.alloc((n, groups * m, *_room(s)))
    b.copy(full, b.scalar(0.0))
    for g in range(groups):
        spread = b.alloc((n, *s.size, m, *s.kernel))
        rows = x.part(1, g * (c // groups), c // groups).transpose((0, *range(2, 2 + spatial), 1))
        _spread(node, b, rows, spread, g, s)
        _gather(b, full.part(1, g * m, m), spread, s)
    y = full
    for a in range(spatial):
        y = y.part(2 + a, s.begin[a], s.out[a])
    if b.optional(node, 2):
        bias = b.reshape(b.f32(b.view(node.inputs[2])), (groups * m, *([1] * spatial)))
        apply(b, ("ADD", 0, 1), [y, bias], b.new(node.outputs[0]))
    else:
        b.bind(node.outputs[0], y)


def _spread(node: Node, b: Builder, rows: View, out: View, g: int, s: Slide) -> None:
    """out[n][i...][m][k...] = rows[n][i...][c] W[c][m][k...] of one group."""
    k = rows.shape[-1]
    columns = prod(out.shape[1 + len(s.size) :])
    w = b.dense(b.f32(b.view(node.inputs[1]))).part(0, g * k, k)
    flat, y = b.reshape(w, (k, columns)), b.reshape(out, (out.size // columns, columns))
    dynamic(b, b.reshape(rows, (out.size // columns, k)), flat, y)


def _gather(b: Builder, full: View, spread: View, s: Slide) -> None:
    """full[n][m][i * stride + k * dilation] += spread[n][i][m][k], a block of k at once."""
    spatial = len(s.size)
    axes = range(spatial)
    # dilated windows touch outputs apart from each other: a block is one position
    width = [s.stride[a] if s.dilation[a] == 1 else 1 for a in axes]
    order = [0, 1 + spatial, *range(1, 1 + spatial), *range(2 + spatial, 2 + 2 * spatial)]
    for block in combinations(*(range(0, s.kernel[a], width[a]) for a in axes)):
        part = spread
        to = View(
            full.buffer,
            (*full.shape[:2], *s.size, *(min(width[a], s.kernel[a] - block[a]) for a in axes)),
            (*full.strides[:2], *(full.strides[2 + a] * s.stride[a] for a in axes), *full.strides[2:]),
            full.dtype,
            full.offset + sum(full.strides[2 + a] * block[a] * s.dilation[a] for a in axes),
        )
        for a in axes:
            part = part.part(2 + spatial + a, block[a], to.shape[2 + spatial + a])
        apply(b, ("ADD", 0, 1), [to, part.transpose(order)], to)


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """A product for each position, some calls of NumPy for each place of the kernel, and the output before it is cut."""
    x: tuple[int, ...] = need(node, ins, 0).shape
    w: tuple[int, ...] = need(node, ins, 1).shape
    spread = x[0] * prod(x[2:]) * prod(w[1:]) * max(int(attr(node, "group", 1)), 1)
    uncut = prod(outs[0].shape[:2]) * prod(_room(sizes(node, ins)))
    return spread * (8 + x[1] // 8) + 8 * uncut + 5_000 * prod(w[2:])


register(
    Op(
        "ConvTranspose",
        infer,
        evaluate,
        flow,
        lower,
        work=_work,
        note="up to 3 spatial axes",
        why="spreads every step over its neighbours",
    )
)
