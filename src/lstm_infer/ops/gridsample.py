"""GridSample-22 (16, 20): X [N, C, in...] at the positions that grid [N, out..., axes] names, each -1 .. 1.

Modes nearest, linear and cubic over one to three axes; outside lies 0, the border or a reflection. Runs on the host.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from . import work
from .registry import Op, attr, need, register, unsupported

_MODES = ("nearest", "linear", "cubic")
_PADDING = ("zeros", "border", "reflection")
_A = -0.75
"""Slope of the cubic kernel at 1."""


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, grid = need(node, ins, 0), need(node, ins, 1)
    n = len(x.shape) - 2
    for name, ways in (("mode", _MODES), ("padding_mode", _PADDING)):
        value = str(attr(node, name, ways[1] if name == "mode" else ways[0]))
        if value not in ways:
            raise OnnxImportError(f"{node}: {name} {value!r} is none of {', '.join(ways)}; the file is broken")
    if x.dtype.kind != "f" or grid.dtype.kind != "f":
        raise unsupported(node, f"element types {x.dtype} and {grid.dtype}")
    if not 1 <= n <= 3 or grid.shape != (x.shape[0], *grid.shape[1:-1], n) or len(grid.shape) != n + 2:
        raise ShapeError(f"{node}: a grid of {list(grid.shape)} does not fit a value of {list(x.shape)}")
    if 0 in x.shape[2:] and 0 not in grid.shape:
        raise ShapeError(f"{node}: nothing to sample in {list(x.shape)}")
    return [Fact((*x.shape[:2], *grid.shape[1:-1]), x.dtype)]


def _reflected(p: Any, low: float, high: float) -> Any:
    """Folded back at both borders until it lies between them."""
    span = high - low
    if span <= 0:
        return np.full_like(p, low)
    turn, rest = np.divmod(np.abs(p - low), span)
    return np.where(turn % 2 == 0, low + rest, high - rest)


def _taps(p: Any, mode: str) -> tuple[Any, list[Any]]:
    """The first position that counts, and the weight of it and of those behind."""
    if mode == "nearest":
        return np.rint(p), [np.ones_like(p)]
    first = np.floor(p)
    r = p - first
    if mode == "linear":
        return first, [1 - r, r]

    def near(x: Any) -> Any:
        return ((_A + 2) * x - (_A + 3)) * x * x + 1

    def far(x: Any) -> Any:
        return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A

    return first - 1, [far(r + 1), near(r), near(1 - r), far(2 - r)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x, grid = need(node, ins, 0), np.asarray(need(node, ins, 1), np.float64)
    mode, padding = str(attr(node, "mode", "linear")), str(attr(node, "padding_mode", "zeros"))
    corners = bool(attr(node, "align_corners", 0))
    rank = x.ndim - 2
    picked: list[list[tuple[Any, Any]]] = []
    for a in range(rank):
        n, g = x.shape[2 + a], grid[..., rank - 1 - a]
        low, high = (0.0, n - 1.0) if corners else (-0.5, n - 0.5)
        p = np.nan_to_num((g + 1) / 2 * (n - 1) if corners else ((g + 1) * n - 1) / 2, nan=-2.0)
        if padding == "reflection":
            p = np.where((p < low) | (p > high), _reflected(p, low, high), p)
        first, weights = _taps(p, mode)
        picked.append([_place(first + k, weight, n, padding, low, high) for k, weight in enumerate(weights)])
    y: Any = 0
    batch = np.arange(x.shape[0]).reshape(-1, *([1] * rank))
    moved = np.moveaxis(x, 1, -1)
    for combination in product(*picked):
        weight = np.ones(grid.shape[:-1])
        for _, w in combination:
            weight = weight * w
        y = y + moved[(batch, *(index for index, _ in combination))] * weight[..., None]
    return [np.ascontiguousarray(np.moveaxis(y, -1, 1)).astype(x.dtype)]


def _place(at: Any, weight: Any, n: int, padding: str, low: float, high: float) -> tuple[Any, Any]:
    """A position inside the axis, and its weight: none outside of it where that is 0."""
    if padding == "zeros":
        weight = np.where((at >= 0) & (at < n), weight, 0)
    elif padding == "reflection":
        at = np.where((at < low) | (at > high), np.trunc(_reflected(at, low, high)), at)
    return np.clip(at, 0, n - 1).astype(np.int64), weight


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """The positions of the grid pass, and so do batch and channels."""
    rank = len(outs[0].shape) - 2
    return [Link(0, 0, 0, 0), Link(0, 1, 0, 1), Link(1, 0, 0, 0), *(Link(1, 1 + a, 0, 2 + a) for a in range(rank))]


register(Op("GridSample", infer, evaluate, flow, work=work.per_element(100), opsets=(16, None), runs="host"))
