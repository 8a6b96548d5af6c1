"""Blocks of elements at places that indices tell when the plan runs: the slots gather_nd and scatter_nd."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .. import _core
from ..errors import ShapeError
from ..frozen import frozen
from ..graph.ir import Node
from ..program.arguments import RANK, GatherND, Indexed, ScatterND, dtype_code, filled
from ..program.builder import Builder
from ..program.views import View, merge_axes

__all__ = ["Entries", "gather", "inside", "scatter"]


def inside(node: Node, index: Any, n: int) -> Any:
    """Indices as 0 .. n-1, those of an axis of n counted from its end too.

    Raises
    ------
    ShapeError
        One lies outside.
    """
    if index.size and (index.min() < -n or index.max() >= n):
        raise ShapeError(f"{node}: indices {index.min()} .. {index.max()} lie outside an axis of {n}")
    return np.where(index < 0, index + n, index)


@frozen
class Entries:
    """What is picked from, or put into, a value: one block for each entry of an array of indices."""

    size: tuple[int, ...]
    """Extents of the array of entries."""
    step: tuple[int, ...]
    """How far the block moves with each axis of that array, in elements."""
    axis: tuple[int, ...]
    """Extents of the axes that the indices of one entry lie in."""
    stride: tuple[int, ...]
    """Strides of those axes."""
    inner: int = 1
    """Elements of a block."""
    from_end: bool = True
    """Do negative indices count from the end."""

    @classmethod
    def elements(cls, data: View, axis: int, size: Sequence[int]) -> Entries:
        """Single elements: an index along one axis, the entry's own place along the others."""
        step = tuple(0 if a == axis else stride for a, stride in enumerate(data.strides))
        return cls(tuple(size), step, (data.shape[axis],), (data.strides[axis],))

    @classmethod
    def blocks(cls, data: View, size: Sequence[int], depth: int, batch: int = 0) -> Entries:
        """What lies behind `depth` indexed axes, which come behind `batch` axes that the entries share."""
        step = filled(data.strides[:batch], len(size))
        lies = slice(batch, batch + depth)
        return cls(tuple(size), step, data.shape[lies], data.strides[lies], prod(data.shape[batch + depth :]))


def gather(b: Builder, out: View, data: View, index: View, entries: Entries) -> None:
    """out (dense) = the blocks of data, in each of which the elements lie behind each other."""
    b.emit("gather_nd", _record(GatherND, out, data, index, entries, "SET"))


def scatter(b: Builder, data: View, values: View, index: View, entries: Entries, reduction: str = "none") -> None:
    """The blocks of data = values, in the order of the entries, or combined with them as ONNX names it."""
    if prod(entries.size):
        code = "SET" if reduction == "none" else reduction.upper()
        b.emit("scatter_nd", _record(ScatterND, b.dense(values), data, index, entries, code))


def _record(kind: type[Indexed], values: View, data: View, index: View, entries: Entries, code: str) -> Indexed:
    n, depth = len(entries.size), len(entries.axis)
    size, (step, index_step) = merge_axes(entries.size, [entries.step, index.strides[:n]])
    inner = entries.inner
    while size and (index_step[-1], step[-1]) == (0, inner):  # one index for blocks side by side: one block
        inner *= size.pop()
        step.pop(), index_step.pop()
    if not size:
        size, step, index_step = [1], [0], [0]
    if depth > RANK:
        raise ValueError(f"{depth} indexed axes, {RANK} is the most")
    return kind(
        values=values, data=data, index=index, dtype=dtype_code(data.dtype), code=_core.scatter_codes[code],
        index_dtype=dtype_code(index.dtype), from_end=int(entries.from_end), inner=inner,
        rank=len(size), size=filled(tuple(size), RANK), step=filled(tuple(step), RANK),
        index_step=filled(tuple(index_step), RANK), depth=depth, index_d=index.strides[n] if len(index.shape) > n else 0,
        axis=filled(entries.axis, RANK), stride=filled(entries.stride, RANK),
    )  # fmt: skip
