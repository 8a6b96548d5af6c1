"""Concat-13: values behind each other along an axis; a view where they lie so already, else each part is copied to its place."""

from __future__ import annotations

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import adjoined
from .common import normal_axis
from .registry import Op, attr, need, register


def _axis(node: Node, rank: int) -> int:
    return normal_axis(node, int(attr(node, "axis")), rank)


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    first: Fact = need(node, ins, 0)
    axis, total = _axis(node, len(first.shape)), 0
    for index in range(len(ins)):
        fact: Fact = need(node, ins, index)
        if fact.dtype != first.dtype:
            raise OnnxImportError(f"{node}: inputs of types {first.dtype} and {fact.dtype}; the file is broken")
        if len(fact.shape) != len(first.shape) or any(
            a != b for i, (a, b) in enumerate(zip(fact.shape, first.shape, strict=True)) if i != axis
        ):
            raise ShapeError(f"{node}: {list(first.shape)} and {list(fact.shape)} differ outside axis {axis}")
        total += fact.shape[axis]
    return [Fact((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    parts = [need(node, ins, index) for index in range(len(ins))]
    return [np.concatenate(parts, _axis(node, parts[0].ndim))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """With one part that is not empty the axis itself passes as well."""
    rank = len(outs[0].shape)
    axis = _axis(node, rank)
    full = [i for i, fact in enumerate(ins) if fact is not None and fact.shape[axis]]
    links = [Link(i, a, 0, a) for i in range(len(ins)) for a in range(rank) if a != axis]
    return [*links, Link(full[0], axis, 0, axis)] if len(full) == 1 else links


def lower(node: Node, b: Builder) -> None:
    axis = _axis(node, len(b.fact(node.outputs[0]).shape))
    parts = [b.view(name) for name in node.inputs if b.fact(name).shape[axis]]
    whole = adjoined(parts, axis)
    if whole is not None:
        b.bind(node.outputs[0], b.in_place.join(parts, whole))
        return
    out, start = b.new(node.outputs[0]), 0
    for part in parts:
        b.copy(out.part(axis, start, part.shape[axis]), part)
        start += part.shape[axis]


register(Op("Concat", infer, evaluate, flow, lower, dtypes="any", runs="copy", moves="join", why="joins along time"))
