"""LRN-13: y = x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels) ^ beta, for X [N, C, ...]."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .elementwise import apply
from .pool import along
from .registry import Op, attr, need, register, unsupported
from .window import Slide


def _slide(node: Node, x: Fact) -> Slide:
    """The neighbours of a channel, of which one more lies behind it where `size` is even."""
    size = int(attr(node, "size"))
    if len(x.shape) < 2 or x.dtype.kind != "f":
        raise ShapeError(f"{node}: takes floats [N, C, ...], got {x.dtype}{list(x.shape)}")
    if size < 1:
        raise OnnxImportError(f"{node}: size is {size}, below 1; the file is broken")
    if size > 4096:
        raise unsupported(node, f"size {size} (4096 is the most)")
    before = (size - 1) // 2
    channels = (x.shape[1],)
    return Slide(channels, (size,), (1,), (1,), (before,), (size - 1 - before,), channels)


def _numbers(node: Node) -> tuple[float, float, float]:
    """(alpha / size, beta, bias)."""
    alpha, beta, bias = (float(attr(node, *pair)) for pair in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return alpha / int(attr(node, "size")), beta, bias


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    _slide(node, x)
    return [Fact(x.shape, x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    s, (scale, beta, bias) = _slide(node, Fact.of(given)), _numbers(node)
    x = given.astype(np.float32) if given.dtype == np.float16 else given
    squares = np.pad(x * x, [(0, 0), (s.begin[0], s.end[0]), *([(0, 0)] * (x.ndim - 2))])
    total = sum(squares[:, k : k + s.out[0]] for k in range(s.kernel[0]))
    return [np.asarray(x / (bias + scale * total) ** beta).astype(given.dtype)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, a, 0, a) for a in range(len(outs[0].shape)) if a != 1]


def lower(node: Node, b: Builder) -> None:
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    s, (scale, beta, bias) = _slide(node, b.fact(node.inputs[0])), _numbers(node)
    squares = b.alloc((x.shape[0], s.begin[0] + x.shape[1] + s.end[0], *x.shape[2:]))
    b.copy(squares, b.scalar(0.0))
    apply(b, ("MUL", 0, 0), [x], squares.part(1, s.begin[0], x.shape[1]))
    total = along(b, squares, 1, s, 0, "ADD")
    apply(b, ("DIV", 0, ("POW", ("FMA", 1, scale, bias), beta)), [x, total], y)


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    return (20 + 2 * int(attr(node, "size"))) * prod(outs[0].shape)


register(Op("LRN", infer, evaluate, flow, lower, work=_work))
