"""Shape-25 and Size-25: always known when a plan is made, whatever the data."""

from __future__ import annotations

from math import prod

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from .registry import Op, attr, need, register


def _shape(node: Node, shape: tuple[int, ...]) -> Array:
    rank = len(shape)
    start, end = int(attr(node, "start", 0)), int(attr(node, "end", rank))
    start, end = (min(max(n + rank if n < 0 else n, 0), rank) for n in (start, end))
    return np.array(shape[start:end], np.int64)


def infer_shape(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact.of(_shape(node, need(node, ins, 0).shape))]


def evaluate_shape(node: Node, ins: list[Array | None]) -> list[Array]:
    return [_shape(node, need(node, ins, 0).shape)]


def infer_size(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact.of(np.array(prod(need(node, ins, 0).shape), np.int64))]


def evaluate_size(node: Node, ins: list[Array | None]) -> list[Array]:
    return [np.array(prod(need(node, ins, 0).shape), np.int64)]


register(
    Op("Shape", infer_shape, evaluate_shape, dtypes="any", runs="known"),
    Op("Size", infer_size, evaluate_size, dtypes="any", runs="known"),
)
