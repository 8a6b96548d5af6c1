"""Pad-25: more (or, where pads are negative, fewer) elements at both ends of axes.

Modes constant, reflect, edge, wrap, all of them copies. Refused: pads and axes that depend on the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link, Window
from ..program.builder import Builder
from .common import normal_axes, pass_through
from .registry import Op, attr, need, numbers, register

_MODES = ("constant", "reflect", "edge", "wrap")


def _pads(node: Node, ins: list[Fact | None]) -> dict[int, tuple[int, int]]:
    """(begin, end) for each axis that changes."""
    x: Fact = need(node, ins, 0)
    pads = numbers(node, need(node, ins, 1), "pads")
    axes = tuple(range(len(x.shape)))
    if len(ins) > 3 and ins[3] is not None:
        axes = normal_axes(node, numbers(node, ins[3], "axes"), len(x.shape))
    if len(pads) != 2 * len(axes):
        raise ShapeError(f"{node}: {len(pads)} pads for {len(axes)} axes")
    if _mode(node) not in _MODES:
        raise OnnxImportError(f"{node}: mode {_mode(node)!r} is none of {', '.join(_MODES)}; the file is broken")
    return {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes) if pads[i] or pads[i + len(axes)]}


def _mode(node: Node) -> str:
    return str(attr(node, "mode", "constant"))


def _parts(n: int, begin: int, end: int) -> tuple[int, int, int]:
    """Elements before what is kept of an axis of n, kept, and behind it. A crop that reaches further than the axis takes
    off the padding at the other end."""
    kept = max(n + min(begin, 0) + min(end, 0), 0)
    before = min(max(begin, 0), n + begin + end - kept)
    return before, kept, n + begin + end - kept - before


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    x: Fact = need(node, ins, 0)
    shape = list(x.shape)
    for axis, (begin, end) in _pads(node, ins).items():
        left = shape[axis] + min(begin, 0) + min(end, 0)
        if shape[axis] + begin + end < 0 or (_mode(node) != "constant" and left <= 0):
            raise ShapeError(f"{node}: pads {begin}, {end} do not fit axis {axis} of {list(x.shape)}")
        shape[axis] += begin + end
    value = ins[2] if len(ins) > 2 else None
    if value is not None and np.prod(value.shape) != 1:
        raise OnnxImportError(f"{node}: the pad value has shape {list(value.shape)}, expected one; the file is broken")
    if value is not None and value.dtype != x.dtype and value.const is None:
        raise OnnxImportError(f"{node}: the pad value is {value.dtype}, the data {x.dtype}; the file is broken")
    return [Fact(tuple(shape), x.dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    x: Array = need(node, ins, 0)
    pads = _pads(node, [None if a is None else Fact.of(a) for a in ins])
    both = [pads.get(axis, (0, 0)) for axis in range(x.ndim)]
    kept = tuple(slice(max(-first, 0), n - max(-last, 0)) for (first, last), n in zip(both, x.shape, strict=True))
    parts = [_parts(n, first, last) for (first, last), n in zip(both, x.shape, strict=True)]
    width = [(before, after) for before, _, after in parts]
    if _mode(node) == "constant":
        value: Any = ins[2].reshape(-1)[0] if len(ins) > 2 and ins[2] is not None else 0
        return [np.pad(x[kept], width, "constant", constant_values=value)]
    mode: Any = _mode(node)
    return [np.pad(x[kept], width, mode)]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """A padded axis is a window of one position, also where steps at its beginning make room for others at its end; a
    cropped one is a slice; reflections pass nothing."""
    x: Fact = need(node, ins, 0)
    pads = _pads(node, ins)
    links = pass_through(ins, outs, pads)
    value = ins[2] if len(ins) > 2 else None
    for axis, (begin, end) in pads.items():
        constant = _mode(node) == "constant" and (value is None or value.const is not None)
        if end >= 0 and constant:
            fill: Any = 0.0 if value is None or value.const is None else value.const.reshape(-1)[0]
            window = Window(1, pad_begin=begin, pad_end=end, pad_value=float(fill))
            links.append(Link(0, axis, 0, axis, "window", window))
        elif begin <= 0 and end <= 0:
            links.append(Link(0, axis, 0, axis, "slice", (-begin, x.shape[axis] + end, 1)))
    return links


def _runs(source: Any, first: int) -> Iterator[tuple[int, int, int, int]]:
    """(place, start, count, step) of evenly spaced runs in a list of source positions; places count from `first`."""
    at = 0
    while at < len(source):
        stop = at + 1
        step = int(source[stop] - source[at]) if stop < len(source) else 1
        while stop < len(source) and source[stop] - source[stop - 1] == step:
            stop += 1
        yield first + at, int(source[at]), stop - at, step
        at = stop


def lower(node: Node, b: Builder) -> None:
    x, out = b.view(node.inputs[0]), b.new(node.outputs[0])
    pads = _pads(node, [b.fact(name) if name else None for name in node.inputs])
    rest = {axis: _parts(x.shape[axis], begin, end) for axis, (begin, end) in pads.items()}
    inside = out
    for axis, (before, kept, _) in rest.items():
        x = x.part(axis, max(-pads[axis][0], 0), kept)
        inside = inside.part(axis, before, kept)
    b.copy(inside, x)
    mode: Any = _mode(node)
    name = b.optional(node, 2)
    fill = None
    if mode == "constant":
        fact = b.fact(name) if name else None
        if fact is None or fact.const is not None:  # a value that was an attribute is float32, whatever the data is
            number: Any = 0 if fact is None or fact.const is None else fact.const.reshape(-1)[0]
            fill = b.scalar(number, out.dtype)
        else:
            fill = b.reshape(b.view(name), ())
    for axis, (begin, n, end) in tuple(rest.items()):
        del rest[axis]
        slab = out  # axes already padded are whole, of the others only the inside is there yet
        for later, (before, kept, _) in rest.items():
            slab = slab.part(later, before, kept)
        if fill is not None:
            for start, count in ((0, begin), (begin + n, end)):
                b.copy(slab.part(axis, start, count), fill)
            continue
        source = np.pad(np.arange(begin, begin + n), (begin, end), mode)
        for part, first in ((source[:begin], 0), (source[begin + n :], begin + n)):
            for place, start, count, step in _runs(part, first):
                b.copy(slab.part(axis, place, count), slab.part(axis, start, count, step))


register(
    Op(
        "Pad",
        infer,
        evaluate,
        flow,
        lower,
        note="constant pads only",
        dtypes="any",
        runs="copy",
        sizes=(1, 3),
        mixes="write",
        why="fills the ends of the sequence with steps of its own",
    )
)
