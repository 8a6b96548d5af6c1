"""ReduceSum-13, ReduceMean-18, ReduceMax-20 and kin; CumSum-14.

Reductions of floats over any axes are the slot `reduce_f32`: the reduced axes in order make one axis, summed in
virtual lanes by one tree, so that the result depends on nothing else. Integers and booleans are the slot `reduce_i64`:
sums and products wrap at the width of their type, a mean and the root of L2 go toward zero.
CumSum is a chain of additions, one position after the other.
Of no element a mean is 0, where ONNX leaves it undefined: that is what onnxruntime gives.
Refused: axes that depend on the data.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from .. import _core
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import dtype_code
from ..program.builder import Builder
from ..program.reductions import Reduce, ReduceTyped
from ..program.views import View
from .common import normal_axes, normal_axis
from .registry import Op, attr, find, known, need, numbers, register, unsupported

# name in li_reduce_code, meaning in NumPy, and the result over no element
_CODES: dict[str, tuple[str, Callable[..., Any], float]] = {
    "Sum": ("SUM", np.sum, 0.0),
    "Mean": ("MEAN", np.mean, 0.0),
    "Max": ("MAX", np.max, -np.inf),
    "Min": ("MIN", np.min, np.inf),
    "Prod": ("PROD", np.prod, 1.0),
    "SumSquare": ("SUM_SQUARE", lambda x, **kw: np.sum(np.square(x), **kw), 0.0),
    "L1": ("L1", lambda x, **kw: np.sum(np.abs(x), **kw), 0.0),
    "L2": ("L2", lambda x, **kw: np.sqrt(np.sum(np.square(x), **kw)), 0.0),
    "LogSum": ("LOG_SUM", lambda x, **kw: np.log(np.sum(x, **kw)), -np.inf),
    "LogSumExp": ("LOG_SUM_EXP", lambda x, **kw: _log_sum_exp(x, **kw), -np.inf),
}


def _log_sum_exp(x: Any, **how: Any) -> Any:
    axis: tuple[int, ...] = how["axis"]
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    made = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return made if how["keepdims"] else np.squeeze(made, axis)


def _axes(node: Node, ins: list[Fact | None]) -> tuple[int, ...]:
    rank = len(need(node, ins, 0).shape)
    given: list[int] = []
    if len(ins) > 1 and ins[1] is not None:
        given = numbers(node, ins[1], "axes")
    if not given and not attr(node, "noop_with_empty_axes", 0):
        return tuple(range(rank))
    return tuple(sorted(normal_axes(node, given, rank)))


def _keep(node: Node) -> bool:
    return bool(attr(node, "keepdims", 1))


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    name = node.op.removeprefix("Reduce")
    if x.dtype.kind not in ("fiub" if name in ("Max", "Min") else "f" if name.startswith("Log") else "fiu"):
        raise unsupported(node, f"element type {x.dtype}")
    axes = _axes(node, ins)
    if _keep(node):
        return [Fact(tuple(1 if axis in axes else n for axis, n in enumerate(x.shape)), x.dtype)]
    return [Fact(tuple(n for axis, n in enumerate(x.shape) if axis not in axes), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    axes = _axes(node, [None if a is None else Fact.of(a) for a in ins])
    name = node.op.removeprefix("Reduce")
    _, function, empty = _CODES[name]
    how: dict[str, Any] = {"axis": axes, "keepdims": _keep(node)}
    if name in ("Max", "Min"):
        how["initial"] = empty if x.dtype.kind == "f" else _empty(name, x.dtype)
    if name == "Mean" and x.size == 0:
        return [np.zeros_like(np.sum(x, **how), dtype=x.dtype)]
    if name == "Mean" and x.dtype.kind in "iu":  # toward zero
        total, n = np.sum(x, **how), int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
        return [np.asarray(np.sign(total) * (np.abs(total) // n)).astype(x.dtype)]
    if name == "L2" and x.dtype.kind in "iu":  # squares may pass the type's range where their root does not
        return [np.asarray(function(x.astype(np.float64), **how)).astype(x.dtype)]
    return [np.asarray(function(x, **how)).astype(x.dtype)]


def _empty(name: str, dtype: np.dtype[Any]) -> int:
    """The reduction of no integers or booleans."""
    if name not in ("Max", "Min"):
        return int(_CODES[name][2])
    if dtype.kind == "b":
        return int(name == "Min")
    limits = np.iinfo(dtype)
    return int(limits.min if name == "Max" else limits.max)


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    x: Fact = need(node, ins, 0)
    axes, keep = _axes(node, ins), _keep(node)
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    return [Link(0, axis, 0, axis if keep else place) for place, axis in enumerate(kept)]


def lower(node: Node, b: Builder) -> None:
    name = node.op.removeprefix("Reduce")
    axes = _axes(node, [b.fact(value) if value else None for value in node.inputs])
    x, out = b.view(node.inputs[0]), b.new(node.outputs[0])
    if x.dtype.kind == "f":
        reduce(b, name, x, axes, out)
    elif x.size == 0:
        b.copy(out, b.scalar(_empty(name, x.dtype), x.dtype))
    else:
        reduce_typed(b, "reduce_i64", name, flattened(b, x, axes), out)


def reduce(b: Builder, name: str, x: View, axes: tuple[int, ...], out: View) -> None:
    """out = the reduction `name` ("Sum") of x over `axes` (ascending); out is dense, the other axes in their order."""
    if x.size == 0:
        b.copy(out, b.scalar(_CODES[name][2]))
        return
    flat = flattened(b, x, axes)
    n_outer, n, n_inner = flat.shape
    code = _core.reduce_codes[_CODES[name][0]]
    x_outer, x_r, x_inner = flat.strides
    args = Reduce(
        x=flat, y=out, code=code, n_outer=n_outer, n=n, n_inner=n_inner,
        x_outer=x_outer, x_r=x_r, x_inner=x_inner, y_outer=n_inner, y_inner=1,
    )  # fmt: skip
    b.emit("reduce_f32", args)


def reduce_typed(b: Builder, slot: str, name: str, flat: View, out: View, last: int = 0) -> None:
    """out (dense) = the reduction `name` over the middle axis of `flat` [outer, n, inner]: a slot of any dtype."""
    n_outer, n, n_inner = flat.shape
    x_outer, x_r, x_inner = flat.strides
    args = ReduceTyped(
        x=flat, y=out, dtype=dtype_code(flat.dtype), code=_core.reduce_codes[_CODES[name][0]], last=last,
        n_outer=n_outer, n=n, n_inner=n_inner, x_outer=x_outer, x_r=x_r, x_inner=x_inner, y_outer=n_inner, y_inner=1,
    )  # fmt: skip
    b.emit(slot, args)


def flattened(b: Builder, x: View, axes: tuple[int, ...]) -> View:
    """x, which has elements, as [outer, reduced, inner]; `axes` (ascending) are the reduced ones. A copy only where no
    strides can say it."""
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    n = prod(x.shape[axis] for axis in axes)
    before = sum(axis < axes[0] for axis in kept) if axes else len(kept)
    for cut in sorted(range(len(kept) + 1), key=lambda cut: abs(cut - before)):  # kept axes before `cut` are outer
        outer = prod(x.shape[axis] for axis in kept[:cut])
        flat = x.transpose([*kept[:cut], *axes, *kept[cut:]]).reshape((outer, n, x.size // outer // n))
        if flat is not None:
            return flat
    flat = b.dense(x.transpose([*kept, *axes])).reshape((x.size // n, n, 1))
    assert flat is not None
    return flat


for _name in _CODES:
    register(
        Op(
            f"Reduce{_name}",
            infer,
            evaluate,
            flow,
            lower,
            dtypes="float"
            if _name.startswith("Log")
            else "float, int, uint" + (", bool" if _name in ("Max", "Min") else ""),
            runs="reduce_f32" if _name.startswith("Log") else "reduce_f32, reduce_i64",
            sizes=(1,),
            why="reduces over the whole time axis",
        )
    )


# ---- CumSum ----------------------------------------------------------------------------------------------------------

_MOST_STEPS = 4096


def sum_axis(node: Node, x: Fact, axis: Fact) -> int:
    """The axis that a CumSum runs over."""
    return normal_axis(node, int(known(node, axis, "an axis").reshape(-1)[0]), len(x.shape))


def _sum_axis(node: Node, ins: list[Fact | None]) -> int:
    return sum_axis(node, need(node, ins, 0), need(node, ins, 1))


def infer_cumsum(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind not in "fiu":
        raise unsupported(node, f"element type {x.dtype}")
    _sum_axis(node, ins)
    return [Fact(x.shape, x.dtype)]


def evaluate_cumsum(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Any = need(node, ins, 0)
    axis = _sum_axis(node, [Fact.of(x), Fact.of(need(node, ins, 1))])
    back = bool(attr(node, "reverse", 0))
    made = np.add.accumulate(np.flip(x, axis) if back else x, axis, dtype=x.dtype)
    if attr(node, "exclusive", 0) and x.shape[axis]:
        made = np.concatenate([np.zeros_like(made.take([0], axis)), made.take(range(x.shape[axis] - 1), axis)], axis)
    return [np.flip(made, axis) if back else made]


def flow_cumsum(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Backwards, nothing passes along the axis."""
    x: Fact = need(node, ins, 0)
    axis = _sum_axis(node, ins)
    links = [Link(0, a, 0, a) for a in range(len(x.shape)) if a != axis]
    return links if attr(node, "reverse", 0) else [*links, Link(0, axis, 0, axis, "scan")]


def lower_cumsum(node: Node, b: Builder) -> None:
    """In a stream the sum so far is the state "sum0" (of the shape of x without the axis)."""
    x = b.view(node.inputs[0])
    axis = _sum_axis(node, [b.fact(value) for value in node.inputs])
    n, back, exclusive = x.shape[axis], bool(attr(node, "reverse", 0)), bool(attr(node, "exclusive", 0))
    carried = b.carried(node, "sum0") is not None
    if n > _MOST_STEPS and not carried:
        b.host(node, find(node).evaluate)
        return
    shape, ints = (*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype.kind in "iu"
    out = b.new(node.outputs[0])
    state = b.carry(node, "sum0", None, shape) if carried else b.scalar(0, x.dtype).expand(shape)
    order = list(reversed(range(n)) if back else range(n))
    terms = [x.part(axis, place, 1).drop(axis) for place in order]
    sums = [out.part(axis, place, 1).drop(axis) for place in order]
    total = state
    if exclusive and n:
        b.copy(sums[0], state)
        total, sums = sums[0], sums[1:] + ([state] if carried else [])
    for term, after in zip(terms, sums, strict=False):
        b.map([total, term], [("ADD", 0, 1)], after, ints=ints)
        total = after
    if carried and not exclusive:
        b.copy(state, total)


register(Op("CumSum", infer_cumsum, evaluate_cumsum, flow_cumsum, lower_cumsum, dtypes="float, int, uint", runs="map"))
