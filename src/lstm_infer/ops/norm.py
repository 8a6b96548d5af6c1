"""Normalisations over groups of elements.

    LayerNormalization-17           (x - mean) / sqrt(var + epsilon) * scale + bias     over the axes from `axis` on
    RMSNormalization-23             x / sqrt(mean(x * x) + epsilon) * scale             likewise
    InstanceNormalization-22 (6)    as LayerNormalization, per batch entry and channel; scale, bias [C]
    GroupNormalization-21           as LayerNormalization, per batch entry and group of channels; scale, bias [C]
    MeanVarianceNormalization-13    (x - mean) / (sqrt(var) + 1e-9)                     over `axes`
    LpNormalization-22 (1)          x / norm, 0 where the norm is 0                     over `axis`, p 1 or 2

and what onnxruntime writes: SimplifiedLayerNormalization (RMSNormalization under its own name), com.microsoft
SkipLayerNormalization and SkipSimplifiedLayerNormalization (LayerNormalization of input + skip + bias).

Variances are computed from centred values. Refused: stash_type other than float, quantised inputs.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.reductions import LayerNorm
from ..program.views import View
from .common import normal_axes, normal_axis
from .elementwise import Formula, apply
from .reduce import reduce
from .registry import Op, attr, get, need, register, unsupported

__all__: list[str] = []


def _float(node: Node, ins: list[Fact | None], index: int = 0) -> Fact:
    fact: Fact = need(node, ins, index)
    if fact.dtype.kind != "f":
        raise unsupported(node, f"element type {fact.dtype}")
    return fact


def _epsilon(node: Node, default: float = 1e-5) -> float:
    return float(np.float32(attr(node, "epsilon", default)))


def _wide(x: Any) -> Any:
    """float16 is computed in float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _normal(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """Normalised x, mean, 1 / standard deviation."""
    mean = np.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    var = np.mean(centred * centred, axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(var + x.dtype.type(epsilon))
    return centred * inverse, mean, inverse


def _rms(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any]:
    inverse = 1 / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + x.dtype.type(epsilon))
    return x * inverse, inverse


def rows_of(b: Builder, x: View, n: int) -> View:
    """As [rows, n] with dense rows; copied only where strides cannot say it."""
    flat = x.reshape((x.size // n, n))
    if flat is None or (n > 1 and flat.strides[1] != 1):
        flat = b.dense(x).reshape((x.size // n, n))
        assert flat is not None
    return flat


def normalise(
    b: Builder,
    x: View,
    y: View,
    n: int,
    epsilon: float,
    scale: View | None = None,
    bias: View | None = None,
    mean: View | None = None,
    inverse: View | None = None,
) -> None:
    """Rows of n elements of x to zero mean and unit variance. scale, bias [n]; outputs mean, inverse [rows]."""
    flat = rows_of(b, x, n)
    args = LayerNorm(
        x=flat, scale=scale, bias=bias, y=y, mean=mean, inv_std=inverse, rows=flat.shape[0], n=n,
        x_row=flat.strides[0], y_row=n, epsilon=epsilon,
    )  # fmt: skip
    b.emit("layernorm_f32", args)


def root_mean_square(b: Builder, x: View, y: View, n: int, epsilon: float, scale: View | None) -> View:
    """Rows of n elements of x over the root of their mean square; returns 1 / that root, [rows]."""
    flat = rows_of(b, x, n)
    squares = b.alloc((flat.shape[0],))
    reduce(b, "SumSquare", flat, (1,), squares)
    inverse = b.alloc((flat.shape[0],))
    apply(b, ("DIV", 1.0, ("SQRT", ("ADD", ("DIV", 0, float(n)), epsilon))), [squares], inverse)
    rows = y.reshape(flat.shape)
    assert rows is not None
    made: Formula = ("MUL", 0, 1)
    apply(
        b, made if scale is None else ("MUL", made, 2), [flat, inverse.add_axis(1), *([scale] if scale else [])], rows
    )
    return inverse


# ---- LayerNormalization, RMSNormalization -----------------------------------------------------------------


def _is_rms(node: Node) -> bool:
    return node.op in ("RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization")


def _last_axes(node: Node, rank: int) -> tuple[int, ...]:
    return tuple(range(normal_axis(node, int(attr(node, "axis", -1)), rank), rank))


def infer_layer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = _float(node, ins)
    axes = _last_axes(node, len(x.shape))
    if int(attr(node, "stash_type", 1)) not in (1, 11):
        raise unsupported(node, f"stash_type {attr(node, 'stash_type')}")
    for index, name in ((1, "scale"), (2, "bias")):
        fact = get(ins, index)
        if index == 1:
            need(node, ins, 1)
        if fact is not None and np.broadcast_shapes(fact.shape, x.shape) != x.shape:
            raise ShapeError(f"{node}: {name} {list(fact.shape)} does not broadcast to {list(x.shape)}")
    stat = Fact((*x.shape[: axes[0]], *([1] * len(axes))), np.dtype(np.float32))
    return [Fact(x.shape, x.dtype), *([stat] if _is_rms(node) else [stat, stat])]


def evaluate_layer(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    x = _wide(given)
    axes = _last_axes(node, x.ndim)
    if _is_rms(node):
        y, *stats = _rms(x, axes, _epsilon(node))
    else:
        y, *stats = _normal(x, axes, _epsilon(node))
    y = y * need(node, ins, 1)
    bias = get(ins, 2)
    y = y if bias is None else y + bias
    return [y.astype(given.dtype), *(np.asarray(s, np.float32) for s in stats)]


def flow_layer(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x: Fact = need(node, ins, 0)
    kept = range(_last_axes(node, len(x.shape))[0])
    links = [Link(0, axis, o, axis) for o in range(len(outs)) for axis in kept]
    for index in (1, 2):
        fact = get(ins, index)
        if fact is not None:
            lead = len(x.shape) - len(fact.shape)
            links += [Link(index, a, 0, a + lead) for a, m in enumerate(fact.shape) if m == x.shape[a + lead]]
    return links


def lower_layer(node: Node, b: Builder) -> None:
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    axes = _last_axes(node, len(x.shape))
    tail = x.shape[axes[0] :]
    n = prod(tail)
    affine = [b.f32(b.view(name)) if name else None for name in (node.inputs[1], b.optional(node, 2))]
    rows = [v if v is None else _row(b, v, tail) for v in affine]
    plain = all(v is None or row is not None for v, row in zip(affine, rows, strict=True))
    stats = [b.new(node.outputs[i]) if b.wanted(node, i) else None for i in (1, 2)]
    if _is_rms(node):
        inverse = root_mean_square(b, x, y, n, _epsilon(node), rows[0] if plain else None)
        if plain and rows[1] is not None:
            apply(b, ("ADD", 0, 1), [rows_of(b, y, n), rows[1]], rows_of(b, y, n))
        if stats[0] is not None:
            b.copy(stats[0], b.reshape(inverse, stats[0].shape))
    else:
        given = rows if plain else [None, None]
        normalise(b, x, y, n, _epsilon(node), given[0], given[1], *stats)
    if not plain:
        made: Formula = ("MUL", 0, 1) if affine[0] is not None else 0
        there = [v for v in affine if v is not None]
        apply(b, ("ADD", made, len(there)) if affine[1] is not None else made, [y, *there], y)


def _row(b: Builder, view: View, tail: tuple[int, ...]) -> View | None:
    """A parameter of the shape of one normalised row, dense; None where it is broadcast otherwise."""
    shape = view.shape
    while len(shape) > len(tail) and shape[0] == 1:
        shape = shape[1:]
    return b.reshape(b.dense(view), (prod(tail),)) if shape == tail else None


for _name in ("LayerNormalization", "RMSNormalization"):
    register(Op(_name, infer_layer, evaluate_layer, flow_layer, lower_layer, mixes="scale", why="normalises over time"))
register(
    Op(
        "SimplifiedLayerNormalization",
        infer_layer,
        evaluate_layer,
        flow_layer,
        lower_layer,
        inputs=(2, 2),
        mixes="scale",
        why="normalises over time",
    )
)


# ---- InstanceNormalization, GroupNormalization ------------------------------------------------------------


def _groups(node: Node, channels: int) -> int:
    if node.op == "InstanceNormalization":
        return channels
    groups = int(attr(node, "num_groups"))
    if groups < 1 or channels % groups:
        raise ShapeError(f"{node}: {channels} channels in {groups} groups")
    return groups


def infer_group(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = _float(node, ins)
    if len(x.shape) < 2:
        raise ShapeError(f"{node}: takes [N, C, ...], got {list(x.shape)}")
    _groups(node, x.shape[1])
    if int(attr(node, "stash_type", 1)) not in (1, 11):
        raise unsupported(node, f"stash_type {attr(node, 'stash_type')}")
    for index, name in ((1, "scale"), (2, "bias")):
        fact: Fact = need(node, ins, index)
        if fact.shape != (x.shape[1],):
            raise ShapeError(f"{node}: {name} takes [{x.shape[1]}], got {list(fact.shape)}")
    return [Fact(x.shape, x.dtype)]


def evaluate_group(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    x = _wide(given)
    if x.size == 0:
        return [given]
    rows = x.reshape(x.shape[0], _groups(node, x.shape[1]), -1)
    y = _normal(rows, (2,), _epsilon(node))[0].reshape(x.shape)
    scale, bias = (need(node, ins, i).reshape(-1, *([1] * (x.ndim - 2))) for i in (1, 2))
    return [np.asarray(y * scale + bias).astype(given.dtype)]


def flow_first(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, 0, 0, 0)]


def lower_group(node: Node, b: Builder) -> None:
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    n = prod(x.shape[1:]) // _groups(node, x.shape[1])
    normalise(b, x, y, n, _epsilon(node))
    column = (x.shape[1], *([1] * (len(x.shape) - 2)))
    params = [b.reshape(b.f32(b.view(node.inputs[i])), column) for i in (1, 2)]
    apply(b, ("ADD", ("MUL", 0, 1), 2), [y, *params], y)


register(
    Op(
        "InstanceNormalization",
        infer_group,
        evaluate_group,
        flow_first,
        lower_group,
        mixes="scale",
        why="normalises over time",
    ),
    Op(
        "GroupNormalization",
        infer_group,
        evaluate_group,
        flow_first,
        lower_group,
        opsets=(21, None),
        mixes="scale",
        why="normalises over time",
    ),
)


# ---- MeanVarianceNormalization, LpNormalization -----------------------------------------------------------


def _own_axes(node: Node, rank: int) -> tuple[int, ...]:
    if node.op == "LpNormalization":
        return (normal_axis(node, int(attr(node, "axis", -1)), rank),)
    return tuple(sorted(normal_axes(node, [int(a) for a in attr(node, "axes", [0, 2, 3])], rank)))


def infer_own(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = _float(node, ins)
    _own_axes(node, len(x.shape))
    if node.op == "LpNormalization" and int(attr(node, "p", 2)) not in (1, 2):
        raise OnnxImportError(f"{node}: p is {attr(node, 'p')}, ONNX allows 1 and 2; the file is broken")
    return [Fact(x.shape, x.dtype)]


def evaluate_own(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    x = _wide(given)
    axes = _own_axes(node, x.ndim)
    if node.op == "LpNormalization":
        norm = np.sum(np.abs(x) if int(attr(node, "p", 2)) == 1 else x * x, axis=axes, keepdims=True)
        norm = norm if int(attr(node, "p", 2)) == 1 else np.sqrt(norm)
        return [np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(given.dtype)]
    centred = x - np.mean(x, axis=axes, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True))
    return [np.asarray(centred / (deviation + x.dtype.type(1e-9))).astype(given.dtype)]


def flow_own(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    axes = _own_axes(node, len(outs[0].shape))
    return [Link(0, axis, 0, axis) for axis in range(len(outs[0].shape)) if axis not in axes]


def lower_own(node: Node, b: Builder) -> None:
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    axes = _own_axes(node, len(x.shape))
    kept = [n for axis, n in enumerate(x.shape) if axis not in axes]
    stat = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    first = b.alloc(kept)
    if node.op == "LpNormalization":
        reduce(b, "L1" if int(attr(node, "p", 2)) == 1 else "L2", x, axes, first)
        apply(b, ("SELECT", ("EQ", 1, 0.0), 0.0, ("DIV", 0, 1)), [x, b.reshape(first, stat)], y)
        return
    reduce(b, "Mean", x, axes, first)
    centred = b.alloc(x.shape)
    apply(b, ("SUB", 0, 1), [x, b.reshape(first, stat)], centred)
    squares = b.alloc(kept)
    reduce(b, "SumSquare", centred, axes, squares)
    n = float(prod(x.shape[axis] for axis in axes))
    deviation = ("ADD", ("SQRT", ("DIV", 1, n)), 1e-9)
    apply(b, ("DIV", 0, deviation), [centred, b.reshape(squares, stat)], y)


register(
    Op(
        "MeanVarianceNormalization",
        infer_own,
        evaluate_own,
        flow_own,
        lower_own,
        mixes="scale",
        why="normalises over time",
    ),
    Op("LpNormalization", infer_own, evaluate_own, flow_own, lower_own, mixes="scale", why="normalises over time"),
)


# ---- SkipLayerNormalization -------------------------------------------------------------------------------


def _skip_inputs(node: Node) -> tuple[int, int]:
    """Where beta and bias are; -1: there is no such input."""
    return (-1, 3) if node.op == "SkipSimplifiedLayerNormalization" else (3, 4)


def infer_skip(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x = _float(node, ins)
    skip, gamma = _float(node, ins, 1), _float(node, ins, 2)
    if np.broadcast_shapes(x.shape, skip.shape) != x.shape or gamma.shape != x.shape[-1:]:
        raise ShapeError(f"{node}: {list(x.shape)}, {list(skip.shape)} and {list(gamma.shape)} do not fit each other")
    stat = Fact((*x.shape[:-1], 1), np.dtype(np.float32))
    return [Fact(x.shape, x.dtype), stat, stat, Fact(x.shape, x.dtype)]


def evaluate_skip(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    at_beta, at_bias = _skip_inputs(node)
    x = _wide(given) + need(node, ins, 1)
    bias, beta = get(ins, at_bias), get(ins, at_beta) if at_beta > 0 else None
    x = x if bias is None else x + bias
    if _is_rms(node):
        y, inverse = _rms(x, (-1,), _epsilon(node, 1e-12))
        mean = np.zeros_like(inverse)
    else:
        y, mean, inverse = _normal(x, (-1,), _epsilon(node, 1e-12))
    y = y * need(node, ins, 2)
    y = y if beta is None else y + beta
    return [a.astype(t) for a, t in ((y, given.dtype), (mean, "f4"), (inverse, "f4"), (x, given.dtype))]


def flow_skip(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    rank = len(outs[0].shape)
    links = [Link(0, axis, o, axis) for o in range(4) for axis in range(rank - 1)]
    skip: Fact = need(node, ins, 1)
    lead = rank - len(skip.shape)
    passed = [a for a in range(len(skip.shape) - 1) if skip.shape[a] == outs[0].shape[a + lead]]
    links += [Link(1, a, o, a + lead) for o in range(4) for a in passed]
    return links


def lower_skip(node: Node, b: Builder) -> None:
    if b.wanted(node, 1) or b.wanted(node, 2):
        raise unsupported(node, "the mean or the inverse deviation as an output")
    at_beta, at_bias = _skip_inputs(node)
    names = [node.inputs[0], node.inputs[1], b.optional(node, at_bias)]
    terms = [b.f32(b.view(name)) for name in names if name]
    total = b.new(node.outputs[3]) if b.wanted(node, 3) else b.alloc(terms[0].shape)
    apply(b, ("ADD", ("ADD", 0, 1), 2) if len(terms) > 2 else ("ADD", 0, 1), terms, total)
    y, n = b.new(node.outputs[0]), total.shape[-1]
    gamma = b.dense(b.f32(b.view(node.inputs[2])))
    beta = b.optional(node, at_beta) if at_beta > 0 else ""
    if _is_rms(node):
        root_mean_square(b, total, y, n, _epsilon(node, 1e-12), gamma)
    else:
        shift = b.dense(b.f32(b.view(beta))) if beta else None
        normalise(b, total, y, n, _epsilon(node, 1e-12), gamma, shift)


for _name, _inputs in (("SkipLayerNormalization", (3, 5)), ("SkipSimplifiedLayerNormalization", (3, 4))):
    register(
        Op(_name, infer_skip, evaluate_skip, flow_skip, lower_skip, domain="com.microsoft", inputs=_inputs, mixes="sum")
    )
