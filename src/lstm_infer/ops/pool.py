"""MaxPool-22, AveragePool-22, LpPool-22 (from opset 1) and GlobalMaxPool, GlobalAveragePool, GlobalLpPool.

    MaxPool      the largest element of each window
    AveragePool  the sum over the number of positions inside X, or, with count_include_pad, inside X and its pads
    LpPool       (sum of |x| ^ p) ^ (1 / p)

A window over several axes is taken one axis after the other: line by line (the slot pool_f32), or a small one at once, in the
same order. Indices of MaxPool: every window is laid out, and the first place of its largest element found. Refused: more
than 3 spatial axes, negative pads.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.budget import spend
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.arguments import Gather, dtype_code
from ..program.builder import Builder
from ..program.views import View
from . import indexed, work
from .channels_last import channels_last
from .elementwise import Formula, apply
from .pooled_lines import MOST_IN_LINES, pooled_lines
from .reduce import reduce, reduce_typed
from .registry import Op, attr, known, need, register, unsupported
from .small_windows import MOST_AT_ONCE, Span, at_once, largest
from .window import Slide, ints, padded, patches, patches_of, slide, windows


def _slide(node: Node, ins: list[Fact | None]) -> Slide:
    kernel = attr(node, "kernel_shape")
    return slide(node, need(node, ins, 0).shape, [int(k) for k in kernel])


def _power(node: Node) -> float:
    p = float(attr(node, "p", 2))
    if p < 1:
        raise OnnxImportError(f"{node}: p is {p}, below 1; the file is broken")
    return p


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f" and not (node.op == "MaxPool" and x.dtype.name in ("int8", "uint8")):
        raise unsupported(node, f"element type {x.dtype}")
    s = _slide(node, ins)
    if any(pad >= s.reach(a) for a in range(len(s.size)) for pad in (s.begin[a], s.end[a])):
        raise unsupported(node, "padding as wide as the window")
    if node.op == "LpPool":
        _power(node)
    y = Fact((*x.shape[:2], *s.out), x.dtype)
    return [y, Fact(y.shape, np.dtype(np.int64))] if node.op == "MaxPool" else [y]


COUNT = 50
"""What it costs to count the positions of a window, of the budget."""


def _counts(node: Node, s: Slide) -> list[Array]:
    """Positions that a window of AveragePool counts along each axis; their product is what it counts."""
    spend(node, COUNT * sum(s.out))
    counts: list[Array] = []
    for a in range(len(s.size)):
        first = np.arange(s.out[a]) * s.stride[a] - s.begin[a]
        padded_too = bool(attr(node, "count_include_pad", 0))
        begin, stop = (-s.begin[a], s.size[a] + s.end[a]) if padded_too else (0, s.size[a])
        before = np.clip(-((first - begin) // s.dilation[a]), 0, s.kernel[a])  # places of the window before the first
        until = np.clip(-((first - stop) // s.dilation[a]), 0, s.kernel[a])
        counts.append((until - before).astype(np.float32).reshape([-1 if d == a else 1 for d in range(len(s.size))]))
    return counts


def _product(node: Node, s: Slide, counts: list[Array]) -> Array:
    """[out...]."""
    spend(node, COUNT * prod(s.out))
    found: Array = functools.reduce(np.multiply, counts)
    return found


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    s = _slide(node, [None if a is None else Fact.of(a) for a in ins])
    given: Any = need(node, ins, 0)
    n = len(s.size)
    axes = tuple(range(2 + n, 2 + 2 * n))
    if node.op == "MaxPool":
        x = given if given.dtype.kind == "f" else given.astype(np.float32)  # where the padding lies below every byte
        rows = patches_of(x, s, -np.inf).reshape(*x.shape[:2], *s.out, -1)
        first, steps = _corners(node, s, x.shape)
        largest = np.max(rows, -1)
        if given.dtype.kind != "f":
            largest = np.maximum(largest, np.iinfo(given.dtype).min)
        return [np.asarray(largest).astype(given.dtype), np.asarray(sum(first, steps[np.argmax(rows, -1)]))]
    x = given.astype(np.float32) if given.dtype == np.float16 else given
    if node.op == "AveragePool":
        y = patches_of(x, s, 0).sum(axes) / _product(node, s, _counts(node, s))
    else:
        p = _power(node)
        y = (np.abs(patches_of(x, s, 0)) ** x.dtype.type(p)).sum(axes) ** x.dtype.type(1 / p)
    return [np.asarray(y).astype(given.dtype)]


def _corners(node: Node, s: Slide, shape: tuple[int, ...]) -> tuple[list[Array], Array]:
    """Where things lie in X, counted through the whole of it: the planes [N, C, 1...] and the first positions of the windows
    along each axis, which add up; and how far from there each place of a window lies, [kernel...] flattened."""
    n = len(s.size)
    column_major = bool(attr(node, "storage_order", 0))
    first: list[Array] = [np.arange(shape[0] * shape[1]).reshape(*shape[:2], *([1] * n)) * prod(s.size)]
    steps: Any = np.zeros([1] * n, np.int64)
    for a in range(n):
        step = prod(s.size[:a]) if column_major else prod(s.size[a + 1 :])
        along_axis = [-1 if d == a else 1 for d in range(n)]
        first.append((np.arange(s.out[a]) * s.stride[a] - s.begin[a]).reshape(along_axis) * step)
        steps = steps + np.arange(s.kernel[a]).reshape(along_axis) * s.dilation[a] * step
    return first, steps.reshape(-1)


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """A count that leaves the padding out depends on where the sequence begins, indices on all."""
    s = _slide(node, ins)
    counted = node.op == "AveragePool" and not attr(node, "count_include_pad", 0)
    but = [a for a in range(len(s.size)) if counted and (s.begin[a] or s.end[a])]
    if len(node.outputs) > 1 and node.outputs[1]:
        return [Link(0, a, 0, a) for a in range(2)]
    links = windows(node, s, -np.inf if node.op == "MaxPool" else 0.0, but=but)
    return [Link(0, a, 0, a) for a in range(2)] + links


def lower(node: Node, b: Builder) -> None:
    x = b.f32(b.view(node.inputs[0]))  # bytes are exact there
    s, y = _slide(node, [b.fact(node.inputs[0])]), b.new(node.outputs[0])
    code = "MAX" if node.op == "MaxPool" else "ADD"
    p = _power(node) if node.op == "LpPool" else 1.0
    if node.op == "LpPool":
        powers = b.alloc(x.shape)
        apply(b, ("MUL", 0, 0) if p == 2 else ("ABS", 0) if p == 1 else ("POW", ("ABS", 0), p), [x], powers)
        x = powers
    if code == "MAX" and not b.wanted(node, 1) and (pooled_lines(b, x, s, y, code) or largest(b, x, s, y)):
        return
    x = _joined(node, b, s, x, code)
    made: Formula = 0
    extra: list[View] = []
    if node.op == "AveragePool":
        counts = _counts(node, s)
        if all(np.all(part == part.flat[0]) for part in counts):
            made = ("DIV", 0, float(prod(part.flat[0] for part in counts)))
        else:
            key = ("pool counts", s, bool(attr(node, "count_include_pad", 0)))
            made, extra = ("DIV", 0, 1), [b.packed(key, lambda: _product(node, s, counts))]
    elif node.op == "LpPool" and p != 1:
        made = ("SQRT", 0) if p == 2 else ("POW", 0, 1 / p)
    apply(b, made, [x, *extra], y)


def _joined(node: Node, b: Builder, s: Slide, x: View, code: str) -> View:
    """Each window joined into one element, and the places of the largest where they are asked for."""
    out = b.alloc((*x.shape[:2], *s.out))
    if not b.wanted(node, 1) and pooled_lines(b, x, s, out, code):
        return out
    x = padded(b, x, s, -np.inf if code == "MAX" else 0.0)
    if b.wanted(node, 1):
        _lower_indices(node, b, s, x)
    if prod(s.kernel) <= MOST_AT_ONCE:
        at_once(b, x, [Span(0, n, 0, k, 0) for n, k in zip(s.out, s.kernel, strict=True)], s, out, code)
        return out
    for a in range(len(s.size)):
        x = along(b, x, 2 + a, s, a, code)
    return x


def _lower_indices(node: Node, b: Builder, s: Slide, x: View) -> None:
    """The place of the largest element in each window, then where that place lies in X."""
    seen, k, n = patches(x, s), prod(s.kernel), len(s.size)
    rows = b.alloc(seen.shape)
    b.copy(rows, seen)
    out = b.new(node.outputs[1])
    found, moved = b.alloc(out.shape, np.int64), b.alloc(out.shape, np.int64)
    flat = rows.reshape((out.size, k, 1))
    assert flat is not None
    reduce_typed(b, "arg_reduce", "Max", flat, found)
    first, steps = _corners(node, s, b.fact(node.inputs[0]).shape)
    key = (s, x.shape[:2], bool(attr(node, "storage_order", 0)))
    corners = [b.packed(("window corners", a, *key), partial(first.__getitem__, a)) for a in range(n + 1)]
    table = b.packed(("window steps", *key), lambda: steps)
    args = Gather(
        dst=moved, src=table, index=found, index_dtype=dtype_code(found.dtype), n_outer=1, axis=k, n_index=out.size,
        inner_bytes=8,
    )  # fmt: skip
    b.emit("gather", args)
    ops: list[tuple[Any, ...]] = [("ADD", 0, 1)]
    ops += [("ADD", n + 2 + a, 2 + a) for a in range(n)]
    b.map([moved, *corners], ops, out, ints=True)


def along(b: Builder, x: View, axis: int, s: Slide, a: int, code: str) -> View:
    """Windows of one axis, combined."""
    kernel, stride, dilation, n = s.kernel[a], s.stride[a], s.dilation[a], s.out[a]
    first = x.part(axis, 0, n, stride)
    if kernel == 1:
        return first
    out = b.alloc(first.shape)
    if kernel > MOST_IN_LINES:
        step = x.strides[axis]
        window = replace(
            x,
            shape=(*first.shape[: axis + 1], kernel, *x.shape[axis + 1 :]),
            strides=(*first.strides[: axis + 1], step * dilation, *x.strides[axis + 1 :]),
        )
        reduce(b, "Max" if code == "MAX" else "Sum", window, (axis + 1,), out)
        return out
    parts = [x.part(axis, k * dilation, n, stride) for k in range(kernel)]
    done: list[View] = []
    while parts:
        take = MOST_AT_ONCE - len(done)
        now, parts = [*done, *parts[:take]], parts[take:]
        made: Formula = 0
        for index in range(1, len(now)):
            made = (code, made, index)
        target = b.alloc(out.shape) if parts else out
        apply(b, made, now, target)
        done = [target]
    return out


_MAX = Op(
    "MaxPool", infer, evaluate, flow, lower, work=work.windows(), dtypes="float, int8, uint8",
    runs="pool_f32, map, reduce_f32, arg_reduce", why="reduces over the whole time axis",
)  # fmt: skip
register(
    _MAX,
    channels_last("NhwcMaxPool", _MAX, (1, 1), always=True),
    Op("AveragePool", infer, evaluate, flow, lower, work=work.windows(), why="reduces over the whole time axis"),
    Op("LpPool", infer, evaluate, flow, lower, work=work.windows(), why="reduces over the whole time axis"),
)


# ---- MaxUnpool: what MaxPool picked goes back to where it was; 0 elsewhere ---------------------------------------


def infer_unpool(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x, index = need(node, ins, 0), need(node, ins, 1)
    kernel, n = [int(k) for k in attr(node, "kernel_shape")], len(x.shape) - 2
    if n < 1 or len(kernel) != n or index.shape != x.shape or index.dtype != np.int64:
        raise ShapeError(f"{node}: kernel {kernel}, indices {list(index.shape)} do not fit a value of {list(x.shape)}")
    stride, pads = ints(node, "strides", n, 1), ints(node, "pads", 2 * n, 0)
    size = [(x.shape[2 + a] - 1) * stride[a] - pads[a] - pads[n + a] + kernel[a] for a in range(n)]
    shape = (*x.shape[:2], *size)
    if len(ins) > 2 and ins[2] is not None:
        given = tuple(int(m) for m in known(node, ins[2], "an output shape").reshape(-1))
        if len(given) != len(shape) or any(g < m for g, m in zip(given, shape, strict=True)):
            raise ShapeError(f"{node}: an output of {list(given)} is smaller than {list(shape)}")
        shape = given
    return [Fact(shape, x.dtype)]


def evaluate_unpool(node: Node, ins: list[Array | None]) -> list[Array]:
    """Indices count through the output, as onnxruntime reads them where an output shape is given."""
    x, index = need(node, ins, 0), need(node, ins, 1)
    y = np.zeros(infer_unpool(node, [None if a is None else Fact.of(a) for a in ins])[0].shape, x.dtype)
    if index.size and (index.min() < 0 or index.max() >= y.size):
        raise ShapeError(f"{node}: indices {index.min()} .. {index.max()} lie outside an output of {y.size} elements")
    y.reshape(-1)[index.reshape(-1)] = x.reshape(-1)
    return [y]


def lower_unpool(node: Node, b: Builder) -> None:
    x, index, y = b.view(node.inputs[0]), b.view(node.inputs[1]), b.new(node.outputs[0])
    b.copy(y, b.scalar(0, y.dtype))
    entries = indexed.Entries(x.shape, (0,) * len(x.shape), (y.size,), (1,), from_end=False)
    indexed.scatter(b, y, x, index, entries)


register(
    Op(
        "MaxUnpool",
        infer_unpool,
        evaluate_unpool,
        lower=lower_unpool,
        opsets=(9, None),
        dtypes="any",
        runs="scatter_nd",
        why="reduces over the whole time axis",
    )
)


# ---- whole axes ------------------------------------------------------------------------------------------------


def infer_global(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    if x.dtype.kind != "f":
        raise unsupported(node, f"element type {x.dtype}")
    if len(x.shape) < 2 or 0 in x.shape[2:]:
        raise ShapeError(f"{node}: takes [N, C, ...], got {list(x.shape)}")
    if node.op == "GlobalLpPool":
        _power(node)
    return [Fact((*x.shape[:2], *([1] * (len(x.shape) - 2))), x.dtype)]


def evaluate_global(node: Node, ins: list[Array | None]) -> list[Array]:
    given: Any = need(node, ins, 0)
    x = given.astype(np.float32) if given.dtype == np.float16 else given
    axes = tuple(range(2, x.ndim))
    if node.op == "GlobalMaxPool":
        y = np.max(x, axis=axes, keepdims=True)
    elif node.op == "GlobalAveragePool":
        y = np.mean(x, axis=axes, keepdims=True)
    else:
        p = _power(node)
        y = np.sum(np.abs(x) ** x.dtype.type(p), axis=axes, keepdims=True) ** x.dtype.type(1 / p)
    return [np.asarray(y).astype(given.dtype)]


def flow_global(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    return [Link(0, a, 0, a) for a in range(2)]


def lower_global(node: Node, b: Builder) -> None:
    x, y = b.f32(b.view(node.inputs[0])), b.new(node.outputs[0])
    axes = tuple(range(2, len(x.shape)))
    p = _power(node) if node.op == "GlobalLpPool" else 0.0
    if p in (0.0, 1.0, 2.0):
        name = {"GlobalMaxPool": "Max", "GlobalAveragePool": "Mean"}.get(node.op, "L1" if p == 1 else "L2")
        reduce(b, name, x, axes, y)
        return
    powers = b.alloc(x.shape)
    apply(b, ("POW", ("ABS", 0), p), [x], powers)
    reduce(b, "Sum", powers, axes, y)
    apply(b, ("POW", 0, 1 / p), [y], y)


for _name in ("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"):
    register(
        Op(_name, infer_global, evaluate_global, flow_global, lower_global, why="reduces over the whole time axis")
    )
