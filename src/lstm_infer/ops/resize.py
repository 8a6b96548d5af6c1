"""Resize-19 (11, 13, 18; 10 and Upsample by the importer): axes sampled at other positions.

    y[i] = sum over taps t of weight[i][t] x[index[i][t]]        one axis after the other

Where the taps lie and what they weigh is known when the plan is made: coordinate_transformation_mode gives position i of
the output as a position of the input, and the mode the taps around it: `nearest` one, `linear` two, `cubic` four, more
where `antialias` widens them going down. Indices outside are those of the edge, or, with exclude_outside, left out.
Positions are computed in float32, as onnxruntime does, so that both round the same way.

Nearest is a view, copies or `gather`; the others are one `gather` of all taps and their weighted sum.
Refused: scales, sizes and roi that depend on the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import floor
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.budget import spend
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import View, dense_strides
from . import work
from .common import normal_axes
from .elementwise import Formula, apply
from .gather import pick
from .reduce import reduce
from .registry import Op, attr, known, need, register, unsupported

_F = np.float32
_MOST_TAPS = 6
"""Taps and their weights that one element-wise program takes, besides the sum so far."""
_LARGEST = float(1 << 40)
"""No axis is longer: a scale that asks for more is an error before anything is made of it."""


@frozen
class Axis:
    """One axis: its extents, its scale in float32, and the part of it that tf_crop_and_resize takes."""

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def stays(self) -> bool:
        return self.scale == 1 and self.size == self.out


@frozen
class Taps:
    """index[i][t], weight[i][t] (None: one tap of weight 1), and which positions lie outside the input."""

    index: Array
    weight: Array | None
    outside: Array

    @property
    def many(self) -> bool:
        """More than are added one by one: they are then an axis that is summed over."""
        return bool(self.index.shape[1] > 2 * _MOST_TAPS)


# ---- positions -----------------------------------------------------------------------------------------------------


def _corners(i: Array, a: Axis) -> Any:
    return i * _F(a.size - 1) / _F(a.out - 1) if a.out > 1 else i * _F(0)


def _cropped(i: Array, a: Axis) -> Any:
    start, end, last = _F(a.start), _F(a.end), _F(a.size - 1)
    if a.out > 1:
        return start * last + i * (end - start) * last / _F(a.out - 1)
    return i * _F(0) + _F(0.5) * (start + end) * last


def _symmetric(i: Array, a: Axis) -> Any:
    """As half_pixel, but the middles of input and output meet where the scaled extent is no whole number."""
    adjustment = _F(a.out) / (_F(a.scale) * _F(a.size))
    return _F(a.size) / _F(2) * (_F(1) - adjustment) + (i + _F(0.5)) / _F(a.scale) - _F(0.5)


def _half_pixel(i: Array, a: Axis) -> Any:
    return (i + _F(0.5)) / _F(a.scale) - _F(0.5)


_POSITIONS: dict[str, Callable[[Array, Axis], Any]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda i, a: _half_pixel(i, a) if a.out > 1 else i * _F(0),
    "tf_half_pixel_for_nn": lambda i, a: (i + _F(0.5)) / _F(a.scale),
    "align_corners": _corners,
    "asymmetric": lambda i, a: i / _F(a.scale),
    "tf_crop_and_resize": _cropped,
}
_NEAREST: dict[str, Callable[[Any, Axis], Any]] = {
    "round_prefer_floor": lambda p, a: np.ceil(p - _F(0.5)),
    "round_prefer_ceil": lambda p, a: np.floor(p + _F(0.5)),
    "floor": lambda p, a: np.floor(p),
    "ceil": lambda p, a: np.ceil(p),
    "": lambda p, a: np.floor(p) if a.scale >= 1 else np.ceil(p),  # before opset 11
}


def _triangle(x: Any, a: float) -> Any:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: Any, a: float) -> Any:
    """Keys' kernel, of which `a` is the slope at 1."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


_KERNELS: dict[str, tuple[int, Callable[[Any, float], Any]]] = {"linear": (1, _triangle), "cubic": (2, _cubic)}
"""Half the width of each kernel, and the kernel."""


def _mode(node: Node) -> str:
    return str(attr(node, "mode", "nearest"))


def _way(node: Node) -> str:
    return str(attr(node, "coordinate_transformation_mode", "half_pixel"))


_TAP = 200
"""What a place that is read costs to find."""


def taps(node: Node, a: Axis) -> Taps:
    """The taps of one axis."""
    spend(node, _TAP * a.out)
    i = np.arange(a.out, dtype=_F)
    p = i if a.scale == 1 else np.asarray(_POSITIONS[_way(node)](i, a), _F)
    outside = (p < 0) | (p > a.size - 1) if _way(node) == "tf_crop_and_resize" else np.zeros(a.out, np.bool_)
    if _mode(node) == "nearest":
        nearest = _NEAREST[str(attr(node, "nearest_mode", "round_prefer_floor"))](p, a)
        return Taps(np.clip(nearest, 0, a.size - 1).astype(np.int64)[:, None], None, outside)
    half, kernel = _KERNELS[_mode(node)]
    shrink = min(a.scale, 1.0) if attr(node, "antialias", 0) else 1.0
    reach = half / shrink
    at = p.astype(np.float64)[:, None]
    first = np.floor(at - reach) + 1
    spend(node, _TAP * int(2 * reach) * a.out)
    index = first + np.arange(int(np.ceil(2 * reach)) + (shrink < 1))
    weight = kernel((index - at) * shrink, float(attr(node, "cubic_coeff_a", -0.75)))
    if attr(node, "exclude_outside", 0):
        weight = np.where((index < 0) | (index >= a.size), 0, weight)
    if shrink < 1 or attr(node, "exclude_outside", 0):
        total = weight.sum(1, keepdims=True)
        weight = weight / np.where(total == 0, 1, total)  # 0: a position far outside
    return Taps(np.clip(index, 0, a.size - 1).astype(np.int64), weight.astype(_F), outside)


# ---- sizes ---------------------------------------------------------------------------------------------------------


def _given(node: Node, ins: list[Fact | None], index: int, what: str) -> Array | None:
    """An optional input; an empty one is none."""
    if index >= len(ins) or ins[index] is None:
        return None
    found = known(node, ins[index], what).reshape(-1)
    return found if found.size else None


def _checked(node: Node, x: Fact) -> None:
    """The attributes that name one of several ways."""
    for name, value, ways in (
        ("mode", _mode(node), ("nearest", *_KERNELS)),
        ("coordinate_transformation_mode", _way(node), tuple(_POSITIONS)),
        ("nearest_mode", attr(node, "nearest_mode", "round_prefer_floor"), tuple(_NEAREST)),
        ("keep_aspect_ratio_policy", _policy(node), ("stretch", "not_larger", "not_smaller")),
    ):
        if value not in ways:
            raise OnnxImportError(f"{node}: {name} {value!r} is none of {', '.join(ways)}; the file is broken")
    if _mode(node) != "nearest" and x.dtype.kind != "f":  # its rounding hangs on the order of the sums
        raise unsupported(node, f"mode {_mode(node)} of element type {x.dtype}")
    if _mode(node) == "nearest" and attr(node, "antialias", 0):
        raise OnnxImportError(f"{node}: antialias with mode nearest, which ONNX does not have; the file is broken")


def _policy(node: Node) -> str:
    return str(attr(node, "keep_aspect_ratio_policy", "stretch"))


def sizes(node: Node, ins: list[Fact | None]) -> dict[int, Axis]:
    """The axes that are named, each with its extents."""
    x: Fact = need(node, ins, 0)
    _checked(node, x)
    rank = len(x.shape)
    given = attr(node, "axes", None)
    axes = tuple(range(rank)) if given is None else normal_axes(node, [int(a) for a in given], rank)
    scales, wanted = _given(node, ins, 2, "scales"), _given(node, ins, 3, "sizes")
    if (scales is None) == (wanted is None):
        raise OnnxImportError(f"{node}: takes either scales or sizes; the file is broken")
    numbers: Any = wanted if scales is None else scales
    if len(numbers) != len(axes):
        raise ShapeError(f"{node}: {len(numbers)} scales or sizes for {len(axes)} axes")
    extents = [x.shape[axis] for axis in axes]
    made = _by_sizes(node, extents, numbers) if scales is None else _by_scales(node, extents, numbers)
    return dict(zip(axes, _parts(node, ins, made), strict=True))


def _by_scales(node: Node, extents: list[int], scales: Array) -> list[Axis]:
    found = []
    for n, scale in zip(extents, scales.astype(_F), strict=True):
        if not (scale > 0 and float(scale) * n < _LARGEST):
            raise ShapeError(f"{node}: a scale of {scale} for an axis of {n}; a scale is a positive number")
        found.append(Axis(n, int(scale * _F(n)), float(scale)))
    return found


def _by_sizes(node: Node, extents: list[int], wanted: Array) -> list[Axis]:
    pairs = [(n, int(out)) for n, out in zip(extents, wanted, strict=True)]
    if any(not 0 <= out < _LARGEST or (n == 0) != (out == 0) for n, out in pairs):
        raise ShapeError(f"{node}: axes of {extents} cannot be resized to {[out for _, out in pairs]}")
    ratios = [_F(out) / _F(max(n, 1)) for n, out in pairs]
    if _policy(node) != "stretch":
        ratio = (min if _policy(node) == "not_larger" else max)(ratios)
        return [Axis(n, floor(float(ratio * _F(n)) + 0.5), float(ratio)) for n in extents]
    return [Axis(n, out, float(ratio) if n else 1.0) for (n, out), ratio in zip(pairs, ratios, strict=True)]


def _parts(node: Node, ins: list[Fact | None], axes: list[Axis]) -> list[Axis]:
    """With the region of interest, which only tf_crop_and_resize looks at: all starts, then all ends."""
    if _way(node) != "tf_crop_and_resize":
        return axes
    roi: Any = _given(node, ins, 1, "roi")
    n = len(axes)
    if roi is None or len(roi) != 2 * n or not np.isfinite(roi).all():
        raise ShapeError(f"{node}: tf_crop_and_resize takes a roi of {2 * n} numbers")
    return [replace(a, start=float(_F(roi[i])), end=float(_F(roi[n + i]))) for i, a in enumerate(axes)]


# ---- the operator --------------------------------------------------------------------------------------------------


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    shape = list(x.shape)
    for axis, a in sizes(node, ins).items():
        if a.size == 0 and a.out:
            raise ShapeError(f"{node}: axis {axis} of {list(x.shape)} is empty")
        shape[axis] = a.out
    return [Fact(tuple(shape), x.dtype)]


def _order(axes: dict[int, Axis]) -> list[int]:
    """What shrinks comes first, what grows most last; of two that grow alike the inner one, which costs more."""
    moved = [axis for axis, a in axes.items() if not a.stays]
    return sorted(moved, key=lambda axis: (axes[axis].scale, -axis))


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    axes = sizes(node, [None if a is None else Fact.of(a) for a in ins])
    made = {axis: taps(node, axes[axis]) for axis in _order(axes)}
    y = given if _mode(node) == "nearest" or given.dtype == np.float64 else given.astype(_F)
    for axis, found in made.items():
        column = [-1 if d == axis else 1 for d in range(given.ndim)]
        if found.weight is None:
            y = np.take(y, found.index[:, 0], axis)
        elif found.many:
            y = (np.take(y, found.index, axis) * _in_place(found.weight, axis, y.ndim)).sum(axis + 1)
        else:
            parts = zip(found.index.T, found.weight.T, strict=True)
            y = sum(np.take(y, index, axis) * weight.reshape(column) for index, weight in parts)
    for mask in _outside(made, given.ndim):
        y = np.where(mask, _beyond(node), y)
    return [np.asarray(y).astype(given.dtype)]


def _beyond(node: Node) -> float:
    return float(_F(attr(node, "extrapolation_value", 0.0)))


def _outside(made: dict[int, Taps], rank: int) -> list[Array]:
    """Where the output lies outside of the input along an axis, as masks that broadcast to it."""
    some = {axis: found.outside for axis, found in made.items() if found.outside.any()}
    return [outside.reshape([-1 if d == axis else 1 for d in range(rank)]) for axis, outside in some.items()]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """An axis that stays passes; one of which every position is repeated n times spreads."""
    links, axes = [], sizes(node, ins)
    for axis in range(len(outs[0].shape)):
        if axis not in axes or axes[axis].stays:
            links.append(Link(0, axis, 0, axis))
        elif _repeats(node, axes[axis]):
            links.append(Link(0, axis, 0, axis, "spread", int(axes[axis].scale)))
    return links


def _repeats(node: Node, a: Axis) -> bool:
    """Is every position of the axis taken as often as the scale says, each beside itself."""
    n = int(a.scale)
    if _mode(node) != "nearest" or n != a.scale or n < 2 or a.out != n * a.size:
        return False
    found = taps(node, a)
    return not found.outside.any() and np.array_equal(found.index[:, 0], np.arange(a.out) // n)


def lower(node: Node, b: Builder) -> None:
    x, name = b.view(node.inputs[0]), node.outputs[0]
    axes = sizes(node, [b.fact(value) if value else None for value in node.inputs])
    made = {axis: taps(node, axes[axis]) for axis in _order(axes)}
    masks = _outside(made, len(x.shape))
    key = (tuple(sorted((k, repr(v)) for k, v in node.attrs.items())), tuple(axes.items()))
    if _mode(node) == "nearest":
        y = _nearest(b, x, made)
    else:
        y = x
        for axis, found in made.items():
            y = _weighted(b, y, axis, found, (*key, axis))
    if masks:
        chosen: Formula = 0
        for k in range(len(masks)):
            chosen = ("SELECT", k + 1, _beyond(node), chosen)
        outside = [b.packed((*key, "outside", k), mask.copy) for k, mask in enumerate(masks)]
        apply(b, chosen, [y, *outside], b.new(name))
    elif y.dtype != x.dtype:
        apply(b, ("MOVE", 0), [y], b.new(name))
    else:
        b.bind(name, y)


def _nearest(b: Builder, x: View, made: dict[int, Taps]) -> View:
    """Views where positions are even, `gather` where they are not; repeats last, the innermost axis before the rest."""
    repeats: dict[int, int] = {}
    for axis, found in made.items():
        index = found.index[:, 0]
        each = _each(index)
        x = pick(b, x, axis, index[::each])
        if each > 1:
            repeats[axis] = each
    inner = max(repeats, default=0)
    for group in ({inner}, repeats.keys() - {inner}):
        if repeats and group:
            x = _repeated(b, x, {axis: repeats[axis] for axis in group})
    return x


def _each(index: Array) -> int:
    """How often every index stands there in a row; 1 where that differs."""
    runs = np.flatnonzero(np.diff(index)) + 1
    each = int(runs[0]) if runs.size else index.size
    return each if index.size % each == 0 and np.array_equal(np.repeat(index[::each], each), index) else 1


def _repeated(b: Builder, x: View, repeats: dict[int, int]) -> View:
    """Every position so many times in a row."""
    shape, strides, target = [], [], []
    for axis, (n, stride) in enumerate(zip(x.shape, x.strides, strict=True)):
        each = repeats.get(axis, 1)
        shape += [n, each]
        strides += [stride, 0]
        target.append(n * each)
    out = b.alloc(target, x.dtype)
    b.copy(
        View(out.buffer, tuple(shape), dense_strides(shape), x.dtype),
        replace(x, shape=tuple(shape), strides=tuple(strides)),
    )
    return out


def _weighted(b: Builder, x: View, axis: int, found: Taps, key: Any) -> View:
    """The weighted sum over the taps of one axis."""
    assert found.weight is not None
    if found.many:
        return _summed(b, x, axis, found.index, found.weight, key)
    n, count = found.index.shape
    column = [1] * len(x.shape)
    column[axis] = n
    out = b.alloc((*x.shape[:axis], n, *x.shape[axis + 1 :]))
    done: list[View] = []
    for first in range(0, count, _MOST_TAPS):
        now = range(first, min(first + _MOST_TAPS, count))
        parts = [pick(b, x, axis, found.index[:, t]) for t in now]
        made: Formula | None = 2 * len(parts) if done else None
        for place in range(len(parts)):
            term = place, len(parts) + place
            made = ("MUL", *term) if made is None else ("FMA", *term, made)
        assert made is not None
        scale = [_weights(b, found.weight, t, column, (*key, t)) for t in now]
        apply(b, made, [*parts, *scale, *done], out)
        done = [out]
    return out


def _summed(b: Builder, x: View, axis: int, index: Array, weight: Array, key: Any) -> View:
    """The same over very many taps: gathered into an axis of their own."""
    picked = pick(b, x, axis, index)
    terms = b.alloc(picked.shape)
    apply(b, ("MUL", 0, 1), [picked, b.packed(key, lambda: _in_place(weight, axis, len(x.shape)))], terms)
    out = b.alloc((*picked.shape[: axis + 1], *picked.shape[axis + 2 :]))
    reduce(b, "Sum", terms, (axis + 1,), out)
    return out


def _in_place(weight: Array, axis: int, rank: int) -> Array:
    """Weights [positions, taps] so that they broadcast to a value whose `axis` they have taken the place of."""
    return np.ascontiguousarray(weight).reshape(*weight.shape, *([1] * (rank - 1 - axis)))


def _weights(b: Builder, weight: Array, t: int, shape: list[int], key: Any) -> View:
    """The weights of one tap as a constant."""
    return b.packed(key, lambda: np.ascontiguousarray(weight[:, t]).reshape(shape))


register(
    Op("Resize", infer, evaluate, flow, lower, work=work.per_element(30), dtypes="any",
       runs="view or copy (nearest); gather and map",
       note="constant scales, sizes and roi only; integers: nearest", sizes=(1, 2, 3), why="resamples time"),
)  # fmt: skip
