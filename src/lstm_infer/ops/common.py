"""Rules that many operators share: broadcasting, axes that pass straight through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Node
from ..graph.links import Link
from .registry import unsupported

__all__ = ["broadcast", "normal_axes", "normal_axis", "onnx_dtype", "pass_broadcast", "pass_through"]

# TensorProto.DataType, onnx.proto. Strings, complex numbers, bfloat16 and what is narrower than a byte are not built.
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_REFUSED = {8: "string", 14: "complex64", 15: "complex128", 16: "bfloat16", 21: "uint4", 22: "int4"}


def onnx_dtype(node: Node, code: int) -> np.dtype[Any]:
    """The NumPy dtype of an attribute that holds a TensorProto.DataType (`to`, `dtype`)."""
    if code in _DTYPES:
        return np.dtype(_DTYPES[code])
    if code in _REFUSED or 17 <= code <= 26:
        raise unsupported(node, f"element type {_REFUSED.get(code, f'number {code} of onnx.TensorProto')}")
    raise OnnxImportError(f"{node}: {code} is no element type; the file is broken")


def normal_axis(node: Node, axis: int, rank: int) -> int:
    """An axis as 0 .. rank-1; negative counts from the end."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{node}: axis {axis} lies outside a value of {rank} axes")
    return axis % rank


def normal_axes(node: Node, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes as 0 .. rank-1, in the order given; one named twice is an error."""
    found = tuple(normal_axis(node, int(axis), rank) for axis in axes)
    if len(set(found)) != len(found):
        raise ShapeError(f"{node}: axes {list(map(int, axes))} name an axis twice")
    return found


def broadcast(node: Node, facts: Sequence[Fact | None]) -> tuple[int, ...]:
    """The common shape of all inputs that are there."""
    shapes = [fact.shape for fact in facts if fact is not None]
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{node}: shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast") from None


def pass_broadcast(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Element-wise with broadcasting: every axis passes, aligned from the last one; a repeated extent 1 does not."""
    links = []
    for o, out in enumerate(outs):
        for i, fact in enumerate(ins):
            if fact is None:
                continue
            lead = len(out.shape) - len(fact.shape)
            links += [Link(i, a, o, lead + a) for a, n in enumerate(fact.shape) if n == out.shape[lead + a]]
    return links


def pass_through(ins: list[Fact | None], outs: list[Fact], but: dict[int, Any], *, source: int = 0) -> list[Link]:
    """One input's axes pass to every output of the same rank, position by position, without the axes in `but`."""
    fact = ins[source]
    assert fact is not None
    return [
        Link(source, axis, o, axis)
        for o, out in enumerate(outs)
        for axis in range(len(fact.shape))
        if axis not in but and len(out.shape) == len(fact.shape)
    ]
