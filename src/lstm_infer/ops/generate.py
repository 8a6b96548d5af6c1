"""Range-11, ConstantOfShape-25, EyeLike-22, OneHot-11, Trilu-14: values made from sizes and positions.

Refused: Range and ConstantOfShape whose size depends on the data, and OneHot with such a depth.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from . import work
from .common import normal_axis, onnx_dtype
from .formula import Formula, apply
from .registry import Op, attr, known, need, register, unsupported

# ---- Range ---------------------------------------------------------------------------------------


def _range(node: Node, ins: list[Fact | None]) -> tuple[Any, Any, int]:
    start, limit, delta = (known(node, need(node, ins, i), "a range").reshape(-1)[0] for i in range(3))
    if delta == 0:
        raise ShapeError(f"{node}: delta is 0")
    if start.dtype.kind == "f":
        n = int(np.ceil((float(limit) - float(start)) / float(delta)))
    else:
        n = -((int(start) - int(limit)) // int(delta))
    return start, delta, max(n, 0)


def infer_range(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact((_range(node, ins)[2],), need(node, ins, 0).dtype)]


def evaluate_range(node: Node, ins: list[Array | None]) -> list[Array]:
    start, delta, n = _range(node, [None if a is None else Fact.of(a) for a in ins])
    return [(start + np.arange(n) * delta).astype(start.dtype)]


# ---- ConstantOfShape -----------------------------------------------------------------------------


def _value(node: Node) -> Array:
    value = attr(node, "value", None)
    return np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(-1)


def infer_constant(node: Node, ins: list[Fact | None]) -> list[Fact]:
    shape = known(node, need(node, ins, 0), "a shape").reshape(-1)
    return [Fact(tuple(int(n) for n in shape), _value(node).dtype)]


def evaluate_constant(node: Node, ins: list[Array | None]) -> list[Array]:
    value = _value(node)
    return [np.full(tuple(need(node, ins, 0).reshape(-1).tolist()), value[0], value.dtype)]


def lower_constant(node: Node, b: Builder) -> None:
    """Only reached where folding would take too much memory."""
    b.bind(node.outputs[0], b.const(_value(node)).expand(b.fact(node.outputs[0]).shape))


# ---- EyeLike -------------------------------------------------------------------------------------


_LARGE = 1 << 24
"""A matrix of more elements is made when the plan runs."""


def _eye(node: Node, shape: tuple[int, ...], dtype: Any) -> Array:
    made: Array = np.eye(shape[0], shape[1], int(attr(node, "k", 0)), dtype=dtype)
    return made


def infer_eye(node: Node, ins: list[Fact | None]) -> list[Fact]:
    """The value follows from a shape alone."""
    x: Fact = need(node, ins, 0)
    if len(x.shape) != 2:
        raise ShapeError(f"{node}: takes a matrix, got {list(x.shape)}")
    code = attr(node, "dtype", None)
    y = Fact(x.shape, x.dtype if code is None else onnx_dtype(node, code))
    if prod(x.shape) > _LARGE:
        return [y]
    work.ahead(node, 1, y)
    return [Fact.of(_eye(node, y.shape, y.dtype))]


def evaluate_eye(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    code = attr(node, "dtype", None)
    return [_eye(node, x.shape, x.dtype if code is None else onnx_dtype(node, code))]


# ---- OneHot: an axis of `depth` positions, `on` at the index, `off` elsewhere --------------------


def _one_hot(node: Node, ins: list[Fact | None]) -> tuple[int, int]:
    """(axis, depth)."""
    index: Fact = need(node, ins, 0)
    depth: Any = known(node, need(node, ins, 1), "a depth").reshape(-1)[0]
    return normal_axis(node, int(attr(node, "axis", -1)), len(index.shape) + 1), int(depth)


def infer_one_hot(node: Node, ins: list[Fact | None]) -> list[Fact]:
    index, values = need(node, ins, 0), need(node, ins, 2)
    axis, depth = _one_hot(node, ins)
    if depth < 1 or values.shape != (2,) or index.dtype.kind not in "iuf":
        raise ShapeError(f"{node}: depth {depth} and values of shape {list(values.shape)} are no use")
    return [Fact((*index.shape[:axis], depth, *index.shape[axis:]), values.dtype)]


def evaluate_one_hot(node: Node, ins: list[Array | None]) -> list[Array]:
    index, values = need(node, ins, 0), need(node, ins, 2)
    axis, depth = _one_hot(node, [None if a is None else Fact.of(a) for a in ins])
    at = np.expand_dims(index.astype(np.int64), axis)
    places = np.arange(depth).reshape([-1 if a == axis else 1 for a in range(index.ndim + 1)])
    return [np.where((at == places) | (at == places - depth), values[1], values[0]).astype(values.dtype)]


def flow_one_hot(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    axis, _ = _one_hot(node, ins)
    return [Link(0, a, 0, a if a < axis else a + 1) for a in range(len(need(node, ins, 0).shape))]


def lower_one_hot(node: Node, b: Builder) -> None:
    """Places are compared in the type of the indices (floats without their fraction), values chosen in their own."""
    axis, depth = _one_hot(node, [b.fact(name) for name in node.inputs])
    index, values, out = b.view(node.inputs[0]), b.view(node.inputs[2]), b.new(node.outputs[0])
    whole, ints = index.dtype.kind in "iu", values.dtype.kind in "iub"
    shape = [1] * len(out.shape)
    shape[axis] = depth
    number: Any = np.int64 if whole else np.float32
    key = ("one hot", depth, tuple(shape), whole)
    places = b.packed(key, lambda: np.arange(depth, dtype=number).reshape(shape))
    behind = b.packed((*key, "behind"), lambda: np.arange(-depth, 0, dtype=number).reshape(shape))
    off, on = values.part(0, 0, 1).drop(0), values.part(0, 1, 1).drop(0)
    at: Formula = 0 if whole else ("TRUNC", 0)
    found: Formula = ("OR", ("EQ", at, 1), ("EQ", at, 2))
    compared = [index.add_axis(axis), places, behind]
    known_values = b.const_of(node.inputs[2])
    if known_values is not None and known_values.tolist() == [0, 1]:
        apply(b, found, compared, out, ints=whole)
        return
    if whole == ints:
        apply(b, ("SELECT", found, 3, 4), [*compared, on, off], out, ints=ints)
        return
    hit = b.alloc(out.shape, np.bool_)
    apply(b, found, compared, hit, ints=whole)
    apply(b, ("SELECT", 0, 1, 2), [hit, on, off], out, ints=ints)


# ---- Trilu: one triangle of the last two axes, 0 elsewhere ---------------------------------------


def _diagonal(node: Node, ins: list[Fact | None]) -> int:
    x: Fact = need(node, ins, 0)
    if len(x.shape) < 2:
        raise ShapeError(f"{node}: takes matrices, got {list(x.shape)}")
    return int(known(node, ins[1], "a diagonal").reshape(-1)[0]) if len(ins) > 1 and ins[1] is not None else 0


def _triangle(node: Node, ins: list[Fact | None]) -> Array:
    k, ones = _diagonal(node, ins), np.ones(need(node, ins, 0).shape[-2:], np.bool_)
    return np.triu(ones, k) if attr(node, "upper", 1) else np.tril(ones, k)


def infer_trilu(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind not in "fiub":
        raise unsupported(node, f"element type {x.dtype}")
    _diagonal(node, ins)
    return [Fact(x.shape, x.dtype)]


def evaluate_trilu(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    return [np.where(_triangle(node, [None if a is None else Fact.of(a) for a in ins]), x, np.zeros_like(x))]


def flow_trilu(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, a, 0, a) for a in range(len(outs[0].shape) - 2)]


def lower_trilu(node: Node, b: Builder) -> None:
    x, out = b.view(node.inputs[0]), b.new(node.outputs[0])
    ints = x.dtype.kind in "iub"
    mask = _triangle(node, [b.fact(name) if name else None for name in node.inputs])
    view = b.packed(("triangle", mask.shape, mask.tobytes()), lambda: mask)
    apply(b, ("SELECT", 1, 0, 0.0), [x, view], out, ints=ints)


register(
    Op("Range", infer_range, evaluate_range, note="constant only", dtypes="float, int", runs="known", sizes=(0, 1, 2)),
    Op(
        "ConstantOfShape",
        infer_constant,
        evaluate_constant,
        lower=lower_constant,
        dtypes="any",
        runs="known",
        sizes=(0,),
    ),
    Op("EyeLike", infer_eye, evaluate_eye, dtypes="any", runs="known"),
    Op(
        "OneHot",
        infer_one_hot,
        evaluate_one_hot,
        flow_one_hot,
        lower_one_hot,
        note="constant depth only",
        dtypes="any",
        runs="map",
    ),
    Op("Trilu", infer_trilu, evaluate_trilu, flow_trilu, lower_trilu, dtypes="any", runs="map"),
)
