"""Col2Im-18: blocks put back where they were cut from an image; where they overlap they are added.

    X [N, C * block, positions] -> Y [N, C, image]      Y[n][c][i * stride + k * dilation - pad] += X[n][c k][i]

One addition for each place in a block; blocks of more than `_MOST` places run on the host.
Refused: image and block shapes that depend on the data.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from .elementwise import apply
from .registry import Op, find, known, need, register, unsupported
from .window import Slide, ints

_MOST = 256


def _slide(node: Node, ins: list[Fact | None]) -> Slide:
    """How blocks lie in the image: as the windows of a Conv."""
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    image, block = (tuple(int(n) for n in known(node, need(node, ins, i), "a shape").reshape(-1)) for i in (1, 2))
    n = len(image)
    if len(x.shape) != 3 or n < 1 or len(block) != n or min(*image, *block) < 1 or x.shape[1] % prod(block):
        raise ShapeError(f"{node}: blocks of {list(block)} from {list(x.shape)} do not make an image of {list(image)}")
    stride, dilation, pads = ints(node, "strides", n, 1), ints(node, "dilations", n, 1), ints(node, "pads", 2 * n, 0)
    if min(*stride, *dilation) < 1 or min(pads) < 0:
        raise OnnxImportError(f"{node}: strides or dilations below 1, or pads below 0; the file is broken")
    begin, end = pads[:n], pads[n:]
    room = [image[a] + begin[a] + end[a] - (block[a] - 1) * dilation[a] - 1 for a in range(n)]
    out = tuple(room[a] // stride[a] + 1 for a in range(n))
    if min(room) < 0 or prod(out) != x.shape[2]:
        raise ShapeError(
            f"{node}: {x.shape[2]} blocks of {list(block)}, an image of {list(image)} has {list(out)} places"
        )
    return Slide(image, block, stride, dilation, begin, end, out)


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    s = _slide(node, ins)
    return [Fact((x.shape[0], x.shape[1] // prod(s.kernel), *s.size), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    s = _slide(node, [None if a is None else Fact.of(a) for a in ins])
    n, lead = len(s.size), (given.shape[0], given.shape[1] // prod(s.kernel))
    x = given.reshape(*lead, *s.kernel, *s.out)
    y = np.zeros((*lead, *(s.begin[a] + s.size[a] + s.end[a] for a in range(n))), x.dtype)
    for at in product(*map(range, s.kernel)):
        first = [at[a] * s.dilation[a] for a in range(n)]
        where = (slice(first[a], first[a] + (s.out[a] - 1) * s.stride[a] + 1, s.stride[a]) for a in range(n))
        y[(slice(None), slice(None), *where)] += x[(slice(None), slice(None), *at)]
    inside = (slice(s.begin[a], s.begin[a] + s.size[a]) for a in range(n))
    return [np.ascontiguousarray(y[(slice(None), slice(None), *inside)])]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 0, 0, 0)]


def lower(node: Node, b: Builder) -> None:
    s = _slide(node, [b.fact(name) for name in node.inputs])
    n, shape = len(s.size), b.fact(node.outputs[0]).shape
    if prod(s.kernel) > _MOST or 2 + 2 * n > 8:
        b.host(node, find(node).evaluate)
        return
    x = b.reshape(b.f32(b.view(node.inputs[0])), (*shape[:2], *s.kernel, *s.out))
    y = b.alloc((*shape[:2], *(s.begin[a] + s.size[a] + s.end[a] for a in range(n))))
    b.copy(y, b.scalar(0.0))
    for at in product(*map(range, s.kernel)):
        part, place = x, y
        for a in range(n):
            part = part.part(2, at[a], 1).drop(2)
            place = place.part(2 + a, at[a] * s.dilation[a], s.out[a], s.stride[a])
        apply(b, ("ADD", 0, 1), [place, part], place)
    for a in range(n):
        y = y.part(2 + a, s.begin[a], s.size[a])
    b.bind(node.outputs[0], y)


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """Some calls of NumPy for each place in a block."""
    return 20 * sum(prod(fact.shape) for fact in (need(node, ins, 0), outs[0])) + 5_000 * prod(_slide(node, ins).kernel)


register(Op("Col2Im", infer, evaluate, flow, lower, work=_work, runs="map; large blocks on the host"))
