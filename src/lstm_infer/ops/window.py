"""Sliding windows: what Conv, ConvTranspose and the pools share. Attributes to extents, padding and links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.ir import Node
from ..graph.links import Link, Window
from ..program.builder import Builder
from ..program.views import View
from .registry import attr, unsupported

__all__ = ["Slide", "ints", "met", "padded", "slide", "windows"]

_SHORT_LINE = 64
"""Shorter padded lines are filled whole before x goes in: two ends of a line cost as much as so many of its elements."""


@frozen
class Slide:
    """Extents of a sliding window, one entry per spatial axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    def reach(self, axis: int) -> int:
        """Positions from the first to behind the last one that a window reads."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1


def ints(node: Node, name: str, n: int, default: int) -> tuple[int, ...]:
    """An attribute of n integers."""
    found = attr(node, name, None)
    values = tuple(int(v) for v in found) if found is not None and len(found) else (default,) * n
    if len(values) != n:
        raise OnnxImportError(f"{node}: {name} {list(values)} should have {n} entries; the file is broken")
    return values


def met(s: Slide) -> tuple[slice, ...]:
    """Which positions of the kernel lie on the data anywhere: others see padding only. At least one for each axis."""
    spans = []
    for size, kernel, stride, dilation, begin, out in zip(
        s.size, s.kernel, s.stride, s.dilation, s.begin, s.out, strict=True
    ):
        first, last = -begin, (out - 1) * stride - begin
        seen = [
            k for k in range(kernel) if first + k * dilation < size and last + k * dilation >= 0
        ]  # strides that jump over all of the data are not looked for
        spans.append(slice(seen[0], seen[-1] + 1) if seen else slice(0, 1))
    return tuple(spans)


def slide(node: Node, shape: Sequence[int], kernel: Sequence[int]) -> Slide:
    """The window of a Conv or a pool over x of `shape` [N, C, ...]."""
    n = len(shape) - 2
    if n < 1:
        raise ShapeError(f"{node}: takes [N, C, ...], got {list(shape)}")
    if n > 3:
        raise unsupported(node, f"{n} spatial axes (3 are)")
    size, kernel = tuple(shape[2:]), tuple(kernel)
    if len(kernel) != n:
        raise ShapeError(f"{node}: a kernel of {list(kernel)} does not fit {n} spatial axes")
    stride, dilation = ints(node, "strides", n, 1), ints(node, "dilations", n, 1)
    if min(*stride, *dilation, *kernel) < 1:
        raise OnnxImportError(f"{node}: kernel, strides or dilations below 1; the file is broken")
    pads = ints(node, "pads", 2 * n, 0)
    auto = str(attr(node, "auto_pad", "NOTSET"))
    begin, end, out = list(pads[:n]), list(pads[n:]), []
    for a in range(n):
        reach = (kernel[a] - 1) * dilation[a] + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            out.append(-(-size[a] // stride[a]))
            total = max((out[a] - 1) * stride[a] + reach - size[a], 0)
            begin[a] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            end[a] = total - begin[a]
            continue
        if auto == "VALID":
            begin[a] = end[a] = 0
        elif auto not in ("NOTSET", ""):
            raise OnnxImportError(f"{node}: auto_pad {auto!r} is unknown; the file is broken")
        if begin[a] < 0 or end[a] < 0:
            raise unsupported(node, f"negative pads {list(pads)}")
        room = size[a] + begin[a] + end[a] - reach
        steps = room // stride[a]
        if attr(node, "ceil_mode", 0):
            steps = -(-room // stride[a])
            if steps * stride[a] >= size[a] + begin[a]:
                steps -= 1  # a window must not start behind the data and its first padding
        out.append(steps + 1)
        if room < 0:
            raise ShapeError(f"{node}: a window of {reach} does not fit {size[a]} + {begin[a]} + {end[a]} positions")
    return Slide(size, kernel, stride, dilation, tuple(begin), tuple(end), tuple(out))


def windows(node: Node, s: Slide, pad_value: float, *, but: Sequence[int] = ()) -> list[Link]:
    """Links of the spatial axes; those in `but` are needed whole."""
    auto = str(attr(node, "auto_pad", "NOTSET")) in ("SAME_UPPER", "SAME_LOWER")
    links = []
    for a in range(len(s.size)):
        floor = (s.size[a] + s.begin[a] + s.end[a] - s.reach(a)) // s.stride[a] + 1
        if a in but or s.out[a] != floor:  # a last window that is cut short
            continue
        if auto and len(s.size) > 1 and (s.begin[a] or s.end[a]):
            continue  # padding that cannot be given up for one axis alone
        window = Window(s.kernel[a], s.stride[a], s.dilation[a], s.begin[a], s.end[a], pad_value)
        links.append(Link(0, 2 + a, 0, 2 + a, "window", window))
    return links


def padded(b: Builder, x: View, s: Slide, value: float) -> View:
    """x [N, C, ...] with `value` around it, as far as windows read; x itself where they read nothing else."""
    need = [max((s.out[a] - 1) * s.stride[a] + s.reach(a), s.begin[a] + s.size[a]) for a in range(len(s.size))]
    if not any(s.begin) and need == list(s.size):
        return x
    out = b.alloc((*x.shape[:2], *need), x.dtype)
    inside, zero = out, b.scalar(value, x.dtype)
    short = need[-1] <= _SHORT_LINE and need[-1] > s.size[-1]
    if short:
        b.copy(out, zero)
    for a in range(len(s.size)):
        axis, stop = 2 + a, s.begin[a] + s.size[a]
        for start, count in ((0, s.begin[a]), (stop, need[a] - stop)):
            if count and not short:
                b.copy(inside.part(axis, start, count), zero)
        inside = inside.part(axis, s.begin[a], s.size[a])
    b.copy(inside, x)
    return out


def patches(x: View, s: Slide) -> View:
    """[N, C, out..., kernel...] over x as `padded` gives it: overlapping windows, a view."""
    n = len(s.size)
    strides = x.strides[2:]
    steps = (strides[a] * s.stride[a] for a in range(n)), (strides[a] * s.dilation[a] for a in range(n))
    return replace(x, shape=(*x.shape[:2], *s.out, *s.kernel), strides=(*x.strides[:2], *steps[0], *steps[1]))


def patches_of(x: Any, s: Slide, value: Any) -> Any:
    """The same in NumPy, with padding."""
    n = len(s.size)
    need = [max((s.out[a] - 1) * s.stride[a] + s.reach(a), s.begin[a] + s.size[a]) for a in range(n)]
    width = [(0, 0), (0, 0), *((s.begin[a], need[a] - s.begin[a] - s.size[a]) for a in range(n))]
    x = np.pad(x, width, constant_values=value)
    strides = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *s.out, *s.kernel),
        (
            *x.strides[:2],
            *(strides[a] * s.stride[a] for a in range(n)),
            *(strides[a] * s.dilation[a] for a in range(n)),
        ),
        writeable=False,
    )
